//! `GET` and `DELETE /jobs/{id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use job::{Code, Ending, JobId, Ticket};
use ledger::{Once, Sight};

use crate::Api;
use crate::accept::ended;
use crate::caller::Caller;
use crate::extract::{JobPath, Wait, none_match};
use crate::problem::Failure;
use crate::view::Job;
use crate::wait::for_outcome;

/// Shows a job.
///
/// With `wait`, answers as soon as the job has ended, or after that many seconds. With `If-None-Match`, answers 304 if
/// nothing has changed.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id."),
        ("wait" = Option<u64>, Query, format = "seconds", minimum = 0, description = "Seconds to wait for the job to end; more than the server's limit waits that long."),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer."),
    ),
    responses(
        (status = 200, description = "The job.", body = Job, headers(
            ("ETag" = String, description = "Changes when anything but the signatures of URLs does, and before those expire."),
            ("Retry-After" = u64, description = "Seconds until it is worth asking again; absent once the job has ended."))),
        (status = 304, description = "Nothing has changed."),
    ),
)]
pub(crate) async fn show_job(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JobPath(id): JobPath,
    Wait(wait): Wait,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let ticket = api.ticket(&caller, id).await?;
    let sight = look(&api, &ticket, wait.min(api.settings.max_wait)).await?;
    let (job, etag) = Job::signed(&api, &ticket, &sight, None).await?;
    let response = job.respond(StatusCode::OK, &etag, api.ledger.clock.now());
    if none_match(&headers, &etag) {
        let mut headers = response.into_parts().0.headers;
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok(response)
}

/// A look at the job, at once or when it has ended or `wait` is over.
async fn look(api: &Api, ticket: &Ticket, wait: Duration) -> Result<Sight, Failure> {
    let sight = api.bounded(api.ledger.look(ticket)).await?;
    if sight.state.is_terminal() || wait.is_zero() {
        return Ok(sight);
    }
    match for_outcome(api, ticket.job, wait).await? {
        Some(outcome) => Ok(ended(outcome)),
        None => api.bounded(api.ledger.look(ticket)).await,
    }
}

/// Cancels a job.
///
/// A running attempt notices within a second and stops; whatever it still makes is not kept.
#[utoipa::path(
    delete,
    path = "/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "The job, cancelled.", body = Job)),
)]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Failure> {
    let ticket = api.ticket(&caller, id).await?;
    match api.bounded(api.ledger.end(id, Ending::Cancelled)).await? {
        Once::Written => {
            api.metrics.cancelled(&ticket);
            let sight = Sight { state: Ending::Cancelled.state(), outcome: None, progress: None, uploaded: None };
            let (job, etag) = Job::signed(&api, &ticket, &sight, None).await?;
            Ok(job.respond(StatusCode::OK, &etag, api.ledger.clock.now()))
        }
        Once::There(outcome) => {
            let detail = format!("the job has already {}", has_ended(&outcome.ending));
            Err(Failure::new(Code::AlreadyFinished, detail))
        }
    }
}

/// How a job has ended, after "has".
fn has_ended(ending: &Ending) -> &'static str {
    match ending {
        Ending::Succeeded { .. } => "succeeded",
        Ending::Failed { .. } => "failed",
        Ending::Cancelled => "been cancelled",
        Ending::Expired { .. } => "expired",
    }
}

impl Api {
    /// The ticket of a job of the caller's; one failure for every reason why there is none (J7).
    pub(crate) async fn ticket(&self, caller: &Caller, job: JobId) -> Result<Ticket, Failure> {
        tracing::Span::current().record("job", tracing::field::display(job));
        self.bounded(self.ledger.ticket(job))
            .await?
            .filter(|ticket| ticket.tenant == caller.tenant)
            .ok_or_else(Failure::job_not_found)
    }
}
