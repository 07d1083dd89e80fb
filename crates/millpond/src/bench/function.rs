//! A function's process, and a stand-in for the Runtime API that it asks for events.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use cloud::{Clock, SystemClock};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

/// Longer than any function takes to start or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running function, ended when it is dropped.
pub struct Function {
    child: Child,
    log: PathBuf,
    events: UnboundedSender<Value>,
    happened: UnboundedReceiver<Happened>,
    serving: AbortHandle,
}

/// What a function has done.
enum Happened {
    /// Asked for an event.
    Asked(Instant),
    Answered(Instant, Bytes),
    /// Reported an error, at its start or instead of an answer.
    Failed(Bytes),
}

struct Api {
    happened: UnboundedSender<Happened>,
    events: Mutex<UnboundedReceiver<Value>>,
}

impl Function {
    /// Starts it, with its output in `log`; the time from there until it asks for its first event.
    pub async fn start(mut command: Command, log: &Path) -> anyhow::Result<(Self, Duration)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (events, waiting) = unbounded_channel();
        let (happening, happened) = unbounded_channel();
        let api = Arc::new(Api { happened: happening, events: Mutex::new(waiting) });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .with_state(api);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        let output = File::create(log).context("cannot write the function's log")?;
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let mut function = Self { child, log: log.to_owned(), events, happened, serving };
        let ready = function.asked().await?;
        Ok((function, ready - started))
    }

    /// Sends it an event; its answer, and the time from the event to the answer, which is what Lambda bills.
    pub async fn invoke(&mut self, event: Value) -> anyhow::Result<(Value, Duration)> {
        let sent = Instant::now();
        self.events.send(event).context("the Runtime API is gone")?;
        let Happened::Answered(at, body) = self.next().await? else {
            anyhow::bail!("the function gave no answer\n{}", self.output());
        };
        self.asked().await?;
        Ok((serde_json::from_slice(&body).context("the function's answer is no JSON")?, at - sent))
    }

    /// The most memory that its process has held so far, where the system tells.
    pub fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    async fn asked(&mut self) -> anyhow::Result<Instant> {
        match self.next().await? {
            Happened::Asked(at) => Ok(at),
            Happened::Answered(..) => anyhow::bail!("the function answered nothing"),
            Happened::Failed(body) => {
                anyhow::bail!("the function failed: {}\n{}", String::from_utf8_lossy(&body), self.output())
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Happened> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(happened) = tokio::time::timeout(Duration::from_millis(200), self.happened.recv()).await {
                return happened.context("the Runtime API is gone");
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the function ended with {status}\n{}", self.output());
            }
            anyhow::ensure!(Instant::now() < deadline, "the function does nothing\n{}", self.output());
        }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).trim_end().to_owned()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.serving.abort();
    }
}

/// Held until there is an event.
async fn next(State(api): State<Arc<Api>>) -> Response {
    let _ = api.happened.send(Happened::Asked(Instant::now()));
    let Some(event) = api.events.lock().await.recv().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let deadline_ms = SystemClock.now().as_millisecond() + 2 * PATIENCE.as_millis() as i64;
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

async fn answer(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let _ = api.happened.send(Happened::Answered(Instant::now(), body));
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let _ = api.happened.send(Happened::Failed(body));
    StatusCode::ACCEPTED
}

/// The variables that `infra/template.yaml` gives all functions, and those that Lambda adds, and nothing else of the environment.
pub fn bootstrap(program: &Path, role: &str, memory_mib: u32, models: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("MILLPOND_MODELS", models);
    command.envs([
        ("MILLPOND_ROLE", role),
        ("MILLPOND_INBOX", INBOX),
        ("MILLPOND_OUTBOX", OUTBOX),
        ("MILLPOND_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/000000000000/jobs"),
        ("MILLPOND_TENANT", "default"),
        ("MILLPOND_VISIBILITY_TIMEOUT_SECONDS", "720"),
        ("MILLPOND_LOG", "info"),
        ("AWS_LAMBDA_FUNCTION_NAME", role),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", role),
        ("AWS_LAMBDA_LOG_STREAM_NAME", role),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory_mib.to_string()),
    ]);
    if role == "worker" {
        command.env("MILLPOND_FUNCTION_TIMEOUT_SECONDS", "120").env("MILLPOND_BATCH_SIZE", "10");
    }
    command
}

pub const INBOX: &str = "bench-inbox";
pub const OUTBOX: &str = "bench-outbox";
pub const ACCESS_KEY: &str = "AKIAEXAMPLE";
pub const SECRET_KEY: &str = "secret";
/// The worker's memory in `infra/template.yaml`: one vCPU.
pub const WORKER_MIB: u32 = 1769;
/// That of the other functions.
pub const OTHER_MIB: u32 = 512;
