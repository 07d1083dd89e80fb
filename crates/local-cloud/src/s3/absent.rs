//! What is said of keys that are not there.

use s3s::{S3Error, s3_error};

use crate::store::{Store, StoreError};

/// What a read of a key that is not there is answered. S3 decides by whether the caller may list the bucket, and so learn
/// which keys there are: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
///
/// It concerns GetObject, HeadObject, and the source of a copy. Writes and deletions, conditional ones too, are answered
/// the same either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AbsentKeys {
    /// 404 `NoSuchKey`: the caller has `s3:ListBucket`.
    #[default]
    NotFound,
    /// 403 `AccessDenied`: the caller lacks `s3:ListBucket`.
    Forbidden,
}

/// A failed look-up of an object that is to be read.
pub(super) fn unread(store: &Store, error: StoreError) -> S3Error {
    match (error, store.absent_keys) {
        (StoreError::NoSuchKey, AbsentKeys::Forbidden) => s3_error!(AccessDenied, "Access Denied"),
        (error, AbsentKeys::NotFound | AbsentKeys::Forbidden) => error.into(),
    }
}
