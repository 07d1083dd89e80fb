//! Which instructions the machine has, and loads of vectors.

use std::arch::x86_64::*;

use super::super::lanes::Work;

/// A vector of 256 rows.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// A vector of 512 rows.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx2 {
    /// If the machine has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")).then_some(Self(()))
    }

    /// Runs it, compiled for AVX2.
    pub fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,popcnt")]
        fn inner<W: Work>(lanes: Avx2, work: W) -> W::Output {
            work.run(lanes)
        }
        // SAFETY: a value of this type exists only where these features were detected.
        unsafe { inner(self, work) }
    }
}

impl Avx512 {
    /// If the machine has it.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let also = is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("popcnt");
        (has && also).then_some(Self(()))
    }

    /// Runs it, compiled for AVX-512.
    pub fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
        fn inner<W: Work>(lanes: Avx512, work: W) -> W::Output {
            work.run(lanes)
        }
        // SAFETY: a value of this type exists only where these features were detected.
        unsafe { inner(self, work) }
    }
}

loads!(singles, f32, 8, __m256, _mm256_loadu_ps);
loads!(singles512, f32, 16, __m512, _mm512_loadu_ps);
loads!(doubles512, f64, 8, __m512d, _mm512_loadu_pd);
loads!(ints, i32, 8, __m256i, _mm256_loadu_si256);
loads!(ints512, i32, 16, __m512i, _mm512_loadu_si512);
loads!(longs, u64, 4, __m256i, _mm256_loadu_si256);
loads!(longs512, u64, 8, __m512i, _mm512_loadu_si512);
loads!(signed, i64, 4, __m256i, _mm256_loadu_si256);
loads!(signed512, i64, 8, __m512i, _mm512_loadu_si512);
