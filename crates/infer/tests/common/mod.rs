//! What the tests against other libraries' saved predictions share.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A folder of `tests/reference`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

/// The records of a folder's `reference.json`.
pub fn records<R: DeserializeOwned>(folder: &Path) -> Vec<R> {
    #[derive(Deserialize)]
    struct Reference<R> {
        models: Vec<R>,
    }
    let json = std::fs::read(folder.join("reference.json")).expect("the references are committed");
    let reference: Reference<R> = serde_json::from_slice(&json).expect("the references are well-formed");
    reference.models
}

/// The same, each with the bytes of its model.
pub fn records_with_models<R: DeserializeOwned>(name: &str, file: fn(&R) -> &str) -> Vec<(R, Vec<u8>)> {
    let folder = folder(name);
    let with_model = |record: R| {
        let bytes = std::fs::read(folder.join(file(&record))).expect("the models are committed");
        (record, bytes)
    };
    records(&folder).into_iter().map(with_model).collect()
}

/// Words of sixteen hexadecimal digits each.
pub fn words(hex: &str) -> Vec<u64> {
    let (digits, _) = hex.as_bytes().as_chunks::<16>();
    digits.iter().map(|digits| u64::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()).collect()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of numbers, little-endian.
pub fn digest_of(values: &[f64]) -> String {
    digest(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// The value number `index`, from 0, of SplitMix64 (Steele, Lea, Flood 2014).
pub fn splitmix64(seed: u64, index: u64) -> u64 {
    let z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
