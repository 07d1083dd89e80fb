//! `millpond worker`: a long-polling worker for any S3 and SQS, in a container or beside a running `up`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cloud_aws::Aws;
use job::Tenant;
use telemetry::Prometheus;

use crate::env;
use crate::failure;
use crate::local;
use crate::logging::LogArgs;
use crate::metrics_server;
use crate::service::{Service, Workers};
use crate::service_place::PlaceArgs;
use crate::up::{default_workers, shutdown_signal};

/// Arguments of `millpond worker`.
#[derive(clap::Args)]
#[command(after_help = "\
Credentials and region come from where every AWS tool looks: environment, profile, container or instance metadata.

  millpond worker --queue-url https://sqs.eu-west-1.amazonaws.com/1234/jobs --inbox my-inbox --outbox my-outbox
  millpond worker --endpoints millpond-data/endpoints.json      beside a running `millpond up`")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// The models: a folder, or s3://bucket/prefix
    #[arg(long, env = env::MODELS, default_value = "models", value_name = "DIR|S3URL")]
    models: String,
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
    /// Serve metrics at /metrics and liveness at /healthz: a port of 127.0.0.1, or an address and a port
    #[arg(long, env = env::METRICS_LISTEN, value_name = "ADDRESS", value_parser = metrics_server::address)]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    log: LogArgs,
}

/// `millpond worker`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.log.start("info");
    let tenant: Tenant =
        args.tenant.parse().map_err(|error: job::id::InvalidId| failure::usage(error.to_string(), ""))?;
    let workers = args.workers.unwrap_or_else(default_workers);
    let sweep_every = (args.sweep_every > 0).then(|| Duration::from_secs(args.sweep_every));
    let (models, model_cache_bytes) = (args.models.clone(), args.model_cache_bytes);
    // A running `up` has a timeout of its own.
    let beside_up = args.place.is_of_up();
    let visibility = if beside_up { local::VISIBILITY } else { Duration::from_secs(args.visibility_timeout) };
    let place = args.place.resolve()?;
    let shutdown = shutdown_signal()?;

    let aws = Aws::connect(&place.endpoint).await;
    let ledger = place.ledger(&aws);
    let registry = Arc::new(place.registry(&aws, &models)?);
    let (metrics, mut service) = (Prometheus::new(), Service::new());
    if let Some(address) = args.metrics_listen {
        service.start_metrics(metrics.clone(), metrics_server::bind(address).await?);
    }
    service.start_workers(Workers {
        ledger,
        registry,
        dead_letters: place.dead_letter_queue_url.map(|url| Arc::new(aws.queue(url)) as _),
        workers,
        model_cache_bytes,
        tenant,
        visibility,
        // Whoever started the process starts another, which alone is rid of the model.
        replace_wedged: false,
        sweep_every,
        metrics,
    })?;
    tracing::info!(workers, "working; Ctrl-C lets running jobs finish and stops");
    service.run_until(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
