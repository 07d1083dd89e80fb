//! How long things are waited for, and how long is waited between two tries.

use std::time::Duration;

use cloud::Entropy;
use tokio::time::timeout;

use crate::fault::Fault;

/// One small document read or written, its retries below us included.
pub(crate) const CALL: Duration = Duration::from_secs(60);
/// A body of up to 5 GB moved, or a model's files.
pub(crate) const TRANSFER: Duration = Duration::from_secs(15 * 60);
/// A delete or a change of visibility.
pub(crate) const QUEUE_CALL: Duration = Duration::from_secs(40);
/// What a run gets to stop in after it was told to; the contract of [`infer::Model`] says about a second.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Between a model's limit and the deadline of whoever runs us: time to stop in, and to write down what came of it.
pub(crate) const MARGIN: Duration = Duration::from_secs(10);

/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What `call` answers, be it a success or not, or [`Fault::Slow`] if it takes longer than `limit`.
pub(crate) async fn answer<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(limit, call).await.map_err(|_| Fault::Slow)
}

/// What `call` succeeds with, or why it does not.
pub(crate) async fn within<T, E: Into<Fault>>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    answer(limit, call).await?.map_err(Into::into)
}

/// The pause after the `nth` failure (from 1): it doubles from two seconds on, up to five minutes. Half of it is jitter,
/// so that what failed together does not come back together.
pub(crate) fn backoff(nth: u32, entropy: &dyn Entropy) -> Duration {
    let whole = Duration::from_secs(2u64.saturating_pow(nth.max(1))).min(MAX_BACKOFF);
    whole.mul_f64(0.5 + entropy.unit() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud::SeededEntropy;

    #[test]
    fn backoff_grows_and_ends() {
        let entropy = SeededEntropy::new(1);
        for (nth, whole) in [(0, 2), (1, 2), (2, 4), (3, 8), (9, 300), (4_000_000, 300)] {
            let pause = backoff(nth, &entropy).as_secs_f64();
            assert!(pause >= f64::from(whole) / 2.0 && pause <= f64::from(whole), "{nth}: {pause}");
        }
    }
}
