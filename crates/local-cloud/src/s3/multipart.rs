//! Multipart uploads.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Sha1, Sha256};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::{self, Claims, given_checksums, show_checksums};
use super::list::{Spelling, owner};
use super::put::{head_of, header, write_condition};
use super::{request_id, shown_time};
use crate::store::{CompletedPart as Claim, Head, PartRecord, Store, StoreError, UploadRecord};

/// Part numbers run from 1 to this.
const PARTS_MAX: i32 = 10_000;
const LISTED_PARTS_MAX: i32 = 1000;
const LISTED_UPLOADS_MAX: i32 = 1000;

/// Who began an upload: the one user that there is.
fn initiator() -> Initiator {
    Initiator { display_name: None, id: owner().id }
}

pub(super) async fn create(
    store: &Store,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = &mut request.input;
    let head: Head = head_of!(input);
    let algorithm = input.checksum_algorithm.as_ref().map(|name| body::known_algorithm(name.as_str())).transpose()?;
    let full_object = match input.checksum_type.as_ref().map(ChecksumType::as_str) {
        Some(ChecksumType::FULL_OBJECT) if matches!(algorithm, Some("SHA1" | "SHA256")) => {
            return Err(s3_error!(InvalidRequest, "this algorithm has no checksum of a full object"));
        }
        Some(ChecksumType::FULL_OBJECT) => true,
        Some(_) => false,
        None => matches!(algorithm, None | Some("CRC64NVME")),
    };
    let upload = UploadRecord {
        algorithm: algorithm.map(str::to_owned),
        full_object,
        ..store.new_upload(input.key.clone(), head)
    };
    let id = upload.id.clone();
    store.create_upload(input.bucket.clone(), upload).await?;
    let input = request.input;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    }))
}

pub(super) fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PARTS_MAX).contains(&number) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "part number must be an integer between 1 and 10000"))
    }
}

pub(super) async fn upload_part(
    store: &Store,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let announced_trailer = header(&request.headers, "x-amz-trailer");
    let trailer = request.trailing_headers.take();
    let mut input = request.input;
    check_part_number(input.part_number)?;
    let upload = store.upload(input.bucket.clone(), input.key.clone(), input.upload_id.clone()).await?;
    let claims = Claims {
        length: input.content_length,
        content_md5: input.content_md5.take(),
        checksums: given_checksums!(input),
        algorithm: input
            .checksum_algorithm
            .as_ref()
            .map(|algorithm| algorithm.as_str().to_owned())
            .or(upload.algorithm),
        announced_trailer,
        trailer,
    };
    let received = body::receive(store, input.body.take(), claims).await?;
    let mut output =
        UploadPartOutput { e_tag: Some(ETag::Strong(hex::encode(received.blob.md5))), ..UploadPartOutput::default() };
    show_checksums!(received.checksums => output);
    let place = (input.bucket, input.key, input.upload_id);
    store.put_part(place, input.part_number, received.blob, received.checksums).await?;
    Ok(S3Response::new(output))
}

pub(super) async fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let request_id = request_id(&request);
    let input = request.input;
    let condition = write_condition(input.if_match.clone(), input.if_none_match.clone())?;
    let listed = input.multipart_upload.as_ref().and_then(|upload| upload.parts.clone()).unwrap_or_default();
    if listed.is_empty() {
        // S3's schema wants a part, so a list without one is no XML of it.
        return Err(s3_error!(MalformedXML, "no parts are listed"));
    }
    let listed: Vec<Claim> = listed
        .into_iter()
        .map(|part| {
            let checksums = given_checksums!(part);
            let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
            let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML))?.into_value();
            Ok(Claim { number, etag, checksums })
        })
        .collect::<S3Result<_>>()?;
    let checked = store.check_parts(input.bucket.clone(), input.key.clone(), input.upload_id.clone(), listed).await?;

    let algorithm = checked.upload.algorithm.clone().unwrap_or_else(|| "CRC64NVME".into());
    let full_object = checked.upload.full_object;
    let wanted = if full_object { vec![algorithm.as_str()] } else { Vec::new() };
    let joined = store.join_parts(&checked.parts, body::hasher(&wanted)).await?;
    let checksums =
        if full_object { body::by_algorithm(&joined.checksums) } else { composite(&algorithm, &checked.parts) };
    let claimed = given_checksums!(input);
    let given_hold = claimed.iter().all(|(name, value)| checksums.get(name).is_none_or(|known| known == value));
    let size_holds =
        input.mpu_object_size.is_none_or(|size| u64::try_from(size).is_ok_and(|size| size == joined.size_bytes));
    if !given_hold || !size_holds {
        return Err(StoreError::BadDigest.into());
    }
    let head = Head {
        checksums: checksums.clone(),
        composite: !full_object,
        part_sizes: checked.parts.iter().map(|part| part.size_bytes).collect(),
        ..checked.upload.head.clone()
    };
    let etag = checked.etag.clone();
    let object = (input.bucket.clone(), joined.staged, joined.size_bytes);
    store.complete_upload(checked, object, head, condition, request_id).await?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(etag)),
        checksum_type: (!checksums.is_empty()).then(|| body::checksum_type(!full_object)),
        ..CompleteMultipartUploadOutput::default()
    };
    show_checksums!(checksums => output);
    Ok(S3Response::new(output))
}

/// The checksum of the parts' checksums, if every part has one:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>.
fn composite(algorithm: &str, parts: &[PartRecord]) -> BTreeMap<String, String> {
    let mut together = Vec::new();
    for part in parts {
        match part.checksums.get(algorithm).and_then(|checksum| BASE64.decode(checksum).ok()) {
            Some(bytes) => together.extend(bytes),
            None => return BTreeMap::new(),
        }
    }
    let digest = match algorithm {
        "CRC32" => BASE64.encode(Crc32::checksum(&together)),
        "CRC32C" => BASE64.encode(Crc32c::checksum(&together)),
        "SHA1" => BASE64.encode(Sha1::checksum(&together)),
        "SHA256" => BASE64.encode(Sha256::checksum(&together)),
        _ => return BTreeMap::new(),
    };
    BTreeMap::from([(algorithm.to_owned(), format!("{digest}-{}", parts.len()))])
}

pub(super) async fn abort(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    store.abort_upload(input.bucket, input.key, input.upload_id).await?;
    Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
}

pub(super) async fn list_parts(
    store: &Store,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let after = input.part_number_marker.unwrap_or(0);
    let limit = input.max_parts.unwrap_or(LISTED_PARTS_MAX).clamp(0, LISTED_PARTS_MAX);
    let (upload, parts) = store.parts(input.bucket.clone(), input.key.clone(), input.upload_id.clone()).await?;
    let mut parts: Vec<PartRecord> = parts.into_iter().filter(|part| part.number > after).collect();
    let limit_parts = usize::try_from(limit).unwrap_or(0);
    let truncated = parts.len() > limit_parts;
    parts.truncate(limit_parts);
    let next = parts.last().map(|part| part.number).filter(|_| truncated);
    let shown = parts
        .into_iter()
        .map(|part| {
            let mut shown = Part {
                part_number: Some(part.number),
                e_tag: Some(ETag::Strong(part.etag)),
                size: i64::try_from(part.size_bytes).ok(),
                last_modified: Some(shown_time(part.modified_ms)),
                ..Part::default()
            };
            show_checksums!(part.checksums => shown);
            shown
        })
        .collect();
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        parts: Some(shown),
        is_truncated: Some(truncated),
        max_parts: Some(limit),
        part_number_marker: Some(after),
        next_part_number_marker: next,
        initiator: Some(initiator()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: upload.algorithm.map(ChecksumAlgorithm::from),
        ..ListPartsOutput::default()
    }))
}

/// Uploads under way, by key and then by age.
pub(super) async fn list_uploads(
    store: &Store,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let limit = input.max_uploads.unwrap_or(LISTED_UPLOADS_MAX).clamp(0, LISTED_UPLOADS_MAX);
    let (after_key, after_id) = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
    let mut uploads = store.uploads(input.bucket.clone(), prefix.clone()).await?;
    let first = match uploads.iter().position(|upload| upload.key == after_key && upload.id == after_id) {
        Some(marked) => marked + 1,
        None if after_id.is_empty() => uploads.partition_point(|upload| upload.key <= after_key),
        // Ended since it was listed: none of those behind it may be missed.
        None => uploads.partition_point(|upload| upload.key < after_key),
    };
    uploads.drain(..first);
    let limit_uploads = usize::try_from(limit).unwrap_or(0);
    let truncated = uploads.len() > limit_uploads;
    uploads.truncate(limit_uploads);
    let last = uploads.last().filter(|_| truncated);
    let (next_key, next_id) = last.map(|upload| (spelling.spell(&upload.key), upload.id.clone())).unzip();
    let shown = uploads
        .into_iter()
        .map(|upload| MultipartUpload {
            key: Some(spelling.spell(&upload.key)),
            upload_id: Some(upload.id),
            initiated: Some(shown_time(upload.created_ms)),
            initiator: Some(initiator()),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: upload.algorithm.map(ChecksumAlgorithm::from),
            ..MultipartUpload::default()
        })
        .collect();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(spelling.spell(&prefix)),
        key_marker: Some(spelling.spell(&after_key)),
        upload_id_marker: Some(after_id),
        next_key_marker: next_key,
        next_upload_id_marker: next_id,
        max_uploads: Some(limit),
        encoding_type: input.encoding_type,
        uploads: Some(shown),
        is_truncated: Some(truncated),
        ..ListMultipartUploadsOutput::default()
    }))
}
