//! A group is two vectors of 32 rows: what is loaded of a split serves both.

use std::arch::x86_64::*;

use super::super::lanes::{Aligned, Column, Lanes};
use super::x86::{Avx2, bytes, ints, longs, singles};

impl Lanes for Avx2 {
    const ROWS: usize = 64;
    const UNIT: usize = 32;
    const SINGLES: usize = 4;
    const DOUBLES: usize = 1;
    type Column = Aligned<64>;
    type Bits = [__m256i; 2];
    type Sums32 = [__m256; 8];
    type Sums64 = [f64; 64];

    #[inline(always)]
    fn none(self) -> Self::Bits {
        // SAFETY: `self` says that the machine has AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn at_most(self, column: &Self::Column, bound: u32) -> Self::Bits {
        let (halves, _) = column.0.as_chunks();
        // SAFETY: as above.
        unsafe {
            let bound = _mm256_set1_epi32(bound as i32);
            [_mm256_sub_epi8(bound, bytes(&halves[0])), _mm256_sub_epi8(bound, bytes(&halves[1]))]
        }
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        // SAFETY: as above.
        unsafe { [_mm256_blendv_epi8(no[0], yes[0], by[0]), _mm256_blendv_epi8(no[1], yes[1], by[1])] }
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, place: u32) -> Self::Bits {
        // SAFETY: as above.
        unsafe {
            let count = _mm256_set1_epi32(place as i32);
            let mask = _mm256_set1_epi8((0x80_u8 >> place) as i8);
            [
                _mm256_or_si256(index[0], _mm256_and_si256(_mm256_srlv_epi32(bits[0], count), mask)),
                _mm256_or_si256(index[1], _mm256_and_si256(_mm256_srlv_epi32(bits[1], count), mask)),
            ]
        }
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        let (halves, _) = column.0.as_chunks_mut::<32>();
        for (half, bits) in halves.iter_mut().zip(bits) {
            // SAFETY: as above; each half has the vector's 32 bytes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), bits) }
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
        let (vectors, _) = sums.as_chunks::<8>();
        let mut all = [singles(&vectors[0]); 8];
        for (all, vector) in all.iter_mut().zip(vectors) {
            *all = singles(vector);
        }
        all
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
    fn add32<const BITS: usize>(self, index: Self::Bits, table: &[f32], sums: &mut Self::Sums32) {
        let (table, _) = table[..1 << BITS].as_chunks::<8>();
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                // The lowest byte's index, then the next's: vpermps asks for the lowest 3 bits only, a blend for the highest.
                let lowest = _mm256_srlv_epi32(index[at / 4], _mm256_set1_epi32((8 * (at % 4) + 8 - BITS) as i32));
                macro_rules! blend {
                    ($no:expr, $yes:expr, $bit:literal) => {{
                        // The index's bit, as a float's sign.
                        let sign = _mm256_slli_epi32::<{ 31 - $bit }>(lowest);
                        _mm256_blendv_ps($no, $yes, _mm256_castsi256_ps(sign))
                    }};
                }
                if BITS > 6 {
                    // As many permutes and blends would take longer than looking each up.
                    let places = _mm256_and_si256(lowest, _mm256_set1_epi32((1 << BITS) - 1));
                    // The table has a place for each index that is left.
                    let leaves = _mm256_i32gather_ps::<4>(table.as_flattened().as_ptr(), places);
                    *sum = _mm256_add_ps(*sum, leaves);
                    continue;
                }
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
                *sum = _mm256_add_ps(*sum, picked[0]);
            }
        }
    }

    #[inline(always)]
    fn load64(self, sums: &[f64]) -> Self::Sums64 {
        let mut all = [0.0; 64];
        all.copy_from_slice(sums);
        all
    }

    #[inline(always)]
    fn store64(self, sums: Self::Sums64, to: &mut [f64]) {
        to.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, table: &[f64], sums: &mut Self::Sums64) {
        let mut column = Self::Column::ZERO;
        self.store(index, &mut column);
        let table = &table[..1 << BITS];
        for (sum, byte) in sums.iter_mut().zip(column.0) {
            *sum += table[usize::from(byte >> (8 - BITS))];
        }
    }
}
