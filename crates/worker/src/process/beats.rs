//! The beats of a running attempt.

use std::time::Duration;

use cloud::StoreError;
use job::{Outcome, layout};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::attempt::Attempt;
use super::record::Record;
use crate::fault::Fault;
use crate::patience::within;

/// Between two beats. A cancellation is felt within one.
const BEAT: Duration = Duration::from_secs(1);
/// Every so many beats the progress is written.
const WRITE_EVERY: u32 = 2;
/// A beat that takes longer is given up, so that the next one comes in time.
const BEAT_PATIENCE: Duration = Duration::from_secs(5);

/// Beats until the job has an outcome, which only somebody else can have written. What fails at a beat is left to the
/// next one: beats are advisory.
pub(super) async fn beats(attempt: &Attempt<'_>, record: &mut Record<'_>) -> Outcome {
    let mut ticks = interval_at(Instant::now() + BEAT, BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for beat in 0u32.. {
        ticks.tick().await;
        let write = async {
            if beat % WRITE_EVERY == 0 {
                write_beat(attempt, record).await;
            }
        };
        let (outcome, ()) = tokio::join!(within(BEAT_PATIENCE, ended(attempt)), write);
        match outcome {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => {}
            Err(fault) => tracing::debug!("a beat did not see the outcome: {fault}"),
        }
    }
    unreachable!("an attempt does not last 136 years")
}

/// Writes a sign of work; one that cannot be written is left out.
pub(super) async fn write_beat(attempt: &Attempt<'_>, record: &mut Record<'_>) {
    if let Err(fault) = within(BEAT_PATIENCE, record.beat(&attempt.control)).await {
        tracing::debug!("a beat was not written: {fault}");
    }
}

/// The job's outcome; only its head is asked for as long as there is none.
async fn ended(attempt: &Attempt<'_>) -> Result<Option<Outcome>, Fault> {
    let ledger = &attempt.processor.ledger;
    match ledger.outbox.head(&layout::outcome_key(attempt.ticket.job)).await {
        Ok(_) => Ok(ledger.outcome(attempt.ticket.job).await?),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
