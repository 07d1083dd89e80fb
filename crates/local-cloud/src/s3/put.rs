//! Writing and deleting single objects.

use futures::future::join_all;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::{self, Claims, given_checksums, show_checksums};
use super::request_id;
use crate::events::ObjectEvent;
use crate::store::{Condition, Head, NewObject, SMALL_MAX_BYTES, Store};

/// All metadata of an object together, names and values: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>.
const METADATA_MAX_BYTES: usize = 2048;
const DELETE_MAX_KEYS: usize = 1000;

/// Collects the headers that are kept with an object from an input that has them.
macro_rules! head_of {
    ($input:expr) => {{
        let metadata: std::collections::BTreeMap<String, String> =
            $input.metadata.take().unwrap_or_default().into_iter().collect();
        super::put::check_metadata(&metadata)?;
        crate::store::Head {
            content_type: $input.content_type.take(),
            content_encoding: super::put::without_aws_chunked($input.content_encoding.take()),
            content_disposition: $input.content_disposition.take(),
            content_language: $input.content_language.take(),
            cache_control: $input.cache_control.take(),
            expires: $input.expires.take().map(super::put::epoch_seconds),
            metadata,
            ..crate::store::Head::default()
        }
    }};
}
pub(super) use head_of;

pub(super) fn check_metadata(metadata: &std::collections::BTreeMap<String, String>) -> S3Result<()> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_MAX_BYTES { Err(s3_error!(MetadataTooLarge)) } else { Ok(()) }
}

/// `aws-chunked` describes the transfer, not the object.
pub(super) fn without_aws_chunked(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(super) fn epoch_seconds(time: Timestamp) -> i64 {
    let mut text = Vec::new();
    // Formatting to memory fails for no time that was parsed.
    let _ = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = String::from_utf8_lossy(&text);
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// The condition of a write.
pub(super) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(ETagCondition::Any)) => Ok(Condition::IfAbsent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::IfMatch(etag.into_value())),
        (Some(ETagCondition::Any), None) => Ok(Condition::IfPresent),
        (_, Some(_)) => Err(s3_error!(NotImplemented, "if-none-match on a write takes only *, and no if-match")),
    }
}

/// Browser forms are left out: nothing of ours makes them, and what they may set is governed by rules of their own.
pub(super) async fn post_form(_: &Store, _: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
    Err(s3_error!(NotImplemented, "POST forms are not supported, use a presigned PUT"))
}

pub(super) async fn put(
    store: &Store,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let request_id = request_id(&request);
    let announced_trailer = header(&request.headers, "x-amz-trailer");
    let input = &mut request.input;
    let condition = write_condition(input.if_match.take(), input.if_none_match.take())?;
    let mut head: Head = head_of!(input);
    // The record's transaction finds out, too; but not before the whole body has been taken.
    if input.content_length.is_none_or(|length| length > SMALL_MAX_BYTES as i64) {
        store.require_bucket(input.bucket.clone()).await?;
    }
    let claims = Claims {
        length: input.content_length,
        content_md5: input.content_md5.take(),
        checksums: given_checksums!(input),
        algorithm: input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().to_owned()),
        announced_trailer,
        trailer: request.trailing_headers.take(),
    };
    let received = body::receive(store, input.body.take(), claims).await?;
    head.checksums = received.checksums.clone();
    let etag = hex::encode(received.blob.md5);
    store
        .put_object(NewObject {
            bucket: request.input.bucket,
            key: request.input.key,
            staged: received.blob.staged,
            size_bytes: received.blob.size_bytes,
            etag: etag.clone(),
            head,
            condition,
            event: ObjectEvent::Put,
            request_id,
        })
        .await?;
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_type: Some(body::checksum_type(false)),
        ..PutObjectOutput::default()
    };
    show_checksums!(received.checksums => output);
    Ok(S3Response::new(output))
}

pub(super) fn header(headers: &http::HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

pub(super) async fn delete(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let request_id = request_id(&request);
    let input = request.input;
    require_null_version(input.version_id.as_deref())?;
    let condition = write_condition(input.if_match, None)?;
    store.delete_object(input.bucket, input.key, condition, request_id).await?;
    Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
}

/// Buckets have no versions here; the one of each object is called `null`, as S3 calls it.
pub(super) fn require_null_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

pub(super) async fn delete_many(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let request_id = request_id(&request);
    let input = request.input;
    let quiet = input.delete.quiet.unwrap_or(false);
    if input.delete.objects.is_empty() || input.delete.objects.len() > DELETE_MAX_KEYS {
        return Err(s3_error!(MalformedXML, "from 1 to 1000 keys can be deleted at once"));
    }
    store.require_bucket(input.bucket.clone()).await?;
    let deletions = input.delete.objects.into_iter().map(|object| {
        let (bucket, request_id) = (input.bucket.clone(), request_id.clone());
        async move {
            let deleted = async {
                require_null_version(object.version_id.as_deref())?;
                let condition = write_condition(object.e_tag.map(ETagCondition::ETag), None)?;
                store.delete_object(bucket, object.key.clone(), condition, request_id).await?;
                S3Result::Ok(())
            };
            (deleted.await, object.key, object.version_id)
        }
    });
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    let outcomes: Vec<(S3Result<()>, String, Option<String>)> = join_all(deletions).await;
    for (outcome, key, version_id) in outcomes {
        match outcome {
            Ok(()) => deleted.push(DeletedObject { key: Some(key), version_id, ..DeletedObject::default() }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(key),
                version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..DeleteObjectsOutput::default()
    }))
}
