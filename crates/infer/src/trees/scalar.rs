//! The two precisions that trees come in.

use std::fmt::Debug;
use std::ops::AddAssign;

/// A float that rows or leaves are made of: f32 or f64.
pub trait Scalar: sealed::Sealed + Copy + Debug + PartialOrd + PartialEq + AddAssign + Send + Sync + 'static {
    /// An integer of the same size, to be compared instead.
    type Key: sealed::Key + Debug + Default + Into<i64> + Send + Sync;

    /// 0.
    const ZERO: Self;
    /// Below every number's key.
    const LOWEST: Self::Key;
    /// Below every number's key, but above [`LOWEST`](Self::LOWEST).
    const LOW: Self::Key;
    /// Above every number's key.
    const HIGHEST: Self::Key;

    /// The key of a value that is not missing: `a.key() < b.key()` if and only if `a < b`, and −0 has the key of 0.
    ///
    /// Keys of numbers lie strictly between [`LOW`](Self::LOW) and [`HIGHEST`](Self::HIGHEST).
    #[must_use]
    fn key(self) -> Self::Key;

    /// The lowest key above this value's.
    #[must_use]
    fn key_above(self) -> Self::Key;

    /// The largest value that is not above `bound`: for any `x` that is not NaN, `x <= round_down(bound)` if and only if `x <= bound`.
    #[must_use]
    fn round_down(bound: f64) -> Self;

    /// Whether the value is missing.
    #[must_use]
    fn is_nan(self) -> bool;

    /// The category that a number stands for: truncated, or the largest there is; none if negative.
    #[must_use]
    fn category(self) -> Option<u32>;
}

macro_rules! scalar {
    ($float:ty, $key:ty, $unsigned:ty) => {
        impl Scalar for $float {
            type Key = $key;

            const ZERO: Self = 0.0;
            const LOWEST: $key = <$key>::MIN;
            const LOW: $key = <$key>::MIN + 1;
            const HIGHEST: $key = <$key>::MAX;

            #[inline(always)]
            fn key(self) -> $key {
                // Adding zero turns -0 into 0. The bits of a float order like a sign-magnitude integer.
                let bits = (self + 0.0).to_bits() as $key;
                bits ^ (((bits >> (<$key>::BITS - 1)) as $unsigned) >> 1) as $key
            }

            #[inline(always)]
            fn key_above(self) -> $key {
                self.key() + 1
            }

            fn round_down(bound: f64) -> Self {
                let nearest = bound as Self;
                if f64::from(nearest) > bound { nearest.next_down() } else { nearest }
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }

            #[inline(always)]
            fn category(self) -> Option<u32> {
                // The cast truncates and saturates.
                if self < 0.0 { None } else { Some(self as u32) }
            }
        }
    };
}

scalar!(f32, i32, u32);
scalar!(f64, i64, u64);

/// [`Scalar::key`].
#[must_use]
pub fn key<X: Scalar>(value: X) -> X::Key {
    value.key()
}

/// What forests do with the two precisions, each in its own way.
pub(super) mod sealed {
    use super::super::lanes::Lanes;

    /// An integer that orders as a float does.
    pub trait Key: Copy + Ord {
        /// How many of the block's keys, in ascending order, are at most this one.
        fn count<L: Lanes>(self, lanes: L, block: &[Self; 16]) -> usize;
    }

    impl Key for i32 {
        #[inline(always)]
        fn count<L: Lanes>(self, lanes: L, block: &[Self; 16]) -> usize {
            lanes.count32(block, self)
        }
    }

    impl Key for i64 {
        #[inline(always)]
        fn count<L: Lanes>(self, lanes: L, block: &[Self; 16]) -> usize {
            lanes.count64(block, self)
        }
    }

    pub trait Sealed: Copy {
        /// Vectors that the sums of an eighth of a group's rows fill.
        fn vectors<L: Lanes>() -> usize;
        /// [`Lanes::add32`].
        fn add<L: Lanes, const BITS: usize>(lanes: L, index: L::Bits, low: u32, table: &[Self], sums: &mut [Self]);
    }

    macro_rules! sealed {
        ($float:ty, $vectors:ident, $add:ident) => {
            impl Sealed for $float {
                #[inline(always)]
                fn vectors<L: Lanes>() -> usize {
                    L::$vectors
                }

                #[inline(always)]
                fn add<L: Lanes, const BITS: usize>(
                    lanes: L,
                    index: L::Bits,
                    low: u32,
                    table: &[Self],
                    sums: &mut [Self],
                ) {
                    lanes.$add::<BITS>(index, low, table, sums);
                }
            }
        };
    }

    sealed!(f32, SINGLES, add32);
    sealed!(f64, DOUBLES, add64);
}
