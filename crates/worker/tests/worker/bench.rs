//! What the tests share: a cloud in memory, a registry with one model, and a pool that does what the input says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bundle::{Manifest, Params};
use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::object_store::{Listing, PresignPut, PresignedRequest};
use cloud::{Clock, GetOptions, Object, ObjectMeta, ObjectStore, PutOptions, SeededEntropy, StoreError};
use futures::FutureExt;
use futures::future::BoxFuture;
use infer::{Answer, Control, LoadError, Model, RunError};
use job::documents::V1;
use job::id::ETag;
use job::{Ending, Input, JobId, Limits, Outcome, Sha256, StoredResult, Ticket, Work, layout};
use ledger::Ledger;
use registry::Registry;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::pool::{Call, CallError, Load, LoadFault};
use worker::{DeadLetters, Delivery, Models, Pool, Processor, Settings, Sweep, Verdict, Worker, WorkerError};

pub const MANIFEST: &str = r#"
format = 1
name = "m"
version = "1"
title = "A model"
engine = { format = "xgboost", file = "model.ubj" }
input = { kind = "table", columns = [{ name = "a" }] }
output = { kind = "number" }
limits = { max_input_bytes = 1000, max_seconds = 60 }
[params.all]
type = "boolean"
default = false
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#;

/// The visibility timeout of the tests' queues.
pub const VISIBILITY: Duration = Duration::from_secs(720);

pub struct Bench {
    pub inbox: Arc<MemoryObjectStore>,
    pub outbox: Arc<WholeResults>,
    pub models: Arc<MemoryObjectStore>,
    pub queue: Arc<MemoryQueue>,
    pub dead: Arc<MemoryQueue>,
    pub ledger: Ledger,
    pub registry: Arc<Registry>,
    pub pool: Arc<ScriptPool>,
    pub settings: Settings,
}

pub struct Running {
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    /// As a killed process ends.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub async fn stop(self) -> Result<(), WorkerError> {
        self.shutdown.cancel();
        self.task.await.unwrap()
    }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with_max_receives(10).await
    }

    pub async fn with_max_receives(max_receive_count: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at("2026-11-20T12:00:00Z".parse().unwrap()));
        let store = |name: &str| Arc::new(MemoryObjectStore::new(name, clock.clone()));
        let (inbox, models) = (store("inbox"), store("models"));
        let outbox = Arc::new(WholeResults {
            store: store("outbox"),
            down: Mutex::default(),
            lost_answers: AtomicU64::new(0),
            delete_gate: Mutex::default(),
        });
        let config = QueueConfig { visibility_timeout: VISIBILITY, max_receive_count, ..QueueConfig::default() };
        let dead = Arc::new(MemoryQueue::new(QueueConfig::default(), clock.clone(), None));
        let queue = Arc::new(MemoryQueue::new(config, clock.clone(), Some(dead.clone())));
        inbox.on_put(queue.clone(), &[layout::UPLOADS, layout::DROP]);
        let ledger = Ledger::new(inbox.clone(), outbox.clone(), queue.clone(), clock, Arc::new(SeededEntropy::new(7)));
        put(&*models, "m/1/model.toml", MANIFEST).await;
        put(&*models, "m/1/model.ubj", "").await;
        let registry = Arc::new(Registry::bucket(models.clone(), ""));
        let settings = Settings { parallel: 4, threads: 4, ..Settings::default() };
        Self { inbox, outbox, models, queue, dead, ledger, registry, pool: Arc::default(), settings }
    }

    pub fn processor(&self) -> Arc<Processor> {
        let (models, pool) = (Arc::new(Fakes(self.pool.clone())), self.pool.clone());
        let (ledger, registry) = (self.ledger.clone(), self.registry.clone());
        Arc::new(Processor::with(ledger, registry, self.settings.clone(), models, pool))
    }

    pub fn start(&self) -> Running {
        let shutdown = CancellationToken::new();
        let (worker, stop) = (Worker::new(self.processor()), shutdown.clone());
        Running { shutdown, task: tokio::spawn(async move { worker.run(stop).await }) }
    }

    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.ledger.clone(), self.registry.clone(), self.dead.clone(), self.settings.clone())
    }

    pub fn sweep(&self) -> Sweep {
        Sweep::new(self.ledger.clone(), self.settings.clone())
    }

    pub async fn ticket(&self, number: u8, input: Input) -> Ticket {
        let ticket = self.unwritten_ticket(number, input).await;
        self.ledger.accept(&ticket).await.unwrap();
        ticket
    }

    async fn unwritten_ticket(&self, number: u8, input: Input) -> Ticket {
        let published = self.registry.resolve(&"m".parse().unwrap()).await.unwrap().unwrap();
        let now = self.ledger.clock.now();
        let after = |seconds| now.checked_add(Duration::from_secs(seconds)).unwrap();
        Ticket {
            v: V1,
            job: JobId::from_random([number; 16]),
            tenant: "t".parse().unwrap(),
            model: "m".into(),
            version: Some(published.version.clone()),
            model_digest: Some(published.digest),
            params: RawValue::from_string("{}".into()).unwrap(),
            input,
            limits: Limits { max_input_bytes: 1000, max_seconds: 60 },
            created_at: now,
            upload_deadline: Some(after(4500)),
            queue_deadline: after(86_400),
            retained_until: after(30 * 86_400),
            retry_of: None,
            request_digest: None,
            trace: None,
        }
    }

    /// An accepted job with its input in the ticket, not on the queue yet.
    pub async fn inline(&self, number: u8, input: &str) -> Ticket {
        self.ticket(number, Input::Inline(RawValue::from_string(input.into()).unwrap())).await
    }

    /// The same, on the queue.
    pub async fn submit(&self, number: u8, input: &str) -> JobId {
        let ticket = self.inline(number, input).await;
        self.ledger.enqueue(&ticket, None, Duration::ZERO).await.unwrap();
        ticket.job
    }

    /// An accepted job whose upload of these bytes is announced.
    pub async fn awaiting(&self, number: u8, announced: &str) -> (JobId, String) {
        let key = layout::upload_key(JobId::from_random([number; 16]), "f.json");
        let input = Input::Upload {
            key: key.clone(),
            filename: "f.json".into(),
            content_type: "application/json".into(),
            size_bytes: announced.len() as u64,
            sha256: Some(Sha256::of(announced.as_bytes())),
            etag: None,
        };
        (self.ticket(number, input).await.job, key)
    }

    /// The ticket of a job over what lies dropped there now, as its first attempt or a retry writes it.
    pub async fn dropped_ticket(&self, key: &str, job: JobId) -> Ticket {
        let meta = self.inbox.head(key).await.unwrap();
        let input = Input::Drop {
            key: key.into(),
            path: key.strip_prefix("drop/m/").unwrap().into(),
            etag: meta.etag,
            size_bytes: meta.size_bytes,
            content_type: meta.content_type,
            last_modified: meta.last_modified,
        };
        let ticket = Ticket { job, ..self.unwritten_ticket(0, input).await };
        self.ledger.accept(&ticket).await.unwrap();
        ticket
    }

    pub async fn run_once(&self, job: JobId, etag: Option<ETag>) -> Verdict {
        self.processor().process(&Work::Run { job, etag, bucket: None, trace: None }, &first()).await
    }

    /// Waits, in the paused clock's time, until the job has ended.
    pub async fn ended(&self, job: JobId) -> Outcome {
        let ended = async {
            loop {
                if let Some(outcome) = self.ledger.outcome(job).await.unwrap() {
                    return outcome;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(86_400), ended).await.expect("the job ends")
    }

    /// Waits until the model has been begun so many times.
    pub async fn begun(&self, runs: u64) {
        let begun = async {
            while self.pool.runs() < runs {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(86_400), begun).await.expect("the model is begun");
    }

    pub async fn text(&self, key: &str) -> Option<String> {
        let object = self.outbox.get(key, GetOptions::default()).await.ok()?;
        Some(String::from_utf8(object.body.to_vec()).unwrap())
    }
}

pub async fn put(store: &dyn ObjectStore, key: &str, body: &str) -> ETag {
    store.put(key, Bytes::copy_from_slice(body.as_bytes()), PutOptions::default()).await.unwrap()
}

pub fn first() -> Delivery {
    Delivery { receive_count: 1, sent_at: None, deadline: None, longest: Duration::MAX }
}

/// The error's code, or the state of what has none.
pub fn code(outcome: &Outcome) -> String {
    match &outcome.ending {
        Ending::Failed { error } | Ending::Expired { error } => error.code.to_string(),
        ending @ (Ending::Succeeded { .. } | Ending::Cancelled) => ending.state().to_string(),
    }
}

pub fn answer(outcome: &Outcome) -> &str {
    match &outcome.ending {
        Ending::Succeeded { result: StoredResult::Inline(text) } => text.get(),
        other => panic!("no inline result: {other:?}"),
    }
}

/// Does what its input says: `{"do": "sleep", "ms": 3000}`.
#[derive(Debug, Default)]
pub struct ScriptPool {
    runs: AtomicU64,
    pub loads: AtomicU64,
}

impl ScriptPool {
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }
}

impl Pool for ScriptPool {
    fn threads(&self) -> usize {
        4
    }

    fn infer(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let script: Value = serde_json::from_slice(&call.input).unwrap_or_default();
            let n = |name: &str| script[name].as_u64().unwrap_or_default();
            match script["do"].as_str() {
                Some("sleep") => {
                    let steps = n("ms") / 100;
                    for step in 0..steps {
                        if call.control.is_cancelled() {
                            return Err(CallError::Run(RunError::Cancelled));
                        }
                        call.control.report(step, steps);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    call.run()
                }
                Some("hang") => std::future::pending().await,
                Some("count") => {
                    tokio::time::sleep(Duration::from_millis(run * 10)).await;
                    Ok(json(format!("{run}")))
                }
                Some("panic until") if run > n("run") => Ok(json(format!("{run}"))),
                Some("big") => Ok(json(format!("{:?}", "x".repeat(n("bytes") as usize)))),
                // The model's own doing, panics included.
                _ => call.run(),
            }
        }
        .boxed()
    }

    fn load(&self, load: Load) -> BoxFuture<'_, Result<Arc<dyn Model>, LoadFault>> {
        async move { load.run() }.boxed()
    }
}

fn json(text: String) -> Answer {
    Answer { body: text.into_bytes(), content_type: "application/json", extension: "json" }
}

struct Fakes(Arc<ScriptPool>);
struct Fake;

impl Models for Fakes {
    fn load(&self, _: &Manifest, _: &HashMap<String, Bytes>) -> Result<Box<dyn Model>, LoadError> {
        self.0.loads.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Fake))
    }
}

impl Model for Fake {
    fn run(&self, input: &[u8], params: &Params, _: &Control) -> Result<Answer, RunError> {
        let text = String::from_utf8(input.to_vec()).map_err(|_| RunError::Failed("not text".into()))?;
        if text.contains("panic") {
            panic!("as the input asks");
        }
        Ok(json(if params.flag("all") { format!("[{text},true]") } else { text }))
    }

    fn memory_bytes(&self) -> u64 {
        1
    }
}

/// An outbox that refuses an outcome whose result is not whole at that moment (J3).
///
/// It can be made to fail as S3 does: a failed write may have happened.
pub struct WholeResults {
    store: Arc<MemoryObjectStore>,
    /// No write under this prefix happens.
    pub down: Mutex<Option<&'static str>>,
    /// So many writes happen and say that they did not.
    pub lost_answers: AtomicU64,
    /// The next delete waits for this before it happens.
    pub delete_gate: Mutex<Option<oneshot::Receiver<()>>>,
}

impl fmt::Debug for WholeResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WholeResults")
    }
}

#[async_trait]
impl ObjectStore for WholeResults {
    fn bucket(&self) -> &str {
        self.store.bucket()
    }

    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        if key.ends_with("/outcome.json") {
            let outcome: Outcome = serde_json::from_slice(&body).unwrap();
            if let Ending::Succeeded { result: StoredResult::Object { key, size_bytes, sha256, .. } } = outcome.ending {
                let object = self.store.get(&key, GetOptions::default()).await.expect("J3: the result is there");
                assert_eq!((object.body.len() as u64, Sha256::of(&object.body)), (size_bytes, sha256), "J3");
            }
        }
        let unavailable = || StoreError::Unavailable("as the test asks".into());
        if self.down.lock().unwrap().is_some_and(|prefix| key.starts_with(prefix)) {
            return Err(unavailable());
        }
        let etag = self.store.put(key, body, options).await?;
        match self.lost_answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(unavailable()),
            Err(_) => Ok(etag),
        }
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        self.store.get(key, options).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.store.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let gate = self.delete_gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.await.unwrap();
        }
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, max).await
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.store.presign_put(key, put).await
    }

    async fn presign_get(&self, key: &str, life: Duration, name: Option<&str>) -> Result<PresignedRequest, StoreError> {
        self.store.presign_get(key, life, name).await
    }
}
