//! A group is a vector of 32 rows.

use std::arch::x86_64::*;

use super::super::lanes::{Aligned, Column, Lanes};
use super::{Avx2, bytes, ints, longs, singles};

impl Lanes for Avx2 {
    const ROWS: usize = 32;
    const UNIT: usize = 32;
    const SINGLES: usize = 4;
    const DOUBLES: usize = 1;
    type Column = Aligned<32>;
    type Bits = __m256i;
    type Sums32 = [__m256; 4];
    type Sums64 = [f64; 32];

    #[inline(always)]
    fn none(self) -> __m256i {
        // SAFETY: `self` says that the machine has AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn at_most(self, column: &Self::Column, bound: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sub_epi8(_mm256_set1_epi32(bound as i32), bytes(&column.0)) }
    }

    #[inline(always)]
    fn choose(self, by: __m256i, yes: __m256i, no: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_blendv_epi8(no, yes, by) }
    }

    #[inline(always)]
    fn merge(self, index: __m256i, bits: __m256i, place: u32) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let moved = _mm256_srlv_epi32(bits, _mm256_set1_epi32(place as i32));
            _mm256_or_si256(index, _mm256_and_si256(moved, _mm256_set1_epi8((0x80_u8 >> place) as i8)))
        }
    }

    #[inline(always)]
    fn store(self, bits: __m256i, column: &mut Self::Column) {
        // SAFETY: as above; a column has the vector's 32 bytes.
        unsafe { _mm256_storeu_si256(column.0.as_mut_ptr().cast(), bits) }
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
            let first = _mm256_cmpgt_epi64(longs(&quarters[0]), key);
            let second = _mm256_cmpgt_epi64(longs(&quarters[1]), key);
            let third = _mm256_cmpgt_epi64(longs(&quarters[2]), key);
            let fourth = _mm256_cmpgt_epi64(longs(&quarters[3]), key);
            let low = _mm256_packs_epi32(first, second);
            let high = _mm256_packs_epi32(third, fourth);
            let above = _mm256_movemask_epi8(_mm256_packs_epi32(low, high));
            16 - above.count_ones() as usize / 2
        }
    }

    #[inline(always)]
    fn load32(self, sums: &[f32]) -> Self::Sums32 {
        let (vectors, _) = sums.as_chunks();
        [singles(&vectors[0]), singles(&vectors[1]), singles(&vectors[2]), singles(&vectors[3])]
    }

    #[inline(always)]
    fn store32(self, sums: Self::Sums32, to: &mut [f32]) {
        let (vectors, _) = to.as_chunks_mut::<8>();
        for (at, sums) in sums.into_iter().enumerate() {
            // SAFETY: as above; the place has the vector's 8 numbers.
            unsafe { _mm256_storeu_ps(vectors[at].as_mut_ptr(), sums) }
        }
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: __m256i, table: &[f32], sums: &mut Self::Sums32) {
        let (table, _) = table[..1 << BITS].as_chunks();
        for (at, sum) in (0..).zip(sums) {
            // SAFETY: as above.
            unsafe {
                // The lowest byte's index, then the next's: vpermps asks for the lowest 3 bits only, a blend for the highest.
                let lowest = _mm256_srlv_epi32(index, _mm256_set1_epi32(8 * at + 8 - BITS as i32));
                macro_rules! blend {
                    ($no:expr, $yes:expr, $bit:literal) => {{
                        // The index's bit, as a float's sign.
                        let sign = _mm256_slli_epi32::<{ 31 - $bit }>(lowest);
                        _mm256_blendv_ps($no, $yes, _mm256_castsi256_ps(sign))
                    }};
                }
                let mut picked = [_mm256_setzero_ps(); 32];
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
                halve!(7, 6);
                halve!(8, 7);
                *sum = _mm256_add_ps(*sum, picked[0]);
            }
        }
    }

    #[inline(always)]
    fn load64(self, sums: &[f64]) -> Self::Sums64 {
        let mut all = [0.0; 32];
        all.copy_from_slice(sums);
        all
    }

    #[inline(always)]
    fn store64(self, sums: Self::Sums64, to: &mut [f64]) {
        to.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: __m256i, table: &[f64], sums: &mut Self::Sums64) {
        let mut column = Self::Column::ZERO;
        self.store(index, &mut column);
        let table = &table[..1 << BITS];
        for (sum, byte) in sums.iter_mut().zip(column.0) {
            *sum += table[usize::from(byte >> (8 - BITS))];
        }
    }
}
