//! The SQS side: AWS's JSON 1.0 protocol over HTTP.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html>

mod actions;
mod attributes;
mod auth;
mod batch;
mod error;
mod md5;
mod message;
mod receive;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use s3s::Body;
use tokio_util::sync::CancellationToken;

pub(crate) use auth::Keys;
use error::SqsError;

use crate::events::ACCOUNT;
use crate::server::Handler;
use crate::store::Store;

/// The largest request: ten messages of together 1 MiB, escaped as JSON.
const REQUEST_MAX_BYTES: usize = 8 << 20;
/// How long a request may take to come.
const REQUEST_MAX_TIME: Duration = Duration::from_secs(60);

/// Answers the SQS endpoint's requests.
pub(crate) struct SqsHandler {
    store: Arc<Store>,
    keys: Keys,
    endpoint: String,
    stop: CancellationToken,
}

/// What an action works with.
struct Context<'a> {
    store: &'a Store,
    endpoint: &'a str,
    stop: &'a CancellationToken,
}

/// The URL of a queue.
pub(crate) fn queue_url(endpoint: &str, queue: &str) -> String {
    format!("{endpoint}/{ACCOUNT}/{queue}")
}

impl SqsHandler {
    pub(crate) fn new(store: Arc<Store>, keys: Keys, endpoint: String, stop: CancellationToken) -> Self {
        Self { store, keys, endpoint, stop }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<serde_json::Value, SqsError> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(SqsError::unknown_operation("only POST is understood"));
        }
        let body = tokio::time::timeout(REQUEST_MAX_TIME, Limited::new(body, REQUEST_MAX_BYTES).collect()).await;
        let body = body.map_err(|_| SqsError::invalid_value("the request did not come in time"))?;
        let body = body.map_err(|_| SqsError::invalid_value("the request cannot be read, or is too long"))?.to_bytes();
        auth::verify(&parts, &body, &self.keys, &self.store.region, crate::clock::machine_now())?;
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let action = target
            .and_then(|target| target.strip_prefix("AmazonSQS."))
            .ok_or_else(|| SqsError::unknown_operation("the X-Amz-Target header names no SQS action"))?;
        let context = Context { store: &self.store, endpoint: &self.endpoint, stop: &self.stop };
        actions::dispatch(&context, action, &body).await
    }
}

impl Handler for SqsHandler {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let (status, body, query_error) = match self.answer(request).await {
            Ok(output) => (StatusCode::OK, output.to_string(), None),
            Err(error) => (error.status(), error.body(), error.query_error()),
        };
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amzn-requestid", request_id);
        if let Some(query_error) = query_error {
            response = response.header("x-amzn-query-error", query_error);
        }
        response.body(Body::from(body)).unwrap_or_else(|_| Response::new(Body::empty()))
    }
}
