"""What schemathesis does to each call before it is sent."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    # A wait that the server grants is real time: 25 seconds for every number from 25 on.
    wait = str((case.query or {}).get("wait", ""))
    if wait.isdecimal() and int(wait) > 1:
        case.query["wait"] = 1
    prefer = str((case.headers or {}).get("Prefer", ""))
    if prefer.startswith("wait="):
        case.headers["Prefer"] = "wait=1"
