//! Trees in ONNX files against ONNX Runtime's answers, and against hostile files.

#[path = "../common/mod.rs"]
mod common;
mod robustness;

use std::collections::HashMap;

use infer::draft::{Choices, DraftError, prepare};
use infer::onnx_trees::{OnnxTrees, load};
use infer::{check_goldens, draft};
use serde::Deserialize;

/// What `models/train/reference_onnx_trees.py` writes.
#[derive(Deserialize)]
struct Reference {
    features: usize,
    rows: String,
    models: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    file: String,
    labels: Option<Vec<String>>,
    scores: String,
}

/// f32 numbers, little-endian, in hexadecimal.
fn floats(hex: &str) -> Vec<f32> {
    let (words, _) = hex.as_bytes().as_chunks::<8>();
    let word = |word: &[u8; 8]| u32::from_str_radix(std::str::from_utf8(word).unwrap(), 16).unwrap();
    words.iter().map(|digits| f32::from_bits(word(digits).swap_bytes())).collect()
}

fn reference() -> Reference {
    serde_json::from_slice(&std::fs::read(common::folder("onnx-trees").join("reference.json")).unwrap()).unwrap()
}

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(common::folder("onnx-trees").join(file)).expect(file)
}

/// Sums, row-major.
fn sums(model: &OnnxTrees, rows: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    model.predict_raw(rows, &mut out, &|| false).expect("whole rows, not cancelled");
    out
}

#[test]
fn answers_are_onnx_runtimes() {
    let reference = reference();
    let rows = floats(&reference.rows);
    let mut total = 0;
    for record in &reference.models {
        let file = &record.file;
        let model = load(&bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(model.num_features, reference.features, "{file}");
        let sums = sums(&model, &rows);
        let scores: Vec<f32> = sums.chunks(model.outputs_per_row()).flat_map(|sums| model.scores(sums)).collect();
        let theirs = floats(&record.scores);
        assert_eq!(scores.len(), theirs.len(), "{file}");
        // Of binary models whose scores are no probabilities, ONNX Runtime's depend on the winner; nothing here asks for them.
        if model.labels.is_none() || model.has_probabilities() {
            for (at, (ours, theirs)) in scores.iter().zip(&theirs).enumerate() {
                let same = ours == theirs || ours.is_nan() && theirs.is_nan();
                assert!(same || (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0), "{file} {at}: {ours} {theirs}");
                total += 1;
            }
        }
        if let (Some(labels), Some(theirs)) = (&model.labels, &record.labels) {
            for (at, (sums, theirs)) in sums.chunks(model.outputs_per_row()).zip(theirs).enumerate() {
                assert_eq!(&labels[model.class(sums)], theirs, "{file} {at}");
                total += 1;
            }
        }
        assert_eq!(model.labels.is_some(), record.labels.is_some(), "{file}");
    }
    assert!(reference.models.len() >= 28 && total > 15_000, "{total}");
}

#[test]
fn every_model_can_be_added() {
    for record in reference().models {
        let file = record.file;
        let bytes = bytes(&file);
        let choices = Choices { name: "m".into(), version: "1".into(), ..Choices::default() };
        assert!(matches!(draft(&file, &bytes, &choices), Err(DraftError::FeaturesNeeded { count: 5 })), "{file}");
        let features = Some("abcde".chars().map(String::from).collect());
        let choices = Choices { features, ..choices };
        assert_eq!(prepare(&bytes, &choices).unwrap().0, "model.onnx");
        let manifest = draft(&file, &bytes, &choices).expect(&file);
        assert_eq!(manifest.engine.format, bundle::ModelFormat::OnnxTrees);
        check_goldens(&manifest, &HashMap::from([(file.clone(), bytes)])).expect(&file);
    }
}
