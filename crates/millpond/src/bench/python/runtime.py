"""Asks Lambda's Runtime API for work, as AWS's own awslambdaric does it: http.client, one invocation at a time."""

import http.client
import json
import os


def run(handler):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        response = connection.getresponse()
        event, invocation = json.loads(response.read()), response.headers["Lambda-Runtime-Aws-Request-Id"]
        answer = json.dumps(handler(event))
        connection.request("POST", f"/2018-06-01/runtime/invocation/{invocation}/response", answer)
        connection.getresponse().read()
