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
use local_cloud::{AbsentKeys, Chaos, LocalCloud, Stack};
use registry::{Place, Registry};
use serde::{Deserialize, Serialize};
use telemetry::Prometheus;
use tokio::net::TcpListener;

use crate::failure;
use crate::key_commands;
use crate::place;
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
    /// The S3 that the bucket of `models` is in, if not the local one.
    pub models_s3_url: Option<String>,
    /// How much memory loaded models may take.
    pub model_cache_bytes: Option<u64>,
    /// The API's address.
    pub listen: SocketAddr,
    /// The S3 address.
    pub s3_listen: SocketAddr,
    /// The SQS address.
    pub sqs_listen: SocketAddr,
    /// Whose callers may use the API: those with one of these keys, or all.
    pub keys: Option<PathBuf>,
    /// Web pages that may call the API. Without keys, any other page that its visitor opens could use the models too.
    pub cors_origins: Vec<HeaderValue>,
    /// How many jobs run at a time.
    pub workers: usize,
    /// How badly messages are delivered on purpose.
    pub chaos: Option<Chaos>,
    /// What reads of absent keys are answered.
    pub absent_keys: AbsentKeys,
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

impl Endpoints {
    /// What a running `up` has written.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).map_err(|error| {
            let hint =
                failure::hint(format!("cannot read {}", path.display()), "`millpond up` writes it once it serves");
            anyhow::Error::new(error).context(hint)
        })?;
        serde_json::from_slice(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    /// How to reach it.
    pub fn endpoint(&self) -> Endpoint {
        let (access_key, secret_key) = (self.access_key.clone(), self.secret_key.clone());
        Endpoint {
            region: Some(self.region.clone()),
            s3_url: Some(self.s3.clone()),
            sqs_url: Some(self.sqs.clone()),
            credentials: Some(StaticCredentials { access_key, secret_key }),
            force_path_style: true,
        }
    }
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
        let models = place::parse(&config.models)?;
        if let Place::Directory(path) = &models {
            place::existing(path)?;
        }
        let keys = Keys::read_or_make(&config.data.join("credentials.json"))?;
        let cloud_config = local_cloud::Config {
            s3_listen: config.s3_listen,
            sqs_listen: config.sqs_listen,
            chaos: config.chaos,
            absent_keys: config.absent_keys,
            ..local_cloud::Config::new(config.data.join("cloud"), &keys.access_key, &keys.secret_key)
        };
        let region = cloud_config.region.clone();
        let cloud = LocalCloud::start(cloud_config).await.map_err(start_error)?;
        let local_models = match (&models, &config.models_s3_url) {
            (Place::Bucket { bucket, .. }, None) => Some(bucket.clone()),
            _ => None,
        };
        let stack = Stack { visibility_timeout: VISIBILITY, models: local_models, ..Stack::default() };
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
        let registry = Arc::new(match (models, config.models_s3_url) {
            (Place::Directory(path), _) => Registry::directory(path),
            (Place::Bucket { bucket, prefix }, None) => Registry::bucket(Arc::new(aws.bucket(bucket)), prefix),
            (Place::Bucket { bucket, prefix }, url) => {
                let elsewhere = Aws::connect(&place::s3_at(url)).await;
                Registry::bucket(Arc::new(elsewhere.bucket(bucket)), prefix)
            }
        });

        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| cannot_listen("--listen", config.listen, error))?;
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
        let access = match config.keys {
            Some(path) => key_commands::access(keys::Place::File(path), &aws).await?,
            None => api::Access::Anyone,
        };
        let cors_origins = api::CorsOrigins::Only(config.cors_origins);
        let settings = api::Settings { access, cors_origins, ..api::Settings::default() };
        let tenant = settings.tenant.clone();
        let metrics = Prometheus::new();
        let mut api = api::Api::new(ledger.clone(), registry.clone(), settings);
        api.show_metrics(|registry| metrics.register(registry));
        service.start_api(api, listener);
        service.start_workers(Workers {
            ledger: ledger.clone(),
            registry: registry.clone(),
            dead_letters: Some(Arc::new(aws.queue(&endpoints.dead_letter_queue_url))),
            workers: config.workers,
            model_cache_bytes: config.model_cache_bytes,
            tenant,
            visibility: VISIBILITY,
            replace_wedged: true,
            sweep_every: Some(SWEEP_PERIOD),
            metrics,
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

/// Says what to do about an address that is taken, which this flag gives.
pub fn cannot_listen(flag: &str, address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    let hint = format!("another program has that port; choose one with {flag}");
    anyhow::Error::new(error).context(failure::hint(format!("cannot listen on {address}"), hint))
}
