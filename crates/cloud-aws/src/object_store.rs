//! One S3 bucket.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::EncodingType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cloud::object_store::{ListedObject, Source};
use cloud::{
    Condition, GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions,
    StoreError,
};
use jiff::Timestamp;
use job::id::ETag;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::store_error;
use crate::limits;

/// What S3 lists at most in one call.
const MAX_LIST: usize = 1000;

/// All but RFC 5987's `attr-char`: how a header spells a filename in UTF-8.
const FILENAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One S3 bucket. Its role needs `s3:ListBucket` besides reading and writing: without it S3 answers 403 for absent
/// keys, and [`StoreError::Denied`] comes out where the contract has [`StoreError::NotFound`].
#[derive(Clone)]
pub struct AwsObjectStore {
    client: Client,
    bucket: String,
}

impl AwsObjectStore {
    pub(crate) fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }

    async fn try_get(&self, key: &str, options: &GetOptions) -> Result<Object, Tried> {
        let got = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_if_match(options.if_match.as_ref().map(ETag::quoted))
            .customize()
            .config_override(within(limits::get_headers()))
            .send()
            .await
            .map_err(|error| Tried::Final(store_error(error)))?;
        let size_bytes = got.content_length.and_then(|length| u64::try_from(length).ok());
        let size_bytes = size_bytes.ok_or_else(|| Tried::Final(missing("Content-Length")))?;
        if options.max_bytes.is_some_and(|max| size_bytes > max) {
            return Err(Tried::Final(StoreError::TooLarge { size_bytes }));
        }
        let meta = meta(got.e_tag, size_bytes, got.last_modified, got.content_type, got.metadata);
        let meta = meta.map_err(Tried::Final)?;
        let body = tokio::time::timeout(limits::get_body(size_bytes), read(got.body, size_bytes))
            .await
            .map_err(|elapsed| Tried::BrokeOff(elapsed.into()))?
            .map_err(Tried::BrokeOff)?;
        Ok(Object { meta, body })
    }
}

/// How a single get ended without an object.
enum Tried {
    /// The SDK has made its own attempts, or another one would end the same.
    Final(StoreError),
    /// The headers came, the body did not.
    BrokeOff(Source),
}

impl fmt::Debug for AwsObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsObjectStore").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for AwsObjectStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        let timeouts = limits::put(body.len());
        let mut call = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(body));
        call = match options.condition {
            Condition::None => call,
            Condition::Absent => call.if_none_match("*"),
            Condition::Matches(etag) => call.if_match(etag.quoted()),
        };
        call = call.set_content_type(options.content_type);
        call = call.set_metadata(Some(options.metadata.into_iter().collect()));
        let put = call.customize().config_override(within(timeouts)).send().await.map_err(store_error)?;
        put.e_tag.map(ETag::new).ok_or_else(|| missing("ETag"))
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        let mut broke_off = None;
        for _ in 0..limits::GET_ATTEMPTS {
            match self.try_get(key, &options).await {
                Ok(object) => return Ok(object),
                Err(Tried::Final(error)) => return Err(error),
                Err(Tried::BrokeOff(error)) => broke_off = Some(error),
            }
        }
        Err(StoreError::Unavailable(broke_off.unwrap_or_else(|| "no attempt was made".into())))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let head = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .customize()
            .config_override(within(limits::short_call()))
            .send()
            .await
            .map_err(store_error)?;
        let size_bytes = head.content_length.and_then(|length| u64::try_from(length).ok());
        let size_bytes = size_bytes.ok_or_else(|| missing("Content-Length"))?;
        meta(head.e_tag, size_bytes, head.last_modified, head.content_type, head.metadata)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let call = self.client.delete_object().bucket(&self.bucket).key(key);
        call.customize().config_override(within(limits::short_call())).send().await.map_err(store_error)?;
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(after.filter(|after| !after.is_empty()).map(str::to_owned))
            .max_keys(max.clamp(1, MAX_LIST) as i32)
            // Keys can hold characters that XML can't.
            .encoding_type(EncodingType::Url)
            .customize()
            .config_override(within(limits::short_call()))
            .send()
            .await
            .map_err(store_error)?;
        let encoded = page.encoding_type == Some(EncodingType::Url);
        let objects = page.contents.unwrap_or_default().into_iter().map(|object| {
            let key = object.key.ok_or_else(|| missing("Key"))?;
            Ok(ListedObject {
                key: if encoded { decode(&key)? } else { key },
                etag: object.e_tag.map(ETag::new).ok_or_else(|| missing("ETag"))?,
                size_bytes: object.size.and_then(|size| size.try_into().ok()).ok_or_else(|| missing("Size"))?,
                last_modified: timestamp(object.last_modified)?,
            })
        });
        Ok(Listing { objects: objects.collect::<Result<_, StoreError>>()?, more: page.is_truncated.unwrap_or(false) })
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        let size_bytes = i64::try_from(put.size_bytes).map_err(|error| StoreError::Invalid(error.into()))?;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(size_bytes)
            .content_type(put.content_type)
            .if_none_match("*")
            .set_checksum_sha256(put.sha256.map(|sha256| STANDARD.encode(sha256.as_bytes())))
            .customize()
            .config_override(without_default_checksums())
            .presigned(expiry(put.expires_in)?)
            .await
            .map_err(store_error)?;
        Ok(presigned(&request))
    }

    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        let disposition = filename
            .map(|filename| format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(filename, FILENAME)));
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_response_content_disposition(disposition)
            .customize()
            .config_override(without_default_checksums())
            .presigned(expiry(expires_in)?)
            .await
            .map_err(store_error)?;
        Ok(presigned(&request))
    }
}

async fn read(mut body: ByteStream, size_bytes: u64) -> Result<Bytes, Source> {
    // The caller has bounded the size where it matters; an announced length is not yet a reason to allocate it.
    let mut bytes = Vec::with_capacity(size_bytes.min(16 * 1024 * 1024) as usize);
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() as u64 != size_bytes {
        return Err(format!("{} of {size_bytes} bytes came", bytes.len()).into());
    }
    Ok(bytes.into())
}

fn meta(
    etag: Option<String>,
    size_bytes: u64,
    last_modified: Option<DateTime>,
    content_type: Option<String>,
    metadata: Option<std::collections::HashMap<String, String>>,
) -> Result<ObjectMeta, StoreError> {
    let metadata: BTreeMap<_, _> =
        metadata.unwrap_or_default().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(ObjectMeta {
        etag: etag.map(ETag::new).ok_or_else(|| missing("ETag"))?,
        size_bytes,
        last_modified: timestamp(last_modified)?,
        content_type,
        metadata,
    })
}

/// In whole seconds: listings have milliseconds, headers do not, and the two must agree.
fn timestamp(time: Option<DateTime>) -> Result<Timestamp, StoreError> {
    time.and_then(|time| Timestamp::from_second(time.secs()).ok()).ok_or_else(|| missing("Last-Modified"))
}

/// Listings encode keys as forms do.
fn decode(key: &str) -> Result<String, StoreError> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|key| key.into_owned()).map_err(|error| StoreError::Unavailable(error.into()))
}

/// S3 always sends it, so its lack means that the answer is damaged.
fn missing(what: &'static str) -> StoreError {
    StoreError::Unavailable(format!("the answer lacks {what}").into())
}

fn within(timeouts: TimeoutConfig) -> Builder {
    Builder::new().timeout_config(timeouts)
}

/// By default the SDK would sign a checksum of the body, which it takes to be empty since there is none yet, and ask
/// for checksums back in a header that whoever uses the URL would have to send too.
fn without_default_checksums() -> Builder {
    Builder::new()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// The SDK checks the upper limit, a week; what never lives would be refused only by S3.
fn expiry(expires_in: Duration) -> Result<PresigningConfig, StoreError> {
    if expires_in < Duration::from_secs(1) {
        return Err(StoreError::Invalid("a presigned request lives for a second at least".into()));
    }
    PresigningConfig::expires_in(expires_in).map_err(|error| StoreError::Invalid(error.into()))
}

fn presigned(request: &aws_sdk_s3::presigning::PresignedRequest) -> PresignedRequest {
    let by_client = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("content-length");
    let headers = request.headers().filter(|(name, _)| !by_client(name));
    PresignedRequest {
        method: request.method().to_owned(),
        url: request.uri().to_owned(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
    }
}
