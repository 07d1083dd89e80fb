//! From a stored result to the job's outcome, and what follows from an outcome.

use std::time::Duration;

use job::{Ending, Outcome, Ticket};
use ledger::Once;

use super::attempt::Attempt;
use super::store::Stored;
use super::{Delivery, Processor, Verdict};
use crate::fault::{Class, Fault};
use crate::mirror;
use crate::observer::{Ended, Event};
use crate::patience::{self, within};

/// A job that has its outcome.
pub(super) struct Committed<'a> {
    attempt: &'a Attempt<'a>,
    /// The one that stands, ours or another's.
    outcome: Outcome,
}

impl<'a> Stored<'a> {
    /// Writes the outcome. Losing against another one is no fault: that one stands.
    pub(super) async fn commit(self) -> Result<Committed<'a>, Fault> {
        let Self { attempt, result, infer_ms } = self;
        let outcome = Outcome {
            job: attempt.ticket.job,
            writer: attempt.id,
            at: attempt.processor.ledger.clock.now(),
            started_at: Some(attempt.started_at),
            infer_ms: Some(infer_ms),
            ending: Ending::Succeeded { result },
        };
        attempt.commit(outcome).await
    }
}

impl<'a> Attempt<'a> {
    pub(super) async fn commit(&'a self, outcome: Outcome) -> Result<Committed<'a>, Fault> {
        match within(patience::CALL, self.processor.ledger.commit(&outcome)).await? {
            Once::Written => {
                self.report(&outcome);
                Ok(Committed { attempt: self, outcome })
            }
            Once::There(outcome) => Ok(Committed { attempt: self, outcome }),
        }
    }
}

impl Attempt<'_> {
    fn report(&self, outcome: &Outcome) {
        let (model, state, code) = (self.ticket.counted_model(), outcome.ending.state(), outcome.ending.code());
        let shown = code.map(tracing::field::display);
        tracing::info!(model, %state, code = shown, infer_ms = outcome.infer_ms, "job ended");
        self.processor.observer.observe(&Event::Ended(Ended {
            model,
            state,
            code,
            waited: self.waited(),
            ran: Some(self.began.elapsed()),
            inferred: outcome.infer_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0)),
        }));
    }
}

impl Committed<'_> {
    /// Does what follows from the outcome.
    pub(super) async fn finish(self) -> Verdict {
        let Self { attempt, outcome } = self;
        attempt.processor.finish(&attempt.ticket, &outcome, attempt.delivery).await
    }
}

impl Processor {
    /// What follows from an outcome, whoever wrote it and however often it is seen: a dropped file gets its mirror.
    pub(super) async fn finish(&self, ticket: &Ticket, outcome: &Outcome, delivery: &Delivery) -> Verdict {
        let Err(fault) = within(patience::TRANSFER, mirror::write(&self.ledger, ticket, outcome)).await else {
            return Verdict::Done;
        };
        fault.log();
        match fault.class() {
            Class::Transient => self.again(delivery),
            // The outcome stands; a mirror that can't be written must not bring the message back for ever.
            Class::Permanent | Class::Unreadable => Verdict::Done,
        }
    }
}
