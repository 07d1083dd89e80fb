//! Randomness for ids and jitter, through one seam.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use job::id::{AttemptId, JobId};
use job::trace::TraceParent;

/// A source of random bytes.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A new job's id.
    fn job_id(&self) -> JobId {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        JobId::from_random(bytes)
    }

    /// A new attempt's id.
    fn attempt_id(&self) -> AttemptId {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        AttemptId::from_random(bytes)
    }

    /// The start of a trace.
    fn trace(&self) -> TraceParent {
        let mut bytes = [0; 24];
        self.fill(&mut bytes);
        TraceParent::from_random(bytes)
    }

    /// A number in `0.0..1.0`, for jitter.
    fn unit(&self) -> f64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The operating system's, unguessable.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

/// A repeatable sequence, for tests: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
