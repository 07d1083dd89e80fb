//! The long-running parts of a process, and how they stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cloud::Queue;
use job::Tenant;
use ledger::Ledger;
use registry::Registry;
use telemetry::Prometheus;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::{DeadLetters, Observer, Processor, Sweep, Worker, WorkerError};

use crate::metrics_server;

/// Parts that run until one of them fails or all are told to stop.
pub struct Service {
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// What the workers of a process need.
pub struct Workers {
    /// The jobs.
    pub ledger: Ledger,
    /// The models.
    pub registry: Arc<Registry>,
    /// The dead-letter queue, if this process handles it.
    pub dead_letters: Option<Arc<dyn Queue>>,
    /// How many jobs run at a time; none at 0.
    pub workers: usize,
    /// How much memory loaded models may take, if not as much as the workers' own settings have.
    pub model_cache_bytes: Option<u64>,
    /// Whose jobs dropped files are.
    pub tenant: Tenant,
    /// The queue's visibility timeout.
    pub visibility: Duration,
    /// Whether other threads take over when a model does not stop, or this process ends.
    pub replace_wedged: bool,
    /// How often lost messages are looked for, if this process does so.
    pub sweep_every: Option<Duration>,
    /// What counts them.
    pub metrics: Prometheus,
}

impl Service {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    /// Serves the API.
    pub fn start_api(&mut self, api: api::Api, listener: TcpListener) {
        let stop = self.stop.clone().cancelled_owned();
        self.tasks.spawn(async move { api::serve(api, listener, stop).await.context("the API failed") });
    }

    /// Serves a worker's metrics.
    pub fn start_metrics(&mut self, metrics: Prometheus, listener: TcpListener) {
        let (stop, router) = (self.stop.clone().cancelled_owned(), metrics_server::router(metrics));
        self.tasks.spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router) => served.context("the metrics failed"),
                // A scraper's open connection is nothing to wait for.
                () = stop => Ok(()),
            }
        });
    }

    /// Runs jobs, handles dead letters, and looks for lost messages.
    pub fn start_workers(&mut self, workers: Workers) -> anyhow::Result<()> {
        let defaults = worker::Settings::default();
        let settings = worker::Settings {
            parallel: workers.workers,
            threads: workers.workers,
            drop_tenant: workers.tenant,
            visibility_timeout: workers.visibility,
            model_memory_bytes: workers.model_cache_bytes.unwrap_or(defaults.model_memory_bytes),
            ..defaults
        };
        let Workers { ledger, registry, metrics, .. } = workers;
        let observer: Arc<dyn Observer> = Arc::new(metrics);
        if workers.workers > 0 {
            let (ledger, registry, settings) = (ledger.clone(), registry.clone(), settings.clone());
            let observer = observer.clone();
            let make = move || {
                let processor = Processor::new(ledger.clone(), registry.clone(), settings.clone())?;
                Ok::<_, std::io::Error>(Arc::new(processor.observed_by(observer.clone())))
            };
            let mut processor = make().context("cannot start the workers")?;
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                loop {
                    match Worker::new(processor).run(stop.clone()).await {
                        // The thread that the model keeps is lost until this process ends. The API and the storage that share
                        // it, and the next jobs, are worth more.
                        Err(WorkerError::Wedged) if workers.replace_wedged && !stop.is_cancelled() => {
                            tracing::error!("other threads take over from the model that does not stop");
                            processor = make().context("cannot replace the workers")?;
                        }
                        ended => return ended.context("the workers failed"),
                    }
                }
            });
        }
        if let Some(queue) = workers.dead_letters {
            let dead_letters =
                DeadLetters::new(ledger.clone(), registry, queue, settings.clone()).observed_by(observer.clone());
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                dead_letters.run(stop).await;
                Ok(())
            });
        }
        if let Some(period) = workers.sweep_every {
            let sweep = Sweep::new(ledger, settings).observed_by(observer);
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                sweep.run(period, stop).await;
                Ok(())
            });
        }
        Ok(())
    }

    /// Runs until `shutdown` completes or a part fails; then lets running jobs finish and stops.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(shutdown);
        let mut outcome = tokio::select! {
            biased;
            () = &mut shutdown => Ok(()),
            Some(ended) = self.tasks.join_next() => flatten(ended),
        };
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            outcome = outcome.and(flatten(ended));
        }
        outcome
    }
}

fn flatten(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    ended.map_err(|error| anyhow::Error::new(error).context("a part of the service crashed")).flatten()
}
