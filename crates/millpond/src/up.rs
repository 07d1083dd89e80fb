//! `millpond up`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::env;
use crate::failure;
use crate::local::{Local, LocalConfig};
use crate::logging::LogArgs;

/// Arguments of `millpond up`.
#[derive(clap::Args)]
pub struct Args {
    /// The API's address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where everything is kept
    #[arg(long, default_value = "millpond-data", value_name = "DIR")]
    data: PathBuf,
    /// The models: a folder, or s3://bucket/prefix in the local S3, whose bucket is made if need be
    #[arg(long, default_value = "models", value_name = "DIR|S3URL")]
    models: String,
    /// Take the models' bucket from another S3: https://s3.eu-west-1.amazonaws.com is Amazon's. Region and credentials come
    /// from where every AWS tool looks
    #[arg(long, value_name = "URL")]
    models_s3_url: Option<String>,
    /// How much memory loaded models may take, in bytes; those longest unused make room [default: 1 GiB]
    #[arg(long, env = env::MODEL_CACHE_BYTES, value_name = "BYTES")]
    model_cache_bytes: Option<u64>,
    /// The S3 endpoint's address
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    s3_listen: SocketAddr,
    /// The SQS endpoint's address
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    sqs_listen: SocketAddr,
    /// Ask callers for API keys, which this file has; `millpond keys add` makes them. Needed for addresses other than
    /// loopback's
    #[arg(long, env = env::KEYS, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A web page's origin that may call the API from a browser, as often as needed: http://localhost:3000
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<axum::http::HeaderValue>,
    /// How many jobs run at a time; with 0, only `millpond worker` processes run them [default: one for each processor]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Deliver messages as badly as SQS may, to see what stands it: seed=7,duplicate=0.1,delay=0.2,delay_max=5,reorder=0.3
    /// or a part of that. duplicate, delay and reorder are probabilities, delay_max is in seconds, and the same seed
    /// draws the same chances
    #[arg(long, env = env::CHAOS, value_name = "CHANCES")]
    chaos: Option<local_cloud::Chaos>,
    /// What the local S3 answers reads of keys that are not there: 403 is S3's answer to whoever lacks s3:ListBucket, to see
    /// how a client takes it. The service itself, which needs that permission, does not stand it
    #[arg(long, value_enum, default_value = "404", value_name = "STATUS")]
    absent_keys: AbsentKeys,
    #[command(flatten)]
    log: LogArgs,
}

/// `--absent-keys`
#[derive(Clone, Copy, clap::ValueEnum)]
enum AbsentKeys {
    #[value(name = "404")]
    NotFound,
    #[value(name = "403")]
    Forbidden,
}

impl From<AbsentKeys> for local_cloud::AbsentKeys {
    fn from(keys: AbsentKeys) -> Self {
        match keys {
            AbsentKeys::NotFound => Self::NotFound,
            AbsentKeys::Forbidden => Self::Forbidden,
        }
    }
}

/// `millpond up`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.log.start("info");
    // S3 and SQS verify signatures, but serve nobody if the API does not.
    for (flag, address) in
        [("--listen", args.listen), ("--s3-listen", args.s3_listen), ("--sqs-listen", args.sqs_listen)]
    {
        refuse_strangers(flag, address, args.keys.is_some())?;
    }
    let shutdown = shutdown_signal()?;
    let local = Local::start(LocalConfig {
        data: args.data.clone(),
        models: args.models,
        models_s3_url: args.models_s3_url,
        model_cache_bytes: args.model_cache_bytes,
        listen: args.listen,
        s3_listen: args.s3_listen,
        sqs_listen: args.sqs_listen,
        keys: args.keys.clone(),
        cors_origins: args.cors_origins,
        workers: args.workers.unwrap_or_else(default_workers),
        chaos: args.chaos,
        absent_keys: args.absent_keys.into(),
    })
    .await?;
    println!("{}", welcome(&local, &args.data, args.keys.is_some()).await);
    local
        .run_until(async {
            shutdown.await;
            eprintln!("\nstopping: running jobs are finished first; a second Ctrl-C stops at once");
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses an address that others can reach if callers need no keys: they could use the models and read every job.
pub fn refuse_strangers(flag: &str, address: SocketAddr, keys: bool) -> anyhow::Result<()> {
    if address.ip().is_loopback() || keys {
        return Ok(());
    }
    let hint = "make a key with `millpond keys add --tenant NAME --keys keys.json` and start with --keys keys.json, \
                or serve a loopback address such as 127.0.0.1";
    Err(failure::usage(format!("{flag} {address} is reachable from elsewhere"), hint).into())
}

/// One job for each processor.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Completes on the first SIGINT or SIGTERM. On a second one the process ends at once; its jobs are delivered again.
pub fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let watch = async move {
        #[cfg(unix)]
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        let _ = sender.send(());
        #[cfg(unix)]
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        // The shell's code for a process that Ctrl-C ended.
        std::process::exit(130);
    };
    // Lives as long as the process, whose end it is.
    tokio::spawn(watch);
    Ok(async move { receiver.await.unwrap_or_default() })
}

/// What to do now. It names the data directory, which its owner has chosen and needs to know, but shows no key: what is printed
/// may be kept by whoever keeps logs.
async fn welcome(local: &Local, data: &std::path::Path, keys: bool) -> String {
    let at = &local.endpoints;
    let example = local.example().await;
    let (model, input) = example.as_ref().map_or(("MODEL", "INPUT"), |(model, input)| (model.as_str(), input.as_str()));
    let body = format!(r#"{{"model":"{model}","input":{input}}}"#).replace('\'', r"'\''");
    format!(
        r#"Millpond is up; Ctrl-C stops it.

  API   {api}
  S3    {s3}   inbox {inbox}, outbox {outbox}
  SQS   {sqs}
  data  {data} (endpoints.json there has addresses and keys)

Try it:
  curl -s {api}/jobs{key} -H 'content-type: application/json' -H 'prefer: wait=10' -d '{body}'

Drop a file with any S3 client:
  field() {{ sed -n 's/.*"'$1'": "\(.*\)".*/\1/p' '{data}/endpoints.json'; }}
  export AWS_ACCESS_KEY_ID=$(field access_key) AWS_SECRET_ACCESS_KEY=$(field secret_key) AWS_REGION={region}
  aws --endpoint-url {s3} s3 cp FILE s3://{inbox}/drop/{model}/
  aws --endpoint-url {s3} s3 ls --recursive s3://{outbox}/mirror/{model}/
"#,
        api = at.api,
        key = if keys { r#" -H "authorization: Bearer $MILLPOND_API_KEY""# } else { "" },
        s3 = at.s3,
        sqs = at.sqs,
        inbox = at.inbox,
        outbox = at.outbox,
        data = data.display(),
        region = at.region,
    )
}
