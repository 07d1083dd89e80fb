//! `GET /healthz`, `/readyz` and `/metrics`: for whoever runs the service.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cloud::StoreError;
use job::Code;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::caller::Operator;
use crate::problem::Failure;

/// Probes ask every few seconds and give up soon themselves.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// Says that the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(crate) async fn alive() -> Json<Health> {
    OK
}

/// Says whether jobs can be accepted: the storage and the model registry answer.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses((status = 200, description = "They can.", body = Health)),
)]
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Health>, Failure> {
    let outbox = tokio::time::timeout(READY_TIMEOUT, api.ledger.outbox.head("readyz"));
    let registry = tokio::time::timeout(READY_TIMEOUT, api.registry.names());
    let (outbox, registry) = tokio::join!(outbox, registry);
    let mut faults = Vec::new();
    // There is no such object, and that is an answer.
    if !matches!(outbox, Ok(Ok(_) | Err(StoreError::NotFound))) {
        faults.push("the storage");
    }
    if !matches!(registry, Ok(Ok(_))) {
        faults.push("the model registry");
    }
    if faults.is_empty() {
        return Ok(OK);
    }
    Err(Failure::new(Code::Unavailable, format!("no answer from {}", faults.join(" and "))))
}

/// Gives the metrics of this process, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "Requests, jobs, and whatever else this process does.", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>, _: Operator) -> Response {
    let kind = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([kind], api.metrics.encode()).into_response()
}
