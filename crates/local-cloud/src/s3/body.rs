//! Receiving a body: to a file unless it is small, hashed on the way, and checked against everything that the client said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use crate::store::{BlobWriter, FinishedBlob, Store, StoreError};

/// The most that a single PUT or part may carry: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
const BODY_MAX_BYTES: u64 = 5 << 30;
/// How long a client may pause in the middle of a body.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes gathered before they go to the blocking pool.
const WRITE_CHUNK_BYTES: usize = 256 << 10;

/// The checksum algorithms by the names that S3 gives them.
pub(super) const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

/// Reads the five checksum fields of an input, output or part into a map by algorithm.
macro_rules! given_checksums {
    ($from:expr) => {
        [
            ("CRC32", &$from.checksum_crc32),
            ("CRC32C", &$from.checksum_crc32c),
            ("CRC64NVME", &$from.checksum_crc64nvme),
            ("SHA1", &$from.checksum_sha1),
            ("SHA256", &$from.checksum_sha256),
        ]
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm.to_owned(), value.clone()?)))
        .collect::<std::collections::BTreeMap<String, String>>()
    };
}

/// Writes a map of checksums into the five fields of an output.
macro_rules! show_checksums {
    ($checksums:expr => $to:expr) => {
        $to.checksum_crc32 = $checksums.get("CRC32").cloned();
        $to.checksum_crc32c = $checksums.get("CRC32C").cloned();
        $to.checksum_crc64nvme = $checksums.get("CRC64NVME").cloned();
        $to.checksum_sha1 = $checksums.get("SHA1").cloned();
        $to.checksum_sha256 = $checksums.get("SHA256").cloned();
    };
}
pub(super) use {given_checksums, show_checksums};

/// What the client said of a body.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) length: Option<i64>,
    pub(super) content_md5: Option<String>,
    pub(super) checksums: BTreeMap<String, String>,
    /// The algorithm of `x-amz-sdk-checksum-algorithm`.
    pub(super) algorithm: Option<String>,
    /// The value of `x-amz-trailer`, and the trailer itself, readable once the body has been.
    pub(super) announced_trailer: Option<String>,
    pub(super) trailer: Option<TrailingHeaders>,
}

/// A body whose claims all hold; its checksums are those that the client chose, or CRC64NVME.
pub(super) struct ReceivedBody {
    pub(super) blob: FinishedBlob,
    pub(super) checksums: BTreeMap<String, String>,
}

pub(super) fn hasher(algorithms: &[&str]) -> ChecksumHasher {
    let wants = |name| algorithms.contains(&name);
    ChecksumHasher {
        crc32: wants("CRC32").then(Crc32::new),
        crc32c: wants("CRC32C").then(Crc32c::new),
        sha1: wants("SHA1").then(Sha1::new),
        sha256: wants("SHA256").then(Sha256::new),
        crc64nvme: wants("CRC64NVME").then(Crc64Nvme::new),
    }
}

pub(super) fn known_algorithm(name: &str) -> S3Result<&'static str> {
    ALGORITHMS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| s3_error!(InvalidRequest, "unknown checksum algorithm"))
}

fn trailer_algorithm(trailer: &str) -> S3Result<&'static str> {
    let name = trailer.trim().to_ascii_lowercase();
    match name.strip_prefix("x-amz-checksum-") {
        Some(algorithm) => known_algorithm(algorithm),
        None => Err(s3_error!(InvalidRequest, "the trailer is no checksum")),
    }
}

pub(super) async fn receive(store: &Store, body: Option<StreamingBlob>, claims: Claims) -> S3Result<ReceivedBody> {
    let Some(claimed_bytes) = claims.length else {
        return Err(s3_error!(MissingContentLength));
    };
    let claimed_bytes = u64::try_from(claimed_bytes).map_err(|_| s3_error!(InvalidArgument, "negative length"))?;
    if claimed_bytes > BODY_MAX_BYTES {
        return Err(s3_error!(EntityTooLarge));
    }
    let claimed_md5 = claims.content_md5.as_deref().map(parse_md5).transpose()?;
    let trailer = claims.announced_trailer.as_deref().map(trailer_algorithm).transpose()?;
    let mut algorithms: Vec<&str> = claims.checksums.keys().map(String::as_str).collect();
    algorithms.extend(trailer);
    if let Some(algorithm) = &claims.algorithm {
        algorithms.push(known_algorithm(algorithm)?);
    }
    if algorithms.is_empty() {
        algorithms.push("CRC64NVME");
    }

    let mut writer = store.create_blob(hasher(&algorithms));
    if let Some(mut body) = body {
        let mut gathered = BytesMut::new();
        let mut received_bytes = 0;
        while let Some(chunk) =
            tokio::time::timeout(PAUSE_MAX, body.next()).await.map_err(|_| s3_error!(RequestTimeout))?
        {
            let chunk = chunk.map_err(|error| body_error(error.as_ref()))?;
            received_bytes += chunk.len() as u64;
            if received_bytes > claimed_bytes {
                return Err(s3_error!(InvalidRequest, "the body is longer than its content-length"));
            }
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= WRITE_CHUNK_BYTES {
                writer = write(writer, gathered.split().freeze()).await?;
            }
        }
        if !gathered.is_empty() {
            writer = write(writer, gathered.freeze()).await?;
        }
    }
    let blob = finish(writer).await?;

    if blob.size_bytes != claimed_bytes {
        return Err(s3_error!(IncompleteBody));
    }
    if claimed_md5.is_some_and(|md5| md5 != blob.md5) {
        return Err(StoreError::BadDigest.into());
    }
    let mut claimed = claims.checksums;
    if let Some(algorithm) = trailer {
        let header = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
        let value = claims
            .trailer
            .and_then(|trailer| trailer.take())
            .and_then(|headers| Some(headers.get(&header)?.to_str().ok()?.trim().to_owned()))
            .ok_or_else(|| s3_error!(IncompleteBody, "the announced trailer is missing"))?;
        claimed.insert(algorithm.to_owned(), value);
    }
    let computed = by_algorithm(&blob.checksums);
    if claimed.iter().any(|(algorithm, value)| computed.get(algorithm) != Some(value)) {
        return Err(StoreError::BadDigest.into());
    }
    Ok(ReceivedBody { blob, checksums: computed })
}

/// What an object's checksums are of: its bytes, or its parts' checksums.
pub(super) fn checksum_type(composite: bool) -> ChecksumType {
    ChecksumType::from_static(if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
}

pub(super) fn by_algorithm(checksums: &Checksum) -> BTreeMap<String, String> {
    given_checksums!(checksums)
}

async fn finish(writer: BlobWriter) -> Result<FinishedBlob, StoreError> {
    if writer.stays_small(0) {
        return Ok(writer.finish()?);
    }
    Ok(tokio::task::spawn_blocking(move || writer.finish()).await.map_err(|_| StoreError::Closed)??)
}

async fn write(mut writer: BlobWriter, bytes: Bytes) -> Result<BlobWriter, StoreError> {
    if writer.stays_small(bytes.len()) {
        writer.write(&bytes)?;
        return Ok(writer);
    }
    tokio::task::spawn_blocking(move || {
        writer.write(&bytes)?;
        Ok(writer)
    })
    .await
    .map_err(|_| StoreError::Closed)?
}

fn parse_md5(header: &str) -> S3Result<[u8; 16]> {
    let decoded = BASE64.decode(header).ok();
    decoded.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| s3_error!(InvalidDigest))
}

/// What ended a body early. `s3s` keeps the types of these errors to itself, so their texts tell them apart.
fn body_error(error: &(dyn std::error::Error + 'static)) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut mismatch = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "the provided 'x-amz-content-sha256' header does not match what was computed",
        );
        mismatch.set_status_code(http::StatusCode::BAD_REQUEST);
        mismatch
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch)
    } else {
        tracing::debug!(error, "a body ended early");
        s3_error!(IncompleteBody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lock = std::fs::File::create(directory.path().join("lock")).expect("a lock");
        let store = Store::open(&crate::Config::new(directory.path(), "key", "secret"), lock).expect("opens");
        let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"a"))]);
        let stalled = StreamingBlob::wrap(begun.chain(futures::stream::pending()));
        let claims = Claims { length: Some(2), ..Claims::default() };
        let received = receive(&store, Some(stalled), claims).await;
        assert_eq!(received.err().map(|error| error.code().clone()), Some(S3ErrorCode::RequestTimeout));
        let mut left = std::fs::read_dir(directory.path().join("uploading")).expect("there");
        assert!(left.next().is_none(), "the file of the upload is removed");
    }
}
