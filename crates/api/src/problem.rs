//! How a request fails: an RFC 9457 problem document for the client, one log line for the operator.

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cloud::StoreError;
use job::error::causes;
use job::{Code, Problem};
use ledger::LedgerError;
use registry::RegistryError;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem document (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:millpond:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code's sentence.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The stable name to match on.
    #[schema(schema_with = crate::openapi::code_schema)]
    code: &'static str,
    /// What is special about this occurrence.
    detail: String,
    /// Whether the same request may succeed later.
    retryable: bool,
}

impl From<&Problem> for ProblemBody {
    fn from(problem: &Problem) -> Self {
        let code = problem.code;
        Self {
            kind: format!("urn:millpond:problem:{code}"),
            title: problem.title.clone(),
            status: code.status(),
            code: code.as_str(),
            detail: problem.detail.clone(),
            retryable: problem.retryable,
        }
    }
}

/// Why a request was not answered as it asked: what the client is told, and what only the log is.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Failure {
    problem: Problem,
    /// When trying again makes sense, if it is known.
    after: Option<Duration>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Whether the log has it already.
    is_logged: bool,
}

impl Failure {
    /// A failure that says it all.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The answer for every job that the caller can't see, whatever the reason (J7).
    pub(crate) fn job_not_found() -> Self {
        Self::new(Code::JobNotFound, "no job of yours has this id, or its retention is over")
    }

    /// A call that did not end in time.
    pub(crate) fn timed_out() -> Self {
        Self::new(Code::StorageUnavailable, "the storage did not answer in time; try again shortly")
    }

    /// The answer for whoever may not call at all.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(Code::Unauthorized, detail)
    }

    /// Says when trying again makes sense.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { after: Some(wait), ..self }
    }

    /// What only the log is told.
    fn story(&self) -> String {
        self.source.as_deref().map_or_else(String::new, |source| format!(": {source}{}", causes(source)))
    }

    /// Puts it in the log, for failures that are handled otherwise than by answering them.
    pub(crate) fn log(&self, what: &str) {
        tracing::warn!(code = %self.problem.code, "{what}{}", self.story());
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, after: None, source: None, is_logged: false }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self { problem: error.problem(), after: None, source: Some(error.into()), is_logged: false }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self { problem: error.problem(), after: None, source: Some(error.into()), is_logged: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        LedgerError::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.problem.code;
        if code.status() >= 500 && !self.is_logged {
            // The boundary: nothing behind it has logged this failure.
            tracing::error!(%code, "a request failed{}", self.story());
        }
        let status = StatusCode::from_u16(code.status()).expect("the table holds statuses");
        let mut response = (status, Json(ProblemBody::from(&self.problem))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.problem.retryable && [409, 429, 503].contains(&code.status()) {
            // In whole seconds, and not too early.
            let seconds = self.after.map_or(1, |after| after.as_secs_f64().ceil() as u64).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"millpond\""));
        }
        response
    }
}

/// What a handler's panic becomes. The panic hook has written the line about it, without what may be a client's text in it.
pub(crate) fn of_panic(_: Box<dyn Any + Send>) -> Response {
    Failure { is_logged: true, ..Failure::new(Code::Internal, "the request could not be handled") }.into_response()
}
