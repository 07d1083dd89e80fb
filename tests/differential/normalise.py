"""What is compared of an answer: names, times and ids that no two servers share are replaced by words."""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any
from urllib.parse import unquote

from symbols import Step

# Ids and tokens that each server makes up.
OPAQUE = {
    "UploadId",
    "TaskHandle",
    "ContinuationToken",
    "NextContinuationToken",
    "NextToken",
    "UploadIdMarker",
    "NextUploadIdMarker",
}
OWNERS = {"Owner", "Initiator", "SenderId"}
TIMESTAMPS = {
    "SentTimestamp",
    "ApproximateFirstReceiveTimestamp",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "StartedTimestamp",
}
# Lists whose order is promised by nobody (or, of uploads, not kept by moto), and what to sort them by.
UNORDERED = {
    "Messages": "Body",
    "Buckets": "Name",
    "FilterRules": "Name",
    "Uploads": "Key",
    "Deleted": "Key",
    "Errors": "Key",
    "QueueUrls": None,
    "queueUrls": None,
}
SHOWN_MAX_BYTES = 40


class Normaliser:
    def __init__(self, prefix: str, endpoints: list[str]) -> None:
        self.prefix = prefix
        self.endpoints = endpoints
        # The body of each message that was sent, by its id, and all handles seen.
        self.sent: dict[str, str] = {}
        self.handles: set[str] = set()

    def result(self, step: Step, args: dict[str, Any], result: Any) -> Any:
        if step.call in ("SendMessage", "SendMessageBatch"):
            self.note_sent(args, result)
        if step.drain:
            result = {"Events": sorted(map(self.event, result), key=what_happened)}
        if step.call == "ListBuckets":
            result["Buckets"] = [one for one in result["Buckets"] if one["Name"].startswith(self.prefix)]
        if step.call == "ListQueues":
            result["QueueUrls"] = [url for url in result.get("QueueUrls", []) if f"/{self.prefix}" in url]
        shown = self.value("", result)
        return _by_entry(shown) if step.call.endswith("Batch") else shown

    def note_sent(self, args: dict[str, Any], result: Any) -> None:
        bodies = {entry["Id"]: entry.get("MessageBody") for entry in args.get("Entries", [])}
        for entry in result.get("Successful", []):
            self.sent[entry["MessageId"]] = bodies[entry["Id"]]
        if "MessageId" in result:
            self.sent[result["MessageId"]] = args["MessageBody"]

    def value(self, name: str, value: Any) -> Any:
        if name in OPAQUE or name in OWNERS:
            return f"<{name}>"
        if name in TIMESTAMPS or isinstance(value, datetime.datetime):
            return "<time>"
        match value:
            case dict():
                return self.fields(value)
            case list():
                inner = [self.value("", entry) for entry in value]
                if name in UNORDERED:
                    by = UNORDERED[name]
                    inner.sort(key=lambda entry: json.dumps(entry.get(by, entry) if by else entry, sort_keys=True))
                return inner
            case bytes():
                start = value[:SHOWN_MAX_BYTES]
                return f"{len(value)} bytes {start!r}, MD5 {hashlib.md5(value).hexdigest()}"
            case str():
                return self.text(name, value)
            case _:
                return value

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        shown = {name: self.value(name, value) for name, value in fields.items()}
        if "QueueArn" in fields and fields.get("Id") != "rule":
            shown["Id"] = "<an id that the server made>"
        if "MessageId" in fields:
            body = fields.get("Body")
            known = body is None or self.sent.get(fields["MessageId"]) == body
            shown["MessageId"] = "<id>" if known else "<not the id that its send gave>"
        if "ReceiptHandle" in fields:
            fresh = fields["ReceiptHandle"] not in self.handles
            self.handles.add(fields["ReceiptHandle"])
            shown["ReceiptHandle"] = "<handle>" if fresh else "<handle that was given before>"
        return shown

    def text(self, name: str, value: str) -> str:
        if name == "RedrivePolicy" and value:
            value = json.dumps(json.loads(value), sort_keys=True)
        for endpoint in self.endpoints:
            value = value.replace(endpoint, "<endpoint>")
        return value.replace(self.prefix, "~")

    def event(self, message: dict[str, Any]) -> dict[str, Any]:
        """An event message, its body as data."""
        body = json.loads(message["Body"])
        for record in body.get("Records", [body]):
            for name in ("eventTime", "Time", "RequestId", "HostId", "responseElements", "userIdentity"):
                _hide(record, name)
            _hide(record, "requestParameters")
            described = record.get("s3", {})
            _hide(described.get("bucket", {}), "ownerIdentity")
            _hide(described.get("object", {}), "sequencer")
            if described.get("configurationId") != "rule":
                _hide(described, "configurationId")
            # So that what is allowed of deletions is not of other events.
            if record.get("eventName", "").startswith("ObjectRemoved:"):
                described["removed"] = described.pop("object")
        return body


def what_happened(event: dict[str, Any]) -> list[str]:
    """What to sort events by, whose order is promised by nobody either."""
    told = []
    for record in event.get("Records", []):
        changed = record["s3"].get("object", record["s3"].get("removed"))
        told += [record["eventName"], unquote(changed["key"])]
        told += [str(changed.get(name)) for name in ("size", "eTag") if "object" in record["s3"]]
    return told


def _hide(fields: dict[str, Any], name: str) -> None:
    if name in fields:
        fields[name] = f"<{name}>"


def _by_entry(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch's answer, by the entries' ids. Of one that failed the code counts; the words are each server's own."""
    entries = {entry["Id"]: entry for entry in batch.get("Successful", [])}
    for failed in batch.get("Failed", []):
        fault = "sender" if failed["SenderFault"] else "receiver"
        entries[failed["Id"]] = f"failed: {failed['Code']}, by the {fault}"
    return {"Lists": sorted(batch), "Entries": entries}
