//! Errors as SQS's JSON protocol writes them, with the older names that SDKs know in `x-amzn-query-error`.

use http::StatusCode;
use serde_json::json;

use crate::store::StoreError;

/// An error to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqsError {
    status: StatusCode,
    /// The shape's name in the service model.
    shape: &'static str,
    /// The name in the older query protocol, where there is one.
    query_code: Option<&'static str>,
    message: String,
}

impl SqsError {
    fn sender(shape: &'static str, query_code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, shape, query_code: Some(query_code), message: message.into() }
    }

    fn refused(shape: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, shape, query_code: None, message: message.into() }
    }

    pub(super) fn invalid_value(message: impl Into<String>) -> Self {
        Self::sender("InvalidParameterValue", "InvalidParameterValue", message)
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!("the request must contain the parameter {parameter}");
        Self::sender("MissingParameter", "MissingParameter", message)
    }

    pub(super) fn invalid_attribute(name: &str) -> Self {
        let message = format!("invalid value for the parameter {name}");
        Self::sender("InvalidAttributeValue", "InvalidAttributeValue", message)
    }

    pub(super) fn unknown_attribute(name: &str) -> Self {
        Self::sender("InvalidAttributeName", "InvalidAttributeName", format!("unknown attribute {name}"))
    }

    pub(super) fn invalid_contents() -> Self {
        let message = "invalid characters were found; valid are #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to \
                       #xFFFD] | [#x10000 to #x10FFFF]";
        Self::sender("InvalidMessageContents", "InvalidMessageContents", message)
    }

    pub(super) fn invalid_receipt(handle: &str) -> Self {
        let message = format!("the input receipt handle {handle:?} is not a valid receipt handle");
        Self::sender("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", message)
    }

    pub(super) fn empty_batch() -> Self {
        Self::sender(
            "EmptyBatchRequest",
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "there should be at least one entry in the batch",
        )
    }

    pub(super) fn too_many_entries(entries: usize) -> Self {
        Self::sender(
            "TooManyEntriesInBatchRequest",
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            format!("maximum number of entries per request are 10, you have sent {entries}"),
        )
    }

    pub(super) fn repeated_id(id: &str) -> Self {
        Self::sender(
            "BatchEntryIdsNotDistinct",
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            format!("the id {id} is repeated"),
        )
    }

    pub(super) fn invalid_id() -> Self {
        Self::sender(
            "InvalidBatchEntryId",
            "AWS.SimpleQueueService.InvalidBatchEntryId",
            "a batch entry id can only contain alphanumeric characters, hyphens and underscores, and be at most 80 \
             letters long",
        )
    }

    pub(super) fn batch_too_long(bytes: usize) -> Self {
        Self::sender(
            "BatchRequestTooLong",
            "AWS.SimpleQueueService.BatchRequestTooLong",
            format!("batch requests cannot be longer than 1048576 bytes, you have sent {bytes} bytes"),
        )
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::sender("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", message)
    }

    pub(super) fn unknown_operation(message: impl Into<String>) -> Self {
        Self { query_code: None, ..Self::sender("UnknownOperationException", "InvalidAction", message) }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self { query_code: None, ..Self::sender("SerializationException", "MalformedInput", message) }
    }

    pub(super) fn no_such_resource(message: impl Into<String>) -> Self {
        Self::sender("ResourceNotFoundException", "ResourceNotFoundException", message)
    }

    pub(super) fn missing_token() -> Self {
        Self::refused("MissingAuthenticationTokenException", "the request is not signed")
    }

    pub(super) fn incomplete_signature(message: &str) -> Self {
        Self::refused("IncompleteSignatureException", message)
    }

    pub(super) fn unknown_key() -> Self {
        Self::refused("UnrecognizedClientException", "the security token included in the request is invalid")
    }

    pub(super) fn bad_signature(message: &str) -> Self {
        Self::refused("InvalidSignatureException", message)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn body(&self) -> String {
        json!({"__type": format!("com.amazonaws.sqs#{}", self.shape), "message": self.message}).to_string()
    }

    pub(super) fn query_error(&self) -> Option<String> {
        let fault = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        self.query_code.map(|code| format!("{code};{fault}"))
    }

    /// The error as the failure of one entry of a batch.
    pub(super) fn failed_entry(&self, id: &str) -> serde_json::Value {
        json!({
            "Id": id,
            "SenderFault": !self.status.is_server_error(),
            "Code": self.query_code.unwrap_or(self.shape),
            "Message": self.message,
        })
    }
}

impl From<StoreError> for SqsError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NoSuchQueue => Self::sender(
                "QueueDoesNotExist",
                "AWS.SimpleQueueService.NonExistentQueue",
                "the specified queue does not exist",
            ),
            StoreError::QueueExists => Self::sender("QueueNameExists", "QueueAlreadyExists", message),
            StoreError::InvalidAttribute(name) => Self::invalid_attribute(name),
            StoreError::NotInFlight => {
                Self::sender("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", message)
            }
            StoreError::OverLimit => Self::sender("OverLimit", "OverLimit", message),
            StoreError::StaleReceipt => Self::invalid_value(
                "the receipt handle is invalid: the message does not exist or is not available for visibility \
                 timeout change",
            ),
            StoreError::VisibilityTooLong => Self::invalid_value(message),
            StoreError::Invalid(reason) => Self::invalid_value(reason),
            StoreError::Closed => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                shape: "ServiceUnavailable",
                query_code: Some("ServiceUnavailable"),
                message,
            },
            StoreError::NoSuchBucket
            | StoreError::BucketExists
            | StoreError::BucketNotEmpty
            | StoreError::NoSuchKey
            | StoreError::PreconditionFailed
            | StoreError::NoSuchUpload
            | StoreError::InvalidPart
            | StoreError::InvalidPartOrder
            | StoreError::PartTooSmall
            | StoreError::BadDigest
            | StoreError::Damaged(_)
            | StoreError::OtherFormat(..)
            | StoreError::Sqlite(_)
            | StoreError::Commit(_)
            | StoreError::Io(_)
            | StoreError::Json(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a store operation failed");
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    shape: "InternalFailure",
                    query_code: Some("InternalFailure"),
                    message: "the store failed".into(),
                }
            }
        }
    }
}
