//! Processes that die and are started again.

use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cloud::{Clock, ObjectStore, Queue};
use ledger::Ledger;
use registry::Registry;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::{BatchMessage, DeadLetters, Processor, Settings, Sweep, Worker, handle_batch};

use crate::planted::{Bug, PlantedQueue, PlantedStore};
use crate::pool::{Scripted, SimPool};
use crate::queue::SimQueue;
use crate::script::MAX_SECONDS;
use crate::store::{Bucket, SimStore};
use crate::world::{TENANTS, World};

/// They ask the system how many processors there are, which takes longer than a call to the cloud does here.
static DEFAULTS: LazyLock<Settings> = LazyLock::new(Settings::default);

/// One life of one process. Whatever it knows ends with it.
#[derive(Debug)]
pub(crate) struct Incarnation {
    pub(crate) world: Arc<World>,
    pub(crate) name: &'static str,
    /// `worker-0 #2`
    pub(crate) label: String,
    /// Cancelled when it dies; then nothing of it is carried on.
    pub(crate) dead: CancellationToken,
    /// Cancelled when it is asked to stop.
    shutdown: CancellationToken,
    clock: Arc<dyn Clock>,
    /// When the batch in hand must be answered, if there is one.
    deadline: Mutex<Option<Instant>>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves this tenant.
    Api(usize),
    Worker,
    /// A worker whose messages come in batches.
    Lambda,
    DeadLetters,
    Sweep,
}

/// The processes of a run.
pub(crate) fn roles(world: &World) -> Vec<(&'static str, Role)> {
    let second = if world.plan.lambda { Role::Lambda } else { Role::Worker };
    vec![
        ("api-alpha", Role::Api(0)),
        ("api-beta", Role::Api(1)),
        ("worker-0", Role::Worker),
        ("worker-1", second),
        ("dead-letters", Role::DeadLetters),
        ("sweep", Role::Sweep),
    ]
}

/// Starts a process, and again whenever it has ended. Never ends.
pub(crate) async fn keep_running(world: Arc<World>, name: &'static str, role: Role) {
    let clock = world.skewed_clock();
    for life in 1.. {
        let process = Incarnation::new(&world, name, life, clock.clone());
        world.history.note(&process.label, || "starts".to_owned());
        tokio::select! {
            biased;
            () = process.dead.cancelled() => {}
            () = process.clone().run(role) => world.history.note(&process.label, || "has ended".to_owned()),
            () = process.end_of_life() => {}
        }
        // What is left of it, in clients' tasks, ends too.
        process.dead.cancel();
        let pause = if world.is_quiet() { 100..=2_000 } else { 100..=30_000 };
        sleep(world.chance.millis(pause)).await;
    }
}

impl Incarnation {
    fn new(world: &Arc<World>, name: &'static str, life: u32, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            name,
            label: format!("{name} #{life}"),
            dead: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            clock,
            deadline: Mutex::default(),
        })
    }

    /// A process that does nothing by itself.
    #[cfg(test)]
    pub(crate) fn idle(world: &Arc<World>) -> Arc<Self> {
        Self::new(world, "idle", 1, world.clock.clone())
    }

    /// The process dies here and now: this never returns.
    pub(crate) async fn die<T>(&self, why: &str) -> T {
        self.world.history.note(&self.label, || format!("dies: {why}"));
        self.dead.cancel();
        pending().await
    }

    /// Ends when the process is to be killed; asks it to stop first, or not.
    async fn end_of_life(&self) {
        let mean = self.world.plan.weather.lifetime_s * 1000;
        if mean == 0 {
            return pending().await;
        }
        sleep(self.world.chance.millis(mean / 10..=mean * 2)).await;
        if self.world.is_quiet() {
            return pending().await;
        }
        if self.world.chance.happens(0.3) {
            self.world.history.note(&self.label, || "is asked to stop".to_owned());
            self.shutdown.cancel();
            // As an orchestrator does: then it is killed.
            sleep(Duration::from_secs(60)).await;
        }
        self.world.history.note(&self.label, || "is killed".to_owned());
    }

    async fn run(self: Arc<Self>, role: Role) {
        match role {
            Role::Api(tenant) => self.api(tenant).await,
            Role::Worker => self.worker().await,
            Role::Lambda => self.lambda().await,
            Role::DeadLetters if self.has(Bug::IdleDeadLetters) => pending().await,
            Role::DeadLetters => {
                let queue = self.queue(&self.world.dead, "dead");
                let handler = DeadLetters::new(self.ledger(), self.registry(), queue, self.settings());
                handler.run(self.shutdown.clone()).await;
            }
            Role::Sweep if self.has(Bug::NoSweep) => pending().await,
            Role::Sweep => {
                let sweep = Sweep::new(self.ledger(), self.settings());
                sweep.run(self.world.plan.sweep_every, self.shutdown.clone()).await;
            }
        }
    }

    async fn api(self: Arc<Self>, tenant: usize) {
        let plan = &self.world.plan;
        let settings = api::Settings {
            tenant: TENANTS[tenant].parse().expect("a valid tenant"),
            upload_url_lifetime: plan.upload_lifetime,
            upload_grace: plan.upload_grace,
            queue_deadline: plan.queue_deadline,
            ..api::Settings::default()
        };
        let router = api::router(api::Api::new(self.ledger(), self.registry(), settings));
        let serve = |served| self.world.apis.lock().unwrap_or_else(PoisonError::into_inner)[tenant] = served;
        serve(Some((router, self.clone())));
        self.shutdown.cancelled().await;
        serve(None);
    }

    async fn worker(self: Arc<Self>) {
        let _ = Worker::new(self.processor()).run(self.shutdown.clone()).await;
    }

    /// Batches as Lambda's event source mapping makes them, and its time limit.
    async fn lambda(self: Arc<Self>) {
        // The queue's visibility timeout is to be six times it at least. Little more than a model and what surrounds it take.
        let timeout = self.world.plan.visibility / 10;
        let queue = self.queue(&self.world.queue, "jobs");
        let processor = self.processor();
        while !processor.wedged().is_cancelled() && !self.shutdown.is_cancelled() {
            let mut received = queue.receive(5, Duration::from_secs(20), None).await.unwrap_or_default();
            if (1..5).contains(&received.len()) {
                // The batching window.
                sleep(Duration::from_secs(1)).await;
                received.extend(queue.receive(5 - received.len(), Duration::ZERO, None).await.unwrap_or_default());
            }
            let batch: Vec<BatchMessage> = received.into_iter().map(BatchMessage::from).collect();
            if batch.is_empty() {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let deadline = Instant::now() + timeout;
            *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
            let told = if self.has(Bug::IgnoredDeadline) { deadline + timeout * 2 } else { deadline };
            let failed = handle_batch(&processor, &batch, told).await;
            for message in batch.iter().filter(|message| !failed.contains(&message.id)) {
                let receipt = message.receipt.as_ref().expect("it was received");
                let _ = queue.delete(receipt).await;
            }
        }
    }

    /// Whether a model that begins now may be running when its process is stopped.
    pub(crate) fn is_too_late(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| Instant::now() + Duration::from_secs(MAX_SECONDS) > deadline)
    }

    fn processor(self: &Arc<Self>) -> Arc<Processor> {
        let pool = SimPool { process: self.clone(), threads: self.world.plan.parallel };
        let (ledger, registry) = (self.ledger(), self.registry());
        Arc::new(Processor::with(ledger, registry, self.settings(), Arc::new(Scripted), Arc::new(pool)))
    }

    fn settings(&self) -> Settings {
        let plan = &self.world.plan;
        Settings {
            parallel: plan.parallel,
            threads: plan.parallel,
            max_attempts: if self.has(Bug::EndlessAttempts) { u32::MAX } else { plan.max_attempts },
            drop_tenant: TENANTS[0].parse().expect("a valid tenant"),
            queue_deadline: plan.queue_deadline,
            visibility_timeout: plan.visibility,
            ..DEFAULTS.clone()
        }
    }

    fn ledger(self: &Arc<Self>) -> Ledger {
        let queue = self.queue(&self.world.queue, "jobs");
        let (clock, entropy) = (self.clock.clone(), self.world.entropy.clone());
        Ledger::new(self.store(Bucket::Inbox), self.store(Bucket::Outbox), queue, clock, entropy)
    }

    fn registry(self: &Arc<Self>) -> Arc<Registry> {
        Arc::new(Registry::bucket(self.store(Bucket::Models), ""))
    }

    fn store(self: &Arc<Self>, bucket: Bucket) -> Arc<dyn ObjectStore> {
        let store = SimStore { process: self.clone(), bucket };
        match self.world.plan.bug {
            Some(bug) => Arc::new(PlantedStore { bug, process: self.clone(), store }),
            None => Arc::new(store),
        }
    }

    fn queue(self: &Arc<Self>, inner: &Arc<cloud::memory::MemoryQueue>, name: &'static str) -> Arc<dyn Queue> {
        let queue = SimQueue { process: self.clone(), name, inner: inner.clone() };
        match self.world.plan.bug {
            Some(bug) => Arc::new(PlantedQueue { bug, queue }),
            None => Arc::new(queue),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.world.plan.bug == Some(bug)
    }
}
