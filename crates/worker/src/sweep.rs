//! The sweep: finds what was lost. It goes through all jobs without an outcome, and through the dropped files without a
//! ticket, and sends again, or commits as expired, what needs it (J2).

use std::sync::Arc;
use std::time::Duration;

use cloud::StoreError;
use cloud::object_store::ListedObject;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use job::envelope::{ObjectVersion, Order};
use job::layout::{self, InboxKey};
use job::state::REPEAT_AFTER_SECONDS;
use job::{JobId, Message, State};
use ledger::Ledger;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::fault::Fault;
use crate::mirror;
use crate::observer::{Ended, Event, Observer};
use crate::patience::{self, answer, within};
use crate::settings::Settings;
use crate::span;

/// S3's largest page; a page is what the sweep holds in memory.
const PAGE: usize = 1000;
/// How many jobs are looked at side by side.
const PARALLEL: usize = 8;
/// What is younger can't be lost yet.
const REPEAT_AFTER: Duration = Duration::from_secs(REPEAT_AFTER_SECONDS.unsigned_abs());

/// Goes through the buckets.
#[derive(Debug, Clone)]
pub struct Sweep {
    ledger: Ledger,
    settings: Settings,
    observer: Arc<dyn Observer>,
}

/// What one sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Jobs without an outcome.
    pub open: u64,
    /// Those that it found a deadline passed of, and ended.
    pub expired: u64,
    /// Those whose attempts have fallen silent, whose message was sent again.
    pub silent: u64,
    /// Dropped files without a ticket that were sent.
    pub dropped: u64,
    /// What could not be looked at; the next sweep tries again.
    pub faults: u64,
}

impl SweepReport {
    fn add(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::Expired => self.expired += 1,
            Found::Silent => self.silent += 1,
            Found::Dropped => self.dropped += 1,
            Found::Fault => self.faults += 1,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Found {
    Nothing,
    Expired,
    Silent,
    Dropped,
    Fault,
}

/// Which of a job's documents a listing shows.
#[derive(Debug, Clone, Copy)]
struct Listed {
    job: JobId,
    /// When the ticket was written.
    ticket: Option<Timestamp>,
    outcome: bool,
}

impl Sweep {
    /// A sweep over the ledger's buckets. `settings` must be the workers'.
    pub fn new(ledger: Ledger, settings: Settings) -> Self {
        Self { ledger, settings, observer: Arc::new(()) }
    }

    /// Tells `observer` what happens.
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Sweeps every `period`, until `shutdown`. The first sweep comes at a random moment of the first period: workers that
    /// start side by side, or over and over, while many jobs wait would otherwise all go through those jobs.
    pub async fn run(&self, period: Duration, shutdown: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + period.mul_f64(self.ledger.entropy.unit()), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = async { ticks.tick().await; self.sweep_once().await; } => {}
            }
        }
    }

    /// Sweeps once. What fails is counted and left to the next sweep; a sweep broken off may be begun anew at any time.
    pub async fn sweep_once(&self) -> SweepReport {
        let mut report = SweepReport::default();
        for swept in [self.jobs(&mut report).await, self.dropped_files(&mut report).await] {
            if let Err(fault) = swept {
                fault.log();
                report.faults += 1;
            }
        }
        if report == (SweepReport { open: report.open, ..SweepReport::default() }) {
            tracing::debug!(?report, "swept");
        } else {
            tracing::info!(?report, "swept");
        }
        self.observer.observe(&Event::Swept(report));
        report
    }

    /// Every job without an outcome, as the listing shows it: no document of a finished job is read.
    async fn jobs(&self, report: &mut SweepReport) -> Result<(), Fault> {
        let mut after: Option<String> = None;
        let mut current: Option<Listed> = None;
        loop {
            let list = self.ledger.outbox.list(layout::JOBS, after.as_deref(), PAGE);
            let page = within(patience::CALL, list).await?;
            let mut open = Vec::new();
            for object in &page.objects {
                let Some((job, document)) = document_of(&object.key) else { continue };
                if current.is_none_or(|current| current.job != job) {
                    open.extend(current.replace(Listed { job, ticket: None, outcome: false }));
                }
                if let Some(current) = &mut current {
                    match document {
                        "ticket.json" => current.ticket = Some(object.last_modified),
                        "outcome.json" => current.outcome = true,
                        _ => {}
                    }
                }
            }
            after = page.objects.last().map(|object| object.key.clone());
            let last = !page.more || after.is_none();
            if last {
                open.extend(current.take());
            }
            open.retain(|listed| listed.ticket.is_some() && !listed.outcome);
            report.open += open.len() as u64;
            open.retain(|listed| listed.ticket.is_some_and(|written| self.age(written) >= REPEAT_AFTER));
            let mut looks = stream::iter(open).map(|listed| self.look(listed.job)).buffer_unordered(PARALLEL);
            while let Some(found) = looks.next().await {
                report.add(found);
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn look(&self, job: JobId) -> Found {
        let look = async {
            let Some(ticket) = within(patience::CALL, self.ledger.ticket(job)).await? else {
                return Ok(Found::Nothing);
            };
            span::has_trace(&ticket);
            let sight = within(patience::CALL, self.ledger.look(&ticket)).await?;
            let now = self.ledger.clock.now();
            let silent = |beat| now.duration_since(beat).unsigned_abs() > self.silence();
            if sight.state == State::Expired {
                if let Some(outcome) = &sight.outcome {
                    let (model, state, code) = (ticket.counted_model(), sight.state, outcome.ending.code());
                    let ended = Ended { model, state, code, waited: None, ran: None, inferred: None };
                    self.observer.observe(&Event::Ended(ended));
                    within(patience::TRANSFER, mirror::write(&self.ledger, &ticket, outcome)).await?;
                }
                return Ok(Found::Expired);
            }
            if sight.outcome.is_none() && sight.progress.is_some_and(|progress| silent(progress.beat_at)) {
                // A job that has begun never expires, so if its message is lost, nothing else would find it.
                within(patience::CALL, self.ledger.enqueue(&ticket, sight.uploaded, Duration::ZERO)).await?;
                return Ok(Found::Silent);
            }
            Ok(Found::Nothing)
        };
        let look = async {
            look.await.unwrap_or_else(|fault: Fault| {
                fault.log();
                Found::Fault
            })
        };
        look.instrument(span::of_job(job)).await
    }

    /// After which an attempt can't be alive, nor its message still be hidden.
    fn silence(&self) -> Duration {
        (self.settings.visibility_timeout * 2).max(Duration::from_secs(60 * 60))
    }

    /// Every dropped file that is a minute old and no job yet.
    async fn dropped_files(&self, report: &mut SweepReport) -> Result<(), Fault> {
        let mut after: Option<String> = None;
        loop {
            let list = self.ledger.inbox.list(layout::DROP, after.as_deref(), PAGE);
            let page = within(patience::CALL, list).await?;
            after = page.objects.last().map(|object| object.key.clone());
            let mut files = stream::iter(page.objects).map(|file| self.dropped(file)).buffer_unordered(PARALLEL);
            while let Some(found) = files.next().await {
                report.add(found);
            }
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// None at all for what is to come: the store's clock and ours differ.
    fn age(&self, written: Timestamp) -> Duration {
        self.ledger.clock.now().duration_since(written).try_into().unwrap_or_default()
    }

    async fn dropped(&self, file: ListedObject) -> Found {
        let is_file = !matches!(InboxKey::parse(&file.key), InboxKey::Folder);
        // An older one's ticket may have gone by its retention; it had its time.
        let is_due = (REPEAT_AFTER..self.settings.retention).contains(&self.age(file.last_modified));
        if !is_file || !is_due {
            return Found::Nothing;
        }
        let bucket = self.ledger.inbox.bucket();
        let job = JobId::for_dropped_file(bucket, &file.key, &file.etag, file.last_modified);
        let send = async {
            self.send_dropped(job, file).await.unwrap_or_else(|fault| {
                fault.log();
                Found::Fault
            })
        };
        send.instrument(span::of_job(job)).await
    }

    async fn send_dropped(&self, job: JobId, file: ListedObject) -> Result<Found, Fault> {
        match answer(patience::CALL, self.ledger.outbox.head(&layout::ticket_key(job))).await? {
            Ok(_) => return Ok(Found::Nothing),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let ListedObject { key, etag, size_bytes, .. } = file;
        let bucket = self.ledger.inbox.bucket().to_owned();
        let version = ObjectVersion { bucket, key, etag: Some(etag), size_bytes: Some(size_bytes) };
        let body = Message::new(Order::Dropped(version)).to_body();
        let send = self.ledger.queue.send(&body, Some(self.settings.drop_tenant.as_str()), Duration::ZERO);
        within(patience::CALL, async { send.await.map_err(ledger::LedgerError::from) }).await?;
        Ok(Found::Dropped)
    }
}

/// The job and the document's name, of a key under `jobs/`.
fn document_of(key: &str) -> Option<(JobId, &str)> {
    let (job, document) = key.strip_prefix(layout::JOBS)?.split_once('/')?;
    Some((job.parse().ok()?, document))
}
