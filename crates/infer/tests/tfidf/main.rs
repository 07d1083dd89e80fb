//! Text features and linear classifiers against scikit-learn's own, and against hostile files.

#[path = "../common/mod.rs"]
mod common;
mod reference;
mod robustness;

/// Counts what is allocated, for the tests of memory.
#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
