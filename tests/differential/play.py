"""Plays steps to one server: turns symbols into its names, calls, and keeps what later symbols will need."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import set_list_objects_encoding_type_url

from normalise import Normaliser
from symbols import (
    Body,
    Bucket,
    CopySource,
    Handle,
    QueueArn,
    QueueName,
    QueueUrl,
    Redrive,
    Step,
    Upload,
)

ACCOUNT = "000000000000"
REGION = "us-east-1"
PAGES_MAX = 50
# Where a listing's next page begins, by what its request calls it.
MARKERS = {
    "ListObjectsV2": {"ContinuationToken": "NextContinuationToken"},
    "ListObjectVersions": {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"},
}


@dataclass(frozen=True)
class Server:
    s3_endpoint: str
    sqs_endpoint: str
    access_key: str
    secret_key: str

    def client(self, service: str) -> Any:
        endpoint = self.s3_endpoint if service == "s3" else self.sqs_endpoint
        config = Config(
            # What is invalid is for the servers to refuse.
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            proxies={},
        )
        client = boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=config,
        )
        for listing in ("ListObjects", "ListObjectsV2", "ListObjectVersions") if service == "s3" else ():
            # Names come as the call asks for them. boto3 would have them encoded, and decode what moto did not encode.
            client.meta.events.unregister(f"before-parameter-build.s3.{listing}", set_list_objects_encoding_type_url)
        return client


@dataclass(frozen=True)
class Answer:
    # "200", or "404 NoSuchKey".
    outcome: str
    result: Any = None
    # Told to the reader, not compared.
    message: str = ""


class Player:
    def __init__(self, server: Server, clients: dict[str, Any], prefix: str) -> None:
        self.server = server
        self.clients = clients
        self.prefix = prefix
        self.uploads: dict[int, str] = {}
        self.handles: dict[int, list[str]] = {}
        # The message of each handle, and its newest handle.
        self.messages: dict[str, str] = {}
        self.newest: dict[str, str] = {}
        self.normaliser = Normaliser(prefix, [server.s3_endpoint, server.sqs_endpoint])

    def real(self, value: Any) -> Any:
        match value:
            case Bucket(letter) | QueueName(letter):
                return f"{self.prefix}-{letter}"
            case QueueUrl(letter):
                return f"{self.server.sqs_endpoint}/{ACCOUNT}/{self.prefix}-{letter}"
            case QueueArn(letter):
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.prefix}-{letter}"
            case Redrive(letter, count):
                target = self.real(QueueArn(letter))
                return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})
            case Body():
                return bytes(value)
            case CopySource(bucket, key):
                return {"Bucket": self.real(bucket), "Key": key}
            case Upload(step=step):
                return self.uploads.get(step, "no-such-upload")
            case Handle(step, nth):
                handles = self.handles.get(step)
                return handles[nth % len(handles)] if handles else "no-such-handle"
            case dict():
                return {name: self.real(inner) for name, inner in value.items()}
            case list():
                return [self.real(inner) for inner in value]
            case _:
                return value

    def call(self, service: str, name: str, **args: Any) -> Any:
        return getattr(self.clients[service], xform_name(name))(**args)

    def play(self, step: Step) -> Answer:
        args = self.real(step.args)
        if step.call in ("DeleteMessage", "DeleteMessageBatch"):
            # Whether an older handle deletes its message is not defined.
            for entry in args.get("Entries", [args]):
                handle = entry["ReceiptHandle"]
                entry["ReceiptHandle"] = self.newest.get(self.messages.get(handle, ""), handle)
        try:
            if step.pages:
                result: Any = list(self.all_pages(step.call, args))
            elif step.drain:
                result = self.drained(args)
            else:
                result = self.call(step.service, step.call, **args)
            if step.call == "GetObject":
                result["Body"] = result["Body"].read()
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response["Error"]["Code"]
            # Of a HEAD, and of a 304, there is no code but the status.
            outcome = f"{status}" if code == str(status) else f"{status} {code}"
            return Answer(outcome, message=error.response["Error"].get("Message", ""))
        except BotoCoreError as error:
            return Answer(f"no answer: {type(error).__name__}", message=str(error))
        self.keep(step, result)
        status = 200
        if isinstance(result, dict):
            status = result.pop("ResponseMetadata")["HTTPStatusCode"]
        return Answer(str(status), self.normaliser.result(step, args, result))

    def all_pages(self, call: str, args: dict[str, Any]) -> Any:
        for _ in range(PAGES_MAX):
            page = self.call("s3", call, **args)
            page.pop("ResponseMetadata")
            # Where the next page begins is the server's own business, as long as the client gets there.
            markers = {to: page.get(came_from) for to, came_from in MARKERS.get(call, {}).items()}
            if call == "ListObjects" and page["IsTruncated"]:
                last = page["Contents"][-1]["Key"] if "Contents" in page else None
                markers = {"Marker": page.get("NextMarker", last)}
            yield page
            if not page["IsTruncated"]:
                return
            args |= markers
        raise AssertionError(f"{call} does not come to an end: {args}")

    def drained(self, args: dict[str, Any]) -> list[Any]:
        messages: list[Any] = []
        while received := self.call("sqs", "ReceiveMessage", **args).get("Messages"):
            messages += received
            for message in received:
                handle = message["ReceiptHandle"]
                self.call("sqs", "DeleteMessage", QueueUrl=args["QueueUrl"], ReceiptHandle=handle)
        return messages

    def keep(self, step: Step, result: Any) -> None:
        match step.call:
            case "CreateMultipartUpload":
                self.uploads[step.number] = result["UploadId"]
            case "ReceiveMessage" if not step.drain:
                messages = sorted(result.get("Messages", []), key=lambda message: message["Body"])
                self.handles[step.number] = [message["ReceiptHandle"] for message in messages]
                for message in messages:
                    self.messages[message["ReceiptHandle"]] = message["MessageId"]
                    self.newest[message["MessageId"]] = message["ReceiptHandle"]
            case "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch":
                # A timeout of zero that begins within a receive's millisecond may count as not yet over.
                time.sleep(0.003)

    def clean(self) -> None:
        """Removes what the sequence left."""
        for letter in "ab":
            Mender(self).bucket(letter)
        for letter in "pqrle":
            self.quietly("sqs", "DeleteQueue", QueueUrl=self.real(QueueUrl(letter)))

    def quietly(self, service: str, name: str, **args: Any) -> Any:
        """Calls; what is to be removed may not be there."""
        try:
            return self.call(service, name, **args)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if not code.startswith(("NoSuch", "KeyTooLong")) and not code.endswith("NonExistentQueue"):
                raise
            return {}


class Mender:
    """Makes a part of both servers' state equal again after an allowed difference, so that the comparison can go on."""

    def __init__(self, player: Player) -> None:
        self.player = player

    def key(self, step: Step) -> None:
        place = {name: self.player.real(step.args[name]) for name in ("Bucket", "Key")}
        self.player.quietly("s3", "DeleteObject", **place)
        # Of a write that one of the two refused there are events in one queue only.
        self.events()

    def begun(self, step: Step) -> None:
        """No upload, whichever began one."""
        upload = self.player.uploads.pop(step.number, None)
        if upload is not None:
            place = {name: self.player.real(step.args[name]) for name in ("Bucket", "Key")}
            self.player.quietly("s3", "AbortMultipartUpload", UploadId=upload, **place)

    def upload(self, step: Step) -> None:
        args = {name: step.args[name] for name in ("Bucket", "Key", "UploadId")}
        self.player.quietly("s3", "AbortMultipartUpload", **self.player.real(args))
        self.key(step)

    def notification(self, step: Step) -> None:
        bucket = self.player.real(step.args["Bucket"])
        self.player.quietly("s3", "PutBucketNotificationConfiguration", Bucket=bucket, NotificationConfiguration={})
        self.events()

    def events(self, _: Step | None = None) -> None:
        self.player.quietly("sqs", "PurgeQueue", QueueUrl=self.player.real(QueueUrl("e")))

    def queue(self, step: Step) -> None:
        """The queue as if it had just been made, and the small queues empty."""
        url, name = step.args.get("QueueUrl"), step.args.get("QueueName")
        letter = url.letter if url else name.letter if isinstance(name, QueueName) else None
        # Whether a queue still has its dead letters in another that was made anew is not said.
        for letter in "pqr" if letter in ("p", "q", "r") else [letter] if letter else []:
            self.player.quietly("sqs", "DeleteQueue", QueueUrl=self.player.real(QueueUrl(letter)))
            self.player.quietly("sqs", "CreateQueue", QueueName=self.player.real(QueueName(letter)))
        self.pool()

    def messages(self, step: Step) -> None:
        self.player.quietly("sqs", "PurgeQueue", QueueUrl=self.player.real(step.args["QueueUrl"]))
        self.pool()

    def pool(self, _: Step | None = None) -> None:
        for letter in "pqr":
            self.player.quietly("sqs", "PurgeQueue", QueueUrl=self.player.real(QueueUrl(letter)))

    def bucket(self, letter: str) -> None:
        name = self.player.real(Bucket(letter))
        objects = self.player.quietly("s3", "ListObjectsV2", Bucket=name).get("Contents", [])
        if objects:
            keys = [{"Key": entry["Key"]} for entry in objects]
            self.player.quietly("s3", "DeleteObjects", Bucket=name, Delete={"Objects": keys})
        for upload in self.player.quietly("s3", "ListMultipartUploads", Bucket=name).get("Uploads", []):
            place = {"Bucket": name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            self.player.quietly("s3", "AbortMultipartUpload", **place)
        self.player.quietly("s3", "DeleteBucket", Bucket=name)
