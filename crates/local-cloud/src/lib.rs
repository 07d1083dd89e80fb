//! S3 and SQS on loopback, durable on disk: what Millpond's own SDK calls talk to when there is no AWS.
//!
//! Both speak AWS's wire protocols and verify its signatures, over one SQLite database and a folder of blobs. A write
//! that was answered survives `kill -9`; an object and the events that it causes are one transaction. `design.md`
//! beside this crate says how, and where it differs from AWS.

mod chaos;
mod clock;
mod events;
mod s3;
mod server;
mod sqs;
mod stack;
mod store;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fs4::FileExt;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use chaos::{Chaos, ParseChaosError};
pub use clock::{Clock, system_clock};
pub use s3::AbsentKeys;
pub use stack::{ProvisionError, Stack};

use store::{Store, StoreError};

/// How often messages past their retention are removed; until then they are there, but nobody receives them.
const EXPIRY_PERIOD: Duration = Duration::from_secs(60);

/// How to run a local cloud.
#[derive(Clone)]
pub struct Config {
    /// Where everything is kept; created if need be. One process at a time may use it.
    pub data_dir: PathBuf,
    /// The S3 endpoint's address; port 0 takes a free one.
    pub s3_listen: SocketAddr,
    /// The SQS endpoint's address; port 0 takes a free one.
    pub sqs_listen: SocketAddr,
    /// The region that requests must be signed for.
    pub region: String,
    /// The one access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Wall time as stored and shown: modification, visibility, retention. The age of a signature is judged by the
    /// machine's own clock, whatever this one says.
    pub clock: Clock,
    /// Whether messages are duplicated, delayed and reordered as SQS may do it, and how often.
    pub chaos: Option<Chaos>,
    /// What a read of a key that is not there is answered.
    pub absent_keys: AbsentKeys,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("s3_listen", &self.s3_listen)
            .field("sqs_listen", &self.sqs_listen)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .field("chaos", &self.chaos)
            .field("absent_keys", &self.absent_keys)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// A configuration on free ports of 127.0.0.1, in `us-east-1`, with the system's clock.
    pub fn new(data_dir: impl Into<PathBuf>, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data_dir: data_dir.into(),
            s3_listen: any_port,
            sqs_listen: any_port,
            region: "us-east-1".into(),
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            clock: system_clock(),
            chaos: None,
            absent_keys: AbsentKeys::default(),
        }
    }
}

/// Why a local cloud did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another process uses the data directory.
    #[error("another process is using the data directory {}", .0.display())]
    InUse(PathBuf),
    /// The data directory cannot be created or locked.
    #[error("cannot use the data directory {}", .0.display())]
    DataDir(PathBuf, #[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The database is damaged, or is not where it should be; nothing was changed.
    #[error("the database {} is damaged: {}; restore a copy of its directory, or move that away to begin anew", .0.display(), .1)]
    Damaged(PathBuf, String),
    /// The database cannot be opened, or is of a newer version.
    #[error("cannot open the store: {0}")]
    Store(String),
}

/// A running local cloud. Dropping it stops it at once, as a crash would; `shutdown` lets requests finish.
pub struct LocalCloud {
    store: Arc<Store>,
    s3_address: SocketAddr,
    sqs_address: SocketAddr,
    s3_pipes: mpsc::UnboundedSender<DuplexStream>,
    sqs_pipes: mpsc::UnboundedSender<DuplexStream>,
    region: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// How many bytes lie in a pipe until its writer waits.
const PIPE_BYTES: usize = 64 << 10;

impl LocalCloud {
    /// Locks the data directory, opens and checks the store, removes what a crash left behind, and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&opening.data_dir)?;
            Store::open(&opening, lock).map_err(|error| match error {
                StoreError::Damaged(how) => StartError::Damaged(opening.data_dir.join(store::DATABASE), how),
                other => StartError::Store(chain(&other)),
            })
        });
        let store = opened.await.map_err(|error| StartError::Store(error.to_string()))??;
        let store = Arc::new(store);
        if let Some(chaos) = config.chaos {
            tracing::warn!(%chaos, "chaos is on: messages come twice, late and out of order, on purpose");
        }
        let (s3_listener, s3_address) = listen(config.s3_listen).await?;
        let (sqs_listener, sqs_address) = listen(config.sqs_listen).await?;

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (s3_pipes, piped_to_s3) = mpsc::unbounded_channel();
        let (sqs_pipes, piped_to_sqs) = mpsc::unbounded_channel();
        let s3 = s3::S3Handler::new(Arc::clone(&store), &config.access_key, &config.secret_key);
        tasks.spawn(server::serve(s3_listener, piped_to_s3, Arc::new(s3), stop.clone()));
        let sqs = sqs::SqsHandler::new(
            Arc::clone(&store),
            sqs::Keys { access_key: config.access_key, secret_key: config.secret_key },
            format!("http://{sqs_address}"),
            stop.clone(),
        );
        tasks.spawn(server::serve(sqs_listener, piped_to_sqs, Arc::new(sqs), stop.clone()));
        tasks.spawn(remove_expired(Arc::clone(&store), stop.clone()));
        Ok(Self { store, s3_address, sqs_address, s3_pipes, sqs_pipes, region: config.region, stop, tasks })
    }

    /// The S3 endpoint, `http://127.0.0.1:<port>`. Clients must address buckets by path.
    #[must_use]
    pub fn s3_endpoint(&self) -> String {
        format!("http://{}", self.s3_address)
    }

    /// The SQS endpoint, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn sqs_endpoint(&self) -> String {
        format!("http://{}", self.sqs_address)
    }

    /// The URL of a queue, whether it exists or not.
    #[must_use]
    pub fn queue_url(&self, queue: &str) -> String {
        sqs::queue_url(&self.sqs_endpoint(), queue)
    }

    /// A connection to the S3 endpoint within this process: HTTP/1.1 as over the network, but no port between. After the shutdown it is
    /// closed at once.
    #[must_use]
    pub fn pipe_to_s3(&self) -> DuplexStream {
        pipe(&self.s3_pipes)
    }

    /// The same to the SQS endpoint.
    #[must_use]
    pub fn pipe_to_sqs(&self) -> DuplexStream {
        pipe(&self.sqs_pipes)
    }

    /// Creates what `stack` names: buckets, queues with their redrive policy, CORS rules, notifications. What is there
    /// already is brought in line, so that calling this at every start is right; objects and messages stay.
    ///
    /// # Errors
    /// [`ProvisionError`] if a name is invalid or the store fails.
    pub async fn provision(&self, stack: &Stack) -> Result<(), ProvisionError> {
        stack::provision(&self.store, &self.region, stack).await
    }

    /// Stops accepting, answers long polls, lets other requests finish for a few seconds, and closes the store.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task failed");
            }
        }
        let store = Arc::clone(&self.store);
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("the store did not close");
        }
    }
}

fn pipe(to: &mpsc::UnboundedSender<DuplexStream>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    // A server that has ended drops its end, which closes ours.
    let _ = to.send(theirs);
    ours
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))?;
    let bound = listener.local_addr().map_err(|error| StartError::Listen(address, error))?;
    Ok((listener, bound))
}

fn lock(data_dir: &std::path::Path) -> Result<File, StartError> {
    let failed = |error| StartError::DataDir(data_dir.to_path_buf(), error);
    create_durably(data_dir).map_err(failed)?;
    let options = File::options().read(true).write(true).create(true).truncate(false).clone();
    let file = options.open(data_dir.join("lock")).map_err(failed)?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(fs4::TryLockError::WouldBlock) => Err(StartError::InUse(data_dir.to_path_buf())),
        Err(fs4::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Creates a directory, and those above it that are missing, so that none is lost with what is in it.
fn create_durably(directory: &std::path::Path) -> io::Result<()> {
    let above = match directory.parent() {
        Some(above) if !directory.try_exists()? => above,
        _ => return std::fs::create_dir_all(directory),
    };
    let above = if above.as_os_str().is_empty() { std::path::Path::new(".") } else { above };
    create_durably(above)?;
    std::fs::create_dir_all(directory)?;
    File::open(above)?.sync_all()
}

/// An error and its causes in one line.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn remove_expired(store: Arc<Store>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRY_PERIOD) => {}
        }
        match store.remove_expired().await {
            Ok(0) | Err(StoreError::Closed) => {}
            Ok(removed) => tracing::info!(removed, "messages reached the end of their retention"),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "expiry failed"),
        }
    }
}
