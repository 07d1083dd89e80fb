//! How often a key may be used.

use std::time::Duration;

use tokio::time::Instant;

use crate::Rate;

/// The generic cell rate algorithm: what is left of a bucket that holds a second's worth of requests, and at least one.
/// <https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm>
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When it would be full again, if nothing more came.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one request out.
    ///
    /// # Errors
    /// How long until one can be taken.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs_f64(1.0 / f64::from(rate));
        let full_at = self.full_at.max(now) + each;
        let capacity = each.max(Duration::from_secs(1));
        match (full_at - now).checked_sub(capacity) {
            Some(excess) if !excess.is_zero() => Err(excess),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: Rate, at: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(rate, at).is_ok()).count()
    }

    #[test]
    fn a_second_s_worth_can_be_taken_at_once_and_no_more_than_the_rate_after_that() {
        let (start, rate) = (Instant::now(), Rate::try_from(4.0).unwrap());
        let mut bucket = Bucket::full(start);
        assert_eq!(taken(&mut bucket, rate, start, 10), 4);
        assert_eq!(bucket.take(rate, start), Err(Duration::from_millis(250)));
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_millis(500), 10), 2);
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_secs(60), 10), 4);
    }

    #[test]
    fn slow_rates_allow_one_at_a_time() {
        let (start, rate) = (Instant::now(), Rate::try_from(0.1).unwrap());
        let mut bucket = Bucket::full(start);
        assert_eq!(taken(&mut bucket, rate, start, 3), 1);
        assert_eq!(bucket.take(rate, start + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_secs(10), 3), 1);
    }
}
