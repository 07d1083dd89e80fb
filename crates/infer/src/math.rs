//! One `exp` and one `ln` in f32 for every target, and the two output transforms built on them.
//!
//! XGBoost calls the platform's `expf` and `logf`, whose last bit differs between glibc, musl, macOS and Windows. The
//! functions here are the algorithms that glibc has used since 2.27, from Arm's Optimized Routines
//! (<https://github.com/ARM-software/optimized-routines>, `math/expf.c` and `math/logf.c`, MIT), so that a prediction is
//! the same bits everywhere. They equal glibc's on every f32 (a test walks all of them).
//!
//! On machines with fused multiply-add, glibc picks a variant of its functions with it. Of all f32 the two variants of `expf` differ
//! on two, those of `logf` on none. Here the steps are unfused, because `f64::mul_add` is a library call where the
//! target doesn't promise the instruction, and those two results are the fused ones: practically every machine has it.

pub mod double;

// The tables are bit patterns: written as decimals they would say nothing more, and would have to round-trip.

/// 2^(i/32) as bits, less `i << 47`, so that adding `k << 47` for any k ≡ i (mod 32) yields 2^(k/32).
const EXP2: [u64; 32] = [
    0x3ff0_0000_0000_0000,
    0x3fef_d9b0_d315_8574,
    0x3fef_b558_6cf9_890f,
    0x3fef_9301_d012_5b51,
    0x3fef_72b8_3c7d_517b,
    0x3fef_5487_3168_b9aa,
    0x3fef_387a_6e75_6238,
    0x3fef_1e9d_f51f_dee1,
    0x3fef_06fe_0a31_b715,
    0x3fee_f1a7_373a_a9cb,
    0x3fee_dea6_4c12_3422,
    0x3fee_ce08_6061_892d,
    0x3fee_bfda_d536_2a27,
    0x3fee_b42b_569d_4f82,
    0x3fee_ab07_dd48_5429,
    0x3fee_a47e_b03a_5585,
    0x3fee_a09e_667f_3bcd,
    0x3fee_9f75_e8ec_5f74,
    0x3fee_a114_73eb_0187,
    0x3fee_a589_994c_ce13,
    0x3fee_ace5_422a_a0db,
    0x3fee_b737_b0cd_c5e5,
    0x3fee_c491_82a3_f090,
    0x3fee_d503_b23e_255d,
    0x3fee_e89f_995a_d3ad,
    0x3fee_ff76_f2fb_5e47,
    0x3fef_199b_dd85_529c,
    0x3fef_3720_dcef_9069,
    0x3fef_5818_dcfb_a487,
    0x3fef_7c97_337b_9b5f,
    0x3fef_a4af_a2a4_90da,
    0x3fef_d076_5b6e_4540,
];

/// For each sixteenth of the mantissa's range, 1/c and ln c for a c near its middle.
const LN: [(u64, u64); 16] = [
    (0x3ff6_61ec_79f8_f3be, 0xbfd5_7bf7_808c_aade),
    (0x3ff5_71ed_4aaf_883d, 0xbfd2_bef0_a7c0_6ddb),
    (0x3ff4_9539_f0f0_10b0, 0xbfd0_1eae_7f51_3a67),
    (0x3ff3_c995_b0b8_0385, 0xbfcb_31d8_a682_24e9),
    (0x3ff3_0d19_0c88_64a5, 0xbfc6_574f_0ac0_7758),
    (0x3ff2_5e22_7b0b_8ea0, 0xbfc1_aa2b_c79c_8100),
    (0x3ff1_bb4a_4a1a_343f, 0xbfba_4e76_ce8c_0e5e),
    (0x3ff1_2358_f08a_e5ba, 0xbfb1_973c_5a61_1ccc),
    (0x3ff0_953f_4199_00a7, 0xbfa2_52f4_38e1_0c1e),
    (0x3ff0_0000_0000_0000, 0x0000_0000_0000_0000),
    (0x3fee_608c_fd9a_47ac, 0x3faa_a5aa_5df2_5984),
    (0x3fec_a4b3_1f02_6aa0, 0x3fbc_5e53_aa36_2eb4),
    (0x3feb_2036_576a_fce6, 0x3fc5_26e5_7720_db08),
    (0x3fe9_c2d1_63a1_aa2d, 0x3fcb_c286_0d22_4770),
    (0x3fe8_86e6_0378_41ed, 0x3fd1_058b_c8a0_7ee1),
    (0x3fe7_67dc_f553_4862, 0x3fd4_0430_57b6_ee09),
];

/// e^x, bit for bit glibc's `expf`; NaN gives NaN.
#[must_use]
pub fn exp(x: f32) -> f32 {
    // 32 / ln 2.
    const SCALE: f64 = f64::from_bits(0x4047_1547_652b_82fe);
    // Adding and taking away 1.5 * 2^52 rounds to the nearest integer, ties to even.
    const ROUND: f64 = f64::from_bits(0x4338_0000_0000_0000);
    // Of 2^(r/32) - 1 for |r| <= 1/2: the cubic, quadratic and linear coefficients.
    const C3: f64 = f64::from_bits(0x3ebc_6af8_4b91_2394);
    const C2: f64 = f64::from_bits(0x3f2e_bfce_50fa_c4f3);
    const C1: f64 = f64::from_bits(0x3f96_2e42_ff0c_52d6);
    // ln 2^128 and ln 2^-150: beyond them the result is infinite, or rounds to zero.
    const OVERFLOW: f32 = f32::from_bits(0x42b1_7217);
    const UNDERFLOW: f32 = f32::from_bits(0xc2cf_f1b4);

    // The two results on which fused steps differ, see above.
    match x.to_bits() {
        0x4202_422f => return f32::from_bits(0x56fc_9f1c),
        0xc27c_65d9 => return f32::from_bits(0x11fa_2993),
        _ => {}
    }
    if x.is_nan() {
        return x;
    }
    if x > OVERFLOW {
        return f32::INFINITY;
    }
    if x < UNDERFLOW {
        return 0.0;
    }
    let z = SCALE * f64::from(x);
    let shifted = z + ROUND;
    let k = shifted.to_bits();
    let r = z - (shifted - ROUND);
    let scale = f64::from_bits(EXP2[(k % 32) as usize].wrapping_add(k << 47));
    let cubic = C3 * r + C2;
    let linear = C1 * r + 1.0;
    ((cubic * (r * r) + linear) * scale) as f32
}

/// Natural logarithm, bit for bit glibc's `logf`: −∞ for ±0, NaN below zero.
#[must_use]
pub fn ln(x: f32) -> f32 {
    const LN_2: f64 = f64::from_bits(0x3fe6_2e42_fefa_39ef);
    // Of ln(1 + r) - r for small r: the quartic, cubic and quadratic coefficients.
    const A4: f64 = f64::from_bits(0xbfd0_0ea3_48b8_8334);
    const A3: f64 = f64::from_bits(0x3fd5_575b_0be0_0b6a);
    const A2: f64 = f64::from_bits(0xbfdf_fffe_f20a_4123);
    // Where the table's first interval begins (about 0.7), so that ln 1 falls on an entry whose logarithm is exactly 0.
    const START: u32 = 0x3f33_0000;

    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == f32::INFINITY {
        return x;
    }
    let bits = if x < f32::MIN_POSITIVE {
        // Subnormal: scaled by 2^23, and the exponent set right again; it may wrap below zero.
        (x * 8_388_608.0).to_bits().wrapping_sub(23 << 23)
    } else {
        x.to_bits()
    };
    let offset = bits.wrapping_sub(START);
    let (inverse, log) = LN[((offset >> 19) % 16) as usize];
    let k = (offset as i32) >> 23;
    let z = f64::from(f32::from_bits(bits.wrapping_sub(offset & 0xff80_0000)));
    let r = z * f64::from_bits(inverse) - 1.0;
    let whole = f64::from_bits(log) + f64::from(k) * LN_2;
    let r2 = r * r;
    let y = (A4 * r2 + (A3 * r + A2)) * r2 + (whole + r);
    y as f32
}

/// XGBoost's logistic function (`common::Sigmoid`), every step in f32.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    // As `std::min(-x, 88.7f)` does, a NaN is kept.
    let x = if 88.7 < -x { 88.7 } else { -x };
    1.0 / (exp(x) + 1.0 + 1e-16)
}

/// XGBoost's softmax in place (`common::Softmax`): exponents in f32, their sum in f64, the division in f32.
pub fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f64;
    for value in &mut *values {
        *value = exp(*value - largest);
        sum += f64::from(*value);
    }
    let sum = sum as f32;
    for value in values {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(ours: f32, theirs: f32) -> bool {
        ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan())
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(-0.0), f32::NEG_INFINITY);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!(ln(-1.0).is_nan());
        assert!(ln(f32::NAN).is_nan());
        assert_eq!(sigmoid(0.0), 0.5);
        let mut even = [3.0; 4];
        softmax(&mut even);
        assert_eq!(even, [0.25; 4]);
    }

    /// Digests, so that targets whose libm differs from glibc are held to glibc's bits too.
    #[test]
    fn the_same_bits_on_every_target() {
        let fold = |f: fn(f32) -> f32| {
            (0..=u32::MAX).step_by(65_537).fold(0xcbf2_9ce4_8422_2325_u64, |hash, bits| {
                let value = f(f32::from_bits(bits));
                let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
                (hash ^ u64::from(bits)).wrapping_mul(0x0000_0100_0000_01b3)
            })
        };
        assert_eq!([fold(exp), fold(ln)], [13_238_160_940_014_822_908, 14_684_507_951_337_724_934]);
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn check_against_libm(step: usize) {
        // Rust's `exp` and `ln` are glibc's here.
        for bits in (0..=u32::MAX).step_by(step) {
            let x = f32::from_bits(bits);
            assert!(same(exp(x), x.exp()), "exp of {bits:#010x}");
            assert!(same(ln(x), x.ln()), "ln of {bits:#010x}");
        }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn equals_glibc_on_every_997th_float() {
        check_against_libm(997);
    }

    /// A minute. With `GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2`, glibc takes its variants without FMA, and only the two
    /// floats that `exp` lists differ.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    #[ignore = "walks all 2^32 floats"]
    fn equals_glibc_on_every_float() {
        check_against_libm(1);
    }
}
