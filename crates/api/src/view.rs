//! A job as the API shows it: a type of its own, so that what is stored and what is shown can change apart.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cloud::PresignedRequest;
use jiff::Timestamp;
use job::{AttemptId, Ending, Input, JobId, Outcome, Problem, Sha256, State, StoredResult, Ticket, Version, layout};
use ledger::Sight;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Api;
use crate::problem::Failure;

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its id.
    #[schema(value_type = String, example = "x6ymd6sngn4pul5uicmtpo7p6a")]
    pub(crate) id: JobId,
    /// Where it is. A job never goes back to an earlier state.
    #[schema(schema_with = crate::openapi::state_schema)]
    pub(crate) state: State,
    /// The model that answers.
    #[schema(example = "wine-quality")]
    model: String,
    /// The model's version that it was accepted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1")]
    version: Option<Version>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The attempt that runs it, or that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "9f86d081884c7d65")]
    attempt: Option<AttemptId>,
    /// How far the attempt is, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
    /// Why it ended without a result; while it runs, why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
    /// How to upload the input: in the answer to a `POST`, while the input is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<Upload>,
    /// What the model answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<JobResult>,
    /// Where the stored outcome can be read without this API, for a while: 404 until it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = true, value_type = String, format = "uri")]
    outcome_url: Option<String>,
    /// The job that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    retry_of: Option<JobId>,
}

/// How far an attempt is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobProgress {
    /// Units (rows, tiles, letters) done.
    done: u64,
    /// Of how many, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Attempts that have failed so far.
    failures: u32,
}

/// Why a job, or an attempt at it, failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobError {
    /// The stable name to match on.
    #[schema(schema_with = crate::openapi::code_schema)]
    code: &'static str,
    /// The code's sentence.
    title: String,
    /// What is special about this occurrence.
    detail: String,
    /// Whether the same job may succeed when it is retried.
    retryable: bool,
}

/// A presigned upload: send `method` to `url` with `headers` as they are.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Upload {
    #[schema(example = "PUT")]
    method: String,
    #[schema(format = "uri")]
    url: String,
    /// To be sent as they are. `Content-Length` is signed as well, and set by every client by itself.
    headers: BTreeMap<String, String>,
    /// When the URL stops working.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A result: a small one itself, a large one by its address.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum JobResult {
    /// The answer itself, exactly as it was stored.
    Inline {
        #[schema(value_type = serde_json::Value)]
        value: Box<RawValue>,
    },
    /// Where the answer is.
    Object {
        /// Presigned.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(required = true, value_type = String, format = "uri")]
        url: Option<String>,
        size_bytes: u64,
        /// Of the whole object, in hexadecimal.
        #[schema(value_type = String)]
        sha256: Sha256,
        content_type: String,
        /// When the URL stops working; asking for the job again signs another.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(required = true, value_type = String, format = DateTime)]
        expires_at: Option<Timestamp>,
    },
}

impl From<&Problem> for JobError {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.as_str(),
            title: problem.title.clone(),
            detail: problem.detail.clone(),
            retryable: problem.retryable,
        }
    }
}

impl Upload {
    pub(crate) fn new(request: PresignedRequest, expires_at: Timestamp) -> Self {
        let PresignedRequest { method, url, headers } = request;
        Self { method, url, headers, expires_at }
    }
}

impl Job {
    /// What the documents say, without any URL.
    fn unsigned(ticket: &Ticket, sight: &Sight) -> Self {
        let mut job = Self {
            id: ticket.job,
            state: sight.state,
            model: ticket.model.clone(),
            version: ticket.version.clone(),
            created_at: ticket.created_at,
            attempt: None,
            progress: None,
            error: None,
            upload: None,
            result: None,
            outcome_url: None,
            retry_of: ticket.retry_of,
        };
        if let Some(outcome) = &sight.outcome {
            // An outcome that no attempt wrote (a deadline, a cancellation) has no start.
            job.attempt = outcome.started_at.map(|_| outcome.writer);
            match &outcome.ending {
                Ending::Succeeded { result } => job.result = Some(result.into()),
                Ending::Failed { error } | Ending::Expired { error } => job.error = Some(error.into()),
                Ending::Cancelled => {}
            }
        } else if let Some(progress) = &sight.progress {
            job.attempt = Some(progress.attempt);
            job.progress =
                Some(JobProgress { done: progress.done, total: progress.total, failures: progress.failures });
            job.error = progress.last_error.as_ref().map(JobError::from);
        }
        job
    }

    /// The job as one look shows it, with its `ETag`.
    ///
    /// The tag is over everything but the URLs, which differ each time they are signed. So that nobody is told "not
    /// modified" until the URLs they hold have died, it also changes with each half of a URL's lifetime.
    pub(crate) async fn signed(
        api: &Api,
        ticket: &Ticket,
        sight: &Sight,
        upload: Option<Upload>,
    ) -> Result<(Self, String), Failure> {
        let mut job = Self::unsigned(ticket, sight);
        let now = api.ledger.clock.now();
        let half_life = (api.settings.result_url_lifetime.as_secs() / 2).max(1);
        let age = now.as_second().div_euclid(half_life.try_into().unwrap_or(i64::MAX));
        let digest = Sha256::of(format!("{age}\n{}", to_json(&job)).as_bytes()).to_string();
        job.upload = upload;
        job.outcome_url = Some(api.read_url(&layout::outcome_key(ticket.job), None).await?);
        if let (Some(JobResult::Object { url, expires_at, .. }), Some(Outcome { ending, .. })) =
            (&mut job.result, &sight.outcome)
            && let Ending::Succeeded { result: StoredResult::Object { key, extension, .. } } = ending
        {
            *url = Some(api.read_url(key, Some(&result_filename(ticket, extension))).await?);
            *expires_at = Some(now.saturating_add(api.settings.result_url_lifetime).unwrap_or(Timestamp::MAX));
        }
        Ok((job, format!("\"{}\"", &digest[..32])))
    }

    /// The answer that carries it.
    pub(crate) fn respond(&self, status: StatusCode, etag: &str, now: Timestamp) -> Response {
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(etag).expect("a tag is hexadecimal"));
        if let Some(pause) = self.retry_after(now) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause));
        }
        response
    }

    /// How many seconds until it is worth asking again; none once it has ended. The longer it has taken, the longer.
    pub(crate) fn retry_after(&self, now: Timestamp) -> Option<u64> {
        let age = now.duration_since(self.created_at).as_secs();
        (!self.state.is_terminal()).then(|| (age / 10).clamp(1, 10).unsigned_abs())
    }
}

impl From<&StoredResult> for JobResult {
    fn from(result: &StoredResult) -> Self {
        match result {
            StoredResult::Inline(value) => Self::Inline { value: value.clone() },
            StoredResult::Object { size_bytes, sha256, content_type, key: _, extension: _ } => Self::Object {
                url: None,
                size_bytes: *size_bytes,
                sha256: *sha256,
                content_type: content_type.clone(),
                expires_at: None,
            },
        }
    }
}

impl Api {
    /// A presigned URL of an outbox object.
    pub(crate) async fn read_url(&self, key: &str, filename: Option<&str>) -> Result<String, Failure> {
        let lifetime: Duration = self.settings.result_url_lifetime;
        Ok(self.bounded(self.ledger.outbox.presign_get(key, lifetime, filename)).await?.url)
    }
}

/// What a browser saves the result as: `cat.jpg` becomes `cat.png`.
pub(crate) fn result_filename(ticket: &Ticket, extension: &str) -> String {
    let name = match &ticket.input {
        Input::Inline(_) => None,
        Input::Upload { filename, .. } => Some(filename.as_str()),
        Input::Drop { path, .. } => path.rsplit('/').next(),
    };
    let stem = name.map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem)).filter(|stem| !stem.is_empty());
    match stem {
        Some(stem) => format!("{stem}.{extension}"),
        None => format!("{}.{extension}", ticket.job),
    }
}

/// `Location` of a job.
pub(crate) fn location(job: JobId) -> (HeaderName, HeaderValue) {
    let path = HeaderValue::from_str(&format!("/jobs/{job}")).expect("an id is base32");
    (header::LOCATION, path)
}

fn to_json(job: &Job) -> String {
    serde_json::to_string(job).expect("a job is JSON")
}
