//! `POST /jobs/{id}/retry`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use cloud::{ObjectMeta, StoreError};
use job::{Code, Input, ModelName};

use crate::Api;
use crate::accept::{Claim, answer};
use crate::caller::Caller;
use crate::extract::{JobPath, unknown_model};
use crate::problem::Failure;
use crate::request::MAX_BODY_BYTES;
use crate::submit::{check_inline, check_params, check_size};
use crate::view::Job;

/// Runs a job again.
///
/// Makes a new job over the same input and parameters, on the version of the model that is served now. Only a job that has
/// ended can be run again.
#[utoipa::path(
    post,
    path = "/jobs/{id}/retry",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id."),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
            description = "As for `POST /jobs`."),
        ("Prefer" = Option<String>, Header, description = "As for `POST /jobs`."),
    ),
    responses(
        (status = 200, description = "The new job has ended already.", body = Job),
        (status = 202, description = "The new job is queued.", body = Job, headers(
            ("Location" = String, description = "The new job's address."),
            ("Retry-After" = u64, description = "Seconds until it is worth asking."))),
    ),
)]
pub(crate) async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    // The old job's inline input is as large as a body.
    let _room = api.room.bytes(MAX_BODY_BYTES)?;
    let old = api.ticket(&caller, id).await?;
    let claim = Claim::new(&api, &caller, &headers, &format!("POST /jobs/{id}/retry"), b"")?;
    if let Some(ticket) = claim.earlier(&api).await? {
        return answer(&api, &headers, ticket, false).await;
    }
    let sight = api.bounded(api.ledger.look(&old)).await?;
    if !sight.state.is_terminal() {
        return Err(Failure::new(Code::NotFinished, format!("the job is {}; cancel it first, or wait", sight.state)));
    }
    let name: ModelName = old.model.parse().map_err(|_| unknown_model(&old.model))?;
    let model = api.model(&name).await?;
    // The served version may want other things than the one that the first job was accepted with.
    let params = check_params(&model, Some(old.params))?;
    let input = match old.input {
        Input::Inline(input) => {
            check_inline(&model, &input)?;
            Input::Inline(input)
        }
        Input::Upload { key, filename, content_type, size_bytes, sha256, etag } => {
            let there = api.input(&key).await?;
            if etag.is_some_and(|etag| etag != there.etag) {
                return Err(gone());
            }
            check_size(&model, there.size_bytes, u64::MAX)?;
            Input::Upload { key, filename, content_type, size_bytes, sha256, etag: Some(there.etag) }
        }
        Input::Drop { key, path, etag, size_bytes, content_type, last_modified } => {
            if api.input(&key).await?.etag != etag {
                return Err(gone());
            }
            check_size(&model, size_bytes, u64::MAX)?;
            Input::Drop { key, path, etag, size_bytes, content_type, last_modified }
        }
    };
    let mut ticket = claim.ticket(&api, &model, params, input);
    ticket.retry_of = Some(id);
    let (ticket, written) = claim.accept(&api, ticket).await?;
    answer(&api, &headers, ticket, written).await
}

impl Api {
    /// The stored input of an earlier job.
    async fn input(&self, key: &str) -> Result<ObjectMeta, Failure> {
        let head = async {
            match self.ledger.inbox.head(key).await {
                Ok(meta) => Ok(meta),
                Err(StoreError::NotFound) => Err(gone()),
                Err(error) => Err(error.into()),
            }
        };
        self.bounded(head).await
    }
}

fn gone() -> Failure {
    Failure::new(Code::InputGone, "the job has no stored input to run again; submit it anew")
}
