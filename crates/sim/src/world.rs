//! Everything that the tasks of one run share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use cloud::clock::TokioClock;
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::{Clock, ObjectStore, PutOptions, SeededEntropy};
use jiff::{SignedDuration, Timestamp};
use job::layout;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::{Chance, entropy};
use crate::history::History;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::process::Incarnation;
use crate::script::MANIFEST;

/// Whose jobs they are. The second has none of its own, and tries to see the first one's (J7).
pub(crate) const TENANTS: [&str; 2] = ["alpha", "beta"];

/// A router that answers, and the process that it lives in.
pub(crate) type Served = Option<(Router, Arc<Incarnation>)>;

/// One simulated cloud, and all that is known about it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) history: History,
    pub(crate) oracle: Oracle,
    quiet: AtomicBool,
    /// When faults come, and which.
    pub(crate) chance: Chance,
    /// The processes' ids and jitter.
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) inbox: Arc<MemoryObjectStore>,
    pub(crate) outbox: Arc<MemoryObjectStore>,
    pub(crate) models: Arc<MemoryObjectStore>,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) dead: Arc<MemoryQueue>,
    /// Where the inbox's events lie until it is decided how they are delivered.
    pub(crate) events: Arc<MemoryQueue>,
    /// The cloud's own clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Calls that go on although nobody waits for them.
    pub(crate) in_flight: Mutex<JoinSet<()>>,
    /// What answers, by tenant.
    pub(crate) apis: Mutex<[Served; 2]>,
}

impl World {
    pub(crate) async fn new(seed: u64, plan: Plan, kept: bool) -> Arc<Self> {
        let clock = clock(SignedDuration::ZERO);
        let store = |name: &str| Arc::new(MemoryObjectStore::new(name, clock.clone()));
        let (inbox, outbox, models) = (store("inbox"), store("outbox"), store("models"));
        let retention = Duration::from_secs(14 * 86_400);
        let config =
            QueueConfig { visibility_timeout: plan.visibility, max_receive_count: plan.max_receives, retention };
        let without_end = QueueConfig { max_receive_count: u32::MAX, ..config.clone() };
        let dead = Arc::new(MemoryQueue::new(without_end.clone(), clock.clone(), None));
        let queue = Arc::new(MemoryQueue::new(config, clock.clone(), Some(dead.clone())));
        let events = Arc::new(MemoryQueue::new(without_end, clock.clone(), None));
        inbox.on_put(events.clone(), &[layout::UPLOADS, layout::DROP]);
        let world = Arc::new(Self {
            history: History::new(kept),
            oracle: Oracle::new(&plan, outbox.clone()),
            chance: Chance::new(seed, 2),
            entropy: Arc::new(entropy(seed, 3)),
            quiet: AtomicBool::new(plan.calm),
            seed,
            plan,
            inbox,
            outbox,
            models,
            queue,
            dead,
            events,
            clock,
            in_flight: Mutex::default(),
            apis: Mutex::new([None, None]),
        });
        world.publish(1).await;
        world
    }

    /// Puts a version of the model where it is found: its file, then what says that it is there.
    async fn publish(&self, version: u32) {
        self.history.note("somebody", || format!("publishes version {version}"));
        let manifest = MANIFEST.replace("VERSION", &version.to_string());
        for (file, body) in [("model.ubj", String::new()), ("model.toml", manifest)] {
            let key = format!("m/{version}/{file}");
            self.models.put(&key, body.into(), PutOptions::default()).await.expect("memory takes it");
        }
    }

    /// Publishes a second version when it is time.
    pub(crate) async fn publish_later(self: Arc<Self>) {
        if let Some(at) = self.plan.new_version_at {
            sleep(at).await;
            self.publish(2).await;
        }
    }

    /// A clock that is off by as much as the plan allows.
    pub(crate) fn skewed_clock(&self) -> Arc<dyn Clock> {
        let most = self.plan.weather.skew_ms;
        let millis = if most == 0 { 0 } else { self.chance.between(0..=2 * most) as i64 - most as i64 };
        clock_at(self.clock.now(), SignedDuration::from_millis(millis))
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.history.now_ms())
    }

    /// Whether the faults have ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Ends the faults when it is time.
    pub(crate) async fn become_quiet(self: Arc<Self>) {
        sleep(self.plan.quiet_at).await;
        self.quiet.store(true, Ordering::Relaxed);
        self.history.note("plan", || "the faults end".to_owned());
    }

    /// Lets a call go on by itself.
    pub(crate) fn detach(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).spawn(call);
    }
}

fn clock(skew: SignedDuration) -> Arc<dyn Clock> {
    clock_at("2026-11-20T12:00:00Z".parse().expect("a time"), skew)
}

fn clock_at(now: Timestamp, skew: SignedDuration) -> Arc<dyn Clock> {
    Arc::new(TokioClock::starting_at(now + skew))
}
