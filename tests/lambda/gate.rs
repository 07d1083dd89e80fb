//! What stands between a function and the local cloud: it passes on what the function's role may do, and writes it down.
//!
//! The local cloud knows one pair of keys, so each function has a gate of its own, and a presigned URL, which names the gate that its
//! signer was told of, counts for its signer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::permissions::{Call, Policy, Record};
use crate::template::{ACCOUNT, REGION};

/// A gate, open until it is dropped.
pub struct Gate {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    function: String,
    policy: Policy,
    record: Record,
    refused: Mutex<Vec<Call>>,
    s3: String,
    sqs: String,
    http: reqwest::Client,
}

impl Gate {
    /// A gate for a function to the S3 and SQS at these addresses.
    pub async fn open(function: &str, policy: Policy, record: Record, s3: String, sqs: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let shared = Shared { function: function.to_owned(), policy, record, refused: Mutex::default(), s3, sqs, http };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Self { address, shared, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the function tried and its role may not do.
    pub fn refused(&self) -> Vec<Call> {
        self.shared.refused.lock().expect("no panic").clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn allows(&self, call: Call) -> bool {
        let allowed = self.policy.allows(&call);
        if allowed {
            self.record.add(&self.function, call);
        } else {
            self.refused.lock().expect("no panic").push(call);
        }
        allowed
    }
}

async fn pass(State(gate): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let path = parts.uri.path();
    let is_sqs = parts.headers.contains_key("x-amz-target");
    let calls =
        if is_sqs { vec![sqs_call(&parts.headers, &body)] } else { s3_calls(&parts.method, path, &parts.headers) };
    for call in calls {
        if !gate.allows(call) {
            return denied();
        }
    }
    let to = if is_sqs { &gate.sqs } else { &gate.s3 };
    let target = parts.uri.path_and_query().expect("a path").as_str();
    let mut headers = parts.headers;
    // Both are of this connection; the client writes its own. `Host` stays: it is signed.
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    let sent =
        gate.http.request(parts.method.clone(), format!("{to}{target}")).headers(headers).body(body).send().await;
    // When a case ends, its local cloud may go before its functions.
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    // Whoever reads what is not there is told so only with this permission.
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    if answer.status() == StatusCode::NOT_FOUND && reads && !is_sqs && !gate.allows(list(path)) {
        return denied();
    }
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().expect("headers") = answer.headers().clone();
    response.headers_mut().expect("headers").remove(header::TRANSFER_ENCODING);
    let body = answer.bytes().await.expect("a body");
    response.body(Body::from(body)).expect("a response")
}

fn denied() -> Response {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

/// `X-Amz-Target: AmazonSQS.SendMessage`, and the queue's URL in the body.
fn sqs_call(headers: &HeaderMap, body: &Bytes) -> Call {
    let target = headers["x-amz-target"].to_str().expect("a text");
    let operation = target.strip_prefix("AmazonSQS.").expect("an operation of SQS");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let queue = body["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()).expect("a queue");
    Call { action: format!("sqs:{operation}"), resource: format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}") }
}

/// What IAM asks for, by method and path. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn s3_calls(method: &Method, path: &str, headers: &HeaderMap) -> Vec<Call> {
    let decoded = percent_encoding::percent_decode_str(path.trim_start_matches('/')).decode_utf8().expect("UTF-8");
    let resource = format!("arn:aws:s3:::{decoded}");
    let is_object = decoded.split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let call = |action: &str| Call { action: action.to_owned(), resource: resource.clone() };
    if !is_object {
        return if method == Method::GET { vec![list(path)] } else { vec![call(&format!("{method} of a bucket"))] };
    }
    match *method {
        Method::GET | Method::HEAD => vec![call("s3:GetObject")],
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        Method::PUT if headers.contains_key(header::IF_MATCH) => vec![call("s3:PutObject"), call("s3:GetObject")],
        Method::PUT => vec![call("s3:PutObject")],
        Method::DELETE => vec![call("s3:DeleteObject")],
        _ => vec![call(&format!("{method} of an object"))],
    }
}

fn list(path: &str) -> Call {
    let bucket = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Call { action: "s3:ListBucket".to_owned(), resource: format!("arn:aws:s3:::{bucket}") }
}
