"""What is configured of a bucket: where moto and the local cloud differ, and why the local cloud is right."""

from typing import Any

from allowed_objects import API, ERRORS, GUIDE
from compare import ABSENT, Allowed
from normalise import what_happened

EVENTS = GUIDE + "notification-content-structure.html"


def _queue_is_not_there(args: dict[str, Any]) -> bool:
    rules = args["NotificationConfiguration"]["QueueConfigurations"]
    return any(rule["QueueArn"].letter == "z" for rule in rules)


def _but_for_puts_of_parts_together(ours: Any, peer: Any) -> bool:
    """Whether both tell the same, but for moto's events of a put of what an upload in parts has made."""
    told = [what_happened(event) for event in peer]
    expected = [event for event in told if not (event and event[0] == "ObjectCreated:Put" and "-" in event[-1])]
    return [what_happened(event) for event in ours] == expected


CONFIGURED = [
    Allowed(
        "PutBucketCors PutBucketNotificationConfiguration",
        "outcome",
        "400 *",
        "404 NoSuchBucket",
        "both are the case, and which is told is not said",
        ERRORS,
    ),
    Allowed(
        "PutBucketNotificationConfiguration",
        "outcome",
        "400 InvalidArgument",
        "200",
        "S3 checks that the queue is there; moto does not",
        API + "API_PutBucketNotificationConfiguration.html",
        when=_queue_is_not_there,
        mend="notification",
    ),
    Allowed(
        "ReceiveMessage",
        "Events[].RequestId | Events[].HostId",
        "<*Id>",
        ABSENT,
        "S3's test event has a request's ids",
        EVENTS,
    ),
    Allowed(
        "ReceiveMessage",
        "Events[].Records[].*",
        "<*>",
        ABSENT,
        "moto leaves out who, from where, and in which order",
        EVENTS,
    ),
    Allowed(
        "ReceiveMessage",
        "Events[].Records[].s3.object.key | Events[].Records[].s3.removed.key",
        "*/*",
        "*[%]2F*",
        "keys are encoded as in a form; whether / is, is not said, and readers cannot tell",
        EVENTS,
        same=lambda ours, peer: ours.replace("/", "%2F") == peer,
    ),
    Allowed(
        "ReceiveMessage",
        "Events[].Records[].s3.removed.size | Events[].Records[].s3.removed.eTag",
        ABSENT,
        "*",
        "S3's own events of deletions have neither; which events have which fields is not said",
        EVENTS,
    ),
    Allowed(
        "ReceiveMessage",
        "Events",
        "*",
        "*",
        "the completion of an upload is one event; moto adds one of a put",
        GUIDE + "notification-how-to-event-types-and-destinations.html",
        same=_but_for_puts_of_parts_together,
    ),
]
