//! Listings, in their three forms.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::checksum_type;
use super::shown_time;
use crate::events::ACCOUNT;
use crate::store::{Listing, ListingEntry, ListingQuery, Store};

const PAGE_MAX_KEYS: i32 = 1000;

/// What `encoding-type=url` leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// How names are written: as they are, or percent-encoded when the client asked for it.
#[derive(Clone, Copy)]
pub(super) struct Spelling {
    encode: bool,
}

impl Spelling {
    pub(super) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self { encode: false }),
            Some("url") => Ok(Self { encode: true }),
            Some(_) => Err(s3_error!(InvalidArgument, "invalid encoding method")),
        }
    }

    pub(super) fn spell(self, name: &str) -> String {
        if self.encode { utf8_percent_encode(name, KEPT).to_string() } else { name.to_owned() }
    }

    fn spell_given(self, name: Option<String>) -> Option<String> {
        name.map(|name| self.spell(&name))
    }
}

fn page_size(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(PAGE_MAX_KEYS).min(PAGE_MAX_KEYS);
    usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative"))
}

/// An empty delimiter is none.
fn delimiter(asked: Option<String>) -> Option<String> {
    asked.filter(|delimiter| !delimiter.is_empty())
}

pub(super) fn owner() -> Owner {
    Owner { display_name: None, id: Some(ACCOUNT.into()) }
}

fn objects(listing: &Listing, spelling: Spelling, with_owner: bool) -> Vec<Object> {
    let object = |entry: &ListingEntry| match entry {
        ListingEntry::Object { key, size_bytes, etag, modified_ms, algorithms, composite } => Some(Object {
            key: Some(spelling.spell(key)),
            size: i64::try_from(*size_bytes).ok(),
            e_tag: Some(ETag::Strong(etag.clone())),
            last_modified: Some(shown_time(*modified_ms)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: with_owner.then(owner),
            checksum_algorithm: (!algorithms.is_empty())
                .then(|| algorithms.iter().cloned().map(ChecksumAlgorithm::from).collect()),
            checksum_type: (!algorithms.is_empty()).then(|| checksum_type(*composite)),
            ..Object::default()
        }),
        ListingEntry::CommonPrefix(_) => None,
    };
    listing.entries.iter().filter_map(object).collect()
}

fn common_prefixes(listing: &Listing, spelling: Spelling) -> Vec<CommonPrefix> {
    let prefix = |entry: &ListingEntry| match entry {
        ListingEntry::CommonPrefix(prefix) => Some(CommonPrefix { prefix: Some(spelling.spell(prefix)) }),
        ListingEntry::Object { .. } => None,
    };
    listing.entries.iter().filter_map(prefix).collect()
}

/// Where the next page begins.
fn resume(listing: &Listing) -> Option<&str> {
    listing.entries.last().filter(|_| listing.truncated).map(ListingEntry::name)
}

pub(super) async fn v2(
    store: &Store,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let delimiter = delimiter(input.delimiter);
    let after = match &input.continuation_token {
        Some(token) => TOKEN
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| s3_error!(InvalidArgument, "the continuation token provided is incorrect"))?,
        None => input.start_after.clone().unwrap_or_default(),
    };
    let listing = store
        .list(ListingQuery {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone(),
            after,
            max_keys: page_size(input.max_keys)?,
        })
        .await?;
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(&input.prefix.unwrap_or_default())),
        max_keys: Some(input.max_keys.unwrap_or(PAGE_MAX_KEYS).min(PAGE_MAX_KEYS)),
        key_count: i32::try_from(listing.entries.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(listing.truncated),
        next_continuation_token: resume(&listing).map(|name| TOKEN.encode(name)),
        contents: Some(objects(&listing, spelling, input.fetch_owner.unwrap_or(false))),
        common_prefixes: Some(common_prefixes(&listing, spelling)),
        delimiter: spelling.spell_given(delimiter),
        encoding_type: input.encoding_type,
        start_after: spelling.spell_given(input.start_after),
        request_charged: None,
    }))
}

pub(super) async fn v1(store: &Store, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let delimiter = delimiter(input.delimiter);
    let listing = store
        .list(ListingQuery {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone(),
            after: input.marker.clone().unwrap_or_default(),
            max_keys: page_size(input.max_keys)?,
        })
        .await?;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(&input.prefix.unwrap_or_default())),
        marker: Some(spelling.spell(&input.marker.unwrap_or_default())),
        max_keys: Some(input.max_keys.unwrap_or(PAGE_MAX_KEYS).min(PAGE_MAX_KEYS)),
        is_truncated: Some(listing.truncated),
        // Without a delimiter the client goes on from the last key.
        next_marker: delimiter.as_ref().and(resume(&listing)).map(|name| spelling.spell(name)),
        contents: Some(objects(&listing, spelling, true)),
        common_prefixes: Some(common_prefixes(&listing, spelling)),
        delimiter: spelling.spell_given(delimiter),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

/// The listing of versions of a bucket that never had any: each object has the one called `null`.
pub(super) async fn versions(
    store: &Store,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let delimiter = delimiter(input.delimiter);
    let listing = store
        .list(ListingQuery {
            bucket: input.bucket.clone(),
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone(),
            after: input.key_marker.clone().unwrap_or_default(),
            max_keys: page_size(input.max_keys)?,
        })
        .await?;
    let versions = objects(&listing, spelling, true)
        .into_iter()
        .map(|object| ObjectVersion {
            key: object.key,
            size: object.size,
            e_tag: object.e_tag,
            last_modified: object.last_modified,
            owner: object.owner,
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            checksum_algorithm: object.checksum_algorithm,
            checksum_type: object.checksum_type,
            is_latest: Some(true),
            version_id: Some("null".into()),
            ..ObjectVersion::default()
        })
        .collect();
    let next = resume(&listing);
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(&input.prefix.unwrap_or_default())),
        key_marker: Some(spelling.spell(&input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        next_key_marker: next.map(|name| spelling.spell(name)),
        next_version_id_marker: next.map(|_| "null".into()),
        max_keys: Some(input.max_keys.unwrap_or(PAGE_MAX_KEYS).min(PAGE_MAX_KEYS)),
        is_truncated: Some(listing.truncated),
        versions: Some(versions),
        common_prefixes: Some(common_prefixes(&listing, spelling)),
        delimiter: spelling.spell_given(delimiter),
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    }))
}
