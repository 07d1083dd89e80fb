//! `millpond api`: the API for any S3 and SQS, in a container or beside a running `up`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use cloud_aws::Aws;
use job::Tenant;
use keys::Place;
use tokio::net::TcpListener;

use crate::env;
use crate::failure;
use crate::key_commands;
use crate::local;
use crate::logging::LogArgs;
use crate::service::Service;
use crate::service_place::PlaceArgs;
use crate::up::{refuse_strangers, shutdown_signal};

/// Arguments of `millpond api`.
#[derive(clap::Args)]
#[command(after_help = "\
Credentials and region come from where every AWS tool looks: environment, profile, container or instance metadata.

  millpond api --queue-url https://sqs.eu-west-1.amazonaws.com/1234/jobs --inbox my-inbox --outbox my-outbox
  millpond api --endpoints millpond-data/endpoints.json --listen 127.0.0.1:8090      beside a running `millpond up`")]
pub struct Args {
    /// The API's address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    place: PlaceArgs,
    /// The models: a folder, or s3://bucket/prefix
    #[arg(long, env = env::MODELS, default_value = "models", value_name = "DIR|S3URL")]
    models: String,
    /// Whose the jobs of callers without keys are
    #[arg(long, env = env::TENANT, default_value = "default")]
    tenant: String,
    /// Ask callers for API keys, which this file or s3:// address has; `millpond keys add` makes them. Needed for addresses
    /// other than loopback's
    #[arg(long, env = env::KEYS, value_name = "FILE|S3URL")]
    keys: Option<Place>,
    /// A web page's origin that may call the API from a browser, as often as needed: http://localhost:3000
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<axum::http::HeaderValue>,
    #[command(flatten)]
    log: LogArgs,
}

/// `millpond api`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.log.start("info");
    let tenant: Tenant =
        args.tenant.parse().map_err(|error: job::id::InvalidId| failure::usage(error.to_string(), ""))?;
    refuse_strangers("--listen", args.listen, args.keys.is_some())?;
    let shutdown = shutdown_signal()?;
    let place = args.place.resolve()?;
    let aws = Aws::connect(&place.endpoint).await;
    let registry = Arc::new(place.registry(&aws, &args.models)?);
    let access = match args.keys {
        Some(keys) => key_commands::access(keys, &aws).await?,
        None => api::Access::Anyone,
    };
    let cors_origins = api::CorsOrigins::Only(args.cors_origins);
    let settings = api::Settings { access, tenant, cors_origins, ..api::Settings::default() };

    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| local::cannot_listen("--listen", args.listen, error))?;
    let address = listener.local_addr().context("cannot listen")?;
    let mut service = Service::new();
    service.start_api(api::Api::new(place.ledger(&aws), registry, settings), listener);
    // For whoever started it on a free port.
    println!("http://{address}");
    tracing::info!("serving; Ctrl-C answers what is under way and stops");
    service.run_until(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
