//! What handlers take out of a request besides its body. Every fault is a problem document, never axum's plain text.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use job::{Code, JobId, ModelName};
use serde::Deserialize;

use crate::problem::Failure;

/// The job that the path names. What is no id at all is not found like any other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobPath(pub(crate) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| Failure::job_not_found())?;
        text.parse().map(Self).map_err(|_| Failure::job_not_found())
    }
}

/// The model that the path names.
#[derive(Debug, Clone)]
pub(crate) struct ModelPath(pub(crate) ModelName);

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        text.parse().map(Self).map_err(|_| unknown_model(&text))
    }
}

/// The failure for a model that there is not, or whose name can't be one.
pub(crate) fn unknown_model(name: &str) -> Failure {
    Failure::new(Code::UnknownModel, format!("there is no model {}; GET /models lists them", quote(name)))
}

/// A client's own text, quoted and cut to a readable length.
pub(crate) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    if cut.len() < text.len() { format!("{:?}", cut + "…") } else { format!("{cut:?}") }
}

/// `?wait=N`: how long the caller would wait for the job to end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wait(pub(crate) Duration);

#[derive(Deserialize)]
struct WaitQuery {
    wait: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<WaitQuery>::from_request_parts(parts, state).await;
        match query.map(|Query(WaitQuery { wait })| wait.unwrap_or_else(|| "0".to_owned())) {
            // As long as the server lets anyone wait, however many digits there are.
            Ok(wait) if !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(Duration::from_secs(wait.parse().unwrap_or(u64::MAX))))
            }
            _ => Err(Failure::new(Code::InvalidRequest, "the query's wait must be one whole number of seconds")),
        }
    }
}

/// `Prefer: wait=N` (RFC 7240), if it is there and usable; what is not understood is ignored, as that RFC wants it.
pub(crate) fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get_all(axum::http::HeaderName::from_static("prefer"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())?;
    Some(Duration::from_secs(seconds))
}

/// Whether `If-None-Match` names this (quoted) tag, so that a 304 will do.
pub(crate) fn none_match(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

/// An `Idempotency-Key`: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey(pub(crate) String);

impl IdempotencyKey {
    /// The request's key, if it has one.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let invalid = |why| Err(Failure::new(Code::InvalidIdempotencyKey, why));
        let mut values = headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return invalid("there is more than one Idempotency-Key");
        }
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| matches!(b, b' '..=b'~')) => {
                Ok(Some(Self(key.to_owned())))
            }
            _ => invalid("an Idempotency-Key has 1 to 255 printable ASCII characters"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn with(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|v| (name.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_preference_is_read_as_rfc_7240_writes_it() {
        let wait = |values: &[&str]| prefer_wait(&with("prefer", values)).map(|wait| wait.as_secs());
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, WAIT=\"7\"; x=1"]), Some(7));
        assert_eq!(wait(&["return=minimal", "wait = 3"]), Some(3));
        for ignored in [&["wait"][..], &["wait=soon"], &["wait=-1"], &[]] {
            assert_eq!(wait(ignored), None, "{ignored:?}");
        }
    }

    #[test]
    fn tags_match_in_any_of_their_forms() {
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(none_match(&with("if-none-match", &[value]), "\"a\""), "{value}");
        }
        assert!(!none_match(&with("if-none-match", &["\"b\""]), "\"a\""));
        assert!(!none_match(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn keys_are_short_and_printable() {
        let read = |values: &[&str]| IdempotencyKey::from_headers(&with("idempotency-key", values));
        assert!(read(&[]).unwrap().is_none());
        assert_eq!(read(&["a b"]).unwrap().unwrap().0, "a b");
        assert!(read(&[&"k".repeat(255)]).is_ok());
        for bad in [&[""][..], &[&"k".repeat(256)], &["a\tb"], &["a", "b"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
