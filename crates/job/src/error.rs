//! The one table of error codes: what HTTP says, what a failed job stores, and whether trying again can help.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $retryable:ident $title:literal;)*) => {
        /// A stable name for each way a request or a job can fail. The names are part of the API: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The name that clients match on.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The HTTP status that carries it. A failed job's error has one too: what a synchronous call would have answered.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Code::$variant => codes!(@ $retryable),)* }
            }

            /// One sentence for a person.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Code::$variant),)* _ => None }
            }
        }
    };
    (@ final) => { false };
    (@ retry) => { true };
}

codes! {
    // Requests.
    MalformedJson "malformed_json" 400 final "The body is not valid JSON.";
    InvalidRequest "invalid_request" 400 final "The request is not of the documented form.";
    InvalidIdempotencyKey "invalid_idempotency_key" 400 final "The Idempotency-Key is not usable.";
    NotFound "not_found" 404 final "There is nothing at this address.";
    MethodNotAllowed "method_not_allowed" 405 final "This address does not take that method.";
    UnsupportedMediaType "unsupported_media_type" 415 final "The body must be JSON.";
    JobNotFound "job_not_found" 404 final "There is no such job.";
    UnknownModel "unknown_model" 404 final "There is no such model.";
    InvalidFilename "invalid_filename" 422 final "The filename cannot be used.";
    InvalidSha256 "invalid_sha256" 422 final "The SHA-256 is not 64 hexadecimal digits.";
    InvalidParams "invalid_params" 422 final "The parameters do not fit the model.";
    UseUpload "use_upload" 413 final "The input is too large to be sent inline; upload it instead.";
    NoResultYet "no_result_yet" 409 retry "The job has no result yet.";
    NoResult "no_result" 409 final "The job ended without a result.";
    AlreadyFinished "already_finished" 409 final "The job has already finished.";
    NotFinished "not_finished" 409 retry "The job has not finished yet.";
    IdempotencyKeyReused "idempotency_key_reused" 422 final "The Idempotency-Key was used for a different request.";
    Unauthorized "unauthorized" 401 final "A valid API key is required.";
    RateLimited "rate_limited" 429 retry "Too many requests.";
    Overloaded "overloaded" 429 retry "The service is busy.";
    Internal "internal" 500 retry "The service failed.";
    Unavailable "unavailable" 503 retry "A service that this one depends on does not answer.";
    // Inputs: known at once for inline ones, found by the worker for the others.
    InvalidInput "invalid_input" 422 final "The input does not fit the model's schema.";
    EmptyInput "empty_input" 422 final "The input is empty.";
    TooLarge "too_large" 413 final "The input is larger than the model takes.";
    InputGone "input_gone" 410 final "The input does not exist any more.";
    InputReplaced "input_replaced" 409 final "The input was replaced after the job was made for it.";
    SizeMismatch "size_mismatch" 422 final "The uploaded input is not of the announced size.";
    DigestMismatch "digest_mismatch" 422 final "The uploaded input does not match the announced SHA-256.";
    NoModel "no_model" 422 final "The file was dropped outside any model's folder.";
    KeyTooLong "key_too_long" 422 final "The file's key is too long for its result to be named after it.";
    // Attempts.
    ModelWithdrawn "model_withdrawn" 410 final "The model's version that the job was accepted with is gone.";
    ModelBroken "model_broken" 500 final "The model could not be loaded.";
    ModelFailed "model_failed" 500 final "The model could not answer this input.";
    ModelPanicked "model_panicked" 500 retry "The model crashed on this input.";
    TimedOut "timed_out" 504 retry "The model took longer than its limit.";
    StorageUnavailable "storage_unavailable" 503 retry "The storage did not answer.";
    WorkerLost "worker_lost" 500 retry "The workers that tried this job were lost.";
    // Deadlines.
    UploadExpired "upload_expired" 410 retry "The input was not uploaded in time.";
    QueueExpired "queue_expired" 503 retry "No worker started the job in time.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    /// A code of a newer version reads as `internal`, so that old readers still see a failed job.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Ok(Code::from_name(&name).unwrap_or(Code::Internal))
    }
}

/// What went wrong, as clients see it: the same body over HTTP (RFC 9457) and in a failed job's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// The stable name.
    pub code: Code,
    /// The code's sentence.
    pub title: String,
    /// What is special about this occurrence; never a path, a key, an ARN or a secret.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Problem {
    /// A problem whose title and retryability are its code's.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, title: code.title().to_owned(), detail: detail.into(), retryable: code.retryable() }
    }
}

/// What lies behind an error, for a log line, each cause after a colon. Where a document could not be read it says only where:
/// the text of such an error quotes what it met, and that is whatever a client has sent.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        match cause.downcast_ref::<serde_json::Error>() {
            Some(json) => line.push_str(&format!("not readable at line {} column {}", json.line(), json.column())),
            None => line.push_str(&cause.to_string()),
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_an_api() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|c| format!("{:<24} {} {:<5} {}", c.as_str(), c.status(), c.retryable(), c.title()))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn causes_do_not_quote_documents() {
        #[derive(Debug, thiserror::Error)]
        #[error("the ticket cannot be read")]
        struct Outer(#[source] serde_json::Error);

        let error = Outer(serde_json::from_str::<u8>("\"a client's text\"").unwrap_err());
        assert!(error.0.to_string().contains("a client's text"));
        assert_eq!(causes(&error), ": not readable at line 1 column 17");
    }

    #[test]
    fn codes_read_back() {
        for code in Code::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<Code>("\"from_the_future\"").unwrap(), Code::Internal);
    }
}
