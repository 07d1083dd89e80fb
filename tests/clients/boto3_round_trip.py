"""boto3: objects under every key, conditions, pages, multipart, presigned URLs; and messages from sending to redrive."""

import hashlib
import io
import json
import os
import random
import threading
import time
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

KEYS = os.environ["KEYS"].split("\n")
BUCKET = "boto3-round-trip"
MIB = 1 << 20

# What is asserted is the first answer, not the one after retries.
once = Config(retries={"total_max_attempts": 1})
s3 = boto3.client("s3", config=once)
sqs = boto3.client("sqs", config=once)


def body_of(key):
    return f"the object of {key}".encode()


def refused(call, **arguments):
    """The code and status of the error that a call must end in."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call} was not refused: {arguments}")


def in_order(keys):
    """S3 sorts by the bytes of UTF-8."""
    return sorted(keys, key=lambda key: key.encode())


def objects_under_every_key():
    s3.create_bucket(Bucket=BUCKET)
    assert BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    for number, key in enumerate(KEYS):
        body = body_of(key)
        put = s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="text/x-test", Metadata={"Number": str(number)})
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', put
        head = s3.head_object(Bucket=BUCKET, Key=key)
        assert (head["ContentLength"], head["ContentType"]) == (len(body), "text/x-test"), head
        assert head["Metadata"] == {"number": str(number)}, head
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
        part = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=4-9")
        assert (part["Body"].read(), part["ContentRange"]) == (body[4:10], f"bytes 4-9/{len(body)}"), part
        copy = f"copy/{number}"
        s3.copy_object(Bucket=BUCKET, Key=copy, CopySource={"Bucket": BUCKET, "Key": key})
        got = s3.get_object(Bucket=BUCKET, Key=copy)
        assert (got["Body"].read(), got["Metadata"]) == (body, {"number": str(number)}), got
        s3.delete_object(Bucket=BUCKET, Key=copy)
        assert refused(s3.head_object, Bucket=BUCKET, Key=copy) == ("404", 404)
        assert refused(s3.get_object, Bucket=BUCKET, Key=copy) == ("NoSuchKey", 404)


def listings():
    for operation, names in [("list_objects_v2", "Contents"), ("list_objects", "Contents"), ("list_object_versions", "Versions")]:
        pages = list(s3.get_paginator(operation).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2}))
        assert len(pages) == -(-len(KEYS) // 2), (operation, len(pages))
        assert [entry["Key"] for page in pages for entry in page[names]] == in_order(KEYS), operation
    top = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    assert [entry["Key"] for entry in top["Contents"]] == in_order(key for key in KEYS if "/" not in key)
    prefixes = {key.split("/")[0] + "/" for key in KEYS if "/" in key}
    assert [entry["Prefix"] for entry in top["CommonPrefixes"]] == in_order(prefixes)
    for prefix in prefixes:
        under = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        assert [entry["Key"] for entry in under["Contents"]] == in_order(key for key in KEYS if key.startswith(prefix))


def conditions():
    key = KEYS[2]
    first = s3.put_object(Bucket=BUCKET, Key=key, Body=body_of(key))["ETag"]
    assert refused(s3.put_object, Bucket=BUCKET, Key=key, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=BUCKET, Key=key, Body=b"2", IfMatch='"other"') == ("PreconditionFailed", 412)
    second = s3.put_object(Bucket=BUCKET, Key=key, Body=b"2", IfMatch=first)["ETag"]
    assert refused(s3.get_object, Bucket=BUCKET, Key=key, IfMatch=first) == ("PreconditionFailed", 412)
    assert refused(s3.get_object, Bucket=BUCKET, Key=key, IfNoneMatch=second) == ("304", 304)
    s3.put_object(Bucket=BUCKET, Key=key, Body=body_of(key), IfMatch=second)
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        s3.put_object(Bucket=BUCKET, Key="sum", Body=b"sum", ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
        assert got[f"Checksum{algorithm}"] and got["Body"].read() == b"sum", got
    wrong = refused(s3.put_object, Bucket=BUCKET, Key="sum", Body=b"x", ChecksumSHA256="A" * 43 + "=")
    assert wrong == ("BadDigest", 400), wrong
    s3.delete_object(Bucket=BUCKET, Key="sum")


def multipart():
    large = random.Random(1).randbytes(16 * MIB + 1)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(large), BUCKET, "large", Config=parts, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=BUCKET, Key="large")
    digests = b"".join(hashlib.md5(large[at : at + 5 * MIB]).digest() for at in range(0, len(large), 5 * MIB))
    assert head["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-4"', head
    assert head["Metadata"] == {"a": "b"}
    # Server-side, part by part.
    s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, KEYS[4] + "large", Config=parts)
    for key in ["large", KEYS[4] + "large"]:
        got = io.BytesIO()
        s3.download_fileobj(BUCKET, key, got, Config=parts)
        assert got.getvalue() == large, key
        s3.delete_object(Bucket=BUCKET, Key=key)

    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="given up")["UploadId"]
    where = {"Bucket": BUCKET, "Key": "given up", "UploadId": upload}
    s3.upload_part(**where, PartNumber=1, Body=b"part")
    assert [part["Size"] for part in s3.list_parts(**where)["Parts"]] == [4]
    assert [open["Key"] for open in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == ["given up"]
    s3.abort_multipart_upload(**where)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)
    assert refused(s3.list_parts, **where) == ("NoSuchUpload", 404)


def presigned():
    # Without the configuration boto3 would sign with version 2.
    signer = boto3.client("s3", config=Config(signature_version="s3v4"))
    for key in KEYS:
        put = signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key, "ContentType": "text/x-new"})
        body = b"presigned " + body_of(key)
        request = urllib.request.Request(put, data=body, method="PUT", headers={"content-type": "text/x-new"})
        assert urllib.request.urlopen(request).status == 200
        get = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        answer = urllib.request.urlopen(get)
        assert (answer.read(), answer.headers["content-type"]) == (body, "text/x-new"), key
        try:
            urllib.request.urlopen(urllib.request.Request(put, data=body, method="PUT", headers={"content-type": "text/html"}))
            raise AssertionError("another content type was taken")
        except urllib.error.HTTPError as error:
            assert error.code == 403


def clearing_away():
    assert refused(s3.delete_bucket, Bucket=BUCKET) == ("BucketNotEmpty", 409)
    gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in [*KEYS, "never there"]]})
    assert {entry["Key"] for entry in gone["Deleted"]} == {*KEYS, "never there"} and "Errors" not in gone, gone
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    s3.delete_bucket(Bucket=BUCKET)
    assert refused(s3.head_bucket, Bucket=BUCKET) == ("404", 404)
    assert refused(s3.list_objects_v2, Bucket=BUCKET) == ("NoSuchBucket", 404)


def receive(queue, **more):
    answer = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"], **more
    )
    return answer.get("Messages", [])


def sending_and_receiving():
    queue = sqs.create_queue(QueueName="boto3", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert sqs.get_queue_url(QueueName="boto3")["QueueUrl"] == queue
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": "0", "MessageRetentionPeriod": "3600"})
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["MessageRetentionPeriod"]) == ("60", "3600"), attributes

    # boto3 itself compares the digests of bodies and attributes.
    kinds = {
        "text": {"DataType": "String", "StringValue": "한글"},
        "number": {"DataType": "Number", "StringValue": "1.5"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sqs.send_message(QueueUrl=queue, MessageBody="한글 & <one>", MessageAttributes=kinds)
    (message,) = receive(queue)
    assert message["Body"] == "한글 & <one>" and message["Attributes"]["ApproximateReceiveCount"] == "1", message
    assert message["MessageAttributes"] == kinds, message
    assert receive(queue) == []
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    (message,) = receive(queue)
    assert message["Attributes"]["ApproximateReceiveCount"] == "2", message
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    entries = [{"Id": str(number), "MessageBody": f"message {number}"} for number in range(9)]
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=[*entries, {"Id": "bad", "MessageBody": "\x01"}])
    assert len(sent["Successful"]) == 9, sent
    assert [(bad["Id"], bad["SenderFault"], bad["Code"]) for bad in sent["Failed"]] == [("bad", True, "InvalidMessageContents")]
    messages = receive(queue)
    assert sorted(message["Body"] for message in messages) == [f"message {number}" for number in range(9)]
    entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)]
    longer = [{**entry, "VisibilityTimeout": 90} for entry in entries]
    hidden = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=longer)
    assert len(hidden["Successful"]) == 9, hidden
    deleted = sqs.delete_message_batch(QueueUrl=queue, Entries=[*entries, {"Id": "bad", "ReceiptHandle": "bad"}])
    assert len(deleted["Successful"]) == 9 and [bad["Code"] for bad in deleted["Failed"]] == ["ReceiptHandleIsInvalid"], deleted

    later = threading.Timer(1, lambda: sqs.send_message(QueueUrl=queue, MessageBody="late"))
    begun = time.monotonic()
    later.start()
    (message,) = receive(queue, WaitTimeSeconds=20)
    assert message["Body"] == "late" and 0.9 < time.monotonic() - begun < 10, "a long poll ends when a message comes"
    sqs.purge_queue(QueueUrl=queue)
    begun = time.monotonic()
    assert receive(queue, WaitTimeSeconds=1) == [] and time.monotonic() - begun > 0.9
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert {count for name, count in counts.items() if name.startswith("ApproximateNumber")} == {"0"}, counts
    sqs.delete_queue(QueueUrl=queue)


def dead_letters():
    dead = sqs.create_queue(QueueName="boto3-dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName="boto3-jobs", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="boto3-", PaginationConfig={"PageSize": 1})
    assert [page["QueueUrls"] for page in pages] == [[dead], [queue]]

    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    for _ in range(2):
        assert len(receive(queue, VisibilityTimeout=0)) == 1
    assert receive(queue, VisibilityTimeout=0) == []
    (letter,) = receive(dead, WaitTimeSeconds=5, VisibilityTimeout=0)
    assert letter["Body"] == "poison" and letter["Attributes"]["DeadLetterQueueSourceArn"].endswith(":boto3-jobs"), letter
    sqs.start_message_move_task(SourceArn=dead_arn)
    (back,) = receive(queue, WaitTimeSeconds=5)
    assert back["Body"] == "poison", back
    assert sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["Status"] == "COMPLETED"
    for url in [queue, dead]:
        sqs.delete_queue(QueueUrl=url)
    try:
        sqs.get_queue_url(QueueName="boto3-jobs")
        raise AssertionError("a deleted queue is there")
    except sqs.exceptions.QueueDoesNotExist:
        pass


objects_under_every_key()
listings()
conditions()
multipart()
presigned()
clearing_away()
sending_and_receiving()
dead_letters()
print("done")
