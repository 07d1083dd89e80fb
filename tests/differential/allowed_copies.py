"""Copies of objects: where moto and the local cloud differ, and why the local cloud is right."""

import base64
import functools
import hashlib
from typing import Any

from allowed_objects import API, ERRORS, GUIDE
from compare import Allowed
from s3_calls import BODIES, PART, TOO_LONG


@functools.cache
def _checksums_of_parts() -> dict[str, str]:
    """The checksum of the parts' checksums, by that of the whole, for what uploads here are made of."""
    found = {}
    for first in range(3):
        for last in (*BODIES[1:], PART):
            parts = [bytes(body) for body in [PART] * first + [last]]
            together = b"".join(hashlib.sha256(part).digest() for part in parts)
            whole, of_parts = (base64.b64encode(hashlib.sha256(text).digest()) for text in (b"".join(parts), together))
            found[whole.decode()] = of_parts.decode()
    return found


def _kept_of_parts(ours: str, peer: str) -> bool:
    return _checksums_of_parts().get(ours) == peer


def _onto_itself(args: dict[str, Any]) -> bool:
    return args["CopySource"].bucket == args["Bucket"] and args["CopySource"].key == args["Key"]


def _refused_copy(args: dict[str, Any], _: Any, copied: Any) -> bool:
    """Whether a condition of a copy fails, of a source with the ETag that moto copied."""
    etag = copied["CopyObjectResult"]["ETag"].strip('"')
    wanted = args.get("CopySourceIfMatch", "*").strip('"')
    unwanted = args.get("CopySourceIfNoneMatch", "").strip('"')
    since, until = args.get("CopySourceIfModifiedSince"), args.get("CopySourceIfUnmodifiedSince")
    # A condition on the ETag that is given comes before one on the date.
    matches = wanted in ("*", etag)
    if "CopySourceIfMatch" not in args and until is not None:
        matches = until.year == 2099
    none_matches = unwanted not in ("*", etag)
    if "CopySourceIfNoneMatch" not in args and since is not None:
        none_matches = since.year == 2001
    return not (matches and none_matches)


COPIES = [
    Allowed(
        "CopyObject UploadPartCopy",
        "outcome",
        "400 InvalidArgument",
        "404*",
        "a source whose key is longer than keys may be: what S3 answers is not said",
        ERRORS,
        when=lambda args: args["CopySource"].key == TOO_LONG,
    ),
    Allowed(
        "CopyObject",
        "outcome",
        "412 PreconditionFailed",
        "200",
        "moto looks at one only of a copy's four conditions",
        API + "API_CopyObject.html#API_CopyObject_RequestSyntax",
        given=_refused_copy,
        mend="key",
    ),
    Allowed(
        "CopyObject",
        "outcome",
        "400 InvalidRequest",
        "404 * | 412 *",
        "a copy onto itself of what is not there, or is not as wanted: both are wrong, and which is told is not said",
        API + "API_CopyObject.html#API_CopyObject_Errors",
        when=_onto_itself,
    ),
    Allowed(
        "CopyObject HeadObject",
        "*ChecksumSHA256",
        "*=",
        "*=",
        "a copy is one whole, whatever parts its source came in; moto keeps the checksum of the parts' checksums",
        GUIDE + "checking-object-integrity-upload.html",
        same=_kept_of_parts,
    ),
    Allowed(
        "GetObject",
        "outcome",
        "200",
        "no answer: FlexibleChecksumError",
        "of such a copy boto3 finds that moto's checksum is wrong",
        GUIDE + "checking-object-integrity-upload.html",
        when=lambda args: args.get("ChecksumMode") == "ENABLED",
    ),
]
