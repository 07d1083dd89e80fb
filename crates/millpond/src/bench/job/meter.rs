//! What stands between a function and the local cloud: it counts requests as AWS bills them, and takes as long as one is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// More than any object of a bench.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Requests, as S3 and SQS price them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// PUT and LIST.
    pub writes: u64,
    /// GET and HEAD.
    pub reads: u64,
    /// Which are free.
    pub deletes: u64,
    /// Anything that is asked of SQS.
    pub queue: u64,
}

impl Requests {
    /// By the job, of which there were so many.
    pub fn json(&self, jobs: u64) -> Value {
        let each = |count: u64| count as f64 / jobs as f64;
        json!({
            "s3_writes": each(self.writes),
            "s3_reads": each(self.reads),
            "s3_deletes": each(self.deletes),
            "sqs": each(self.queue),
        })
    }
}

/// A meter, open until it is dropped.
pub struct Meter {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    s3: String,
    sqs: String,
    latency: Duration,
    http: reqwest::Client,
    counts: Mutex<Requests>,
}

impl Meter {
    pub async fn open(s3: String, sqs: String, latency: Duration) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let shared = Arc::new(Shared { s3, sqs, latency, http, counts: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { address, shared, serving })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was counted since it was asked last.
    pub fn take(&self) -> Requests {
        std::mem::take(&mut *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(meter): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let is_sqs = parts.headers.contains_key("x-amz-target");
    let is_object = parts.uri.path().trim_matches('/').contains('/');
    {
        let mut counts = meter.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match parts.method {
            _ if is_sqs => counts.queue += 1,
            Method::GET if !is_object => counts.writes += 1,
            Method::GET | Method::HEAD => counts.reads += 1,
            Method::DELETE => counts.deletes += 1,
            _ => counts.writes += 1,
        }
    }
    tokio::time::sleep(meter.latency).await;
    let to = if is_sqs { &meter.sqs } else { &meter.s3 };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut headers = parts.headers;
    // Both are of this connection; the client writes its own. `Host` stays: it is signed.
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    let request = meter.http.request(parts.method, format!("{to}{target}")).headers(headers).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    *response.body_mut() = Body::from(body);
    response
}
