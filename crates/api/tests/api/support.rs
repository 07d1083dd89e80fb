//! A world to call: the router, what it stands on, and ways to break that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use api::{Api, Settings};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::queue::{Message, MessageId, Queue, QueueError, ReceiptHandle};
use cloud::{
    Clock, Entropy, GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions,
    SeededEntropy, StoreError,
};
use http_body_util::BodyExt;
use job::documents::V1;
use job::{AttemptId, Code, Ending, JobId, Outcome, Problem, Progress, StoredResult, Ticket, layout};
use ledger::Ledger;
use registry::Registry;
use serde_json::Value;
use serde_json::value::RawValue;
use tower::ServiceExt;

/// A row that the model `table` takes.
pub const ROW: &str = r#"[{"a":1.5,"b":2}]"#;

pub struct World {
    pub app: Router,
    pub ledger: Ledger,
    pub outbox: Arc<Faulty>,
    pub queue: Arc<MemoryQueue>,
    pub queue_down: Arc<AtomicBool>,
    pub models: tempfile::TempDir,
}

impl World {
    /// Within a runtime whose clock is paused.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at("2026-11-20T12:00:00Z".parse().unwrap()));
        let memory = |name: &str| Arc::new(MemoryObjectStore::new(name, clock.clone()));
        let outbox =
            Arc::new(Faulty { inner: memory("outbox"), mode: AtomicUsize::new(0), calls: AtomicUsize::new(0) });
        let queue = Arc::new(MemoryQueue::new(QueueConfig::default(), clock.clone(), None));
        let queue_down = Arc::new(AtomicBool::new(false));
        let sender = Arc::new(FaultyQueue { inner: queue.clone(), down: queue_down.clone() });
        let ledger =
            Ledger::new(memory("inbox"), outbox.clone(), sender, clock.clone(), Arc::new(SeededEntropy::new(7)));
        let models = tempfile::tempdir().unwrap();
        publish(models.path(), "table", "1", "");
        let registry = Arc::new(Registry::directory(models.path()));
        let app = api::router(Api::new(ledger.clone(), registry, settings));
        Self { app, ledger, outbox, queue, queue_down, models }
    }

    /// Sends a request. Any problem it is answered with must be one that the document lists for the call.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().as_str().to_ascii_lowercase(), request.uri().path().to_owned());
        let answer = Answer::read(self.app.clone().oneshot(request).await.unwrap()).await;
        check_documented(&method, &path, &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn get_with(&self, path: &str, header: (&str, &str)) -> Answer {
        self.send(Request::get(path).header(header.0, header.1).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Submits an inline job and returns its id.
    pub async fn inline(&self) -> JobId {
        let answer = self.post("/jobs", format!(r#"{{"model":"table","input":{ROW}}}"#), &[]).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer}");
        answer.id()
    }

    /// Asks for an upload and returns the job's id.
    pub async fn upload(&self) -> JobId {
        let body = r#"{"model":"table","upload":{"filename":"rows.json","size_bytes":17}}"#;
        let answer = self.post("/jobs", body, &[]).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer}");
        answer.id()
    }

    /// Does the upload.
    pub async fn put_input(&self, job: JobId, body: &'static str) {
        let key = layout::upload_key(job, "rows.json");
        self.ledger.inbox.put(&key, Bytes::from_static(body.as_bytes()), PutOptions::default()).await.unwrap();
    }

    /// Ends a job as its worker would.
    pub async fn end(&self, job: JobId, ending: Ending) {
        let outcome = Outcome {
            job,
            writer: attempt(),
            at: self.ledger.clock.now(),
            started_at: Some(self.ledger.clock.now()),
            infer_ms: Some(1.25),
            ending,
        };
        self.ledger.commit(&outcome).await.unwrap();
    }

    /// Reports progress as a worker would.
    pub async fn progress(&self, job: JobId, failures: u32, last_error: Option<Problem>) {
        let now = self.ledger.clock.now();
        let attempt = attempt();
        let progress =
            Progress { v: V1, attempt, started_at: now, beat_at: now, done: 3, total: Some(10), failures, last_error };
        self.ledger.write_progress(job, &progress, None).await.unwrap().unwrap();
    }

    /// How many messages were sent.
    pub fn sent(&self) -> usize {
        let depth = self.queue.depth();
        depth.visible + depth.in_flight + depth.delayed
    }

    /// The latest message's body, received as a worker would.
    pub async fn queue_message(&self) -> String {
        let messages = self.queue.receive(10, Duration::ZERO, None).await.unwrap();
        messages.last().unwrap().body.clone()
    }

    pub async fn ticket(&self, job: JobId) -> Ticket {
        self.ledger.ticket(job).await.unwrap().unwrap()
    }

    /// How many jobs have a ticket.
    pub async fn tickets(&self) -> usize {
        let listing = self.outbox.inner.list(layout::JOBS, None, 1000).await.unwrap();
        listing.objects.iter().filter(|object| layout::ticket_of(&object.key).is_some()).count()
    }
}

fn attempt() -> AttemptId {
    AttemptId::from_random([0xab; 8])
}

pub fn inline_result() -> Ending {
    // More digits than an f64 needs: the text must come back as it was stored.
    let value = RawValue::from_string("[6.5739140510559080, 4.869720935821533]".into()).unwrap();
    Ending::Succeeded { result: StoredResult::Inline(value) }
}

pub fn large_result(job: JobId) -> Ending {
    Ending::Succeeded {
        result: StoredResult::Object {
            key: layout::result_key(job, attempt(), "result.png"),
            size_bytes: 123_456,
            sha256: job::Sha256::of(b"png"),
            content_type: "image/png".into(),
            extension: "png".into(),
        },
    }
}

pub fn failed() -> Ending {
    Ending::Failed { error: Problem::new(Code::TimedOut, "it took 61 s of 60 s") }
}

/// Publishes a model of two columns; `extra` goes before `[files]`.
pub fn publish(root: &Path, name: &str, version: &str, extra: &str) {
    let folder = root.join(name).join(version);
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = format!(
        r#"
format = 1
name = "{name}"
version = "{version}"
title = "A table model"
description = "For tests."
licence = "CC0-1.0"
engine = {{ format = "xgboost", file = "model.ubj" }}
input = {{ kind = "table", columns = [{{ name = "a" }}, {{ name = "b", type = "integer", min = 0.0, max = 9.0 }}] }}
output = {{ kind = "number", description = "What it is." }}
{extra}
[params.round]
type = "boolean"
default = false
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#
    );
    std::fs::write(folder.join("model.toml"), manifest).unwrap();
    std::fs::write(folder.join("model.ubj"), "").unwrap();
}

/// A whole answer, printed as it came, the JSON indented.
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let mut headers: Vec<(String, String)> =
            parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        headers.sort();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> JobId {
        self.json()["id"].as_str().unwrap().parse().unwrap()
    }

    /// `422 invalid_input: the detail`
    pub fn fault(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        let json = self.json();
        assert_eq!(json["status"].as_u64(), Some(self.status.as_u16().into()));
        format!("{} {}: {}", self.status.as_u16(), json["code"].as_str().unwrap(), json["detail"].as_str().unwrap())
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        // The same on every answer, and tested once.
        let common = [
            "content-length",
            "vary",
            "access-control-allow-origin",
            "access-control-expose-headers",
            "cache-control",
            "content-security-policy",
            "referrer-policy",
            "x-content-type-options",
            "x-frame-options",
        ];
        for (name, value) in self.headers.iter().filter(|(name, _)| !common.contains(&name.as_str())) {
            writeln!(f, "{name}: {value}")?;
        }
        let json = serde_json::from_str::<Value>(&self.body).and_then(|json| serde_json::to_string_pretty(&json));
        write!(f, "\n{}", json.as_deref().unwrap_or(&self.body))
    }
}

fn check_documented(method: &str, path: &str, answer: &Answer) {
    if answer.header("content-type") != Some("application/problem+json") {
        return;
    }
    let (code, status) = (answer.json()["code"].as_str().unwrap().to_owned(), answer.status.as_u16().to_string());
    let document = serde_json::to_value(api::document()).unwrap();
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t == p || t.starts_with('{'))
    };
    let paths = document["paths"].as_object().unwrap();
    let Some(operation) = paths.iter().find(|(t, _)| matches(t)).and_then(|(_, item)| item.get(method)) else {
        assert!(["not_found", "method_not_allowed"].contains(&code.as_str()), "{method} {path}: {code}");
        return;
    };
    let examples = &operation["responses"][status]["content"]["application/problem+json"]["examples"];
    assert!(examples.get(&code).is_some(), "{method} {path} answers {code}, which the document does not list");
}

/// An object store that counts its calls and fails them when told to.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<MemoryObjectStore>,
    mode: AtomicUsize,
    pub calls: AtomicUsize,
}

impl Faulty {
    /// Every call fails from now on.
    pub fn go_down(&self) {
        self.mode.store(1, Ordering::SeqCst);
    }

    /// Every call hangs from now on.
    pub fn hang(&self) {
        self.mode.store(2, Ordering::SeqCst);
    }

    /// Every call panics from now on.
    pub fn panic(&self) {
        self.mode.store(3, Ordering::SeqCst);
    }

    async fn call(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.mode.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(StoreError::Unavailable("secret-host refused".into())),
            2 => std::future::pending().await,
            _ => panic!("secret-host is on fire"),
        }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<job::ETag, StoreError> {
        self.call().await?;
        self.inner.put(key, body, options).await
    }
    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        self.call().await?;
        self.inner.get(key, options).await
    }
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.call().await?;
        self.inner.head(key).await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call().await?;
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        self.call().await?;
        self.inner.list(prefix, after, max).await
    }
    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_put(key, put).await
    }
    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_get(key, expires_in, filename).await
    }
}

/// A queue whose sends fail when told to.
#[derive(Debug)]
struct FaultyQueue {
    inner: Arc<MemoryQueue>,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable("no queue".into()));
        }
        self.inner.send(body, group, delay).await
    }
    async fn receive(&self, max: usize, wait: Duration, v: Option<Duration>) -> Result<Vec<Message>, QueueError> {
        self.inner.receive(max, wait, v).await
    }
    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        self.inner.delete(receipt).await
    }
    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        self.inner.change_visibility(receipt, timeout).await
    }
}

/// The ids that are nobody's.
pub fn nobodys() -> String {
    SeededEntropy::new(99).job_id().to_string()
}
