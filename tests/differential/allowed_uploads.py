"""Multipart uploads: where moto and the local cloud differ, and why the local cloud is right."""

from typing import Any

from allowed_objects import API, ERRORS, GUIDE, wrong_digest
from compare import ABSENT, Allowed
from s3_calls import BODIES, METADATA_TOO_LARGE, SOME_ETAG, TOO_LONG

COMPLETING = API + "API_CompleteMultipartUpload.html"


def _numbers(args: dict[str, Any]) -> list[int]:
    return [part["PartNumber"] for part in args["MultipartUpload"]["Parts"]]


def _no_parts(args: dict[str, Any]) -> bool:
    return not _numbers(args)


def _no_order(args: dict[str, Any]) -> bool:
    numbers = _numbers(args)
    return any(second <= first for first, second in zip(numbers, numbers[1:]))


def _absent_part(args: dict[str, Any]) -> bool:
    etags = [part["ETag"] for part in args["MultipartUpload"]["Parts"]]
    return SOME_ETAG in etags or not all(1 <= number <= 10_000 for number in _numbers(args))


def _no_part_number(args: dict[str, Any]) -> bool:
    return not 1 <= args["PartNumber"] <= 10_000


def _range_is_not_there(args: dict[str, Any], _: Any, copied: Any) -> bool:
    # Whatever object has the bytes that the other ranges name is longer than the last of them.
    nothing = copied["CopyPartResult"]["ETag"] == BODIES[0].etag
    return args.get("CopySourceRange") in ("x", "bytes=-3", "bytes=0-99999999") or nothing


def _parts_above_marker(args: dict[str, Any], ours: Any, peer: Any) -> bool:
    numbers, theirs = ([part["PartNumber"] for part in result.get("Parts", [])] for result in (ours, peer))
    above = [number for number in theirs if number > args.get("PartNumberMarker", 0)]
    in_order = numbers == sorted(numbers) and all(number > args.get("PartNumberMarker", 0) for number in numbers)
    most = args.get("MaxParts", 1000)
    return in_order and len(numbers) <= most and (len(numbers) == most or set(above) <= set(numbers))


UPLOADS = [
    Allowed(
        "CreateMultipartUpload",
        "outcome",
        "400 KeyTooLongError",
        "200 | 404 NoSuchBucket",
        "moto allows longer keys, or finds another fault first",
        ERRORS,
        when=lambda args: args["Key"] == TOO_LONG,
        mend="begun",
    ),
    Allowed(
        "CreateMultipartUpload",
        "outcome",
        "400 MetadataTooLarge",
        "200 | 404 NoSuchBucket",
        "moto does not bound metadata, or finds another fault first",
        GUIDE + "UsingMetadata.html",
        when=lambda args: args.get("Metadata") == METADATA_TOO_LARGE,
        mend="begun",
    ),
    # Parts.
    Allowed(
        "UploadPart",
        "outcome",
        "400 BadDigest",
        "200",
        "moto does not look at the MD5 of a part",
        ERRORS,
        when=wrong_digest,
        mend="upload",
    ),
    Allowed(
        "UploadPart UploadPartCopy",
        "outcome",
        "400 InvalidArgument",
        "404* | 500",
        "the number of a part must be from 1 to 10,000; moto finds other faults",
        API + "API_UploadPart.html#API_UploadPart_RequestSyntax",
        when=_no_part_number,
    ),
    Allowed(
        "UploadPart UploadPartCopy",
        "outcome",
        "404 NoSuchUpload | 404 NoSuchBucket | 404 NoSuchKey",
        "404 | 500",
        "moto gives no code of what is not there, or fails on it",
        ERRORS,
    ),
    Allowed(
        "UploadPartCopy",
        "outcome",
        "404 NoSuchUpload",
        "404 NoSuchBucket",
        "neither the upload nor what is to be copied is there, and which is told is not said",
        ERRORS,
    ),
    Allowed(
        "UploadPartCopy",
        "outcome",
        "400 InvalidArgument",
        "200",
        "the range has the form bytes=first-last, of bytes that are there; moto copies what it finds",
        API + "API_UploadPartCopy.html#API_UploadPartCopy_RequestSyntax",
        given=_range_is_not_there,
        mend="upload",
    ),
    # Completing.
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 MalformedXML",
        "404 * | 412 * | 500",
        "no parts are listed, and something else is wrong, too; which is told is not said",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=_no_parts,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 InvalidPartOrder",
        "400 EntityTooSmall | 400 InvalidPart",
        "moto does not see that parts are out of order, or finds another fault first",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=_no_order,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 InvalidPartOrder",
        "200",
        "moto does not see that parts are out of order",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=_no_order,
        mend="upload",
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 InvalidPart",
        "400 EntityTooSmall",
        "one part is not there, another is too small, and which is told is not said",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=_absent_part,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 InvalidPart",
        "400 InvalidPartOrder",
        "there is no part 0; moto has another word for it",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=lambda args: 0 in _numbers(args),
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "400 * | 404 *",
        "412 PreconditionFailed",
        "the condition does not hold, and something else is wrong, too; which is told is not said",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=lambda args: "IfNoneMatch" in args,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "404 NoSuch*",
        "500",
        "moto fails on an upload that is not there",
        ERRORS,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "outcome",
        "404 NoSuchUpload | 400 MalformedXML",
        "200",
        "an upload that was completed is there no longer; moto lets it be completed again, whatever parts are listed",
        COMPLETING + "#API_CompleteMultipartUpload_Errors",
        when=lambda args: args["UploadId"].may_have_ended,
    ),
    Allowed(
        "CompleteMultipartUpload",
        "Location",
        "/~-*",
        "http://~-*",
        "moto names a host of AWS, where the object is not",
        COMPLETING + "#API_CompleteMultipartUpload_ResponseSyntax",
    ),
    Allowed(
        "CompleteMultipartUpload",
        "VersionId",
        ABSENT,
        "null",
        "told of buckets with versions",
        COMPLETING + "#API_CompleteMultipartUpload_ResponseSyntax",
    ),
    # Listing.
    Allowed(
        "ListParts",
        "Parts[].ChecksumSHA256 | Parts[].ChecksumCRC64NVME",
        "*=",
        ABSENT,
        "S3 lists the checksums of parts",
        API + "API_ListParts.html#API_ListParts_ResponseSyntax",
    ),
    Allowed(
        "ListParts",
        "ChecksumAlgorithm",
        "SHA256",
        ABSENT,
        "S3 tells the algorithm that was chosen",
        API + "API_ListParts.html#API_ListParts_ResponseSyntax",
    ),
    Allowed(
        "ListParts",
        "NextPartNumberMarker",
        ABSENT,
        "*",
        "told when the list is truncated",
        API + "API_ListParts.html#API_ListParts_ResponseSyntax",
        given=lambda _args, ours, _peer: ours["IsTruncated"] is False,
    ),
    Allowed(
        "ListParts",
        "Parts | *PartNumberMarker | IsTruncated",
        "*",
        "*",
        "a marker is the number of a part; moto counts as many parts",
        API + "API_ListParts.html#API_ListParts_RequestSyntax",
        when=lambda args: "PartNumberMarker" in args or "MaxParts" in args,
        given=_parts_above_marker,
    ),
    Allowed(
        "ListMultipartUploads",
        "Prefix",
        "*",
        ABSENT,
        "S3 repeats the prefix",
        API + "API_ListMultipartUploads.html#API_ListMultipartUploads_ResponseSyntax",
        given=lambda args, ours, _peer: ours["Prefix"] == args.get("Prefix", ""),
    ),
]
