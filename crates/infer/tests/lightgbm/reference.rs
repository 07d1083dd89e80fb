//! Hundreds of thousands of predictions by models of every objective, saved with the digests of what LightGBM predicted.
//! `models/train/reference_lightgbm.py` writes both.

use std::collections::HashMap;

use infer::draft::{Choices, prepare};
use infer::{check_goldens, draft};
use serde::Deserialize;

use super::common::{digest_of, records_with_models, splitmix64, words};
use super::predict;

#[derive(Deserialize)]
struct Record {
    file: String,
    seed: u64,
    rows: usize,
    /// How many categories each feature has, or 0.
    categories: Vec<u64>,
    /// For each feature some of the model's thresholds, sixteen hexadecimal digits each.
    cuts: Vec<String>,
    predictions: usize,
    sha256: String,
    /// Of the sums of leaves.
    raw_sha256: String,
    /// The first predictions, little-endian.
    first: String,
}

fn records() -> Vec<(Record, Vec<u8>)> {
    records_with_models("lightgbm", |record| &record.file)
}

/// Rows of f64, as `inputs` in models/train/reference_lightgbm.py describes them.
fn inputs(record: &Record) -> Vec<f64> {
    let tiny = f64::from(1e-35_f32);
    let near_zero = [0.0, -0.0, tiny, -tiny, 1e-36, -1e-36, 1.000_000_1e-35, -1.000_000_1e-35];
    let cuts: Vec<Vec<u64>> = record.cuts.iter().map(|cuts| words(cuts)).collect();
    let cell = |index: usize| {
        let column = index % cuts.len();
        let (cuts, categories) = (&cuts[column], record.categories[column]);
        let z = splitmix64(record.seed, index as u64);
        let (kind, high) = (z & 15, z >> 8);
        let cut = || cuts[(high % cuts.len() as u64) as usize];
        match kind {
            0 | 1 => f64::NAN,
            _ if categories > 0 => (high % (categories + 3)) as f64 - 1.0 - if z >> 60 == 0 { 0.5 } else { 0.0 },
            2 if !cuts.is_empty() => f64::from_bits(cut()),
            3 if !cuts.is_empty() => f64::from_bits(cut() ^ 1),
            4 | 5 => near_zero[(high % 8) as usize],
            6 | 7 => (high % 33) as f64 / 4.0 - 4.0,
            _ => (z >> 11) as f64 / (1_u64 << 50) as f64 - 4.0,
        }
    };
    (0..record.rows * cuts.len()).map(cell).collect()
}

#[test]
fn every_bit_of_every_prediction() {
    let mut total = 0;
    let mut wrong = Vec::new();
    for (record, bytes) in records() {
        let file = &record.file;
        let model = infer::lightgbm::load(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let rows = inputs(&record);
        let mut raw = Vec::new();
        model.predict_raw(&rows, &mut raw, &|| false).unwrap();
        if digest_of(&raw) != record.raw_sha256 {
            wrong.push(format!("{file}: the sums differ"));
        }
        let predictions = predict(&model, &rows);
        assert_eq!(predictions.len(), record.predictions, "{file}");
        let first = words(&record.first).into_iter().map(|word| f64::from_bits(word.swap_bytes()));
        if let Some(at) = first.zip(&predictions).position(|(theirs, ours)| theirs.to_bits() != ours.to_bits()) {
            wrong.push(format!("{file}: differs from prediction {at}: {}", predictions[at]));
        } else if digest_of(&predictions) != record.sha256 {
            wrong.push(format!("{file}: differs after the predictions in the clear"));
        }
        total += predictions.len();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(total > 500_000, "only {total} predictions");
}

/// However the rows come, alone, in a few or in many, each gets the same bits.
#[test]
fn single_rows_equal_batches() {
    for (record, bytes) in records() {
        let model = infer::lightgbm::load(&bytes).unwrap();
        let rows = &inputs(&record)[..100 * model.num_features()];
        let batch = digest_of(&predict(&model, rows));
        for size in [1, 2, 5, 15, 17] {
            let parts: Vec<f64> =
                rows.chunks(size * model.num_features()).flat_map(|rows| predict(&model, rows)).collect();
            assert_eq!(digest_of(&parts), batch, "{} by {size}", record.file);
        }
    }
}

#[test]
fn every_model_can_be_added() {
    for (record, bytes) in records() {
        let file = &record.file;
        let choices = Choices { name: "m".into(), version: "1".into(), ..Choices::default() };
        let manifest = draft(file, &bytes, &choices).expect(file);
        assert_eq!(bundle::Manifest::parse(&manifest.to_toml()).unwrap(), manifest, "{file}");
        assert_eq!(prepare(&bytes, &choices).unwrap().0, "model.txt");
        check_goldens(&manifest, &HashMap::from([(file.clone(), bytes)])).expect(file);
    }
}
