//! One attempt at one job.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use infer::Control;
use jiff::Timestamp;
use job::id::ETag;
use job::state::{Found, Next, REPEAT_AFTER_SECONDS, observe};
use job::{AttemptId, Ending, Input, Problem, Progress, Ticket};
use tokio::time::{Instant, timeout};

use super::beats::{beats, write_beat};
use super::record::Record;
use super::store::Stored;
use super::{Delivery, Processor, Stop, Verdict};
use crate::observer::UnderWay;
use crate::patience::{self, within};
use crate::span;

/// A job that has a record and no outcome yet.
pub(super) struct Ticketed<'a> {
    pub(super) processor: &'a Processor,
    pub(super) delivery: &'a Delivery,
    pub(super) ticket: Ticket,
    /// The version of the upload that the message was sent for.
    pub(super) message_etag: Option<ETag>,
    /// What earlier attempts left.
    pub(super) before: Option<(Progress, ETag)>,
}

/// What all steps of an attempt share.
pub(super) struct Attempt<'a> {
    pub(super) processor: &'a Processor,
    pub(super) delivery: &'a Delivery,
    pub(super) ticket: Ticket,
    pub(super) message_etag: Option<ETag>,
    /// Whether an attempt before this one left a record, and so had the input or looked for it.
    pub(super) begun_before: bool,
    pub(super) id: AttemptId,
    pub(super) started_at: Timestamp,
    pub(super) began: Instant,
    _under_way: UnderWay,
    pub(super) control: Arc<Control>,
    /// Whether the model is running, and so may have to be waited for.
    pub(super) in_model: AtomicBool,
}

impl Drop for Attempt<'_> {
    /// A model whose attempt is given up is not to work on.
    fn drop(&mut self) {
        self.control.cancel();
    }
}

impl<'a> Ticketed<'a> {
    /// Makes one attempt.
    pub(super) async fn attempt(self) -> Verdict {
        let Self { processor, delivery, ticket, message_etag, before } = self;
        let under_way = UnderWay::begin(&processor.observer, &ticket);
        let attempt = Attempt {
            processor,
            delivery,
            ticket,
            message_etag,
            begun_before: before.is_some(),
            id: processor.ledger.entropy.attempt_id(),
            started_at: processor.ledger.clock.now(),
            began: Instant::now(),
            _under_way: under_way,
            control: Arc::default(),
            in_model: AtomicBool::new(false),
        };
        span::is_attempt(attempt.id);
        if let Some(error) = exhausted(&before, processor.settings.max_attempts) {
            return attempt.give_up(error).await;
        }
        if let Some(error) = attempt.expired() {
            return attempt.end(Ending::Expired { error }).await;
        }
        let mut record = Record::new(&attempt, before);
        if attempt.may_be_repeated() && attempt.check_deadline().is_ok() {
            write_beat(&attempt, &mut record).await;
        }
        let stored = attempt.beside_beats(&mut record).await;
        let stop = match stored {
            Ok(stored) => match stored.commit().await {
                Ok(committed) => return committed.finish().await,
                Err(fault) => Stop::Fault(fault),
            },
            Err(stop) => stop,
        };
        match stop {
            Stop::Fault(fault) => attempt.fail(&mut record, fault).await,
            Stop::Later if !record.is_written() => attempt.put_off().await,
            stop => processor.stopped(delivery, stop).await,
        }
    }
}

/// The last error, if the attempts were used up but nobody got as far as to say so.
fn exhausted(before: &Option<(Progress, ETag)>, max_attempts: u32) -> Option<Problem> {
    before.as_ref().filter(|(progress, _)| progress.failures >= max_attempts)?.0.last_error.clone()
}

impl<'a> Attempt<'a> {
    /// The steps up to a stored result, while the beats go on beside them.
    async fn beside_beats(&self, record: &mut Record<'_>) -> Result<Stored<'_>, Stop> {
        let mut steps = pin!(self.steps());
        let outcome = tokio::select! {
            biased;
            stored = &mut steps => return stored,
            outcome = beats(self, record) => outcome,
        };
        self.control.cancel();
        // A model that does not even stop when it is told to has taken its thread for good.
        if timeout(patience::GRACE, steps).await.is_err() && self.in_model.load(Ordering::Relaxed) {
            self.processor.wedge();
        }
        Err(Stop::Ended(Box::new(self.ticket.clone()), Box::new(outcome)))
    }

    /// Whether the job is so old that whoever looks at it sends its message again unless there is a sign of work. If it kills
    /// its workers before their first beat, each of those messages would take some more of them with it (J6).
    fn may_be_repeated(&self) -> bool {
        let is_old = self.started_at.as_second() - self.ticket.created_at.as_second() >= REPEAT_AFTER_SECONDS;
        // A job that has begun is not to wait for an upload that nobody has seen.
        is_old && self.has_input()
    }

    /// Whether its input is known to be there.
    fn has_input(&self) -> bool {
        Found::from_ticket(&self.ticket).input_at.is_some() || self.message_etag.is_some()
    }

    /// Why the job must not be begun any more.
    fn expired(&self) -> Option<Problem> {
        if self.begun_before || !self.has_input() {
            return None;
        }
        let found = Found { input_at: Some(self.ticket.created_at), ..Found::default() };
        match observe(&self.ticket, found, self.started_at).1 {
            Next::Expire(error) => Some(error),
            Next::Nothing | Next::SendAgain => None,
        }
    }

    /// Leaves a job that nobody has begun to a message of its own, since this one's receives are counted: where slow jobs come
    /// in batches, those at the end would be given up although nothing is wrong with them.
    async fn put_off(&self) -> Verdict {
        let sent = self.processor.ledger.enqueue(&self.ticket, self.message_etag.clone(), Duration::ZERO);
        match within(patience::CALL, sent).await {
            Ok(()) => Verdict::Done,
            Err(fault) => {
                fault.log();
                self.processor.again(self.delivery)
            }
        }
    }

    async fn steps(&self) -> Result<Stored<'_>, Stop> {
        // What no model takes needs no time of a model's.
        let pinned = self.pinned().await?;
        self.check_deadline()?;
        pinned.read().await?.run().await?.store().await
    }

    /// Whether the model's whole time is left before the deadline.
    pub(super) fn check_deadline(&self) -> Result<(), Stop> {
        match self.delivery.deadline {
            Some(deadline) if Instant::now() + self.limit() + patience::MARGIN > deadline => Err(Stop::Later),
            _ => Ok(()),
        }
    }

    /// How long the job's input had been there when its first attempt began.
    pub(super) fn waited(&self) -> Option<Duration> {
        let ticket = &self.ticket;
        let arrived = match &ticket.input {
            Input::Inline(_) | Input::Upload { etag: Some(_), .. } => Some(ticket.created_at),
            Input::Drop { .. } if ticket.retry_of.is_some() => Some(ticket.created_at),
            // The message is the storage's word that the input is complete.
            Input::Upload { etag: None, .. } | Input::Drop { .. } => self.delivery.sent_at,
        };
        let waited = self.started_at.duration_since(arrived.filter(|_| !self.begun_before)?);
        // Two machines' clocks may differ by more than the wait.
        Some(Duration::try_from(waited).unwrap_or_default())
    }

    /// The longest that the model may take.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.ticket.limits.max_seconds).min(self.delivery.longest)
    }
}
