//! `GET /jobs/{id}/result`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use job::{Code, Ending, StoredResult};

use crate::Api;
use crate::caller::Caller;
use crate::extract::JobPath;
use crate::problem::Failure;
use crate::view::result_filename;

/// Gives the result of a job.
///
/// A small one itself; a large one by a redirect to where it can be read for a while. A client that sends its
/// `Authorization` on to the redirect's target is refused there: it reads `result.url` of the job instead.
#[utoipa::path(
    get,
    path = "/jobs/{id}/result",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses(
        (status = 200, description = "The answer itself.", body = serde_json::Value),
        (status = 303, description = "Where the answer is.", headers(("Location" = String, description = "Presigned."))),
    ),
)]
pub(crate) async fn result(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JobPath(id): JobPath,
) -> Result<Response, Failure> {
    let ticket = api.ticket(&caller, id).await?;
    let sight = api.bounded(api.ledger.look(&ticket)).await?;
    let Some(outcome) = sight.outcome else {
        return Err(Failure::new(Code::NoResultYet, format!("the job is {}", sight.state)));
    };
    let why = match outcome.ending {
        Ending::Succeeded { result: StoredResult::Inline(value) } => {
            let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Ok(([json], String::from(Box::<str>::from(value))).into_response());
        }
        Ending::Succeeded { result: StoredResult::Object { key, extension, .. } } => {
            let url = api.read_url(&key, Some(&result_filename(&ticket, &extension))).await?;
            let url = HeaderValue::from_str(&url)
                .map_err(|_| Failure::new(Code::Internal, "the result's address cannot be sent"))?;
            return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response());
        }
        Ending::Failed { error } => format!("the job failed: {error}"),
        Ending::Expired { error } => format!("the job expired: {error}"),
        Ending::Cancelled => "the job was cancelled".to_owned(),
    };
    Err(Failure::new(Code::NoResult, why))
}
