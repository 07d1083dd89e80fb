"""Listings of objects: where moto and the local cloud differ, and why the local cloud is right."""

from typing import Any
from urllib.parse import unquote

from allowed_objects import API
from compare import ABSENT, Allowed

V1 = API + "API_ListObjects.html"
V2 = API + "API_ListObjectsV2.html"
VERSIONS = API + "API_ListObjectVersions.html"
LISTINGS = "ListObjects ListObjectsV2 ListObjectVersions"


def _pages(result: Any) -> list[dict[str, Any]]:
    return result if isinstance(result, list) else [result]


def _keys(result: Any, encoded: bool) -> list[str]:
    entries = [entry for page in _pages(result) for entry in page.get("Contents", []) + page.get("Versions", [])]
    return [unquote(entry["Key"]) if encoded else entry["Key"] for entry in entries]


def _prefixes(result: Any, encoded: bool) -> list[str]:
    prefixes = [prefix["Prefix"] for page in _pages(result) for prefix in page.get("CommonPrefixes", [])]
    return [unquote(prefix) if encoded else prefix for prefix in prefixes]


def _listed(result: Any, encoded: bool) -> list[str]:
    """Keys and common prefixes, those of each page in order."""
    return [name for page in _pages(result) for name in sorted(_keys(page, encoded) + _prefixes(page, encoded))]


def _entries_agree(ours: Any, peer: Any, ours_encoded: bool, peer_encoded: bool) -> bool:
    """Whether both say the same of the keys that both list."""
    told: list[dict[str, Any]] = []
    for result, encoded in ((ours, ours_encoded), (peer, peer_encoded)):
        entries = [entry for page in _pages(result) for entry in page.get("Contents", []) + page.get("Versions", [])]
        told.append({key: (entry["ETag"], entry["Size"]) for key, entry in zip(_keys(result, encoded), entries)})
    return all(told[0][key] == told[1][key] for key in told[0].keys() & told[1].keys())


def _decoded(ours: Any, peer: Any) -> bool:
    return unquote(ours) == peer


def _as_moto_would_list_by_marker(args: dict[str, Any], ours: Any, peer: Any) -> bool:
    """Whether ours is what moto's answer shows that there is, with common prefixes counted, and none before the marker."""
    encoded, marker = "EncodingType" in args, args.get("Marker", "")
    listed = _listed(ours, encoded)
    if not _entries_agree(ours, peer, encoded, encoded):
        return False
    prefixes = set(_prefixes(peer, encoded=False))
    # A prefix that the marker begins with is listed if there is a key behind the marker, which moto does not tell.
    unsure = {prefix for prefix in prefixes if marker.startswith(prefix) and marker != prefix} & set(listed)
    expected = sorted({*_keys(peer, encoded)} | unsure | {prefix for prefix in prefixes if prefix > marker})
    if isinstance(ours, list):
        return listed == expected
    most = args.get("MaxKeys", 1000)
    truncated = most > 0 and (len(expected) > most or peer["IsTruncated"])
    return listed == expected[:most] and ours["IsTruncated"] is truncated


def _as_moto_would_list_versions(args: dict[str, Any], ours: Any, peer: Any) -> bool:
    """Whether ours is what moto's answer shows that there is, but for a first one that moto passes over."""
    encoded = "EncodingType" in args
    listed, theirs = _listed(ours, encoded), _listed(peer, encoded=False)
    if not _entries_agree(ours, peer, encoded, False):
        return False
    first = listed[:1] if "KeyMarker" in args else []
    most = args.get("MaxKeys", 1000)
    if not isinstance(ours, list):
        return listed in (theirs[:most], sorted({*first, *theirs})[:most])
    if "Delimiter" not in args or most >= 1000:
        return listed in (theirs, first + theirs)
    # moto's next page may begin with a prefix that it had already, or behind a key that it had not.
    return set(theirs) <= set(listed) and all(one < other for one, other in zip(listed, listed[1:]))


def _marks_as_it_pages(args: dict[str, Any], ours: Any, _: Any) -> bool:
    """Whether each page has the marker that it was asked for, and names its last entry as the next."""
    encoded, marker = "EncodingType" in args, args.get("Marker", "")
    for page in _pages(ours):
        came_from, following = page["Marker"], page.get("NextMarker")
        if (unquote(came_from) if encoded else came_from) != marker:
            return False
        marker = ([""] + _listed(page, encoded))[-1]
        told = page["IsTruncated"] and bool(args.get("Delimiter"))
        if (unquote(following) if encoded and following else following) != (marker if told else None):
            return False
    return True


LISTED = [
    Allowed(
        LISTINGS,
        "outcome",
        "400 InvalidArgument",
        "*",
        "moto takes a negative max-keys, fails on it, or finds another fault first",
        V2 + "#API_ListObjectsV2_RequestSyntax",
        when=lambda args: args.get("MaxKeys", 0) < 0,
    ),
    Allowed(
        LISTINGS,
        "*MaxKeys",
        "1000",
        "5000",
        "a listing holds at most 1,000 keys, whatever was asked for",
        V2 + "#API_ListObjectsV2_ResponseSyntax",
    ),
    # Names encoded.
    Allowed(
        "ListObjectVersions",
        "*EncodingType",
        "url",
        ABSENT,
        "S3 says how names are encoded when it was asked to encode them",
        VERSIONS + "#API_ListObjectVersions_ResponseSyntax",
    ),
    Allowed(
        LISTINGS,
        "*Delimiter | *Prefix | *StartAfter | *KeyMarker | Versions[].Key",
        "*[%]*",
        "*",
        "where names are encoded, all are",
        VERSIONS + "#API_ListObjectVersions_ResponseSyntax",
        when=lambda args: "EncodingType" in args,
        same=_decoded,
    ),
    # What is repeated of the request.
    Allowed(
        "ListObjectsV2",
        "*ContinuationToken",
        "<ContinuationToken>",
        ABSENT,
        "S3 repeats the token that it was given",
        V2 + "#API_ListObjectsV2_ResponseSyntax",
    ),
    Allowed(
        "ListObjectsV2",
        "[].StartAfter",
        "*",
        ABSENT,
        "S3 repeats where to begin, whatever else was sent",
        V2 + "#API_ListObjectsV2_ResponseElements",
        given=lambda args, ours, _peer: all(page["StartAfter"] == args["StartAfter"] for page in ours),
    ),
    Allowed(
        "ListObjectsV2",
        "*Contents[].Owner",
        ABSENT,
        "<Owner>",
        "told if it was asked for",
        V2 + "#API_ListObjectsV2_RequestSyntax",
        when=lambda args: args.get("FetchOwner") is False,
    ),
    Allowed(
        "ListObjects",
        "*Marker",
        "*",
        "*",
        "S3 repeats the marker, empty or not, and names as the next what the page ends with; moto gives a token",
        V1 + "#API_ListObjects_ResponseSyntax",
        given=_marks_as_it_pages,
    ),
    Allowed(
        "ListObjects",
        "*Prefix",
        "",
        ABSENT,
        "S3 repeats the prefix, empty or not",
        V1 + "#API_ListObjects_Examples",
    ),
    Allowed(
        "ListObjectVersions",
        "*Delimiter",
        ABSENT,
        "",
        "an empty delimiter is none, as in S3's other listings; of this one nothing is said",
        VERSIONS + "#API_ListObjectVersions_ResponseSyntax",
        when=lambda args: args.get("Delimiter") == "",
    ),
    # What is listed.
    Allowed(
        LISTINGS,
        "*Contents[].ChecksumAlgorithm | *Versions[].ChecksumAlgorithm",
        "?'CRC64NVME'? | ?'SHA256'?",
        ABSENT,
        "S3 tells the algorithm of each object's checksum, and adds a CRC64NVME to what is uploaded without one",
        API + "API_Object.html",
    ),
    Allowed(
        LISTINGS,
        "*Contents[].ChecksumType | *Versions[].ChecksumType",
        "FULL_OBJECT | COMPOSITE",
        ABSENT,
        "S3 tells of each object's checksum whether it is of the whole",
        API + "API_Object.html",
    ),
    Allowed(
        "ListObjects",
        " | *Contents | *Contents[].* | *CommonPrefixes | *CommonPrefixes[].Prefix | *IsTruncated",
        "*",
        "*",
        "max-keys counts common prefixes, too, and none before the marker is listed; moto lists all with every page",
        V1 + "#API_ListObjects_RequestSyntax",
        when=lambda args: bool(args.get("Delimiter")),
        given=_as_moto_would_list_by_marker,
    ),
    Allowed(
        "ListObjectVersions",
        " | *Versions | *Versions[].* | *CommonPrefixes | *CommonPrefixes[].Prefix | *IsTruncated | *Marker",
        "*",
        "*",
        "max-keys counts common prefixes, too; moto's pages have more",
        VERSIONS + "#API_ListObjectVersions_RequestSyntax",
        when=lambda args: bool(args.get("Delimiter")) and args.get("MaxKeys", 1000) < 1000,
        given=_as_moto_would_list_versions,
    ),
    Allowed(
        "ListObjectVersions",
        " | *Versions | *Versions[].* | *CommonPrefixes | *CommonPrefixes[].Prefix | *IsTruncated | *Marker",
        "*",
        "*",
        "a listing goes on with the keys after the marker; moto leaves out the first of them",
        VERSIONS + "#API_ListObjectVersions_RequestSyntax",
        when=lambda args: "KeyMarker" in args,
        given=_as_moto_would_list_versions,
    ),
    Allowed(
        "ListObjectVersions",
        "IsTruncated | Next*Marker",
        "False | <absent>",
        "*",
        "asked for no key, moto promises a next page that begins nowhere",
        VERSIONS + "#API_ListObjectVersions_ResponseSyntax",
        when=lambda args: args.get("MaxKeys") == 0,
        given=lambda _args, ours, _peer: not _listed(ours, encoded=False),
    ),
]
