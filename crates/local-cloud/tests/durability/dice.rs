//! Random choices that a seed repeats: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own for one of several throwers.
    pub fn of(seed: u64, thrower: u64) -> Self {
        Self(Self(seed ^ thrower.wrapping_mul(0xD134_2543_DE82_EF95)).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The seed that was asked for, or a new one.
pub fn seed() -> u64 {
    super::setting("LOCAL_CLOUD_SEED", RandomState::new().hash_one(std::process::id()) >> 16)
}
