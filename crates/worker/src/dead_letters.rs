//! The handler of the dead-letter queue: a job whose message was given up gets its outcome (J2), and the message a record.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cloud::{PutOptions, Queue, QueueError, ReceiptHandle, StoreError};
use futures::FutureExt;
use jiff::Timestamp;
use job::error::{Code, causes};
use job::{Ending, JobId, Outcome, Problem, Ticket, Work, envelope, layout};
use ledger::{Ledger, LedgerError, Once};
use registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::batch::BatchMessage;
use crate::fault::{Class, Fault};
use crate::mirror;
use crate::observer::{Ended, Event, Observer};
use crate::patience::{self, QUEUE_CALL, answer, backoff, within};
use crate::process::{Stop, dropped};
use crate::settings::Settings;
use crate::span;

/// SQS's longest poll, and its largest receive.
const LONG_POLL: Duration = Duration::from_secs(20);
const MAX_RECEIVE: usize = 10;
/// What is left of a deadline for the answer itself.
const ANSWER: Duration = Duration::from_secs(2);

/// Handles the messages of a dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    ledger: Ledger,
    registry: Arc<Registry>,
    queue: Arc<dyn Queue>,
    settings: Settings,
    observer: Arc<dyn Observer>,
}

/// What `dead/<message>.json` says: a message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRecord {
    /// Its id.
    pub message_id: String,
    /// Its body.
    pub body: String,
    /// Why it was given up.
    pub reason: String,
    /// The job that it names, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// How often it was received.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    pub at: Timestamp,
}

/// What becomes of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It may be acknowledged.
    Done,
    /// Somebody still works on its job, or it could not be seen whether: it is to come back.
    Later,
}

/// What one part of a dead letter stands for.
enum Fate {
    /// There is nothing left to say.
    Over,
    /// Somebody still works on it.
    Alive,
    /// It names no job, for this reason.
    NoJob(String),
    /// A job that nobody works on any more, and its last error.
    Lost(Box<Ticket>, Problem),
}

/// Why a call to the queue came to nothing, for a log line.
fn why<T>(answer: &Result<Result<T, QueueError>, Fault>) -> String {
    match answer {
        Ok(Ok(_)) => String::new(),
        Ok(Err(error)) => format!(": {error}{}", causes(error)),
        Err(slow) => format!(": {slow}"),
    }
}

impl DeadLetters {
    /// A handler of `queue`, which is the dead-letter queue. `settings` must be the workers'.
    pub fn new(ledger: Ledger, registry: Arc<Registry>, queue: Arc<dyn Queue>, settings: Settings) -> Self {
        Self { ledger, registry, queue, settings, observer: Arc::new(()) }
    }

    /// Tells `observer` what happens.
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Handles messages as they come, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let poll = async {
                if failures > 0 {
                    sleep(backoff(failures.min(5), &*self.ledger.entropy)).await;
                }
                answer(LONG_POLL + QUEUE_CALL, self.queue.receive(MAX_RECEIVE, LONG_POLL, None)).await
            };
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = poll => received,
            };
            match received {
                Ok(Ok(received)) => {
                    failures = 0;
                    for message in received.into_iter().map(BatchMessage::from) {
                        if shutdown.is_cancelled() {
                            self.hide(&message.receipt, Duration::ZERO).await;
                        } else {
                            self.one(&message).await;
                        }
                    }
                }
                failed => {
                    if failures == 0 {
                        tracing::warn!("no dead letters can be received{}", why(&failed));
                    }
                    failures += 1;
                }
            }
        }
    }

    async fn one(&self, message: &BatchMessage) {
        match self.handle(message).await {
            Settled::Done => {
                let Some(receipt) = &message.receipt else { return };
                // Otherwise it comes back, and finds the outcome and its record.
                let deleted = answer(QUEUE_CALL, self.queue.delete(receipt)).await;
                if !matches!(deleted, Ok(Ok(()))) {
                    tracing::warn!(message_id = message.id, "a dead letter was not acknowledged{}", why(&deleted));
                }
            }
            Settled::Later => self.hide(&message.receipt, self.settings.visibility_timeout).await,
        }
    }

    async fn hide(&self, receipt: &Option<ReceiptHandle>, time: Duration) {
        if let Some(receipt) = receipt {
            let hidden = answer(QUEUE_CALL, self.queue.change_visibility(receipt, time)).await;
            if !matches!(hidden, Ok(Ok(()))) {
                tracing::debug!("a dead letter was not put off{}", why(&hidden));
            }
        }
    }

    /// Handles a batch that somebody else received, as Lambda does; returns the ids of the messages that must come back.
    pub async fn handle_batch(&self, messages: &[BatchMessage], deadline: Instant) -> Vec<String> {
        let end = deadline.checked_sub(ANSWER).unwrap_or(deadline);
        let mut left = Vec::new();
        for message in messages {
            if timeout_at(end, self.handle(message)).await != Ok(Settled::Done) {
                left.push(message.id.clone());
            }
        }
        left
    }

    async fn handle(&self, message: &BatchMessage) -> Settled {
        // A panic in our own code is one message's as well (J5).
        let span = span::of_message(&message.id, message.receive_count);
        match AssertUnwindSafe(self.settle(message)).catch_unwind().instrument(span.clone()).await {
            Ok(Ok(settled)) => settled,
            Ok(Err(fault)) => {
                span.in_scope(|| fault.log());
                Settled::Later
            }
            Err(_) => Settled::Later,
        }
    }

    /// Records the message and ends what it stands for. In this order: once its job has an outcome, a repeat of this has
    /// nothing left to say, so a record that was not written by then never would be.
    async fn settle(&self, message: &BatchMessage) -> Result<Settled, Fault> {
        let fates = match envelope::decode(&message.body) {
            Ok(works) => self.fates(&works).await?,
            Err(error) => vec![Fate::NoJob(error.to_string())],
        };
        if fates.iter().any(|fate| matches!(fate, Fate::Alive)) {
            return Ok(Settled::Later);
        }
        // One record a message; of several jobs that one message stood for, it names the first.
        let given_up = fates.iter().find_map(|fate| match fate {
            Fate::Over | Fate::Alive => None,
            Fate::NoJob(reason) => Some((None, reason.clone(), None)),
            Fate::Lost(ticket, error) => Some((Some(ticket.job), error.to_string(), Some(error.code))),
        });
        if let Some((job, reason, code)) = given_up {
            self.record(message, job, reason, code).await?;
        }
        for fate in fates {
            if let Fate::Lost(ticket, error) = fate {
                self.end(&ticket, error).await?;
            }
        }
        Ok(Settled::Done)
    }

    async fn record(
        &self,
        message: &BatchMessage,
        job: Option<JobId>,
        reason: String,
        code: Option<Code>,
    ) -> Result<(), Fault> {
        let record = DeadRecord {
            message_id: message.id.clone(),
            body: message.body.clone(),
            reason,
            job,
            receive_count: message.receive_count,
            sent_at: message.sent_at,
            at: self.ledger.clock.now(),
        };
        let body = serde_json::to_vec(&record).expect("a record of strings is JSON");
        let key = layout::dead_key(&message.id);
        let put = self.ledger.outbox.put(&key, body.into(), PutOptions::json_once());
        match answer(patience::CALL, put).await? {
            Ok(_) => {
                // An alarm counts lines that say "message given up". A job's error may quote its input; its code does not.
                match code {
                    Some(code) => tracing::error!(%code, "message given up: {}", code.title()),
                    None => tracing::error!("message given up: {}", record.reason),
                }
                self.observer.observe(&Event::GivenUp);
                Ok(())
            }
            // There already: an earlier delivery of this dead letter got as far.
            Err(StoreError::PreconditionFailed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the job as failed, if nobody else has ended it by now.
    async fn end(&self, ticket: &Ticket, error: Problem) -> Result<(), Fault> {
        let (model, code) = (ticket.counted_model(), Some(error.code));
        let ending = Ending::Failed { error };
        let state = ending.state();
        let outcome = match within(patience::CALL, self.ledger.end(ticket.job, ending)).await? {
            Once::Written => {
                let ended = Ended { model, state, code, waited: None, ran: None, inferred: None };
                self.observer.observe(&Event::Ended(ended));
                within(patience::CALL, self.ledger.outcome(ticket.job)).await?
            }
            Once::There(other) => Some(other),
        };
        match outcome {
            Some(outcome) => self.mirror(ticket, &outcome).await,
            None => Ok(()),
        }
    }

    async fn fates(&self, works: &[Work]) -> Result<Vec<Fate>, Fault> {
        let mut fates = Vec::with_capacity(works.len());
        for work in works {
            span::is_about_work(work);
            fates.push(self.fate(work).await?);
        }
        Ok(fates)
    }

    async fn fate(&self, work: &Work) -> Result<Fate, Fault> {
        let ticket = match self.ticket(work).await {
            Ok(ticket) => ticket,
            Err(Stop::Done(_)) => return Ok(Fate::Over),
            Err(Stop::Ended(ticket, outcome)) => {
                self.mirror(&ticket, &outcome).await?;
                return Ok(Fate::Over);
            }
            Err(Stop::Later) => return Ok(Fate::Alive),
            Err(Stop::Reject(reason)) => return Ok(Fate::NoJob(reason.to_owned())),
            Err(Stop::Fault(fault)) => {
                return match fault.class() {
                    Class::Transient => Err(fault),
                    // A ticket that only a newer program reads is that program's to act on; the sweep finds the job.
                    Class::Permanent | Class::Unreadable => Ok(Fate::NoJob(fault.to_string())),
                };
            }
        };
        span::is_about(work, &ticket);
        let job = ticket.job;
        if !self.ledger.is_retained(&ticket) {
            return Ok(Fate::Over);
        }
        match within(patience::CALL, self.ledger.outcome(job)).await {
            Ok(Some(outcome)) => {
                self.mirror(&ticket, &outcome).await?;
                return Ok(Fate::Over);
            }
            Ok(None) => {}
            // It cannot be read, but it is there.
            Err(Fault::Ledger(LedgerError::Corrupt { .. })) => return Ok(Fate::Over),
            Err(fault) => return Err(fault),
        }
        let progress = match within(patience::CALL, self.ledger.progress(job)).await {
            Ok(progress) => progress.map(|(progress, _)| progress),
            Err(Fault::Ledger(LedgerError::Corrupt { .. })) => None,
            Err(fault) => return Err(fault),
        };
        let now = self.ledger.clock.now();
        let is_young = |beat: Timestamp| now.duration_since(beat).unsigned_abs() < self.settings.visibility_timeout;
        if progress.as_ref().is_some_and(|progress| is_young(progress.beat_at)) {
            return Ok(Fate::Alive);
        }
        let error = progress.and_then(|progress| progress.last_error).unwrap_or_else(|| {
            Problem::new(Code::WorkerLost, "no attempt came to an end, and the queue gave the job's message up")
        });
        Ok(Fate::Lost(Box::new(ticket), error))
    }

    /// The ticket of the job that the message stands for. A dropped file that never got one gets it now, so that its
    /// failure has a place, and the sweep does not send it for ever.
    async fn ticket(&self, work: &Work) -> Result<Ticket, Stop> {
        match work {
            Work::Run { job, bucket, .. } => {
                if bucket.as_deref().is_some_and(|bucket| bucket != self.ledger.inbox.bucket()) {
                    return Err(Stop::Reject("the event is of another bucket"));
                }
                let ticket = within(patience::CALL, self.ledger.stored_ticket(*job)).await?;
                ticket.ok_or(Stop::Reject("there is no such job"))
            }
            Work::Dropped(object) => dropped::ticket(&self.ledger, &self.registry, &self.settings, object).await,
        }
    }

    async fn mirror(&self, ticket: &Ticket, outcome: &Outcome) -> Result<(), Fault> {
        match within(patience::TRANSFER, mirror::write(&self.ledger, ticket, outcome)).await {
            // The outcome stands, and a mirror that can't be written is no reason to keep the message.
            Err(fault) if fault.class() != Class::Transient => {
                fault.log();
                Ok(())
            }
            other => other,
        }
    }
}
