//! Reading objects: whole, by range or part, and under conditions.

use std::io::SeekFrom;
use std::ops::Range as ByteRange;

use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::absent;
use super::body::{checksum_type, show_checksums};
use super::put::require_null_version;
use super::shown_time;
use crate::store::{Content, ObjectRecord, Store, StoreError};

const READ_CHUNK_BYTES: usize = 128 << 10;

/// The conditions of a read.
#[derive(Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// `Err` with 412 or 304, in the order that RFC 9110 section 13.2.2 prescribes.
    pub(super) fn check(&self, record: &ObjectRecord) -> S3Result<()> {
        let modified = shown_time(record.modified_ms);
        match &self.if_match {
            Some(wanted) if !names(wanted, record) => return Err(s3_error!(PreconditionFailed)),
            Some(_) => {}
            None => {
                if self.if_unmodified_since.as_ref().is_some_and(|time| modified > *time) {
                    return Err(s3_error!(PreconditionFailed));
                }
            }
        }
        match &self.if_none_match {
            Some(known) if names(known, record) => Err(not_modified(record)),
            Some(_) => Ok(()),
            None if self.if_modified_since.as_ref().is_some_and(|time| modified <= *time) => Err(not_modified(record)),
            None => Ok(()),
        }
    }
}

fn names(condition: &ETagCondition, record: &ObjectRecord) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == record.etag,
    }
}

fn not_modified(record: &ObjectRecord) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_status_code(http::StatusCode::NOT_MODIFIED);
    let mut headers = http::HeaderMap::new();
    if let Ok(etag) = http::HeaderValue::from_str(&format!("\"{}\"", record.etag)) {
        headers.insert(http::header::ETAG, etag);
    }
    error.set_headers(headers);
    error
}

fn not_satisfiable(record: &ObjectRecord) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = http::HeaderMap::new();
    if let Ok(range) = http::HeaderValue::from_str(&format!("bytes */{}", record.size_bytes)) {
        headers.insert(http::header::CONTENT_RANGE, range);
    }
    error.set_headers(headers);
    error
}

/// The bytes that were asked for, and whether that is a part of the object only.
fn selected(record: &ObjectRecord, range: Option<Range>, part: Option<i32>) -> S3Result<(ByteRange<u64>, bool)> {
    match (range, part) {
        (None, None) => Ok((0..record.size_bytes, false)),
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "a range and a part number exclude each other")),
        (Some(range), None) => {
            let bytes = range.check(record.size_bytes).map_err(|_| not_satisfiable(record))?;
            // Of nothing, the last bytes are all that there is, as S3 has it; no other range gets here.
            Ok((bytes, record.size_bytes > 0))
        }
        (None, Some(number)) => {
            let sizes = &record.head.part_sizes;
            if sizes.is_empty() && number == 1 {
                return Ok((0..record.size_bytes, record.size_bytes > 0));
            }
            let index = usize::try_from(number - 1).ok().filter(|index| *index < sizes.len());
            let index = index.ok_or_else(|| s3_error!(InvalidPart, "there is no part of this number"))?;
            let start: u64 = sizes[..index].iter().sum();
            Ok((start..start + sizes[index], true))
        }
    }
}

/// Fills the fields that GetObject and HeadObject share.
macro_rules! describe {
    ($output:expr, $record:expr, $range:expr, $partial:expr, $checksums:expr) => {
        let (head, range) = (&$record.head, &$range);
        $output.accept_ranges = Some("bytes".into());
        $output.content_length = i64::try_from(range.end - range.start).ok();
        $output.content_range = $partial
            .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), $record.size_bytes));
        $output.e_tag = Some(ETag::Strong($record.etag.clone()));
        $output.last_modified = Some(shown_time($record.modified_ms));
        let content_type = head.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into());
        $output.content_type = Some(content_type);
        $output.content_encoding = head.content_encoding.clone();
        $output.content_disposition = head.content_disposition.clone();
        $output.content_language = head.content_language.clone();
        $output.cache_control = head.cache_control.clone();
        $output.expires = head.expires.map(|seconds| shown_time(seconds * 1000));
        $output.metadata =
            Some(head.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        if $checksums && !$partial {
            show_checksums!(head.checksums => $output);
            $output.checksum_type = Some(checksum_type(head.composite));
        }
    };
}

fn parts_count(record: &ObjectRecord, part: Option<i32>) -> Option<i32> {
    part.filter(|_| !record.head.part_sizes.is_empty()).and_then(|_| i32::try_from(record.head.part_sizes.len()).ok())
}

pub(super) async fn get(store: &Store, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    require_null_version(input.version_id.as_deref())?;
    let opened = store.open_object(input.bucket, input.key).await;
    let (record, content) = opened.map_err(|error| absent::unread(store, error))?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&record)?;
    let (range, partial) = selected(&record, input.range, input.part_number)?;
    let mut output = GetObjectOutput {
        body: Some(stream(content, &range).await?),
        parts_count: parts_count(&record, input.part_number),
        ..GetObjectOutput::default()
    };
    describe!(output, record, range, partial, input.checksum_mode.is_some());
    Ok(S3Response::new(output))
}

/// A range of an object's bytes, which lies within it.
pub(super) async fn stream(content: Content, range: &ByteRange<u64>) -> S3Result<StreamingBlob> {
    let length = range.end - range.start;
    match content {
        Content::Memory(bytes) => {
            let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            Ok(StreamingBlob::from(Body::from(bytes.slice(within(range.start)..within(range.end)))))
        }
        Content::File(file) => {
            let mut file = tokio::fs::File::from_std(file);
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start)).await.map_err(StoreError::from)?;
            }
            Ok(StreamingBlob::wrap(ReaderStream::with_capacity(file.take(length), READ_CHUNK_BYTES)))
        }
    }
}

pub(super) async fn head(store: &Store, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    require_null_version(input.version_id.as_deref())?;
    let found = store.object(input.bucket, input.key).await;
    let record = found.map_err(|error| absent::unread(store, error))?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check(&record)?;
    let (range, partial) = selected(&record, input.range, input.part_number)?;
    let mut output =
        HeadObjectOutput { parts_count: parts_count(&record, input.part_number), ..HeadObjectOutput::default() };
    describe!(output, record, range, partial, input.checksum_mode.is_some());
    Ok(S3Response::new(output))
}
