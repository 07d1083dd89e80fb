"""Random S3 calls. Few buckets, keys and bodies, so that calls meet each other's effects."""

from __future__ import annotations

import datetime
import random
from typing import Any

from symbols import Body, Bucket, CopySource, QueueArn, Sequence, Upload

KEYS = [
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a b+c%/한글.txt",
    "a%2Fb",
    "../x",
    "x/./../y",
    "//y/",
    ".hidden",
    "😀",
    "a&<b>\"'",
    "k" * 1024,
]
TOO_LONG = "k" * 1025
# One byte more than the names and values of an object's metadata may have together.
METADATA_TOO_LARGE = {"big": "m" * 2046}
BODIES = [Body("e", 0), Body("x", 1), Body("h", 11), Body("l", 70_000)]
# The least that a part must have that is not the last.
PART = Body("p", 5 << 20)
SOME_ETAG = '"0123456789abcdef0123456789abcdef"'
RANGES = [
    "bytes=0-0",
    "bytes=0-",
    "bytes=2-5",
    "bytes=-3",
    "bytes=-0",
    "bytes=5-2",
    "bytes=10-10",
    "bytes=100-200",
    "bytes=100-",
    "bytes=0-99999999",
    "bytes=-99999999",
    "bytes=a-b",
    "bytes=",
    "bytes=0-1,3-4",
    "items=0-1",
    "0-1",
]
PREFIXES = ["a", "a/", "a b", ".", "/", "//", "한", "zz", "k", ""]
DELIMITERS = ["/", "b", "//", "한", "%", ""]
TIMES = [datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc) for year in (2001, 2099)]
EVENTS = [
    ["s3:ObjectCreated:*"],
    ["s3:ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"],
    ["s3:ObjectCreated:Copy", "s3:ObjectRemoved:*"],
    ["s3:ObjectRemoved:Delete"],
    ["s3:Nonsense:*"],
]
BAD_CORS_RULE = {"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}


class S3Calls:
    def __init__(self, dice: random.Random, sequence: Sequence) -> None:
        self.dice = dice
        self.sequence = sequence
        # Of each upload: its step, bucket and key, and the part numbers and bodies that were sent.
        self.uploads: list[tuple[int, Bucket, str, list[tuple[int, Body]]]] = []
        self.may_have_ended: set[int] = set()
        # Where objects were put, and what; the newest last.
        self.put_last: list[tuple[Bucket, str, Body]] = []
        self.weighted = [
            (self.put, 16),
            (self.get, 16),
            (self.head, 6),
            (self.delete, 8),
            (self.delete_many, 4),
            (self.copy, 9),
            (self.list, 16),
            (self.start_upload, 4),
            (self.upload_part, 8),
            (self.upload_part_copy, 2),
            (self.list_parts, 3),
            (self.complete_upload, 5),
            (self.abort_upload, 2),
            (self.list_uploads, 2),
            (self.cors, 3),
            (self.notification, 4),
            (self.bucket_call, 5),
        ]

    def begin(self) -> None:
        for letter in "ab":
            self.sequence.add("s3", "CreateBucket", {"Bucket": Bucket(letter)})

    def watch(self) -> None:
        """Has the events of a bucket sent to the queue for events, which must be there."""
        rule: dict[str, Any] = {"QueueArn": QueueArn("e"), "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.some(rule, "Filter", 0.4, [self.key_filter()])
        configuration = {"QueueConfigurations": [rule]}
        self.add("PutBucketNotificationConfiguration", {"Bucket": Bucket("a"), "NotificationConfiguration": configuration})

    def key_filter(self) -> dict[str, Any]:
        rules = [{"Name": name, "Value": value} for name, value in [("prefix", "a"), ("suffix", "b")]]
        return {"Key": {"FilterRules": self.dice.sample(rules, self.dice.choice([1, 2]))}}

    def add_one(self) -> None:
        calls, weights = zip(*self.weighted)
        self.dice.choices(calls, weights)[0]()

    def add(self, call: str, args: dict[str, Any], **how: bool) -> int:
        return self.sequence.add("s3", call, args, **how)

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability

    def some(self, args: dict[str, Any], name: str, probability: float, values: list[Any]) -> None:
        if self.chance(probability):
            args[name] = self.dice.choice(values)

    def bucket(self) -> Bucket:
        return Bucket(self.dice.choices("abz", [70, 25, 3])[0])

    def key(self) -> str:
        return TOO_LONG if self.chance(0.01) else self.dice.choice(KEYS)

    def object(self) -> dict[str, Any]:
        return {"Bucket": self.bucket(), "Key": self.key()}

    def likely_object(self) -> tuple[dict[str, Any], Body]:
        """One that is probably there, and what it probably holds; or any."""
        if self.put_last and self.chance(0.6):
            bucket, key, body = self.dice.choice(self.put_last[-5:])
            return {"Bucket": bucket, "Key": key}, body
        return self.object(), self.dice.choice(BODIES)

    def etag(self, body: Body) -> str:
        """An ETag to ask of what probably holds this."""
        return self.dice.choice([body.etag, body.etag, body.etag.strip('"'), BODIES[1].etag, "*", SOME_ETAG])

    def described(self, args: dict[str, Any]) -> None:
        """Headers that are kept with an object."""
        self.some(args, "ContentType", 0.3, ["text/plain", "application/json; charset=utf-8", "x/y"])
        self.some(args, "Metadata", 0.3, [{"a": "1"}, {"a": "two words", "b-c": "x=1;y"}, {"big": "m" * 2045}])
        self.some(args, "Metadata", 0.02, [METADATA_TOO_LARGE])
        self.some(args, "CacheControl", 0.1, ["no-cache", "max-age=60, public"])
        self.some(args, "ContentDisposition", 0.1, ['attachment; filename="a b.txt"'])
        self.some(args, "ContentEncoding", 0.1, ["gzip"])
        self.some(args, "ContentLanguage", 0.1, ["de, en"])

    def put(self) -> None:
        body = self.dice.choice(BODIES)
        args = self.object() | {"Body": body}
        self.described(args)
        self.some(args, "IfNoneMatch", 0.15, ["*", "*", "*", body.etag])
        self.some(args, "IfMatch", 0.15, [self.etag(self.dice.choice(BODIES))])
        other = BODIES[2] if body != BODIES[2] else BODIES[1]
        self.some(args, "ContentMD5", 0.15, [body.content_md5, body.content_md5, other.content_md5, "YQ==", "#"])
        self.some(args, "ChecksumSHA256", 0.1, [body.sha256, body.sha256, other.sha256])
        self.add("PutObject", args)
        self.put_last.append((args["Bucket"], args["Key"], body))

    def conditions(self, args: dict[str, Any], body: Body, prefix: str = "") -> None:
        self.some(args, f"{prefix}IfMatch", 0.12, [self.etag(body)])
        self.some(args, f"{prefix}IfNoneMatch", 0.12, [self.etag(body)])
        self.some(args, f"{prefix}IfModifiedSince", 0.08, TIMES)
        self.some(args, f"{prefix}IfUnmodifiedSince", 0.08, TIMES)

    def reading(self) -> dict[str, Any]:
        args, body = self.likely_object()
        self.conditions(args, body)
        self.some(args, "Range", 0.3, RANGES)
        if "Range" not in args:
            self.some(args, "PartNumber", 0.1, [1, 1, 2, 3])
        self.some(args, "ChecksumMode", 0.1, ["ENABLED"])
        self.some(args, "VersionId", 0.03, ["null"])
        return args

    def get(self) -> None:
        args = self.reading()
        self.some(args, "ResponseContentType", 0.05, ["text/x-asked"])
        self.add("GetObject", args)

    def head(self) -> None:
        self.add("HeadObject", self.reading())

    def delete(self) -> None:
        args, body = self.likely_object()
        self.some(args, "IfMatch", 0.1, [self.etag(body)])
        self.add("DeleteObject", args)

    def delete_many(self) -> None:
        count = self.dice.choices([0, 1, 2, 4], [1, 3, 6, 6])[0]
        objects: list[dict[str, Any]] = [{"Key": key} for key in self.dice.sample(KEYS, count)]
        for entry in objects:
            self.some(entry, "VersionId", 0.05, ["null"])
        delete: dict[str, Any] = {"Objects": objects}
        self.some(delete, "Quiet", 0.3, [True, False])
        self.add("DeleteObjects", {"Bucket": self.bucket(), "Delete": delete})

    def copy(self) -> None:
        args = self.object()
        source, body = self.likely_object()
        if self.chance(0.15):
            args |= source
        args["CopySource"] = CopySource(source["Bucket"], source["Key"])
        self.described(args)
        self.some(args, "MetadataDirective", 0.5, ["COPY", "REPLACE", "REPLACE"])
        self.conditions(args, body, "CopySource")
        self.add("CopyObject", args)
        self.put_last.append((args["Bucket"], args["Key"], body))

    def list(self) -> None:
        call = self.dice.choice(["ListObjectsV2", "ListObjectsV2", "ListObjects", "ListObjectVersions"])
        args: dict[str, Any] = {"Bucket": self.bucket()}
        self.some(args, "Prefix", 0.4, PREFIXES)
        self.some(args, "Delimiter", 0.4, DELIMITERS)
        self.some(args, "MaxKeys", 0.4, [0, 1, 1, 2, 3, 1000, 5000, -1])
        self.some(args, "EncodingType", 0.2, ["url"])
        marker = {"ListObjectsV2": "StartAfter", "ListObjects": "Marker", "ListObjectVersions": "KeyMarker"}[call]
        self.some(args, marker, 0.2, [*KEYS, "a/zzz", "b"])
        if call == "ListObjectsV2":
            self.some(args, "FetchOwner", 0.1, [True, False])
        # Pages are followed by the names in them, which `EncodingType` would leave encoded.
        pages = self.chance(0.6) and args.get("MaxKeys", 1) > 0 and "EncodingType" not in args
        self.add(call, args, pages=pages)

    def start_upload(self) -> None:
        args = self.object()
        place = (args["Bucket"], args["Key"])
        self.described(args)
        self.some(args, "ChecksumAlgorithm", 0.1, ["SHA256"])
        self.uploads.append((self.add("CreateMultipartUpload", args), *place, []))

    def upload(self) -> tuple[dict[str, Any], list[tuple[int, Body]]]:
        if not self.uploads or self.chance(0.03):
            return self.object() | {"UploadId": "no-such-upload"}, []
        step, bucket, key, parts = self.dice.choice(self.uploads[-3:])
        upload = Upload(step, may_have_ended=step in self.may_have_ended)
        return {"Bucket": bucket, "Key": key, "UploadId": upload}, parts

    def end_upload(self, call: str, args: dict[str, Any]) -> None:
        self.add(call, args)
        if isinstance(args["UploadId"], Upload):
            self.may_have_ended.add(args["UploadId"].step)

    def upload_part(self) -> None:
        args, parts = self.upload()
        number = self.dice.choices([1, 2, 3, 10_000, 0, 10_001], [40, 30, 10, 5, 2, 2])[0]
        body = PART if number < 3 and self.chance(0.3) else self.dice.choice(BODIES[1:])
        self.some(args, "ContentMD5", 0.1, [body.content_md5, BODIES[0].content_md5])
        self.add("UploadPart", args | {"PartNumber": number, "Body": body})
        if args.get("ContentMD5", body.content_md5) == body.content_md5:
            parts.append((number, body))

    def upload_part_copy(self) -> None:
        args, _ = self.upload()
        source, _ = self.likely_object()
        args |= {"PartNumber": 2, "CopySource": CopySource(source["Bucket"], source["Key"])}
        self.some(args, "CopySourceRange", 0.5, ["bytes=0-0", "bytes=2-5", "bytes=0-99999999", "bytes=-3", "x"])
        self.add("UploadPartCopy", args)

    def list_parts(self) -> None:
        args, _ = self.upload()
        self.some(args, "MaxParts", 0.3, [1, 2, 1000])
        self.some(args, "PartNumberMarker", 0.2, [1, 2])
        self.add("ListParts", args)

    def complete_upload(self) -> None:
        args, sent = self.upload()
        listed = [{"PartNumber": number, "ETag": body.etag} for number, body in sorted(dict(sent).items())]
        how = self.dice.choices(["all", "some", "reversed", "wrong", "absent", "twice"], [60, 10, 8, 8, 6, 4])[0]
        if how == "some":
            listed = listed[:1]
        elif how == "reversed":
            listed.reverse()
        elif how == "wrong" and listed:
            listed[-1] = listed[-1] | {"ETag": SOME_ETAG}
        elif how == "absent":
            listed.append({"PartNumber": 9_999, "ETag": SOME_ETAG})
        elif how == "twice":
            listed += listed[-1:]
        args["MultipartUpload"] = {"Parts": listed}
        self.some(args, "IfNoneMatch", 0.1, ["*"])
        self.end_upload("CompleteMultipartUpload", args)

    def abort_upload(self) -> None:
        self.end_upload("AbortMultipartUpload", self.upload()[0])

    def list_uploads(self) -> None:
        args: dict[str, Any] = {"Bucket": self.bucket()}
        self.some(args, "Prefix", 0.3, PREFIXES)
        self.add("ListMultipartUploads", args)

    def cors(self) -> None:
        call = self.dice.choice(["PutBucketCors", "GetBucketCors", "GetBucketCors", "DeleteBucketCors"])
        args: dict[str, Any] = {"Bucket": self.bucket()}
        if call == "PutBucketCors":
            first: dict[str, Any] = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"]}
            self.some(first, "ID", 0.4, ["one"])
            self.some(first, "AllowedHeaders", 0.5, [["*"], ["content-type", "x-amz-*"]])
            self.some(first, "ExposeHeaders", 0.5, [["ETag"]])
            self.some(first, "MaxAgeSeconds", 0.5, [0, 3600])
            second = {"AllowedMethods": ["HEAD"], "AllowedOrigins": ["https://a.example", "http://*.b.example"]}
            rules = self.dice.choice([[first], [first], [first, second], [BAD_CORS_RULE], []])
            args["CORSConfiguration"] = {"CORSRules": rules}
        self.add(call, args)
        if args.get("CORSConfiguration") in ({"CORSRules": []}, {"CORSRules": [BAD_CORS_RULE]}):
            # moto refuses these, and forgets what it had.
            self.add("DeleteBucketCors", {"Bucket": args["Bucket"]})

    def notification(self) -> None:
        args: dict[str, Any] = {"Bucket": self.bucket()}
        if self.chance(0.4):
            self.add("GetBucketNotificationConfiguration", args)
            return
        rule: dict[str, Any] = {
            "QueueArn": QueueArn(self.dice.choice("eeeez")),
            "Events": self.dice.choice(EVENTS),
        }
        self.some(rule, "Id", 0.5, ["rule"])
        self.some(rule, "Filter", 0.5, [self.key_filter()])
        rules = [] if self.chance(0.15) else [rule]
        args["NotificationConfiguration"] = {"QueueConfigurations": rules}
        self.add("PutBucketNotificationConfiguration", args)

    def bucket_call(self) -> None:
        calls = ["CreateBucket", "HeadBucket", "DeleteBucket", "ListBuckets", "GetBucketLocation"]
        call = self.dice.choice(calls)
        self.add(call, {} if call == "ListBuckets" else {"Bucket": self.bucket()})
