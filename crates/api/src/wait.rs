//! Waiting for a job to end, for callers that would rather wait than ask again.

use std::time::Duration;

use job::{JobId, Outcome};
use tokio::time::{Instant, sleep_until};

use crate::Api;
use crate::problem::Failure;

/// The first pause between two reads; each further one is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause. A read is what waiting costs.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The job's outcome as soon as it is there; none if it is not within `wait`, the server is stopping, or too many wait already.
pub(crate) async fn for_outcome(api: &Api, job: JobId, wait: Duration) -> Result<Option<Outcome>, Failure> {
    let place = api.room.wait();
    let deadline = Instant::now() + if place.is_some() { wait } else { Duration::ZERO };
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(outcome) = api.bounded(api.ledger.outcome(job)).await? {
            return Ok(Some(outcome));
        }
        let now = Instant::now();
        if now >= deadline {
            return Ok(None);
        }
        tokio::select! {
            biased;
            () = api.stopping.cancelled() => return Ok(None),
            () = sleep_until((now + pause).min(deadline)) => {}
        }
        pause = pause.mul_f64(1.5).min(LAST_PAUSE);
    }
}
