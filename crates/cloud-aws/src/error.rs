//! From the SDK's errors to ours.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use cloud::{QueueError, StoreError};

/// What an error of either service amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    NotFound,
    PreconditionFailed,
    Conflict,
    StaleReceipt,
    Throttled,
    Unavailable,
    Denied,
    Invalid,
}

/// Why a call to S3 failed.
///
/// Without `s3:ListBucket` S3 answers 403 for an absent key as well, which comes out as [`StoreError::Denied`] and
/// not as [`StoreError::NotFound`]: whoever asks for objects that may be absent needs that permission.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
pub(crate) fn store_error<E>(error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match classify(&error) {
        Class::NotFound => StoreError::NotFound,
        Class::PreconditionFailed => StoreError::PreconditionFailed,
        Class::Conflict => StoreError::Conflict,
        Class::Throttled => StoreError::Throttled(error.into()),
        Class::Unavailable => StoreError::Unavailable(error.into()),
        Class::Denied => StoreError::Denied(error.into()),
        Class::Invalid | Class::StaleReceipt => StoreError::Invalid(error.into()),
    }
}

/// Why a call to SQS failed.
pub(crate) fn queue_error<E>(error: SdkError<E, HttpResponse>) -> QueueError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match classify(&error) {
        Class::StaleReceipt => QueueError::StaleReceipt,
        Class::Throttled => QueueError::Throttled(error.into()),
        Class::Unavailable => QueueError::Unavailable(error.into()),
        Class::Denied => QueueError::Denied(error.into()),
        Class::Invalid | Class::NotFound | Class::PreconditionFailed | Class::Conflict => {
            QueueError::Invalid(error.into())
        }
    }
}

fn classify<E>(error: &SdkError<E, HttpResponse>) -> Class
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => classify_answer(
            answer.raw().status().as_u16(),
            answer.err().code().unwrap_or_default(),
            answer.err().message().unwrap_or_default(),
        ),
        SdkError::ConstructionFailure(_) if lacks_credentials(error) => Class::Denied,
        SdkError::ConstructionFailure(_) => Class::Invalid,
        SdkError::DispatchFailure(_) if lacks_credentials(error) => Class::Denied,
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => Class::Unavailable,
        // An answer that could not be read, as when the connection breaks in its middle; but a HEAD's refusal has no
        // body to read, and its status says enough.
        SdkError::ResponseError(answer) if answer.raw().status().is_client_error() => {
            classify_answer(answer.raw().status().as_u16(), "", "")
        }
        SdkError::ResponseError(_) => Class::Unavailable,
        // The SDK's enum is open; what it may add is taken for a failure that passes.
        _ => Class::Unavailable,
    }
}

/// The codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html> and
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>.
fn classify_answer(status: u16, code: &str, message: &str) -> Class {
    // SQS still sends the names of its older protocol, as in `AWS.SimpleQueueService.NonExistentQueue`.
    let code = code.rsplit(['.', '#']).next().unwrap_or_default();
    match code {
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "KmsThrottled"
        // Too many messages in flight; it passes when some are deleted.
        | "OverLimit" => return Class::Throttled,
        // A bucket or queue that is missing is a wrong setting, not a missing object.
        "NoSuchBucket" | "QueueDoesNotExist" | "NonExistentQueue" => return Class::Invalid,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => return Class::StaleReceipt,
        "InvalidParameterValue" if is_about_receipt(message) => return Class::StaleReceipt,
        // Sent with 400, though the same request may do better.
        "RequestTimeout" | "RequestTimeoutException" | "IncompleteBody" | "BadDigest" => return Class::Unavailable,
        "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired" => return Class::Denied,
        // SQS sends these with 400 as well.
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "IncompleteSignature" | "RequestExpired"
        | "KmsAccessDenied" => return Class::Denied,
        _ => {}
    }
    match status {
        404 => Class::NotFound,
        409 => Class::Conflict,
        412 => Class::PreconditionFailed,
        429 => Class::Throttled,
        401 | 403 => Class::Denied,
        408 | 500.. => Class::Unavailable,
        300..500 => Class::Invalid,
        // An error inside of a 200, as S3 sends when it fails after it began to answer.
        ..300 => Class::Unavailable,
    }
}

/// SQS reports both stale receipts and timeouts out of range as `InvalidParameterValue`; only its prose differs:
/// "Value ... for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility
/// timeout change", or "The receipt handle has expired".
fn is_about_receipt(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("receipthandle") || message.contains("receipt handle")
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut chain = Some(error);
    while let Some(error) = chain {
        if error.is::<CredentialsError>() {
            return true;
        }
        chain = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_classed_by_code_and_then_by_status() {
        for (status, code, expected) in [
            (404, "NoSuchKey", Class::NotFound),
            (404, "NotFound", Class::NotFound),
            (404, "", Class::NotFound),
            (404, "NoSuchBucket", Class::Invalid),
            (412, "PreconditionFailed", Class::PreconditionFailed),
            (409, "ConditionalRequestConflict", Class::Conflict),
            (503, "SlowDown", Class::Throttled),
            (429, "", Class::Throttled),
            (400, "ThrottlingException", Class::Throttled),
            (403, "OverLimit", Class::Throttled),
            (503, "ServiceUnavailable", Class::Unavailable),
            (500, "InternalError", Class::Unavailable),
            (200, "InternalError", Class::Unavailable),
            (400, "RequestTimeout", Class::Unavailable),
            (400, "BadDigest", Class::Unavailable),
            (403, "AccessDenied", Class::Denied),
            (403, "SignatureDoesNotMatch", Class::Denied),
            (401, "", Class::Denied),
            (400, "ExpiredToken", Class::Denied),
            (400, "com.amazonaws.sqs#AccessDeniedException", Class::Denied),
            (400, "RequestExpired", Class::Denied),
            (400, "KmsAccessDenied", Class::Denied),
            (400, "KmsThrottled", Class::Throttled),
            (400, "KeyTooLongError", Class::Invalid),
            (301, "PermanentRedirect", Class::Invalid),
            (400, "AWS.SimpleQueueService.NonExistentQueue", Class::Invalid),
            (400, "QueueDoesNotExist", Class::Invalid),
            (400, "InvalidMessageContents", Class::Invalid),
            (400, "ReceiptHandleIsInvalid", Class::StaleReceipt),
            (400, "AWS.SimpleQueueService.MessageNotInflight", Class::StaleReceipt),
            (400, "com.amazonaws.sqs#MessageNotInflight", Class::StaleReceipt),
        ] {
            assert_eq!(classify_answer(status, code, ""), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_stale_receipt_is_told_from_a_timeout_out_of_range() {
        let stale = "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.";
        let range = "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.";
        assert_eq!(classify_answer(400, "InvalidParameterValue", stale), Class::StaleReceipt);
        assert_eq!(classify_answer(400, "InvalidParameterValue", range), Class::Invalid);
    }
}
