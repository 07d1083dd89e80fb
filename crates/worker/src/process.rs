//! What happens to one job, from the message that names it to its outcome. Nothing here knows of queues.
//!
//! Each step consumes the one before, so none can be left out or taken twice:
//!
//! | step | file | what is known then |
//! |---|---|---|
//! | `Received` | `received.rs`, `dropped.rs` | what the message asks for |
//! | `Ticketed` | `attempt.rs` | the job's record, and that it has no outcome yet |
//! | `Pinned` | `pinned.rs` | the model's version and the checked parameters |
//! | `Read` | `input.rs` | the whole input, of the right version |
//! | `Ran` | `run.rs` | the model's answer |
//! | `Stored` | `store.rs` | that what the outcome will name is complete (J3) |
//! | `Committed` | `commit.rs` | the job's one outcome (J1), ours or another's |
//!
//! Beside the steps from `Pinned` to `Stored` run the beats (`beats.rs`): they keep the progress record (`record.rs`) and
//! notice a cancellation. Whatever fails goes through one place, `failure.rs`.
//!
//! If the process dies at any line, the message comes back after its visibility timeout, and the next attempt starts from
//! `Received`: before the outcome nothing but attempts' own results and advisory progress was written, after it the
//! redelivery finds it.

mod attempt;
mod beats;
mod commit;
pub(crate) mod dropped;
mod failure;
mod input;
mod pinned;
mod received;
mod record;
mod run;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use job::error::Code;
use job::{ModelName, Outcome, Ticket, Work};
use ledger::Ledger;
use registry::Registry;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::fault::{Class, Fault};
use crate::models::{InferModels, ModelCache, Models, Pin, kib};
use crate::observer::Observer;
use crate::patience::{self, backoff, within};
use crate::pool::{Pool, ThreadPool};
use crate::settings::Settings;
use crate::span;

/// Everything that one process needs to run jobs; its drivers share one.
pub struct Processor {
    pub(crate) ledger: Ledger,
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<dyn Observer>,
    cache: ModelCache,
    pool: Arc<dyn Pool>,
    places: Arc<Semaphore>,
    /// In KiB, what is left for inputs.
    input_room: Semaphore,
    wedged: CancellationToken,
}

/// How a message came.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When the message was first sent, where that is known.
    pub sent_at: Option<Timestamp>,
    /// When whoever runs us stops doing so; nothing is begun that may not be finished by then.
    pub deadline: Option<Instant>,
    /// The longest that a model may take here, whatever its own limit. What never fits its driver's time must be stopped: put
    /// off, it would be put off for ever.
    pub longest: Duration,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is left to do: acknowledge it.
    Done,
    /// It is to come back after this time.
    RetryAfter(Duration),
    /// It names no job, or one whose documents can't be read. It must not be acknowledged: its queue gives it up in the
    /// end, and the dead-letter handler has a look.
    Reject,
}

/// Why the steps ended before the last one.
#[derive(Debug)]
pub(crate) enum Stop {
    /// There is nothing to do, for this reason.
    Done(&'static str),
    /// It names no job, for this reason.
    Reject(&'static str),
    /// Not here and now.
    Later,
    /// The job has an outcome already.
    Ended(Box<Ticket>, Box<Outcome>),
    /// Something failed.
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl Processor {
    /// A processor with the engines of `infer` on threads of its own. Fails if the system gives it no threads.
    pub fn new(ledger: Ledger, registry: Arc<Registry>, settings: Settings) -> std::io::Result<Self> {
        let pool = Arc::new(ThreadPool::new(settings.threads)?);
        Ok(Self::with(ledger, registry, settings, Arc::new(InferModels), pool))
    }

    /// A processor whose models are loaded and run by others: for the simulator and for tests.
    pub fn with(
        ledger: Ledger,
        registry: Arc<Registry>,
        settings: Settings,
        models: Arc<dyn Models>,
        pool: Arc<dyn Pool>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(pool.threads().max(1)));
        let cache = ModelCache::new(registry, models, settings.model_memory_bytes);
        let input_room = Semaphore::new(kib(settings.input_memory_bytes) as usize);
        let (observer, wedged) = (Arc::new(()), CancellationToken::new());
        Self { ledger, settings, observer, cache, pool, places, input_room, wedged }
    }

    /// Tells `observer` what happens.
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// The job records that it works on.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What it was set to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Cancelled once a model hangs in this process for good. It takes nothing on any more and is to be restarted.
    pub fn wedged(&self) -> &CancellationToken {
        &self.wedged
    }

    /// Loads a model's current version before any job asks for it. Whether it is loaded then; if not, the log has the reason.
    pub async fn preload(&self, name: &ModelName) -> bool {
        let loaded = async {
            let found = within(patience::CALL, self.cache.registry().resolve(name)).await?;
            let published =
                found.ok_or_else(|| Fault::refused(Code::UnknownModel, format!("there is no model {name}")))?;
            let pin = Pin { name: name.clone(), version: published.version.clone(), digest: published.digest };
            self.cache.model(&pin, &published, &*self.pool, &self.places, &*self.observer).await
        };
        match loaded.await {
            Ok(_) => true,
            Err(fault) => {
                fault.log();
                false
            }
        }
    }

    /// Does what one message asks for, once.
    ///
    /// Cancellation: dropping the future tells the model to stop; the job is as if the process had died.
    pub async fn process(&self, work: &Work, delivery: &Delivery) -> Verdict {
        if self.wedged.is_cancelled() {
            return Verdict::RetryAfter(Duration::ZERO);
        }
        let received = received::Received { processor: self, work, delivery };
        let steps = async {
            match received.ticketed().await {
                Ok(ticketed) => ticketed.attempt().await,
                Err(stop) => self.stopped(delivery, stop).await,
            }
        };
        steps.instrument(span::of_work(work, delivery.receive_count)).await
    }

    async fn stopped(&self, delivery: &Delivery, stop: Stop) -> Verdict {
        match stop {
            Stop::Done(reason) => {
                tracing::info!("nothing to do: {reason}");
                Verdict::Done
            }
            Stop::Reject(reason) => {
                tracing::warn!("not taken: {reason}");
                Verdict::Reject
            }
            Stop::Later => Verdict::RetryAfter(Duration::ZERO),
            Stop::Ended(ticket, outcome) => self.finish(&ticket, &outcome, delivery).await,
            Stop::Fault(fault) => {
                fault.log();
                match fault.class() {
                    Class::Transient => self.again(delivery),
                    // Without a ticket there is no job that could fail.
                    Class::Permanent | Class::Unreadable => Verdict::Reject,
                }
            }
        }
    }

    /// Waits for room for an input of so many bytes, or for all the room that there is.
    async fn input_room(&self, bytes: u64) -> SemaphorePermit<'_> {
        let share = kib(bytes).min(kib(self.settings.input_memory_bytes));
        self.input_room.acquire_many(share).await.expect("it is never closed")
    }

    /// Has the message come back, later each time.
    fn again(&self, delivery: &Delivery) -> Verdict {
        Verdict::RetryAfter(self.backoff(delivery.receive_count))
    }

    pub(crate) fn backoff(&self, nth: u32) -> Duration {
        backoff(nth, &*self.ledger.entropy)
    }

    fn wedge(&self) {
        tracing::error!("a model does not stop; this process takes no more jobs and must be restarted");
        self.wedged.cancel();
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("settings", &self.settings).field("pool", &self.pool).finish_non_exhaustive()
    }
}
