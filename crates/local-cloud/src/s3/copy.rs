//! Server-side copies: of an object, and of a range of one into a part.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::absent;
use super::body::{self, Claims, show_checksums};
use super::get::{ReadConditions, stream};
use super::put::{head_of, require_null_version, write_condition};
use super::{request_id, shown_time};
use crate::events::ObjectEvent;
use crate::store::{Head, NewObject, ObjectRecord, StagedBlob, Store, StoreError};

fn source_of(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            require_null_version(version_id.as_deref())?;
            Ok((bucket.into(), key.into()))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented, "copies from access points are not supported"))
        }
    }
}

/// On a copy, 412 stands for every condition that does not hold, 304 included.
fn check_source(conditions: &ReadConditions, record: &ObjectRecord) -> S3Result<()> {
    conditions.check(record).map_err(|_| s3_error!(PreconditionFailed))
}

pub(super) async fn copy(
    store: &Store,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let request_id = request_id(&request);
    let if_match = parsed_condition(&request.headers, "if-match")?;
    let if_none_match = parsed_condition(&request.headers, "if-none-match")?;
    let condition = write_condition(if_match, if_none_match)?;
    let input = &mut request.input;
    let given: Head = head_of!(input);
    let replace = input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
    let input = request.input;
    let source = source_of(input.copy_source)?;
    if source == (input.bucket.clone(), input.key.clone()) && !replace {
        return Err(s3_error!(InvalidRequest, "a copy onto itself must replace the metadata"));
    }
    store.require_bucket(input.bucket.clone()).await?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let algorithm = input.checksum_algorithm.as_ref().map(|name| body::known_algorithm(name.as_str())).transpose()?;
    let Copied { record, staged } = match linked(store, &source, &conditions, algorithm).await? {
        Some(copied) => copied,
        None => read_again(store, source, &conditions, algorithm).await?,
    };
    let kept = record.head;
    let checksums = kept.checksums.clone();
    let head = if replace { Head { checksums: kept.checksums, ..given } } else { kept };
    let modified_ms = store
        .put_object(NewObject {
            bucket: input.bucket,
            key: input.key,
            staged,
            size_bytes: record.size_bytes,
            etag: record.etag.clone(),
            head,
            condition,
            event: ObjectEvent::Copy,
            request_id,
        })
        .await?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(record.etag)),
        last_modified: Some(shown_time(modified_ms)),
        ..CopyObjectResult::default()
    };
    show_checksums!(checksums => result);
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
}

/// What a copy will be: the source's record, as far as the copy keeps it, and its bytes once more.
struct Copied {
    record: ObjectRecord,
    staged: StagedBlob,
}

/// A copy without looking at the bytes; none if they must be looked at. A source that is replaced in between is looked up
/// again.
async fn linked(
    store: &Store,
    source: &(String, String),
    conditions: &ReadConditions,
    algorithm: Option<&'static str>,
) -> S3Result<Option<Copied>> {
    let mut attempts = 0;
    loop {
        let found = store.object(source.0.clone(), source.1.clone()).await;
        let record = found.map_err(|error| absent::unread(store, error))?;
        check_source(conditions, &record)?;
        let has_checksum = algorithm.is_none_or(|name| record.head.checksums.contains_key(name));
        if !record.head.part_sizes.is_empty() || !has_checksum {
            return Ok(None);
        }
        match store.copy_bytes(record.stored.clone()).await {
            Ok(staged) => return Ok(Some(Copied { record, staged })),
            Err(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound && attempts < 16 => {
                attempts += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A copy for which the bytes are read: one whole, whatever parts the source was uploaded in, and so with an ETag and
/// checksums of its own.
async fn read_again(
    store: &Store,
    (bucket, key): (String, String),
    conditions: &ReadConditions,
    algorithm: Option<&'static str>,
) -> S3Result<Copied> {
    let opened = store.open_object(bucket, key).await;
    let (mut record, content) = opened.map_err(|error| absent::unread(store, error))?;
    check_source(conditions, &record)?;
    let bytes = stream(content, &(0..record.size_bytes)).await?;
    let algorithm = algorithm.map(str::to_owned).or_else(|| record.head.checksums.keys().next().cloned());
    let claims = Claims { length: i64::try_from(record.size_bytes).ok(), algorithm, ..Claims::default() };
    let received = body::receive(store, Some(bytes), claims).await?;
    record.etag = hex::encode(received.blob.md5);
    record.head = Head { checksums: received.checksums, composite: false, part_sizes: Vec::new(), ..record.head };
    Ok(Copied { record, staged: received.blob.staged })
}

fn parsed_condition(headers: &http::HeaderMap, name: &str) -> S3Result<Option<ETagCondition>> {
    headers
        .get(name)
        .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
        .transpose()
        .map_err(|_| s3_error!(InvalidArgument, "the condition is no ETag"))
}

pub(super) async fn part(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    super::multipart::check_part_number(input.part_number)?;
    let upload = store.upload(input.bucket.clone(), input.key.clone(), input.upload_id.clone()).await?;
    let (bucket, key) = source_of(input.copy_source)?;
    let opened = store.open_object(bucket, key).await;
    let (record, content) = opened.map_err(|error| absent::unread(store, error))?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    check_source(&conditions, &record)?;
    let range = match input.copy_source_range {
        Some(range) => {
            let Ok(Range::Int { first, last: Some(last) }) = Range::parse(&range) else {
                return Err(s3_error!(InvalidArgument, "a copy's range must be of the form bytes=first-last"));
            };
            // Unlike a read's, it is not cut to what there is.
            if first > last || last >= record.size_bytes {
                return Err(s3_error!(InvalidArgument, "the range is not one of the source's bytes"));
            }
            first..last + 1
        }
        None => 0..record.size_bytes,
    };
    let length = range.end - range.start;
    let bytes = stream(content, &range).await?;
    let claims = Claims { length: i64::try_from(length).ok(), algorithm: upload.algorithm, ..Claims::default() };
    let received = body::receive(store, Some(bytes), claims).await?;
    let etag = hex::encode(received.blob.md5);
    let place = (input.bucket, input.key, input.upload_id);
    store.put_part(place, input.part_number, received.blob, received.checksums.clone()).await?;
    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(shown_time(store.now().as_millisecond())),
        ..CopyPartResult::default()
    };
    show_checksums!(received.checksums => result);
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
}
