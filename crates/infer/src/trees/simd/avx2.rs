//! A group is a vector of 256 rows.

use std::arch::x86_64::*;

use super::super::lanes::{Bits256, Column, Lanes, add};
use super::x86::{Avx2, ints, longs, signed, singles};

impl Lanes for Avx2 {
    const ROWS: usize = 256;
    const SINGLES: usize = 4;
    const DOUBLES: usize = 1;
    type Column = Bits256;
    type Bits = __m256i;

    #[inline(always)]
    fn none(self) -> Self::Bits {
        // SAFETY: `self` says that the machine has AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn load(self, column: &Self::Column) -> Self::Bits {
        longs(&column.0)
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        // SAFETY: as above; the column has the vector's 32 bytes.
        unsafe { _mm256_storeu_si256(column.0.as_mut_ptr().cast(), bits) }
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(no, _mm256_and_si256(by, _mm256_xor_si256(no, yes))) }
    }

    #[inline(always)]
    fn either(self, one: Self::Bits, other: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(one, other) }
    }

    #[inline(always)]
    fn without(self, bits: Self::Bits, except: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { _mm256_andnot_si256(except, bits) }
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, left: i32, mask: u8) -> Self::Bits {
        // SAFETY: as above.
        unsafe {
            let moved = if left < 0 {
                _mm256_srlv_epi32(bits, _mm256_set1_epi32(-left))
            } else {
                _mm256_sllv_epi32(bits, _mm256_set1_epi32(left))
            };
            _mm256_or_si256(index, _mm256_and_si256(moved, _mm256_set1_epi8(mask as i8)))
        }
    }

    #[inline(always)]
    fn count32(self, block: &[i32; 16], key: i32) -> usize {
        let (halves, _) = block.as_chunks();
        // SAFETY: as above.
        unsafe {
            let key = _mm256_set1_epi32(key);
            let low = _mm256_cmpgt_epi32(ints(&halves[0]), key);
            let high = _mm256_cmpgt_epi32(ints(&halves[1]), key);
            let above = _mm256_movemask_epi8(_mm256_packs_epi32(low, high));
            16 - above.count_ones() as usize / 2
        }
    }

    #[inline(always)]
    fn count64(self, block: &[i64; 16], key: i64) -> usize {
        let (quarters, _) = block.as_chunks();
        // SAFETY: as above.
        unsafe {
            let key = _mm256_set1_epi64x(key);
            macro_rules! above {
                ($quarter:literal) => {
                    _mm256_cmpgt_epi64(signed(&quarters[$quarter]), key)
                };
            }
            let low = _mm256_packs_epi32(above!(0), above!(1));
            let high = _mm256_packs_epi32(above!(2), above!(3));
            let above = _mm256_movemask_epi8(_mm256_packs_epi32(low, high));
            16 - above.count_ones() as usize / 2
        }
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f32], sums: &mut [f32]) {
        let (table, _) = table[..1 << BITS].as_chunks::<8>();
        for (at, sum) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                // Above the index lie other bits: vpermps asks for the lowest 3 only, a blend for the highest.
                let lowest = _mm256_srlv_epi32(index, _mm256_set1_epi32((8 * at as u32 + low) as i32));
                macro_rules! blend {
                    ($no:expr, $yes:expr, $bit:literal) => {{
                        // The index's bit, as a float's sign.
                        let sign = _mm256_slli_epi32::<{ 31 - $bit }>(lowest);
                        _mm256_blendv_ps($no, $yes, _mm256_castsi256_ps(sign))
                    }};
                }
                let leaves = if BITS > 6 {
                    // As many permutes and blends would take longer than looking each up.
                    let places = _mm256_and_si256(lowest, _mm256_set1_epi32((1 << BITS) - 1));
                    // The table has a place for each index that is left.
                    _mm256_i32gather_ps::<4>(table.as_flattened().as_ptr(), places)
                } else {
                    let mut picked = [_mm256_setzero_ps(); 8];
                    for (picked, table) in picked.iter_mut().zip(table) {
                        *picked = _mm256_permutevar8x32_ps(singles(table), lowest);
                    }
                    macro_rules! halve {
                        ($bits:literal, $half:literal) => {
                            if BITS >= $bits {
                                for at in 0..1 << (BITS - $bits) {
                                    picked[at] = blend!(picked[2 * at], picked[2 * at + 1], $half);
                                }
                            }
                        };
                    }
                    halve!(4, 3);
                    halve!(5, 4);
                    halve!(6, 5);
                    picked[0]
                };
                // The sums are the vector's 8 numbers.
                _mm256_storeu_ps(sum.as_mut_ptr(), _mm256_add_ps(singles(sum), leaves));
            }
        }
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f64], sums: &mut [f64]) {
        let mut column = Self::Column::ZERO;
        self.store(index, &mut column);
        add::<f64, BITS>(column.0, low, table, sums);
    }
}
