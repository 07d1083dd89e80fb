//! Store failures in S3's terms.

use s3s::{S3Error, S3ErrorCode};

use crate::store::StoreError;

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidPart => S3ErrorCode::InvalidPart,
            StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::PartTooSmall => S3ErrorCode::EntityTooSmall,
            StoreError::BadDigest => S3ErrorCode::BadDigest,
            StoreError::Invalid(_) => S3ErrorCode::InvalidRequest,
            // A queue is part of an S3 request only as a notification's destination.
            StoreError::NoSuchQueue => S3ErrorCode::InvalidArgument,
            StoreError::QueueExists
            | StoreError::InvalidAttribute(_)
            | StoreError::NotInFlight
            | StoreError::OverLimit
            | StoreError::StaleReceipt
            | StoreError::VisibilityTooLong
            | StoreError::Damaged(_)
            | StoreError::OtherFormat(..)
            | StoreError::Sqlite(_)
            | StoreError::Commit(_)
            | StoreError::Io(_)
            | StoreError::Json(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a store operation failed");
                return S3Error::with_message(S3ErrorCode::InternalError, "the store failed");
            }
            StoreError::Closed => S3ErrorCode::ServiceUnavailable,
        };
        S3Error::with_message(code, error.to_string())
    }
}
