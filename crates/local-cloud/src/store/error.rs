//! What can go wrong in the store, in S3's and SQS's own terms.

use std::io;

/// A failure of a store operation. The protocol layers turn each into the error that AWS would answer with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the bucket does not exist")]
    NoSuchBucket,
    #[error("the bucket exists already")]
    BucketExists,
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    #[error("the multipart upload does not exist")]
    NoSuchUpload,
    #[error("a part was not found, or its ETag or checksum differs")]
    InvalidPart,
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("a part other than the last is smaller than 5 MiB")]
    PartTooSmall,
    #[error("the given checksum differs from the object's")]
    BadDigest,
    #[error("the request is invalid: {0}")]
    Invalid(String),
    #[error("the queue does not exist")]
    NoSuchQueue,
    #[error("a queue of this name has other attributes")]
    QueueExists,
    #[error("invalid value for the attribute {0}")]
    InvalidAttribute(&'static str),
    #[error("the message is not in flight")]
    NotInFlight,
    #[error("120000 messages of the queue are in flight already")]
    OverLimit,
    #[error("the receipt handle is out of date")]
    StaleReceipt,
    #[error("the total visibility timeout would pass 12 hours")]
    VisibilityTooLong,
    #[error("the database is damaged: {0}")]
    Damaged(String),
    #[error("the database has format {0}, this version reads format {1}")]
    OtherFormat(i64, i64),
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a transaction could not be committed: {0}")]
    Commit(String),
    #[error("a file operation failed")]
    Io(#[from] io::Error),
    #[error("a stored record cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the store is closed")]
    Closed,
}

pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;
