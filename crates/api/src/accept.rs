//! What `POST /jobs` and `POST /jobs/{id}/retry` share: one ticket for one key, and the answer that a ticket deserves.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use cloud::PresignPut;
use jiff::Timestamp;
use job::documents::V1;
use job::{Code, Input, JobId, Limits, Outcome, Sha256, State, Tenant, Ticket, TraceParent};
use ledger::{Once, Sight};
use registry::Published;
use serde_json::value::RawValue;

use crate::Api;
use crate::caller::Caller;
use crate::extract::{IdempotencyKey, prefer_wait};
use crate::problem::Failure;
use crate::view::{Job, Upload, location};

/// Which job a `POST` is about: a new one, or the one that its `Idempotency-Key` names.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) job: JobId,
    tenant: Tenant,
    /// Of the request; only with a key.
    digest: Option<Sha256>,
    trace: Option<TraceParent>,
}

impl Claim {
    /// The claim of a request, which is its call (`POST /jobs`, say) and its body.
    pub(crate) fn new(
        api: &Api,
        caller: &Caller,
        headers: &HeaderMap,
        call: &str,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let (tenant, trace) = (caller.tenant.clone(), caller.trace);
        let claim = match IdempotencyKey::from_headers(headers)? {
            Some(IdempotencyKey(key)) => Self {
                job: JobId::for_idempotency_key(&tenant, &key),
                digest: Some(Sha256::of(&[call.as_bytes(), b"\n", body].concat())),
                tenant,
                trace,
            },
            None => Self { job: api.ledger.entropy.job_id(), digest: None, tenant, trace },
        };
        tracing::Span::current().record("job", tracing::field::display(claim.job));
        Ok(claim)
    }

    /// The job that an earlier request made under the same key. It is looked for before the request is judged, because
    /// the model may have changed since.
    pub(crate) async fn earlier(&self, api: &Api) -> Result<Option<Ticket>, Failure> {
        if self.digest.is_none() {
            return Ok(None);
        }
        // In this order: a ticket that is not there after an outcome was seen is there no more. Storage clears a job's
        // records away one by one, and a new job under the id would have the old one's answer.
        let outcome = api.bounded(api.ledger.outcome(self.job)).await?;
        match api.bounded(api.ledger.ticket(self.job)).await? {
            Some(ticket) => self.check(api, ticket).map(Some),
            None if outcome.is_some() => Err(spent()),
            None => Ok(None),
        }
    }

    /// Writes the ticket; the ticket that then stands, and whether it is this one.
    pub(crate) async fn accept(&self, api: &Api, ticket: Ticket) -> Result<(Ticket, bool), Failure> {
        match api.bounded(api.ledger.accept(&ticket)).await? {
            Once::Written => {
                let input = input_kind(&ticket.input);
                api.metrics.accepted(&ticket.model, input);
                tracing::info!(model = ticket.model, input, "job accepted");
                Ok((ticket, true))
            }
            Once::There(other) => Ok((self.check(api, other)?, false)),
        }
    }

    fn check(&self, api: &Api, ticket: Ticket) -> Result<Ticket, Failure> {
        if ticket.request_digest != self.digest || ticket.tenant != self.tenant {
            let why = "the request differs from the one that this Idempotency-Key was first used for";
            Err(Failure::new(Code::IdempotencyKeyReused, why))
        } else if !api.ledger.is_retained(&ticket) {
            Err(spent())
        } else {
            Ok(ticket)
        }
    }

    /// The ticket of a new job for this version of a model.
    pub(crate) fn ticket(&self, api: &Api, model: &Published, params: Box<RawValue>, input: Input) -> Ticket {
        let now = api.ledger.clock.now();
        let settings = &api.settings;
        let upload_deadline = match &input {
            Input::Upload { etag: None, .. } => {
                Some(later(later(now, settings.upload_url_lifetime), settings.upload_grace))
            }
            Input::Inline(_) | Input::Upload { etag: Some(_), .. } | Input::Drop { .. } => None,
        };
        Ticket {
            v: V1,
            job: self.job,
            tenant: self.tenant.clone(),
            model: model.name.to_string(),
            version: Some(model.version.clone()),
            model_digest: Some(model.digest),
            params,
            input,
            limits: Limits {
                max_input_bytes: model.manifest.limits.max_input_bytes,
                max_seconds: model.manifest.limits.max_seconds,
            },
            created_at: now,
            upload_deadline,
            // An upload of the last minute has as long in the queue as any other.
            queue_deadline: later(upload_deadline.unwrap_or(now), settings.queue_deadline),
            retained_until: later(now, settings.retention),
            retry_of: None,
            request_digest: self.digest,
            trace: self.trace,
        }
    }
}

fn spent() -> Failure {
    let why = "the job that this Idempotency-Key was first used for is past its retention; use another key";
    Failure::new(Code::IdempotencyKeyReused, why)
}

/// The answer to a `POST` whose job has this ticket, new (`written`) or not.
pub(crate) async fn answer(api: &Api, headers: &HeaderMap, ticket: Ticket, written: bool) -> Result<Response, Failure> {
    let mut sight = if written { first_sight(&ticket) } else { api.bounded(api.ledger.look(&ticket)).await? };
    if sight.state == State::AwaitingUpload {
        return awaiting(api, &ticket, &sight).await;
    }
    if sight.state == State::Queued {
        send(api, &ticket, &sight).await;
    }
    let wait = prefer_wait(headers).map(|wait| wait.min(api.settings.max_prefer_wait));
    if let Some(wait) = wait.filter(|_| !sight.state.is_terminal()) {
        match crate::wait::for_outcome(api, ticket.job, wait).await {
            Ok(Some(outcome)) => sight = ended(outcome),
            Ok(None) => {}
            // The job is accepted whatever becomes of the waiting.
            Err(failure) => failure.log("waiting for a job's outcome failed"),
        }
    }
    let (job, etag) = Job::signed(api, &ticket, &sight, None).await?;
    let status = if job.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = job.respond(status, &etag, api.ledger.clock.now());
    response.headers_mut().extend([location(ticket.job)]);
    if let Some(wait) = wait {
        let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs())).expect("a number is a header value");
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}

/// 201: the input is still to be uploaded, and here is how.
async fn awaiting(api: &Api, ticket: &Ticket, sight: &Sight) -> Result<Response, Failure> {
    let now = api.ledger.clock.now();
    let upload = match &ticket.input {
        Input::Upload { key, content_type, size_bytes, sha256, .. } => {
            // A URL signed anew must not outlive the time until which an upload counts.
            let left = ticket.upload_deadline.map(|deadline| deadline.duration_since(now).as_secs().max(1));
            let left = left.map_or(Duration::MAX, |seconds| Duration::from_secs(seconds.unsigned_abs()));
            let expires_in = api.settings.upload_url_lifetime.min(left);
            let put =
                PresignPut { size_bytes: *size_bytes, content_type: content_type.clone(), sha256: *sha256, expires_in };
            let request = api.bounded(api.ledger.inbox.presign_put(key, put)).await?;
            Some(Upload::new(request, later(now, expires_in)))
        }
        Input::Inline(_) | Input::Drop { .. } => None,
    };
    let (job, etag) = Job::signed(api, ticket, sight, upload).await?;
    let mut response = job.respond(StatusCode::CREATED, &etag, now);
    response.headers_mut().extend([location(ticket.job)]);
    response.headers_mut().remove(header::RETRY_AFTER);
    Ok(response)
}

/// Sends the job's message. It is accepted even if that fails: whoever looks at it in a minute sends it again (J2).
async fn send(api: &Api, ticket: &Ticket, sight: &Sight) {
    let etag = match &ticket.input {
        Input::Upload { etag: Some(etag), .. } => Some(etag.clone()),
        Input::Upload { etag: None, .. } => sight.uploaded.clone(),
        Input::Inline(_) | Input::Drop { .. } => None,
    };
    if let Err(failure) = api.bounded(api.ledger.enqueue(ticket, etag, Duration::ZERO)).await {
        failure.log("an accepted job's message could not be sent; it is sent again later");
    }
}

/// What a look at a ticket just written would show.
fn first_sight(ticket: &Ticket) -> Sight {
    let state = match &ticket.input {
        Input::Upload { etag: None, .. } => State::AwaitingUpload,
        Input::Inline(_) | Input::Upload { etag: Some(_), .. } | Input::Drop { .. } => State::Queued,
    };
    Sight { state, outcome: None, progress: None, uploaded: None }
}

/// What a look at a job with this outcome would show.
pub(crate) fn ended(outcome: Outcome) -> Sight {
    Sight { state: outcome.ending.state(), outcome: Some(outcome), progress: None, uploaded: None }
}

fn input_kind(input: &Input) -> &'static str {
    match input {
        Input::Inline(_) => "inline",
        Input::Upload { .. } => "upload",
        Input::Drop { .. } => "drop",
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
