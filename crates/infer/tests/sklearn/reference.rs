//! Hundreds of thousands of predictions by models of every estimator, saved with the digests of what scikit-learn predicted.
//! `models/train/reference_sklearn.py` writes both.

use std::collections::HashMap;
use std::fmt::Write;

use bundle::Output;
use infer::draft::Choices;
use infer::{Control, draft, load};
use serde::Deserialize;
use serde_json::Value;

use super::Predict;
use super::common::{digest, digest_of, records_with_models, splitmix64, words};

/// How far, relatively, numbers may be off that scikit-learn takes NumPy's `exp` for.
const TOLERANCE: f64 = 4.0 * f64::EPSILON;

#[derive(Deserialize)]
struct Record {
    file: String,
    seed: u64,
    rows: usize,
    missing: bool,
    /// For each feature some of the model's thresholds, sixteen hexadecimal digits each.
    cuts: Vec<String>,
    /// Whether the numbers are scikit-learn's to the bit; else within [`TOLERANCE`].
    exact: bool,
    numbers: usize,
    numbers_sha256: String,
    /// Of `predict_proba`, or of a regressor's `predict`, the first, little-endian.
    first: String,
    /// Of `predict`, for a classifier.
    classes_sha256: Option<String>,
    /// Of the sums of leaves, where they aren't the answer itself.
    raw_sha256: Option<String>,
}

fn records() -> Vec<(Record, Vec<u8>)> {
    records_with_models("sklearn", |record| &record.file)
}

/// Rows of f64, as `inputs` in models/train/reference_sklearn.py describes them.
fn inputs(record: &Record) -> Vec<f64> {
    let cuts: Vec<Vec<u64>> = record.cuts.iter().map(|cuts| words(cuts)).collect();
    let cell = |index: usize| {
        let cuts = &cuts[index % cuts.len()];
        let z = splitmix64(record.seed, index as u64);
        let (kind, high) = (z & 15, z >> 8);
        let cut = || cuts[(high % cuts.len() as u64) as usize];
        match kind {
            0 | 1 if record.missing => f64::NAN,
            0 | 1 => 1.5,
            2 if !cuts.is_empty() => f64::from_bits(cut()),
            3 if !cuts.is_empty() => f64::from_bits(cut() ^ 1),
            4 if !cuts.is_empty() => f64::from(f64::from_bits(cut()) as f32),
            5 if high & 1 == 1 => -0.0,
            5 => 0.0,
            6 | 7 => (high % 33) as f64 / 4.0 - 4.0,
            _ => (z >> 11) as f64 / (1_u64 << 50) as f64 - 4.0,
        }
    };
    (0..record.rows * cuts.len()).map(cell).collect()
}

/// The numbers that are kept in the clear.
fn first(record: &Record) -> Vec<f64> {
    words(&record.first).into_iter().map(|word| f64::from_bits(word.swap_bytes())).collect()
}

#[test]
fn every_bit_of_every_prediction() {
    let mut total = 0;
    let mut wrong = Vec::new();
    for (record, bytes) in records() {
        let model = infer::sklearn::load(&bytes).unwrap_or_else(|error| panic!("{}: {error}", record.file));
        let raw = model.raw(&inputs(&record));
        let rows: Vec<&[f64]> = raw.chunks_exact(model.outputs()).collect();
        if let Some(expected) = &record.raw_sha256
            && digest_of(&raw) != *expected
        {
            wrong.push(format!("{}: the sums differ", record.file));
        }
        let classes: Vec<u8> = rows.iter().flat_map(|raw| (model.class(raw) as u32).to_le_bytes()).collect();
        if let Some(expected) = &record.classes_sha256
            && digest(&classes) != *expected
        {
            wrong.push(format!("{}: the classes differ", record.file));
        }
        let numbers: Vec<f64> = rows.iter().flat_map(|raw| model.numbers(raw)).collect();
        assert_eq!(numbers.len(), record.numbers, "{}", record.file);
        let allowed = |expected: &f64| if record.exact { 0.0 } else { TOLERANCE * expected.abs() };
        let differs = first(&record).iter().zip(&numbers).position(|(expected, ours)| {
            ours.to_bits() != expected.to_bits() && (ours - expected).abs() > allowed(expected)
        });
        if let Some(at) = differs {
            wrong.push(format!("{}: differs from number {at}: {}", record.file, numbers[at]));
        } else if record.exact && digest_of(&numbers) != record.numbers_sha256 {
            wrong.push(format!("{}: differs after the numbers in the clear", record.file));
        }
        total += numbers.len();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(total > 700_000, "only {total} predictions");
}

/// However the rows come, alone, in a few or in many, each gets the same bits.
#[test]
fn single_rows_equal_batches() {
    for (record, bytes) in records() {
        let model = infer::sklearn::load(&bytes).unwrap();
        let columns = record.cuts.len();
        let rows = &inputs(&record)[..100 * columns];
        let batch = digest_of(&model.raw(rows));
        for size in [1, 2, 5, 15, 17] {
            let parts: Vec<f64> = rows.chunks(size * columns).flat_map(|rows| model.raw(rows)).collect();
            assert_eq!(digest_of(&parts), batch, "{} by {size}", record.file);
        }
    }
}

/// The whole way that a job's input goes: JSON rows in, a JSON answer out, from a drafted bundle.
#[test]
fn every_bit_through_json() {
    for (record, bytes) in records() {
        let file = &record.file;
        let columns = record.cuts.len();
        let features = Some((0..columns).map(|at| format!("x{at}")).collect());
        let choices = Choices { name: "m".into(), version: "1".into(), features, ..Choices::default() };
        let manifest = draft(file, &bytes, &choices).expect(file);
        let model = infer::sklearn::load(&bytes).unwrap();

        let rows = &inputs(&record)[..500 * columns];
        let mut text = String::from("[");
        for row in rows.chunks(columns) {
            text.push('{');
            for (at, value) in row.iter().enumerate() {
                let value = if value.is_nan() { Value::Null } else { Value::from(*value) };
                let _ = write!(text, "\"x{at}\":{value},");
            }
            text.pop();
            text.push_str("},");
        }
        text.pop();
        text.push(']');

        let labels = match &manifest.output {
            Output::Label { labels } => Some(labels),
            _ => None,
        };
        let params = manifest.read_params(if labels.is_some() { r#"{"probabilities":true}"# } else { "" }).unwrap();
        let served = load(&manifest, &HashMap::from([(file.clone(), bytes)])).unwrap();
        let answer = served.run(text.as_bytes(), &params, &Control::default()).unwrap();
        let answer: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.len(), 500);
        for (answer, raw) in answer.iter().zip(model.raw(rows).chunks(model.outputs())) {
            let expected = model.numbers(raw);
            match labels {
                None => assert_eq!(answer.as_f64().unwrap().to_bits(), expected[0].to_bits(), "{file}"),
                Some(labels) => {
                    assert_eq!(answer["prediction"], labels[model.class(raw)].as_str(), "{file}");
                    for (label, expected) in labels.iter().zip(expected) {
                        assert_eq!(answer["probabilities"][label].as_f64(), Some(expected), "{file}");
                    }
                }
            }
        }
    }
}
