//! The `bootstrap` that AWS Lambda starts: one binary, whose role the environment names.
//!
//! Clients, registry and threads are made before the first event is asked for, while Lambda gives a starting function all
//! of its CPU. Events of queues are answered with batch item failures, never with an error: that would bring the whole
//! batch back and make the event source mapping slow down.

mod env;
mod events;
mod principal;
mod roles;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use cloud::{OsEntropy, SystemClock};
use cloud_aws::{Aws, Endpoint};
use ledger::Ledger;
use registry::{Place, Registry};
use telemetry::Emf;
use telemetry::logs::{self, Form};
use tokio::time::Instant;

/// What every role needs.
struct Base {
    aws: Aws,
    ledger: Ledger,
    registry: Arc<Registry>,
    emf: Arc<Emf>,
    started: Instant,
}

impl Base {
    /// All is made that events need.
    fn report_ready(&self) {
        self.emf.cold_start(self.started.elapsed());
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let started = Instant::now();
    let filter = logs::filter(env::optional(env::LOG).as_deref(), "info");
    // CloudWatch has each line's time.
    logs::start(filter, Form::Json { time: false }, std::io::stdout);
    match run(started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(started: Instant) -> anyhow::Result<()> {
    let role = env::required(env::ROLE)?;
    let base = base(started).await?;
    match role.as_str() {
        "worker" => roles::worker(base).await,
        "dead-letters" => roles::dead_letters(base).await,
        "sweep" => roles::sweep(base).await,
        "api" => roles::api(base).await,
        other => anyhow::bail!("{} is {other:?}; it must be worker, dead-letters, sweep or api", env::ROLE),
    }
}

async fn base(started: Instant) -> anyhow::Result<Base> {
    // Read first: what is missing is then said before any client looks around for a region and credentials.
    let (inbox, outbox) = (env::required(env::INBOX)?, env::required(env::OUTBOX)?);
    let (queue, models) = (env::required(env::QUEUE_URL)?, env::required(env::MODELS)?);
    let s3_url = env::optional(env::S3_URL);
    let aws = Aws::connect(&Endpoint {
        // Whatever stands in for S3 does so under an address, not under a domain with a name for each bucket.
        force_path_style: s3_url.is_some(),
        s3_url,
        sqs_url: env::optional(env::SQS_URL),
        ..Endpoint::default()
    })
    .await;
    let ledger = Ledger::new(
        Arc::new(aws.bucket(inbox)),
        Arc::new(aws.bucket(outbox)),
        Arc::new(aws.queue(queue)),
        Arc::new(SystemClock),
        Arc::new(OsEntropy),
    );
    let registry = Arc::new(registry(&aws, &models)?);
    let function = env::optional(env::FUNCTION_NAME).unwrap_or_else(|| "bootstrap".to_owned());
    let emf = Arc::new(Emf::to_stdout(function, Arc::new(SystemClock)));
    Ok(Base { aws, ledger, registry, emf, started })
}

/// `s3://bucket/prefix`, or a folder of the function's image.
fn registry(aws: &Aws, place: &str) -> anyhow::Result<Registry> {
    Ok(match place.parse().with_context(|| format!("{} is of no use", env::MODELS))? {
        Place::Directory(path) => Registry::directory(path),
        Place::Bucket { bucket, prefix } => Registry::bucket(Arc::new(aws.bucket(bucket)), prefix),
    })
}

/// The workers' settings, which the dead-letter handler and the sweep must share.
fn settings() -> anyhow::Result<worker::Settings> {
    let mut settings = worker::Settings::default();
    if let Some(tenant) = env::optional(env::TENANT) {
        settings.drop_tenant = tenant.parse().with_context(|| format!("{} is not a tenant", env::TENANT))?;
    }
    if let Some(parallel) = env::number(env::PARALLEL)? {
        settings.parallel = parallel;
    }
    if let Some(attempts) = env::number(env::MAX_ATTEMPTS)? {
        settings.max_attempts = attempts;
    }
    if let Some(seconds) = env::number(env::VISIBILITY_TIMEOUT_SECONDS)? {
        settings.visibility_timeout = std::time::Duration::from_secs(seconds);
    }
    let memory = env::number::<u64>(env::FUNCTION_MEMORY)?.map(|megabytes| megabytes << 20);
    let third = memory.map(|bytes| bytes / 3);
    // Another third is for files on their way to become models, the last one for inputs, answers and what a run needs.
    if let Some(bytes) = memory {
        settings.input_memory_bytes = bytes / 8;
    }
    if let Some(bytes) = env::number(env::MODEL_CACHE_BYTES)?.or(third) {
        settings.model_memory_bytes = bytes;
    }
    Ok(settings)
}
