//! Chance that follows from the seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use cloud::{Entropy, SeededEntropy};

/// One stream of choices. Each purpose has its own, so that one more choice for one leaves the others as they were.
#[derive(Debug)]
pub(crate) struct Chance(SeededEntropy);

impl Chance {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(entropy(seed, stream))
    }

    pub(crate) fn unit(&self) -> f64 {
        self.0.unit()
    }

    pub(crate) fn happens(&self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    pub(crate) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + (self.unit() * (high - low + 1) as f64) as u64
    }

    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    pub(crate) fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.between(0..=choices.len() as u64 - 1) as usize]
    }
}

/// The bytes of one stream of a seed.
pub(crate) fn entropy(seed: u64, stream: u64) -> SeededEntropy {
    // Neighbouring seeds must not give sequences that overlap.
    let mut start = [0; 8];
    SeededEntropy::new(seed).fill(&mut start);
    let mut mixed = [0; 8];
    SeededEntropy::new(u64::from_le_bytes(start) ^ stream.rotate_left(32)).fill(&mut mixed);
    SeededEntropy::new(u64::from_le_bytes(mixed))
}
