//! From a message to a job's record.

use job::Work;
use job::id::ETag;

use super::attempt::Ticketed;
use super::{Delivery, Processor, Stop, dropped};
use crate::patience::{self, within};
use crate::span;

/// What a message asks for.
pub(super) struct Received<'a> {
    pub(super) processor: &'a Processor,
    pub(super) work: &'a Work,
    pub(super) delivery: &'a Delivery,
}

impl<'a> Received<'a> {
    /// Finds the job's ticket, or writes that of a dropped file, and makes sure that there is something to do.
    pub(super) async fn ticketed(self) -> Result<Ticketed<'a>, Stop> {
        let Self { processor, work, delivery } = self;
        let ledger = &processor.ledger;
        let (ticket, message_etag): (_, Option<ETag>) = match work {
            Work::Run { job, etag, bucket, trace: _ } => {
                if bucket.as_deref().is_some_and(|bucket| bucket != ledger.inbox.bucket()) {
                    return Err(Stop::Reject("the event is of another bucket"));
                }
                let ticket = within(patience::CALL, ledger.stored_ticket(*job)).await?;
                (ticket.ok_or(Stop::Reject("there is no such job"))?, etag.clone())
            }
            Work::Dropped(object) => {
                let ticket = dropped::ticket(ledger, processor.cache.registry(), &processor.settings, object).await?;
                (ticket, None)
            }
        };
        span::is_about(work, &ticket);
        if !ledger.is_retained(&ticket) {
            return Err(Stop::Done("the job's retention is over"));
        }
        let job = ticket.job;
        let outcome = within(patience::CALL, ledger.outcome(job));
        let progress = within(patience::CALL, ledger.progress(job));
        let (outcome, before) = tokio::try_join!(outcome, progress)?;
        match outcome {
            Some(outcome) => Err(Stop::Ended(Box::new(ticket), Box::new(outcome))),
            None => Ok(Ticketed { processor, delivery, ticket, message_etag, before }),
        }
    }
}
