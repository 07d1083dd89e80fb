//! Requests to the whole router, over a cloud in memory and a clock that jumps to the next timer.
//!
//! An input is text, so that people can read and write it: requests as HTTP/1.1 has them, without the version, divided by lines
//! of `%%`. `{job}` in a path is the latest job. Two methods are the world's: `UPLOAD` puts its body where the latest job's
//! upload goes, `END` gives that job a result. A first line `keys` makes a service that asks for [`KEY`].

use std::sync::{Arc, LazyLock};

use api::{Access, Api, Settings};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use cloud::clock::{SystemClock, TokioClock};
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::{Clock, ObjectStore, PutOptions, SeededEntropy};
use http_body_util::BodyExt;
use job::{AttemptId, Ending, Input, JobId, Outcome, Sha256, StoredResult, Tenant, layout};
use keys::{ApiKey, Entry, KeyFile, KeyRing, Store};
use ledger::Ledger;
use registry::Registry;
use serde_json::Value;
use tokio::sync::OnceCell;
use tower::ServiceExt;

use super::models::MANIFESTS;

/// The key that the service with keys knows, and where it is kept.
const KEY: &str = "mp_0_fuzz";
const KEYS: &str = "keys.json";
/// More would make a slow input out of a long one.
const MAX_REQUESTS: usize = 8;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(api::document()).expect("the document"));

/// Some requests, one after the other.
pub fn request(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (data, keys) = data.strip_prefix(b"keys\n").map_or((data, false), |rest| (rest, true));
        let mut world = World::new(keys).await;
        for request in divide(data, b"%%\n").take(MAX_REQUESTS) {
            world.play(request).await;
        }
    });
}

/// A bucket of models, whose files are empty, and of keys. Nothing writes there, so one does for all inputs.
async fn models(tenant: &Tenant) -> Arc<MemoryObjectStore> {
    static MODELS: OnceCell<Arc<MemoryObjectStore>> = OnceCell::const_new();
    let fill = async || {
        let store = MemoryObjectStore::new("models", Arc::new(SystemClock));
        for text in MANIFESTS {
            let manifest = bundle::Manifest::parse(text).expect("a manifest");
            let folder = format!("{}/{}", manifest.name, manifest.version);
            store.put(&format!("{folder}/model.toml"), text.into(), PutOptions::default()).await.expect("put");
            for file in manifest.files.keys() {
                store.put(&format!("{folder}/{file}"), Bytes::new(), PutOptions::default()).await.expect("put");
            }
        }
        let mut file = KeyFile::default();
        file.keys.push(Entry::of(&ApiKey::presented(KEY), tenant.clone(), SystemClock.now()));
        store.put(KEYS, file.to_json().into(), PutOptions::default()).await.expect("put");
        Arc::new(store)
    };
    MODELS.get_or_init(fill).await.clone()
}

struct World {
    app: Router,
    ledger: Ledger,
    latest: Option<JobId>,
}

impl World {
    async fn new(keys: bool) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at("2026-11-20T12:00:00Z".parse().expect("a time")));
        let store = |name: &str| Arc::new(MemoryObjectStore::new(name, clock.clone()));
        let queue = Arc::new(MemoryQueue::new(QueueConfig::default(), clock.clone(), None));
        let entropy = Arc::new(SeededEntropy::new(7));
        let ledger = Ledger::new(store("inbox"), store("outbox"), queue, clock.clone(), entropy);
        let mut settings = Settings::default();
        let models = models(&settings.tenant).await;
        if keys {
            let ring = KeyRing::open(Store::object(models.clone(), KEYS)).await.expect("the keys");
            settings.access = Access::Keys(Arc::new(ring));
        }
        let registry = Arc::new(Registry::bucket(models, ""));
        let app = api::router(Api::new(ledger.clone(), registry, settings));
        Self { app, ledger, latest: None }
    }

    async fn play(&mut self, text: &[u8]) {
        let mut parts = text.splitn(2, |byte| *byte == b'\n');
        let Some(line) = parts.next().and_then(|line| std::str::from_utf8(line).ok()) else { return };
        let rest = parts.next().unwrap_or_default();
        let (method, path) = line.split_once(' ').unwrap_or((line, "/"));
        match method {
            "UPLOAD" => self.upload(rest).await,
            "END" => self.end(rest).await,
            _ => self.send(method, path, rest).await,
        }
    }

    async fn upload(&self, body: &[u8]) {
        let Some(job) = self.latest else { return };
        let ticket = self.ledger.ticket(job).await.expect("the store answers");
        if let Some(Input::Upload { key, .. }) = ticket.map(|ticket| ticket.input) {
            let body = Bytes::copy_from_slice(body);
            self.ledger.inbox.put(&key, body, PutOptions::default()).await.expect("a key of ours fits");
        }
    }

    async fn end(&self, body: &[u8]) {
        let Some(job) = self.latest else { return };
        let (now, writer) = (self.ledger.clock.now(), AttemptId::from_random([1; 8]));
        let result = StoredResult::Object {
            key: layout::result_key(job, writer, "result.png"),
            size_bytes: body.len() as u64,
            sha256: Sha256::of(body),
            content_type: "image/png".into(),
            extension: "png".into(),
        };
        let ending = Ending::Succeeded { result };
        let outcome = Outcome { job, writer, at: now, started_at: Some(now), infer_ms: None, ending };
        self.ledger.commit(&outcome).await.expect("the store answers");
    }

    async fn send(&mut self, method: &str, path: &str, rest: &[u8]) {
        let latest = self.latest.map_or_else(|| "aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(), |job| job.to_string());
        let path = path.replace("{job}", &latest);
        let mut request = Request::builder().method(method).uri(&path);
        let mut rest = rest;
        let body = loop {
            let mut parts = rest.splitn(2, |byte| *byte == b'\n');
            let line = parts.next().unwrap_or_default();
            rest = parts.next().unwrap_or_default();
            if line.is_empty() {
                break rest;
            }
            let mut sides = line.splitn(2, |byte| *byte == b':');
            let (name, value) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
            request = request.header(name, value.strip_prefix(b" ").unwrap_or(value));
        };
        // What no HTTP library would let pass reaches no router.
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
        let path = request.uri().path().to_owned();
        let response = self.app.clone().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        let status = parts.status;
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        let kind = parts.headers.get("content-type").map(|kind| kind.to_str().expect("a text"));
        documented(method, &path, status.as_u16(), kind);
        if status.is_client_error() && method != "HEAD" {
            assert_eq!(kind, Some("application/problem+json"), "{method} {path}: {status}");
            let problem: Value = serde_json::from_slice(&body).expect("a problem document");
            assert_eq!(problem["status"], status.as_u16());
            assert!(problem["code"].is_string() && problem["title"].is_string() && problem["detail"].is_string());
        }
        if kind == Some("application/json") && method != "HEAD" {
            let json: Value = serde_json::from_slice(&body).expect("JSON");
            if method == "POST"
                && let Some(id) = json["id"].as_str()
            {
                let job = id.parse().expect("a job's id");
                assert!(self.ledger.ticket(job).await.expect("the store answers").is_some());
                self.latest = Some(job);
            }
        }
    }
}

/// The OpenAPI document lists the status that a call is answered with, and the media type.
fn documented(method: &str, path: &str, status: u16, kind: Option<&str>) {
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(t, p)| t == p || t.starts_with('{') && !p.is_empty())
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let item = paths.iter().find(|(template, _)| matches(template)).map(|(_, item)| item);
    // HEAD is answered as GET is (RFC 9110 section 9.3.2), and OPTIONS by CORS.
    let listed = if method == "HEAD" { "GET" } else { method };
    let by_name = |item: &'static Value| item.as_object()?.iter().find(|(name, _)| name.to_ascii_uppercase() == listed);
    let Some((_, operation)) = item.and_then(by_name) else {
        assert!(
            [404, 405].contains(&status) || method == "OPTIONS" && status == 200,
            "{method} {path} answers {status}"
        );
        return;
    };
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{method} {path} answers {status}, which the document does not list");
    let content = response.get("content").and_then(Value::as_object);
    let listed = content.map(|content| content.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().to_owned());
    assert!(
        essence.is_none_or(|essence| listed.contains(&essence)),
        "{method} {path} answers {kind:?}, not {listed:?}"
    );
}

/// The parts of `data` between lines of `by`.
fn divide<'a>(data: &'a [u8], by: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = (0..text.len()).find(|at| (*at == 0 || text[at - 1] == b'\n') && text[*at..].starts_with(by));
        rest = at.map(|at| &text[at + by.len()..]);
        Some(at.map_or(text, |at| &text[..at]))
    })
}
