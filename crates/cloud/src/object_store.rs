//! One bucket of an object store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use job::id::{ETag, Sha256};

/// One bucket, with S3's guarantees.
///
/// # Contract
///
/// - **Consistency.** Strong: a `get`, `head` or `list` that starts after a `put` or `delete` was answered sees it.
///   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>
/// - **Atomicity.** A `put` is whole or absent; nobody reads half an object.
/// - **Conditions** are decided at the moment of the write: of many racing `put`s with [`Condition::Absent`] exactly one
///   succeeds, the others get [`StoreError::PreconditionFailed`] or [`StoreError::Conflict`]. [`Condition::Matches`] of
///   an absent object is [`StoreError::NotFound`]; stores other than S3 have [`StoreError::PreconditionFailed`] for it.
/// - **Keys** are any UTF-8 of 1 to 1,024 bytes; they have no structure, so `a` and `a/b` can both exist, and so can
///   `/`, `a//b` and `a/..`. Two exceptions: S3 refuses keys whose `..` lead above the bucket, and Amazon's SDK those of
///   white space alone.
/// - **Errors.** A transient error (see [`StoreError::is_transient`]) says nothing about whether a write happened: it may
///   have. Implementations retry what is safe to repeat, so a conditional `put` that succeeded can come back as
///   [`StoreError::PreconditionFailed`]: compare what is stored with what was meant.
/// - **Cancellation.** Dropping a future may or may not stop the call; a dropped `put` may have happened.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// The bucket's name, as events and presigned URLs show it.
    fn bucket(&self) -> &str;

    /// Writes a whole object and returns its new entity tag.
    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError>;

    /// Reads a whole object into memory.
    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError>;

    /// Reads everything but the body.
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// Removes an object. Removing an absent one succeeds.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// At most `max` (1 to 1,000) objects whose keys start with `prefix` and come after `after` in byte order of their
    /// UTF-8, in that order.
    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError>;

    /// A request with which anyone can write this one object, until it expires. No call is made.
    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError>;

    /// A request with which anyone can read this one object, until it expires. No call is made; whether there is such
    /// an object is not looked at. `filename` makes browsers save it under that name.
    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError>;
}

/// What must hold of the stored object for a write to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is none (`If-None-Match: *`).
    Absent,
    /// It has this tag (`If-Match`).
    Matches(ETag),
}

/// How to write.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Decided atomically with the write.
    pub condition: Condition,
    /// Media type; the store's default if absent.
    pub content_type: Option<String>,
    /// User metadata (`x-amz-meta-*`): lower-case ASCII names, ASCII values, 2 KB in all.
    pub metadata: BTreeMap<String, String>,
}

impl PutOptions {
    /// JSON, written only if nothing is there.
    pub fn json_once() -> Self {
        Self::json(Condition::Absent)
    }

    /// JSON, under a condition.
    pub fn json(condition: Condition) -> Self {
        Self { condition, content_type: Some("application/json".to_owned()), metadata: BTreeMap::new() }
    }
}

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Only this version (`If-Match`); another one is [`StoreError::PreconditionFailed`].
    pub if_match: Option<ETag>,
    /// A larger object is [`StoreError::TooLarge`], found before its body is read.
    pub max_bytes: Option<u64>,
}

/// An object and its body.
#[derive(Debug, Clone)]
pub struct Object {
    /// Everything but the body.
    pub meta: ObjectMeta,
    /// The body.
    pub body: Bytes,
}

/// Everything about an object but its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its entity tag.
    pub etag: ETag,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was written, in whole seconds, as HTTP dates have them.
    pub last_modified: Timestamp,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its user metadata, names in lower case without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

/// A page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The objects, in key order.
    pub objects: Vec<ListedObject>,
    /// Whether more follow the last of them.
    pub more: bool,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: ETag,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was written.
    pub last_modified: Timestamp,
}

/// What a presigned upload is bound to: the URL and its headers work for exactly this body, once.
#[derive(Debug, Clone)]
pub struct PresignPut {
    /// Signed as `Content-Length`.
    pub size_bytes: u64,
    /// Signed as `Content-Type`.
    pub content_type: String,
    /// Signed as `x-amz-checksum-sha256`, if given.
    pub sha256: Option<Sha256>,
    /// From now on.
    pub expires_in: Duration,
}

/// A request that carries its own permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedRequest {
    /// `GET` or `PUT`.
    pub method: String,
    /// The whole URL, signature included.
    pub url: String,
    /// The headers that the client must send as they are; `Host` and `Content-Length` are left out, since every
    /// client sets those itself.
    pub headers: BTreeMap<String, String>,
}

/// Why a store call failed. Sources are logged where they are handled; `Display` leaves them out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object (404).
    #[error("there is no such object")]
    NotFound,
    /// The condition does not hold (412).
    #[error("the object is not as the condition asks")]
    PreconditionFailed,
    /// Another conditional write is under way (409); try again.
    #[error("another write to the object is under way")]
    Conflict,
    /// The object is larger than the caller takes.
    #[error("the object has {size_bytes} bytes")]
    TooLarge {
        /// Its length.
        size_bytes: u64,
    },
    /// The service asks to slow down (429, 503 SlowDown).
    #[error("the store asks to slow down")]
    Throttled(#[source] Source),
    /// The service failed or could not be reached (5xx, timeouts, broken connections).
    #[error("the store does not answer")]
    Unavailable(#[source] Source),
    /// The credentials do not allow it (401, 403).
    #[error("access to the store was denied")]
    Denied(#[source] Source),
    /// The request can't be right (other 4xx, keys that are too long).
    #[error("the store refused the request")]
    Invalid(#[source] Source),
}

/// The underlying error, of whatever implementation.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict | Self::Throttled(_) | Self::Unavailable(_) => true,
            // Credentials are renewed and policies mended, and meanwhile no job should be lost for it.
            Self::Denied(_) => true,
            Self::NotFound | Self::PreconditionFailed | Self::TooLarge { .. } | Self::Invalid(_) => false,
        }
    }
}
