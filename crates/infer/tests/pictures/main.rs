//! Pictures: decoded as Pillow decodes them, refused where they are damaged, written so that they read back.

mod decode;
mod faults;
mod resize;

use std::path::{Path, PathBuf};

/// The limit of a manifest that sets none.
const MAX_PIXELS: u64 = bundle::ImageSchema::DEFAULT_MAX_PIXELS;

/// The pictures that models/train/reference_pictures.py wrote.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pictures")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The mean and the greatest difference of two pictures' samples.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences().map(u64::from).sum();
    (sum as f64 / a.len() as f64, differences().max().unwrap_or(0))
}
