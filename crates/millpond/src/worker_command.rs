//! `millpond worker`: a long-polling worker for any S3 and SQS, in a container or beside a running `up`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cloud::{OsEntropy, SystemClock};
use cloud_aws::{Aws, Endpoint};
use job::Tenant;
use ledger::Ledger;
use registry::Registry;

use crate::env;
use crate::failure;
use crate::local::{self, Endpoints};
use crate::service::{Service, Workers};
use crate::up::{default_workers, shutdown_signal};

/// Arguments of `millpond worker`.
#[derive(clap::Args)]
#[command(after_help = "\
Credentials and region come from where every AWS tool looks: environment, profile, container or instance metadata.

  millpond worker --queue-url https://sqs.eu-west-1.amazonaws.com/1234/jobs --inbox my-inbox --outbox my-outbox
  millpond worker --endpoints millpond-data/endpoints.json      beside a running `millpond up`")]
pub struct Args {
    /// The job queue's URL
    #[arg(long, env = env::QUEUE_URL, value_name = "URL", required_unless_present = "endpoints")]
    queue_url: Option<String>,
    /// The dead-letter queue's URL; without it, given-up messages are left to another process
    #[arg(long, env = env::DEAD_LETTER_QUEUE_URL, value_name = "URL")]
    dead_letter_queue_url: Option<String>,
    /// The bucket that clients write to
    #[arg(long, env = env::INBOX, value_name = "BUCKET", required_unless_present = "endpoints")]
    inbox: Option<String>,
    /// The bucket that the service writes to
    #[arg(long, env = env::OUTBOX, value_name = "BUCKET", required_unless_present = "endpoints")]
    outbox: Option<String>,
    /// Take all of that, and the credentials, from the endpoints.json of a running `millpond up`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue_url", "dead_letter_queue_url", "inbox", "outbox"])]
    endpoints: Option<PathBuf>,
    /// The models: a folder, or s3://bucket/prefix
    #[arg(long, env = env::MODELS, default_value = "models", value_name = "DIR|S3URL")]
    models: String,
    /// Another S3 than Amazon's
    #[arg(long, env = env::S3_URL, value_name = "URL")]
    s3_url: Option<String>,
    /// Another SQS than Amazon's
    #[arg(long, env = env::SQS_URL, value_name = "URL")]
    sqs_url: Option<String>,
    /// Whose jobs dropped files are
    #[arg(long, env = env::TENANT, default_value = "default")]
    tenant: String,
    /// How many jobs run at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// How much memory loaded models may take, in bytes; those longest unused make room [default: 1 GiB]
    #[arg(long, env = env::MODEL_CACHE_BYTES, value_name = "BYTES")]
    model_cache_bytes: Option<u64>,
    /// The queue's visibility timeout, in seconds
    #[arg(long, env = env::VISIBILITY_TIMEOUT_SECONDS, default_value_t = 720, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(5..=43_200))]
    visibility_timeout: u64,
    /// Look for lost messages this often, in seconds; 0 leaves that to another process
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    sweep_every: u64,
}

/// Where the worker works.
struct Place {
    endpoint: Endpoint,
    inbox: String,
    outbox: String,
    queue_url: String,
    dead_letter_queue_url: Option<String>,
    visibility: Duration,
}

/// `millpond worker`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::logging::start("info");
    let tenant: Tenant =
        args.tenant.parse().map_err(|error: job::id::InvalidId| failure::usage(error.to_string(), ""))?;
    let workers = args.workers.unwrap_or_else(default_workers);
    let sweep_every = (args.sweep_every > 0).then(|| Duration::from_secs(args.sweep_every));
    let (models, model_cache_bytes) = (args.models.clone(), args.model_cache_bytes);
    let place = place(args)?;
    let shutdown = shutdown_signal()?;

    let aws = Aws::connect(&place.endpoint).await;
    let ledger = Ledger::new(
        Arc::new(aws.bucket(&place.inbox)),
        Arc::new(aws.bucket(&place.outbox)),
        Arc::new(aws.queue(&place.queue_url)),
        Arc::new(SystemClock),
        Arc::new(OsEntropy),
    );
    let registry = Arc::new(match crate::place::parse(&models)? {
        registry::Place::Directory(path) => Registry::directory(crate::place::existing(&path)?),
        registry::Place::Bucket { bucket, prefix } => Registry::bucket(Arc::new(aws.bucket(bucket)), prefix),
    });
    let mut service = Service::new();
    service.start_workers(Workers {
        ledger,
        registry,
        dead_letters: place.dead_letter_queue_url.map(|url| Arc::new(aws.queue(url)) as _),
        workers,
        model_cache_bytes,
        tenant,
        visibility: place.visibility,
        sweep_every,
    })?;
    tracing::info!(workers, "working; Ctrl-C lets running jobs finish and stops");
    service.run_until(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

fn place(args: Args) -> anyhow::Result<Place> {
    if let Some(path) = &args.endpoints {
        return place_of_up(path);
    }
    let given = "clap requires it";
    Ok(Place {
        endpoint: Endpoint {
            region: None,
            force_path_style: args.s3_url.is_some(),
            s3_url: args.s3_url,
            sqs_url: args.sqs_url,
            credentials: None,
        },
        inbox: args.inbox.context(given)?,
        outbox: args.outbox.context(given)?,
        queue_url: args.queue_url.context(given)?,
        dead_letter_queue_url: args.dead_letter_queue_url,
        visibility: Duration::from_secs(args.visibility_timeout),
    })
}

fn place_of_up(path: &Path) -> anyhow::Result<Place> {
    let up = Endpoints::read(path)?;
    Ok(Place {
        endpoint: up.endpoint(),
        inbox: up.inbox,
        outbox: up.outbox,
        queue_url: up.queue_url,
        dead_letter_queue_url: Some(up.dead_letter_queue_url),
        visibility: local::VISIBILITY,
    })
}
