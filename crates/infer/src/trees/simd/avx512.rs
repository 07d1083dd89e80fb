//! A group is a vector of 512 rows.

use std::arch::x86_64::*;

use super::super::lanes::{Bits512, Lanes};
use super::x86::{Avx512, doubles512, ints512, longs512, signed512, singles512};

impl Lanes for Avx512 {
    const ROWS: usize = 512;
    const SINGLES: usize = 4;
    const DOUBLES: usize = 8;
    type Column = Bits512;
    type Bits = __m512i;

    #[inline(always)]
    fn none(self) -> Self::Bits {
        // SAFETY: `self` says that the machine has AVX-512.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn load(self, column: &Self::Column) -> Self::Bits {
        longs512(&column.0)
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        // SAFETY: as above; the column has the vector's 64 bytes.
        unsafe { _mm512_storeu_si512(column.0.as_mut_ptr().cast(), bits) }
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        // The truth table: the second where the first is set, else the third.
        const CHOOSE: i32 = 0xca;
        // SAFETY: as above.
        unsafe { _mm512_ternarylogic_epi32::<CHOOSE>(by, yes, no) }
    }

    #[inline(always)]
    fn either(self, one: Self::Bits, other: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(one, other) }
    }

    #[inline(always)]
    fn without(self, bits: Self::Bits, except: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { _mm512_andnot_si512(except, bits) }
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, left: i32, mask: u8) -> Self::Bits {
        // The truth table: the first, or the second and the third.
        const OR_AND: i32 = 0xf8;
        // SAFETY: as above.
        unsafe {
            let moved = if left < 0 {
                _mm512_srlv_epi32(bits, _mm512_set1_epi32(-left))
            } else {
                _mm512_sllv_epi32(bits, _mm512_set1_epi32(left))
            };
            _mm512_ternarylogic_epi32::<OR_AND>(index, moved, _mm512_set1_epi8(mask as i8))
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
            let low = _mm512_cmple_epi64_mask(signed512(&halves[0]), key);
            let high = _mm512_cmple_epi64_mask(signed512(&halves[1]), key);
            low.count_ones() as usize + high.count_ones() as usize
        }
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f32], sums: &mut [f32]) {
        let (table, _) = table[..1 << BITS].as_chunks();
        for (at, sum) in sums.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                // Above the index lie other bits, which nothing below asks for.
                let lowest = _mm512_srlv_epi32(index, _mm512_set1_epi32((8 * at as u32 + low) as i32));
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
                // The sums are the vector's 16 numbers.
                _mm512_storeu_ps(sum.as_mut_ptr(), _mm512_add_ps(singles512(sum), picked[0]));
            }
        }
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f64], sums: &mut [f64]) {
        let (pairs, _) = table[..1 << BITS].as_chunks::<16>();
        for (at, sum) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                let lowest = _mm512_srlv_epi64(index, _mm512_set1_epi64((8 * at as u32 + low).into()));
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
                // The sums are the vector's 8 numbers.
                _mm512_storeu_pd(sum.as_mut_ptr(), _mm512_add_pd(doubles512(sum), picked[0]));
            }
        }
    }
}
