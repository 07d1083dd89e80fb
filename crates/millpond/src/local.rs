//! The whole service in one process: the local cloud, the API and the workers, joined by the same SDK calls as on AWS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderValue;
use cloud::{Entropy, OsEntropy, SystemClock};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use ledger::Ledger;
use local_cloud::{LocalCloud, Stack};
use registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::failure;
use crate::service::{Service, Workers};

/// How long a message stays hidden that a killed worker had taken. Living workers renew it as they go.
pub const VISIBILITY: Duration = Duration::from_secs(30);
/// How often lost events are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// What to start, and where.
pub struct LocalConfig {
    /// Where everything is kept.
    pub data: PathBuf,
    /// A folder or `s3://bucket/prefix`.
    pub models: String,
    /// The API's address.
    pub listen: SocketAddr,
    /// The S3 address.
    pub s3_listen: SocketAddr,
    /// The SQS address.
    pub sqs_listen: SocketAddr,
    /// Web pages that may call the API. There are no keys here, so a page must be named: any other that its visitor
    /// opens could use the models too.
    pub cors_origins: Vec<HeaderValue>,
    /// How many jobs run at a time.
    pub workers: usize,
}

/// Where everything answers: `endpoints.json` in the data directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoints {
    /// The API.
    pub api: String,
    /// The S3 endpoint.
    pub s3: String,
    /// The SQS endpoint.
    pub sqs: String,
    /// What requests to both are signed for.
    pub region: String,
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// What clients write to.
    pub inbox: String,
    /// What the service writes to.
    pub outbox: String,
    /// The job queue.
    pub queue_url: String,
    /// Its dead-letter queue.
    pub dead_letter_queue_url: String,
}

/// A running service.
pub struct Local {
    /// Where everything answers.
    pub endpoints: Endpoints,
    /// The jobs, for whoever runs in this process.
    pub ledger: Ledger,
    registry: Arc<Registry>,
    cloud: LocalCloud,
    service: Service,
}

impl Local {
    /// Starts everything. When this returns, requests are answered.
    pub async fn start(config: LocalConfig) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("cannot create the data directory {}", config.data.display()))?;
        let keys = Keys::read_or_make(&config.data.join("credentials.json"))?;
        let cloud_config = local_cloud::Config {
            s3_listen: config.s3_listen,
            sqs_listen: config.sqs_listen,
            ..local_cloud::Config::new(config.data.join("cloud"), &keys.access_key, &keys.secret_key)
        };
        let region = cloud_config.region.clone();
        let cloud = LocalCloud::start(cloud_config).await.map_err(start_error)?;
        let stack = Stack { visibility_timeout: VISIBILITY, ..Stack::default() };
        cloud.provision(&stack).await.context("cannot set up buckets and queues")?;

        let aws = Aws::connect(&Endpoint {
            region: Some(region.clone()),
            s3_url: Some(cloud.s3_endpoint()),
            sqs_url: Some(cloud.sqs_endpoint()),
            credentials: Some(StaticCredentials {
                access_key: keys.access_key.clone(),
                secret_key: keys.secret_key.clone(),
            }),
            force_path_style: true,
        })
        .await;
        let queue_url = cloud.queue_url(&stack.queue);
        let dead_letter_queue_url = cloud.queue_url(&stack.dead_letter_queue);
        let ledger = Ledger::new(
            Arc::new(aws.bucket(&stack.inbox)),
            Arc::new(aws.bucket(&stack.outbox)),
            Arc::new(aws.queue(&queue_url)),
            Arc::new(SystemClock),
            Arc::new(OsEntropy),
        );
        let registry = Arc::new(registry(&config.models, &aws)?);

        let listener = TcpListener::bind(config.listen).await.map_err(|error| cannot_listen(config.listen, error))?;
        let api_address = listener.local_addr().context("cannot listen")?;
        let endpoints = Endpoints {
            api: format!("http://{api_address}"),
            s3: cloud.s3_endpoint(),
            sqs: cloud.sqs_endpoint(),
            region,
            access_key: keys.access_key,
            secret_key: keys.secret_key,
            inbox: stack.inbox,
            outbox: stack.outbox,
            queue_url,
            dead_letter_queue_url,
        };

        let mut service = Service::new();
        let settings =
            api::Settings { cors_origins: api::CorsOrigins::Only(config.cors_origins), ..api::Settings::default() };
        let tenant = settings.tenant.clone();
        service.start_api(api::Api::new(ledger.clone(), registry.clone(), settings), listener);
        service.start_workers(Workers {
            ledger: ledger.clone(),
            registry: registry.clone(),
            dead_letters: Some(Arc::new(aws.queue(&endpoints.dead_letter_queue_url))),
            workers: config.workers,
            tenant,
            visibility: VISIBILITY,
            sweep_every: Some(SWEEP_PERIOD),
        })?;
        let local = Self { endpoints, ledger, registry, cloud, service };
        local.write_endpoints(&config.data.join("endpoints.json"))?;
        Ok(local)
    }

    /// A model and an input of its, for a line to try.
    pub async fn example(&self) -> Option<(String, String)> {
        for name in self.registry.names().await.ok()? {
            if let Ok(Some(model)) = self.registry.resolve(&name).await
                && let Some(golden) = model.manifest.goldens.first()
                && let Ok(input) = serde_json::from_str::<serde_json::Value>(&golden.input)
            {
                return Some((name.to_string(), input.to_string()));
            }
        }
        None
    }

    fn write_endpoints(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(&self.endpoints)?)
    }

    /// Runs until `shutdown` completes or a part fails; then lets running jobs finish and stops.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let outcome = self.service.run_until(shutdown).await;
        // Last, because the others finish their jobs over it.
        self.cloud.shutdown().await;
        outcome
    }

    /// Lets running jobs finish, and stops.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.run_until(std::future::ready(())).await
    }
}

/// A free port of this machine.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The registry that `--models` names.
pub fn registry(models: &str, aws: &Aws) -> anyhow::Result<Registry> {
    let Some(place) = models.strip_prefix("s3://") else {
        return crate::models::open(Path::new(models));
    };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(failure::usage(format!("{models} names no bucket"), "write s3://bucket/models").into());
    }
    let prefix = prefix.trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Registry::bucket(Arc::new(aws.bucket(bucket)), prefix))
}

/// The access key of a data directory: made once, then kept, so that clients can keep it too.
#[derive(Serialize, Deserialize)]
struct Keys {
    access_key: String,
    secret_key: String,
}

impl Keys {
    fn read_or_make(path: &Path) -> anyhow::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("cannot use {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let keys = Self { access_key: format!("MILLPOND{}", random(12)), secret_key: random(40) };
                write_private(path, &serde_json::to_vec_pretty(&keys)?)?;
                Ok(keys)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// Letters and digits that need no escaping anywhere.
fn random(length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = vec![0; length];
    OsEntropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let cannot = || format!("cannot write {}", path.display());
    let dir = path.parent().unwrap_or(Path::new("."));
    // Temporary files are readable by their owner only.
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(cannot)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
    file.persist(path).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

fn start_error(error: local_cloud::StartError) -> anyhow::Error {
    let hint = match &error {
        local_cloud::StartError::InUse(_) => "stop the other `millpond up`, or choose another directory with --data",
        local_cloud::StartError::Listen(..) => {
            "another program has that port; choose others with --s3-listen and --sqs-listen"
        }
        _ => "",
    };
    let message = error.to_string();
    anyhow::Error::new(error).context(failure::hint(format!("the local cloud did not start: {message}"), hint))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    let hint =
        failure::hint(format!("cannot listen on {address}"), "another program has that port; choose one with --listen");
    anyhow::Error::new(error).context(hint)
}
