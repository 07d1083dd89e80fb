//! The only unsafe code: AVX2, AVX-512, Neon, and columns without bounds checks.
//!
//! - A value of `Avx2`, `Avx512` or `Neon` exists only where `detect` found the instructions, so whoever has one may use them. Each operation is a few
//!   instructions on references of the right size, without pointer arithmetic.
//! - [`Asked`] has splits and columns of which it was checked, once a group, that there are as many as the splits ask. A check for each
//!   split took 15 to 20 % of the time.
//!
//! No closures: the compiler would not inline them into functions that have more instructions than they.

#![allow(unsafe_code)]

/// Loads as many numbers as a vector has.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! loads {
    ($name:ident, $number:ty, $count:literal, $vector:ty, $load:ident) => {
        #[inline(always)]
        pub(super) fn $name(from: &[$number; $count]) -> $vector {
            // SAFETY: the reference is to as many bytes as are loaded, the load takes any alignment, and only the operations of
            // `Avx2`, `Avx512` and `Neon` call this.
            unsafe { $load(from.as_ptr().cast()) }
        }
    };
}

mod asked;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use asked::{Asked, Splits};
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};
