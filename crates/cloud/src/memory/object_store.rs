//! One bucket in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{Timestamp, TimestampRound, Unit};
use job::id::ETag;
use job::layout::MAX_KEY_BYTES;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::MemoryQueue;
use crate::Clock;
use crate::object_store::{
    Condition, GetOptions, ListedObject, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest,
    PutOptions, StoreError,
};

/// User metadata, names and values together.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata>
const MAX_METADATA_BYTES: usize = 2048;
/// What S3 lists at most in one call.
const MAX_LIST: usize = 1000;
/// The longest that SigV4 lets a presigned URL live.
const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Everything but RFC 3986's unreserved characters and the slash, as S3 writes keys in URLs and, after `%20` has
/// become `+`, in events.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// One bucket in memory. ETags are MD5s, as S3's are for objects of one part.
///
/// Presigned requests are made, with the headers that S3's would have, but their URLs are of a scheme `memory:` that
/// nobody serves: a test that plays the client calls [`ObjectStore::put`] on the store itself.
pub struct MemoryObjectStore {
    bucket: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `String` orders by bytes, which is the order of listings.
    objects: BTreeMap<String, Stored>,
    notifications: Vec<Notification>,
    events_sent: u64,
}

struct Stored {
    meta: ObjectMeta,
    body: Bytes,
}

struct Notification {
    queue: Arc<MemoryQueue>,
    prefixes: Vec<String>,
}

impl MemoryObjectStore {
    /// An empty bucket.
    pub fn new(bucket: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { bucket: bucket.into(), clock, state: Mutex::default() }
    }

    /// From now on, sends an `ObjectCreated:Put` event to `queue` for each object written under one of `prefixes`, in
    /// the same step as the write: whoever sees the object finds its event sent.
    pub fn on_put(&self, queue: Arc<MemoryQueue>, prefixes: &[&str]) {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        self.lock().notifications.push(Notification { queue, prefixes });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state whole even if it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, key: &str, expires_in: Duration) -> String {
        format!("memory://{}/{}?expires={}", self.bucket, utf8_percent_encode(key, KEY), expires_in.as_secs())
    }

    /// The message that S3 sends, less what identifies the requester.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
    fn event(&self, key: &str, meta: &ObjectMeta, sequence: u64) -> String {
        serde_json::json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "memory",
            "eventTime": self.clock.now().to_string(),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "memory",
                "bucket": {"name": self.bucket, "arn": format!("arn:aws:s3:::{}", self.bucket)},
                "object": {
                    "key": utf8_percent_encode(key, KEY).to_string().replace("%20", "+"),
                    "size": meta.size_bytes,
                    "eTag": meta.etag.unquoted(),
                    "sequencer": format!("{sequence:016X}"),
                },
            },
        }]})
        .to_string()
    }
}

impl fmt::Debug for MemoryObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryObjectStore").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for MemoryObjectStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        check_key(key)?;
        check_metadata(&options.metadata)?;
        let etag = ETag::new(format!("\"{}\"", hex::encode(Md5::digest(&body))));
        let mut state = self.lock();
        check_condition(&options.condition, state.objects.get(key))?;
        let meta = ObjectMeta {
            etag: etag.clone(),
            size_bytes: body.len() as u64,
            last_modified: whole_seconds(self.clock.now()),
            content_type: Some(options.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
            metadata: options.metadata,
        };
        state.events_sent += 1;
        for notification in &state.notifications {
            if notification.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())) {
                let event = self.event(key, &meta, state.events_sent);
                notification.queue.push(event, None, Duration::ZERO);
            }
        }
        state.objects.insert(key.to_owned(), Stored { meta, body });
        Ok(etag)
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        check_key(key)?;
        let state = self.lock();
        let stored = state.objects.get(key).ok_or(StoreError::NotFound)?;
        if options.if_match.is_some_and(|wanted| wanted != stored.meta.etag) {
            return Err(StoreError::PreconditionFailed);
        }
        let size_bytes = stored.meta.size_bytes;
        if options.max_bytes.is_some_and(|max| size_bytes > max) {
            return Err(StoreError::TooLarge { size_bytes });
        }
        Ok(Object { meta: stored.meta.clone(), body: stored.body.clone() })
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        check_key(key)?;
        self.lock().objects.get(key).map(|stored| stored.meta.clone()).ok_or(StoreError::NotFound)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        self.lock().objects.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        let max = max.clamp(1, MAX_LIST);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.lock();
        let mut found = state
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| ListedObject {
                key: key.clone(),
                etag: stored.meta.etag.clone(),
                size_bytes: stored.meta.size_bytes,
                last_modified: stored.meta.last_modified,
            });
        let objects = found.by_ref().take(max).collect();
        Ok(Listing { objects, more: found.next().is_some() })
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        check_key(key)?;
        check_expiry(put.expires_in)?;
        let mut headers = BTreeMap::from([
            ("content-type".to_owned(), put.content_type),
            ("if-none-match".to_owned(), "*".to_owned()),
        ]);
        if let Some(sha256) = put.sha256 {
            headers.insert("x-amz-checksum-sha256".to_owned(), STANDARD.encode(sha256.as_bytes()));
        }
        Ok(PresignedRequest { method: "PUT".to_owned(), url: self.url(key, put.expires_in), headers })
    }

    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        check_key(key)?;
        check_expiry(expires_in)?;
        let mut url = self.url(key, expires_in);
        if let Some(filename) = filename {
            url.push_str(&format!("&filename={}", utf8_percent_encode(filename, NON_ALPHANUMERIC)));
        }
        Ok(PresignedRequest { method: "GET".to_owned(), url, headers: BTreeMap::new() })
    }
}

fn check_key(key: &str) -> Result<(), StoreError> {
    match key.len() {
        0 => Err(StoreError::Invalid("the key is empty".into())),
        1..=MAX_KEY_BYTES => Ok(()),
        length => Err(StoreError::Invalid(format!("the key has {length} bytes; S3 takes {MAX_KEY_BYTES}").into())),
    }
}

/// Metadata travels as headers: what HTTP would refuse or change is refused here too.
fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let name_fits = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
    };
    let value_fits = |value: &str| value.trim() == value && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if let Some((name, _)) = metadata.iter().find(|(name, value)| !name_fits(name) || !value_fits(value)) {
        return Err(StoreError::Invalid(format!("the metadata {name:?} can't be a header").into()));
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(StoreError::Invalid(format!("{bytes} bytes of metadata; S3 takes {MAX_METADATA_BYTES}").into()));
    }
    Ok(())
}

fn check_condition(condition: &Condition, stored: Option<&Stored>) -> Result<(), StoreError> {
    match (condition, stored) {
        (Condition::None, _) | (Condition::Absent, None) => Ok(()),
        (Condition::Absent, Some(_)) => Err(StoreError::PreconditionFailed),
        (Condition::Matches(_), None) => Err(StoreError::NotFound),
        (Condition::Matches(wanted), Some(stored)) if *wanted == stored.meta.etag => Ok(()),
        (Condition::Matches(_), Some(_)) => Err(StoreError::PreconditionFailed),
    }
}

fn check_expiry(expires_in: Duration) -> Result<(), StoreError> {
    if expires_in.is_zero() || expires_in > MAX_PRESIGN {
        return Err(StoreError::Invalid("a presigned request lives from one second to seven days".into()));
    }
    Ok(())
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    time.round(down).unwrap_or(time)
}
