//! Millions of predictions over small models of every objective, saved by XGBoost 1.6 and 3.2 with the digests of what they
//! predicted. `models/train/reference_xgboost.py` writes both.

use std::path::PathBuf;

use serde::Deserialize;

use super::common::{self, digest, folder, hex, splitmix64};
use super::{bits, predict};

#[derive(Deserialize)]
pub struct Record {
    /// The same model, in one format or in both.
    pub files: Vec<String>,
    pub seed: u64,
    pub rows: usize,
    /// How many categories each feature has, or 0.
    pub categories: Vec<u64>,
    /// For each feature some of the model's thresholds, eight hexadecimal digits each.
    pub cuts: Vec<String>,
    predictions: usize,
    sha256: String,
    /// The first predictions, little-endian.
    first: String,
}

/// Every model there is, with the folder that it lies in.
pub fn records() -> Vec<(PathBuf, Record)> {
    let mut records = Vec::new();
    for version in ["1.6.2", "3.2.0"] {
        let folder = folder(version);
        records.extend(common::records(&folder).into_iter().map(|record| (folder.clone(), record)));
    }
    records
}

/// Rows of f32, as `inputs` in models/train/reference_xgboost.py describes them.
pub fn inputs(record: &Record) -> Vec<f32> {
    let cuts: Vec<Vec<u32>> = record
        .cuts
        .iter()
        .map(|cuts| {
            let (digits, _) = cuts.as_bytes().as_chunks::<8>();
            let parse = |digits: &[u8; 8]| u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            digits.iter().map(parse).collect()
        })
        .collect();
    let columns = cuts.len();
    let mut values = Vec::with_capacity(record.rows * columns);
    for index in 0..record.rows * columns {
        let column = index % columns;
        let z = splitmix64(record.seed, index as u64);
        let (kind, high) = (z & 15, z >> 8);
        let categories = record.categories[column];
        let cut = || cuts[column][(high % cuts[column].len() as u64) as usize];
        values.push(match kind {
            0 | 1 => f32::NAN,
            _ if categories > 0 => (high % (categories + 2)) as f32,
            2 if !cuts[column].is_empty() => f32::from_bits(cut()),
            3 if !cuts[column].is_empty() => f32::from_bits(cut() ^ 1),
            4 if high & 1 == 1 => -0.0,
            4 => 0.0,
            5 | 6 => (high % 33) as f32 / 4.0 - 4.0,
            _ => (z >> 40) as f32 * (1.0 / 2_097_152.0) - 4.0,
        });
    }
    values
}

#[test]
fn every_bit_of_every_prediction() {
    let mut total = 0;
    let mut wrong = Vec::new();
    for (folder, record) in records() {
        let rows = inputs(&record);
        for file in &record.files {
            let path = folder.join(file);
            let model = infer::xgboost::load(&std::fs::read(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let predictions = predict(&model, &rows);
            total += predictions.len();
            let bytes: Vec<u8> = predictions.iter().flat_map(|value| value.to_le_bytes()).collect();
            let first = hex(&bytes[..record.first.len() / 2]);
            if predictions.len() != record.predictions {
                wrong.push(format!("{}: {} predictions", path.display(), predictions.len()));
            } else if first != record.first {
                let at = first.bytes().zip(record.first.bytes()).position(|(ours, theirs)| ours != theirs).unwrap() / 8;
                wrong.push(format!("{}: differs from prediction {at}: {}", path.display(), predictions[at]));
            } else if digest(&bytes) != record.sha256 {
                wrong.push(format!("{}: differs after prediction {}", path.display(), first.len() / 8));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(total > 2_000_000, "only {total} predictions");
}

/// However the rows come, alone, in a few or in many, each gets the same bits.
#[test]
fn single_rows_equal_batches() {
    for (folder, record) in records() {
        let model = infer::xgboost::load(&std::fs::read(folder.join(&record.files[0])).unwrap()).unwrap();
        let rows = &inputs(&record)[..100 * model.num_features];
        let batch = predict(&model, rows);
        for size in [1, 2, 3, 15, 17] {
            let parts: Vec<f32> =
                rows.chunks(size * model.num_features).flat_map(|rows| predict(&model, rows)).collect();
            assert_eq!(bits(&parts), bits(&batch), "{} by {size}", record.files[0]);
        }
    }
}

#[test]
fn json_and_ubj_are_the_same_model() {
    let mut pairs = 0;
    for (folder, record) in records() {
        if let [first, second] = &record.files[..] {
            let load = |file| infer::xgboost::load(&std::fs::read(folder.join(file)).unwrap()).unwrap();
            assert!(load(first) == load(second), "{first} and {second}");
            pairs += 1;
        }
    }
    assert!(pairs >= 5);
}

/// XGBoost writes a model's parts in one order, in which trees can be added as they are read; JSON allows any order.
#[test]
fn the_order_of_a_models_parts_is_of_no_account() {
    let load = |text: &str| infer::xgboost::load(text.as_bytes()).unwrap();
    let mut moved = 0;
    for (folder, record) in records() {
        for file in record.files.iter().filter(|file| file.ends_with(".json")) {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            let Some((before, rest)) = text.split_once(r#""tree_info":"#) else { continue };
            let (list, after) = rest.split_once("],").unwrap();
            let Some((trees, end)) = after.split_once(r#"]},"name":"gbtree"}"#) else { continue };
            // The one says that all trees belong to the first output, and is not the last that is said.
            let zeros = vec!["0"; list.split(',').count()].join(",");
            for first in ["", &format!(r#""tree_info":[{zeros}],"#)] {
                let reordered = format!(r#"{before}{first}{trees}],"tree_info":{list}]}},"name":"gbtree"}}{end}"#);
                assert!(load(&reordered) == load(&text), "{file}");
                moved += 1;
            }
        }
    }
    assert!(moved >= 20, "{moved}");
}

/// XGBoost writes a tree's fields in one order and form, in which they need not be told apart one by one; others are read all the same.
#[test]
fn the_form_of_a_trees_fields_is_of_no_account() {
    let load = |file: &[u8]| infer::xgboost::load(file).unwrap();
    let (mut texts, mut binaries) = (0, 0);
    for (folder, record) in records() {
        for name in &record.files {
            let file = std::fs::read(folder.join(name)).unwrap();
            if name.ends_with(".json") {
                let text = String::from_utf8(file.clone()).unwrap();
                let spaced = text.replace(",\"", ", \"");
                let begun_otherwise = text.replace(r#"{"base_weights":"#, r#"{"x":{"y":[]},"base_weights":"#);
                let left_midway = text.replace(r#""id":"#, r#""x":null,"id":"#);
                for other in [spaced, begun_otherwise, left_midway].iter().filter(|other| **other != text) {
                    assert!(load(other.as_bytes()) == load(&file), "{name}");
                    texts += 1;
                }
                let cut = text.replacen(r#","tree_param":"#, r#",}"tree_param":"#, 1);
                assert!(cut == text || infer::xgboost::load(cut.as_bytes()).is_err(), "{name}");
            } else {
                // A key of its own before the first, and one in the middle.
                for at in [&b"{L\0\0\0\0\0\0\0\x0cbase_weights"[..], b"L\0\0\0\0\0\0\0\x02id"] {
                    let brace = usize::from(at[0] == b'{');
                    let mut other = Vec::new();
                    let mut rest = &file[..];
                    while let Some(found) = rest.windows(at.len()).position(|bytes| bytes == at) {
                        other.extend_from_slice(&rest[..found + brace]);
                        other.extend_from_slice(b"U\x01xZ");
                        other.extend_from_slice(&at[brace..]);
                        rest = &rest[found + at.len()..];
                    }
                    if !other.is_empty() {
                        other.extend_from_slice(rest);
                        assert!(load(&other) == load(&file), "{name}");
                        binaries += 1;
                    }
                }
            }
        }
    }
    assert!(texts >= 20 && binaries >= 5, "{texts} and {binaries}");
}
