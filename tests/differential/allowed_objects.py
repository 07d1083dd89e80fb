"""Objects: where moto and the local cloud differ, and why the local cloud is right."""

from typing import Any

from compare import ABSENT, Allowed
from s3_calls import METADATA_TOO_LARGE, TOO_LONG

API = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
GUIDE = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
ERRORS = API + "ErrorResponses.html#ErrorCodeList"
RANGES = "https://www.rfc-editor.org/rfc/rfc9110.html#section-14.2"
WITH_KEY = (
    "PutObject GetObject HeadObject DeleteObject CopyObject UploadPart UploadPartCopy "
    "ListParts CompleteMultipartUpload AbortMultipartUpload"
)


def wrong_digest(args: dict[str, Any]) -> bool:
    body = args["Body"]
    return (
        args.get("ContentMD5", body.content_md5) != body.content_md5
        or args.get("ChecksumSHA256", body.sha256) != body.sha256
    )


def _has_fewer_parts(args: dict[str, Any], _: Any, peer: Any) -> bool:
    _, dash, parts = peer["ETag"].strip('"').partition("-")
    return args["PartNumber"] > (int(parts) if dash else 1)


def _range_says_nothing(args: dict[str, Any]) -> bool:
    asked = args.get("Range", "bytes=0-")
    return not asked.startswith("bytes=") or asked in ("bytes=", "bytes=5-2", "bytes=a-b")


def _etag_without_quotes(args: dict[str, Any]) -> bool:
    etags = [args[name] for name in ("IfMatch", "IfNoneMatch") if name in args]
    return any(etag != "*" and not etag.startswith('"') for etag in etags)


def _modified_but_matches(args: dict[str, Any]) -> bool:
    return "IfMatch" in args and "IfUnmodifiedSince" in args and args["IfUnmodifiedSince"].year == 2001


def _not_modified_but_differs(args: dict[str, Any]) -> bool:
    return "IfNoneMatch" in args and "IfModifiedSince" in args and args["IfModifiedSince"].year == 2099


OBJECTS = [
    # Checksums.
    Allowed(
        "PutObject CompleteMultipartUpload UploadPart UploadPartCopy CopyObject",
        "*ChecksumCRC64NVME",
        "*=",
        ABSENT,
        "S3 adds a CRC64NVME to what is uploaded without a checksum, and tells it",
        GUIDE + "checking-object-integrity-upload.html",
    ),
    Allowed(
        "GetObject HeadObject",
        "ChecksumCRC64NVME | ChecksumSHA256",
        "*= | *=-[0-9]*",
        ABSENT,
        "S3 tells the checksum to those who ask; it adds a CRC64NVME to what is uploaded without one",
        GUIDE + "checking-object-integrity-upload.html",
        when=lambda args: args.get("ChecksumMode") == "ENABLED",
    ),
    Allowed(
        "PutObject CompleteMultipartUpload GetObject HeadObject",
        "ChecksumType",
        "FULL_OBJECT | COMPOSITE",
        ABSENT,
        "S3 tells of each object's checksum whether it is of the whole",
        API + "API_PutObject.html#API_PutObject_ResponseSyntax",
    ),
    Allowed(
        "PutObject UploadPart UploadPartCopy CopyObject CompleteMultipartUpload",
        "*ChecksumSHA256",
        "*= | *=-[0-9]*",
        ABSENT,
        "S3 gives the checksum of the algorithm that was chosen",
        API + "API_PutObject.html#API_PutObject_ResponseSyntax",
    ),
    Allowed(
        "PutObject",
        "outcome",
        "400 BadDigest",
        "*",
        "moto compares no digest, or finds another fault first",
        ERRORS,
        when=wrong_digest,
        mend="key",
    ),
    Allowed(
        "PutObject",
        "outcome",
        "400 InvalidDigest",
        "*",
        "moto takes what is no MD5, or finds another fault first",
        ERRORS,
        when=lambda args: args.get("ContentMD5") in ("#", "YQ=="),
        mend="key",
    ),
    # Writing.
    Allowed(
        WITH_KEY,
        "outcome",
        "400 KeyTooLongError | 400",
        "*",
        "moto allows longer keys, or finds another fault first",
        ERRORS,
        when=lambda args: args["Key"] == TOO_LONG,
        mend="key",
    ),
    Allowed(
        "PutObject CopyObject",
        "outcome",
        "400 MetadataTooLarge",
        "*",
        "moto does not bound metadata, or finds another fault first",
        GUIDE + "UsingMetadata.html",
        when=lambda args: args.get("Metadata") == METADATA_TOO_LARGE,
        mend="key",
    ),
    Allowed(
        "PutObject",
        "outcome",
        "501 NotImplemented",
        "*",
        "the If-None-Match of a write takes only *, and nothing is said of it together with If-Match",
        API + "API_PutObject.html#API_PutObject_RequestSyntax",
        when=lambda args: args.get("IfNoneMatch", "*") != "*" or {"IfMatch", "IfNoneMatch"} <= args.keys(),
        mend="key",
    ),
    Allowed(
        "PutObject",
        "outcome",
        "200",
        "412 PreconditionFailed",
        "of If-Match only ETags are told; moto takes * for one, we for any object, as RFC 9110 section 13.1.1 has it",
        API + "API_PutObject.html#API_PutObject_RequestSyntax",
        when=lambda args: args.get("IfMatch") == "*",
        mend="key",
    ),
    Allowed(
        "DeleteObject",
        "outcome",
        "204",
        "412 PreconditionFailed",
        "If-Match: * stands for any ETag",
        API + "API_DeleteObject.html#API_DeleteObject_RequestSyntax",
        when=lambda args: args.get("IfMatch") == "*",
        mend="key",
    ),
    Allowed(
        "DeleteObjects",
        "Deleted",
        ABSENT,
        "*",
        "in quiet mode S3 tells of errors only",
        API + "API_DeleteObjects.html#API_DeleteObjects_RequestSyntax",
        when=lambda args: args["Delete"].get("Quiet", False),
    ),
    # Reading.
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "20? | 304 | 400* | 416*",
        "412*",
        "If-Match: * holds of any object that is there",
        "https://www.rfc-editor.org/rfc/rfc9110.html#section-13.1.1",
        when=lambda args: args.get("IfMatch") == "*",
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "304",
        "20? | 416* | 500",
        "If-None-Match: * never holds of an object that is there",
        "https://www.rfc-editor.org/rfc/rfc9110.html#section-13.1.2",
        when=lambda args: args.get("IfNoneMatch") == "*",
    ),
    Allowed(
        "HeadObject",
        "outcome",
        "20? | 304 | 400 | 416",
        "20? | 412 | 416",
        "an ETag without its quotes is none by RFC 9110; of it nothing is said, and moto takes it of GET only",
        API + "API_HeadObject.html#API_HeadObject_RequestSyntax",
        when=_etag_without_quotes,
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "20? | 304 | 400* | 416*",
        "412*",
        "an ETag that matches outweighs a date that does not; moto looks at both",
        API + "API_GetObject.html#API_GetObject_Description",
        when=_modified_but_matches,
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "20? | 400* | 416*",
        "304",
        "an ETag that differs outweighs a date; moto looks at both",
        "https://www.rfc-editor.org/rfc/rfc9110.html#section-13.2.2",
        when=_not_modified_but_differs,
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "400*",
        "416*",
        "a part that the object has not: what S3 answers is not said",
        ERRORS,
        when=lambda args: args.get("PartNumber", 1) > 1,
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "400*",
        "200 | 500",
        "a part that the object has not: what S3 answers is not said; moto gives the whole, or fails",
        ERRORS,
        when=lambda args: "PartNumber" in args,
        given=lambda args, ours, peer: peer is None or _has_fewer_parts(args, ours, peer),
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "206 | 304 | 412*",
        "200 | 500",
        "a part of what came in parts is a range of it; moto gives it as the whole, or looks at conditions too late",
        API + "API_GetObject.html#API_GetObject_RequestSyntax",
        when=lambda args: "PartNumber" in args,
        given=lambda _args, ours, _peer: ours is None or "-" in ours["ETag"],
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "200",
        "206",
        "an empty object has no range of bytes that a 206 could tell; moto has one from 0 to -1",
        API + "API_GetObject.html#API_GetObject_RequestSyntax",
        when=lambda args: args.get("PartNumber") == 1,
        given=lambda _args, ours, _peer: ours["ContentLength"] == 0,
    ),
    Allowed(
        "GetObject HeadObject",
        "outcome",
        "200",
        "206 | 416* | 500",
        "a range that is none is ignored, as is one of an unknown unit; moto takes it for another, or fails on it",
        RANGES,
        when=_range_says_nothing,
    ),
    Allowed(
        "GetObject",
        "outcome",
        "404*",
        "404*",
        "of an object that is not there there is no version; moto says so in other words when asked for one",
        ERRORS,
        when=lambda args: "VersionId" in args,
    ),
    Allowed(
        "HeadObject",
        "outcome",
        "*",
        "400",
        "the version of a bucket without versions is called null; moto wants none named",
        GUIDE + "versioning-workflows.html",
        when=lambda args: args.get("VersionId") == "null",
    ),
]
