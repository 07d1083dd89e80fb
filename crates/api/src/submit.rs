//! `POST /jobs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use job::{Code, Input, JobId, ModelName, Problem, layout};
use registry::{Published, input_problem};
use serde_json::value::RawValue;

use crate::Api;
use crate::accept::{Claim, answer};
use crate::caller::Caller;
use crate::extract::unknown_model;
use crate::openapi::SubmitJob;
use crate::problem::Failure;
use crate::request::{Announced, Submission, SubmittedInput, check_content_type, discard, read_body};
use crate::view::Job;

/// Submits a job.
///
/// With `input`, it is queued at once. With `upload`, the answer says where to PUT the file; the job is queued when it is
/// there. The input and the parameters are checked against the model's schema before anything is accepted.
#[utoipa::path(
    post,
    path = "/jobs",
    tag = "jobs",
    request_body(content = SubmitJob, examples(
        ("inline" = (summary = "A small input", value = json!({
            "model": "moons",
            "input": {"data1": 0.5, "data2": -0.2},
        }))),
        ("upload" = (summary = "A file to be uploaded", value = json!({
            "model": "line-art",
            "upload": {"filename": "cat.jpg", "content_type": "image/jpeg", "size_bytes": 482_133},
        }))),
    )),
    params(
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]([ -~]{0,253}[!-~])?$",
            description = "1 to 255 printable ASCII characters. The same request under the same key finds the same job."),
        ("Prefer" = Option<String>, Header, example = "wait=10",
            description = "`wait=N`: answer with the finished job if it ends within N seconds, 25 at most."),
        ("traceparent" = Option<String>, Header, example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            description = "W3C trace context: the operator's log lines about the job have its trace id."),
    ),
    responses(
        (status = 200, description = "The job has ended already.", body = Job),
        (status = 201, description = "Accepted; its input is to be uploaded now.", body = Job,
            headers(("Location" = String, description = "The job's address."))),
        (status = 202, description = "Accepted and queued.", body = Job, headers(
            ("Location" = String, description = "The job's address."),
            ("Retry-After" = u64, description = "Seconds until it is worth asking."))),
    ),
)]
pub(crate) async fn submit(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    check_content_type(&headers)?;
    let _room = match api.room.body(&headers) {
        Ok(room) => room,
        Err(full) => {
            discard(body).await;
            return Err(full);
        }
    };
    let body = read_body(body).await?;
    let claim = Claim::new(&api, &caller, &headers, "POST /jobs", &body)?;
    let submission = Submission::parse(&body)?;
    if let Some(ticket) = claim.earlier(&api).await? {
        return answer(&api, &headers, ticket, false).await;
    }
    let model = api.model(&submission.model).await?;
    let params = check_params(&model, submission.params)?;
    let input = match submission.input {
        SubmittedInput::Inline(input) => {
            check_inline(&model, &input)?;
            Input::Inline(input)
        }
        SubmittedInput::Upload(announced) => upload_input(&api, &model, claim.job, announced)?,
    };
    let (ticket, written) = claim.accept(&api, claim.ticket(&api, &model, params, input)).await?;
    answer(&api, &headers, ticket, written).await
}

impl Api {
    /// The version of a model that new jobs get.
    pub(crate) async fn model(&self, name: &ModelName) -> Result<Arc<Published>, Failure> {
        self.bounded(self.registry.resolve(name)).await?.ok_or_else(|| unknown_model(name.as_str()))
    }
}

/// Checks the params, and returns them as an object's text.
pub(crate) fn check_params(model: &Published, params: Option<Box<RawValue>>) -> Result<Box<RawValue>, Failure> {
    let text = params.as_deref().map_or("{}", RawValue::get);
    model.manifest.read_params(text).map_err(|error| Problem::new(Code::InvalidParams, error.to_string()))?;
    Ok(params.unwrap_or_else(|| RawValue::from_string("{}".to_owned()).expect("an object")))
}

/// Checks an inline input as the worker will.
pub(crate) fn check_inline(model: &Published, input: &RawValue) -> Result<(), Failure> {
    let text = input.get();
    check_size(model, text.len() as u64, u64::MAX)?;
    model.manifest.check_input(text.as_bytes()).map_err(|error| input_problem(&error).into())
}

/// Refuses what is larger than the model, or anything, may take.
pub(crate) fn check_size(model: &Published, size_bytes: u64, max_bytes: u64) -> Result<(), Failure> {
    let max = model.manifest.limits.max_input_bytes.min(max_bytes);
    if size_bytes <= max {
        return Ok(());
    }
    let detail = format!("the input has {size_bytes} bytes; this model takes at most {max}");
    Err(Failure::new(Code::TooLarge, detail))
}

fn upload_input(api: &Api, model: &Published, job: JobId, announced: Announced) -> Result<Input, Failure> {
    let Announced { filename, content_type, size_bytes, sha256 } = announced;
    check_size(model, size_bytes, api.settings.max_upload_bytes)?;
    model.manifest.check_content_type(&content_type).map_err(|error| input_problem(&error))?;
    let key = layout::upload_key(job, &filename);
    Ok(Input::Upload { key, filename, content_type, size_bytes, sha256, etag: None })
}
