//! What follows from a failed attempt.

use job::{Ending, Outcome, Problem};

use super::Verdict;
use super::attempt::Attempt;
use super::record::Record;
use crate::fault::{Class, Fault};
use crate::observer::Event;
use crate::patience::{self, within};

impl Attempt<'_> {
    /// Ends the job for what won't get better; counts the attempt for what may.
    pub(super) async fn fail(&self, record: &mut Record<'_>, fault: Fault) -> Verdict {
        fault.log();
        match fault.class() {
            Class::Permanent => self.give_up(fault.problem()).await,
            Class::Unreadable => Verdict::Reject,
            Class::Transient => match within(patience::CALL, record.fail(fault.problem())).await {
                Ok(failures) if failures >= self.processor.settings.max_attempts => self.give_up(fault.problem()).await,
                Ok(failures) => {
                    self.tried_again(&fault);
                    Verdict::RetryAfter(self.processor.backoff(failures))
                }
                Err(unrecorded) => {
                    unrecorded.log();
                    self.tried_again(&fault);
                    self.processor.again(self.delivery)
                }
            },
        }
    }

    fn tried_again(&self, fault: &Fault) {
        let (model, code) = (self.ticket.counted_model(), fault.problem().code);
        self.processor.observer.observe(&Event::Failed { model, code });
    }

    /// Ends the job as failed.
    pub(super) async fn give_up(&self, error: Problem) -> Verdict {
        self.end(Ending::Failed { error }).await
    }

    /// Ends the job without a result.
    pub(super) async fn end(&self, ending: Ending) -> Verdict {
        let ledger = &self.processor.ledger;
        let outcome = Outcome {
            job: self.ticket.job,
            // Not this attempt's id: its commit of a success may have happened although no answer came.
            writer: ledger.entropy.attempt_id(),
            at: ledger.clock.now(),
            // What has expired was never started.
            started_at: (!matches!(ending, Ending::Expired { .. })).then_some(self.started_at),
            infer_ms: None,
            ending,
        };
        match self.commit(outcome).await {
            Ok(committed) => committed.finish().await,
            Err(fault) => {
                fault.log();
                self.processor.again(self.delivery)
            }
        }
    }
}
