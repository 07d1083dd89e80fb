//! A group is two vectors of 128 rows. Every aarch64 processor has Neon.

use std::arch::aarch64::*;

use super::super::lanes::{Bits256, Column, Lanes, Work, add};

/// Two vectors of 128 rows.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// If the machine has it.
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Runs it; what is compiled for aarch64 is compiled for Neon.
    pub fn run<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }
}

loads!(bytes, u64, 2, uint8x16_t, vld1q_u8);
loads!(ints, i32, 4, int32x4_t, vld1q_s32);
loads!(longs, i64, 2, int64x2_t, vld1q_s64);
loads!(singles, f32, 4, float32x4_t, vld1q_f32);
loads!(table, f32, 16, uint8x16x4_t, vld1q_u8_x4);

/// What the vectors have, in the order of the bytes.
#[inline(always)]
fn words(bits: [uint8x16_t; 2]) -> [u64; 4] {
    let mut column = Bits256::ZERO;
    let (halves, _) = column.0.as_chunks_mut::<2>();
    for (half, bits) in halves.iter_mut().zip(bits) {
        // SAFETY: the two words are the vector's 16 bytes, and only the operations of `Neon` call this.
        unsafe { vst1q_u8(half.as_mut_ptr().cast(), bits) }
    }
    column.0
}

impl Lanes for Neon {
    const ROWS: usize = 256;
    // Rows lie in the order of the bytes.
    const SINGLES: usize = 1;
    const DOUBLES: usize = 1;
    type Column = Bits256;
    type Bits = [uint8x16_t; 2];

    #[inline(always)]
    fn none(self) -> Self::Bits {
        // SAFETY: `self` says that the machine has Neon.
        unsafe { [vdupq_n_u8(0); 2] }
    }

    #[inline(always)]
    fn load(self, column: &Self::Column) -> Self::Bits {
        let (halves, _) = column.0.as_chunks();
        [bytes(&halves[0]), bytes(&halves[1])]
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        column.0 = words(bits);
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { [vbslq_u8(by[0], yes[0], no[0]), vbslq_u8(by[1], yes[1], no[1])] }
    }

    #[inline(always)]
    fn either(self, one: Self::Bits, other: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { [vorrq_u8(one[0], other[0]), vorrq_u8(one[1], other[1])] }
    }

    #[inline(always)]
    fn without(self, bits: Self::Bits, except: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { [vbicq_u8(bits[0], except[0]), vbicq_u8(bits[1], except[1])] }
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, left: i32, mask: u8) -> Self::Bits {
        macro_rules! half {
            ($at:literal, $left:ident, $mask:ident) => {
                vorrq_u8(index[$at], vandq_u8(vshlq_u8(bits[$at], $left), $mask))
            };
        }
        // SAFETY: as above.
        unsafe {
            // To the right if negative.
            let (left, mask) = (vdupq_n_s8(left as i8), vdupq_n_u8(mask));
            [half!(0, left, mask), half!(1, left, mask)]
        }
    }

    #[inline(always)]
    fn count32(self, block: &[i32; 16], key: i32) -> usize {
        let (quarters, _) = block.as_chunks();
        // SAFETY: as above.
        unsafe {
            let key = vdupq_n_s32(key);
            // A lane is -1 where it holds.
            macro_rules! reached {
                ($at:literal) => {
                    vreinterpretq_s32_u32(vcleq_s32(ints(&quarters[$at]), key))
                };
            }
            let all = vaddq_s32(vaddq_s32(reached!(0), reached!(1)), vaddq_s32(reached!(2), reached!(3)));
            -vaddvq_s32(all) as usize
        }
    }

    #[inline(always)]
    fn count64(self, block: &[i64; 16], key: i64) -> usize {
        let (pairs, _) = block.as_chunks();
        // SAFETY: as above.
        unsafe {
            let key = vdupq_n_s64(key);
            let mut all = vdupq_n_s64(0);
            for pair in pairs {
                // A lane is -1 where it holds.
                all = vaddq_s64(all, vreinterpretq_s64_u64(vcleq_s64(longs(pair), key)));
            }
            -vaddvq_s64(all) as usize
        }
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: Self::Bits, low: u32, numbers: &[f32], sums: &mut [f32]) {
        // Each of four rows' bytes four times, and the four bytes of a number.
        const FOURFOLD: [u64; 2] = [0x0101_0101_0000_0000, 0x0303_0303_0202_0202];
        const PLACES: [u64; 2] = [0x0302_0100_0302_0100; 2];
        if BITS > 5 {
            // As many tables would take longer than looking each number up.
            return add::<f32, BITS>(words(index), low, numbers, sums);
        }
        let (tables, _) = numbers[..1 << BITS].as_chunks();
        // Here, so that they are loaded once.
        let (first, last) = (table(&tables[0]), table(&tables[tables.len() - 1]));
        let (halves, _) = sums.as_chunks_mut::<16>();
        for (sums, index) in halves.iter_mut().zip(index) {
            // SAFETY: as above.
            unsafe {
                let places = vandq_u8(vshlq_u8(index, vdupq_n_s8(-(low as i8))), vdupq_n_u8((1 << BITS) - 1));
                let places = vshlq_n_u8::<2>(places);
                for (at, sums) in sums.as_chunks_mut().0.iter_mut().enumerate() {
                    let rows = vaddq_u8(bytes(&FOURFOLD), vdupq_n_u8(4 * at as u8));
                    let places = vorrq_u8(vqtbl1q_u8(places, rows), bytes(&PLACES));
                    let mut leaves = vqtbl4q_u8(first, places);
                    if BITS == 5 {
                        // A place in the first table is beyond the second after the subtraction, and keeps what it has.
                        leaves = vqtbx4q_u8(leaves, last, vsubq_u8(places, vdupq_n_u8(64)));
                    }
                    // The sums are the vector's four numbers.
                    vst1q_f32(sums.as_mut_ptr(), vaddq_f32(singles(sums), vreinterpretq_f32_u8(leaves)));
                }
            }
        }
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, low: u32, numbers: &[f64], sums: &mut [f64]) {
        add::<f64, BITS>(words(index), low, numbers, sums);
    }
}
