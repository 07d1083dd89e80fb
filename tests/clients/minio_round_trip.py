"""minio-py: objects under every key it can name, multipart, copies, presigned URLs."""

import hashlib
import io
import os
import random
import urllib.request
from datetime import timedelta

from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

# minio-py itself refuses a key with `..` in it: "object name with '.' or '..' path segment is not supported".
KEYS = [key for key in os.environ["KEYS"].split("\n") if ".." not in key.split("/")]
BUCKET = "minio-round-trip"
MIB = 1 << 20

client = Minio(
    endpoint=os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://"),
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    secure=False,
)


def read(key, **more):
    response = client.get_object(bucket_name=BUCKET, object_name=key, **more)
    try:
        return response.read()
    finally:
        response.close()
        response.release_conn()


def put(key, body, **more):
    return client.put_object(bucket_name=BUCKET, object_name=key, data=io.BytesIO(body), length=len(body), **more)


def code_of(call, **arguments):
    """The code of the error that a call must end in."""
    try:
        call(**arguments)
    except S3Error as error:
        return error.code
    raise AssertionError(f"{call} was not refused: {arguments}")


def names(**more):
    return [entry.object_name for entry in client.list_objects(bucket_name=BUCKET, **more)]


client.make_bucket(bucket_name=BUCKET)
assert client.bucket_exists(bucket_name=BUCKET)
assert BUCKET in [bucket.name for bucket in client.list_buckets()]

for key in KEYS:
    body = f"the object of {key}".encode()
    written = put(key, body, content_type="text/x-test", metadata={"a": "b"})
    assert written.etag == hashlib.md5(body).hexdigest()
    stat = client.stat_object(bucket_name=BUCKET, object_name=key)
    assert (stat.size, stat.content_type, stat.metadata["x-amz-meta-a"]) == (len(body), "text/x-test", "b")
    assert read(key) == body
    assert read(key, offset=4, length=6) == body[4:10]
    client.copy_object(bucket_name=BUCKET, object_name="copy", source=CopySource(bucket_name=BUCKET, object_name=key))
    assert read("copy") == body
    client.remove_object(bucket_name=BUCKET, object_name="copy")
    assert code_of(client.stat_object, bucket_name=BUCKET, object_name="copy") == "NoSuchKey"

    url = client.presigned_put_object(bucket_name=BUCKET, object_name=key, expires=timedelta(minutes=5))
    assert urllib.request.urlopen(urllib.request.Request(url, data=b"new " + body, method="PUT")).status == 200
    url = client.presigned_get_object(bucket_name=BUCKET, object_name=key)
    assert urllib.request.urlopen(url).read() == b"new " + body

in_order = sorted(KEYS, key=lambda key: key.encode())
assert names(recursive=True) == in_order
assert names(recursive=True, start_after=in_order[1]) == in_order[2:]
assert names(prefix="a", recursive=True) == [key for key in in_order if key.startswith("a")]
top = {key.split("/")[0] + ("/" if "/" in key else "") for key in KEYS}
assert set(names()) == top

large = random.Random(2).randbytes(11 * MIB)
assert put("large", large, part_size=5 * MIB).etag.endswith("-3")
assert read("large") == large
halves = [
    ComposeSource(bucket_name=BUCKET, object_name="large", offset=0, length=6 * MIB),
    ComposeSource(bucket_name=BUCKET, object_name="large", offset=6 * MIB, length=5 * MIB),
]
client.compose_object(bucket_name=BUCKET, object_name="composed", sources=halves)
assert read("composed") == large

assert code_of(client.remove_bucket, bucket_name=BUCKET) == "BucketNotEmpty"
doomed = [DeleteObject(name=key) for key in [*KEYS, "large", "composed", "never there"]]
assert list(client.remove_objects(bucket_name=BUCKET, delete_object_list=doomed)) == []
assert names(recursive=True) == []
client.remove_bucket(bucket_name=BUCKET)
assert not client.bucket_exists(bucket_name=BUCKET)
print("done")
