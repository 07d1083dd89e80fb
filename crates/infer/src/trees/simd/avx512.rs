//! A group is two vectors of 64 rows: what is loaded of a split serves both. Trees of depth 8 took 17 % less than by one.

use std::arch::x86_64::*;

use super::super::lanes::{Aligned, Lanes};
use super::x86::{Avx512, bytes512, doubles512, ints512, longs512, singles512};

impl Lanes for Avx512 {
    const ROWS: usize = 128;
    const UNIT: usize = 64;
    const SINGLES: usize = 4;
    const DOUBLES: usize = 8;
    type Column = Aligned<128>;
    type Bits = [__m512i; 2];
    type Sums32 = [__m512; 8];
    type Sums64 = [__m512d; 16];

    #[inline(always)]
    fn none(self) -> Self::Bits {
        // SAFETY: `self` says that the machine has AVX-512.
        unsafe { [_mm512_setzero_si512(); 2] }
    }

    #[inline(always)]
    fn at_most(self, column: &Self::Column, bound: u32) -> Self::Bits {
        let (halves, _) = column.0.as_chunks();
        // SAFETY: as above.
        unsafe {
            let bound = _mm512_set1_epi32(bound as i32);
            [_mm512_sub_epi8(bound, bytes512(&halves[0])), _mm512_sub_epi8(bound, bytes512(&halves[1]))]
        }
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        // The truth table: the second where the first is set, else the third.
        const CHOOSE: i32 = 0xca;
        // SAFETY: as above.
        unsafe {
            [
                _mm512_ternarylogic_epi32::<CHOOSE>(by[0], yes[0], no[0]),
                _mm512_ternarylogic_epi32::<CHOOSE>(by[1], yes[1], no[1]),
            ]
        }
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, place: u32) -> Self::Bits {
        // The truth table: the first, or the second and the third.
        const OR_AND: i32 = 0xf8;
        // SAFETY: as above.
        unsafe {
            let count = _mm512_set1_epi32(place as i32);
            let mask = _mm512_set1_epi8((0x80_u8 >> place) as i8);
            [
                _mm512_ternarylogic_epi32::<OR_AND>(index[0], _mm512_srlv_epi32(bits[0], count), mask),
                _mm512_ternarylogic_epi32::<OR_AND>(index[1], _mm512_srlv_epi32(bits[1], count), mask),
            ]
        }
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        let (halves, _) = column.0.as_chunks_mut::<64>();
        for (half, bits) in halves.iter_mut().zip(bits) {
            // SAFETY: as above; each half has the vector's 64 bytes.
            unsafe { _mm512_storeu_si512(half.as_mut_ptr().cast(), bits) }
        }
    }

    #[inline(always)]
    fn count32(self, block: &[i32; 16], key: i32) -> usize {
        // SAFETY: as above.
        unsafe { _mm512_cmple_epi32_mask(ints512(block), _mm512_set1_epi32(key)).count_ones() as usize }
    }

    #[inline(always)]
    fn count64(self, block: &[i64; 16], key: i64) -> usize {
        let (halves, _) = block.as_chunks();
        // SAFETY: as above.
        unsafe {
            let key = _mm512_set1_epi64(key);
            let low = _mm512_cmple_epi64_mask(longs512(&halves[0]), key);
            let high = _mm512_cmple_epi64_mask(longs512(&halves[1]), key);
            low.count_ones() as usize + high.count_ones() as usize
        }
    }

    #[inline(always)]
    fn load32(self, sums: &[f32]) -> Self::Sums32 {
        let (vectors, _) = sums.as_chunks::<16>();
        let mut all = [singles512(&vectors[0]); 8];
        for (all, vector) in all.iter_mut().zip(vectors) {
            *all = singles512(vector);
        }
        all
    }

    #[inline(always)]
    fn store32(self, sums: Self::Sums32, to: &mut [f32]) {
        let (vectors, _) = to.as_chunks_mut::<16>();
        for (at, sums) in sums.into_iter().enumerate() {
            // SAFETY: as above; the place has the vector's 16 numbers.
            unsafe { _mm512_storeu_ps(vectors[at].as_mut_ptr(), sums) }
        }
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: Self::Bits, table: &[f32], sums: &mut Self::Sums32) {
        let (table, _) = table[..1 << BITS].as_chunks();
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                let lowest = _mm512_srlv_epi32(index[at / 4], _mm512_set1_epi32((8 * (at % 4) + 8 - BITS) as i32));
                let mut picked = [_mm512_setzero_ps(); 8];
                if BITS == 4 {
                    picked[0] = _mm512_permutexvar_ps(lowest, singles512(&table[0]));
                } else {
                    // The lowest 5 bits choose among two vectors.
                    for (picked, [low, high]) in picked.iter_mut().zip(table.as_chunks().0) {
                        *picked = _mm512_permutex2var_ps(singles512(low), lowest, singles512(high));
                    }
                }
                macro_rules! halve {
                    ($bits:literal) => {
                        if BITS >= $bits {
                            let set = _mm512_test_epi32_mask(lowest, _mm512_set1_epi32(1 << ($bits - 1)));
                            for at in 0..1 << (BITS - $bits) {
                                picked[at] = _mm512_mask_blend_ps(set, picked[2 * at], picked[2 * at + 1]);
                            }
                        }
                    };
                }
                halve!(6);
                halve!(7);
                halve!(8);
                *sum = _mm512_add_ps(*sum, picked[0]);
            }
        }
    }

    #[inline(always)]
    fn load64(self, sums: &[f64]) -> Self::Sums64 {
        let (vectors, _) = sums.as_chunks::<8>();
        let mut all = [doubles512(&vectors[0]); 16];
        for (all, vector) in all.iter_mut().zip(vectors) {
            *all = doubles512(vector);
        }
        all
    }

    #[inline(always)]
    fn store64(self, sums: Self::Sums64, to: &mut [f64]) {
        let (vectors, _) = to.as_chunks_mut::<8>();
        for (at, sums) in sums.into_iter().enumerate() {
            // SAFETY: as above; the place has the vector's 8 numbers.
            unsafe { _mm512_storeu_pd(vectors[at].as_mut_ptr(), sums) }
        }
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, table: &[f64], sums: &mut Self::Sums64) {
        let (pairs, _) = table[..1 << BITS].as_chunks::<16>();
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                let lowest = _mm512_srlv_epi64(index[at / 8], _mm512_set1_epi64((8 * (at % 8) + 8 - BITS) as i64));
                let mut picked = [_mm512_setzero_pd(); 16];
                // The lowest 4 bits choose among two vectors.
                for (picked, pair) in picked.iter_mut().zip(pairs) {
                    let (halves, _) = pair.as_chunks();
                    *picked = _mm512_permutex2var_pd(doubles512(&halves[0]), lowest, doubles512(&halves[1]));
                }
                macro_rules! halve {
                    ($bits:literal) => {
                        if BITS >= $bits {
                            let set = _mm512_test_epi64_mask(lowest, _mm512_set1_epi64(1 << ($bits - 1)));
                            for at in 0..1 << (BITS - $bits) {
                                picked[at] = _mm512_mask_blend_pd(set, picked[2 * at], picked[2 * at + 1]);
                            }
                        }
                    };
                }
                halve!(5);
                halve!(6);
                halve!(7);
                halve!(8);
                *sum = _mm512_add_pd(*sum, picked[0]);
            }
        }
    }
}
