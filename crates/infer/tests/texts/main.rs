//! Classifiers of texts: the reviews bundle, and small nets with tokenizers of every kind, against ONNX Runtime and scikit-learn.

#[path = "../common/mod.rs"]
mod common;
mod nets;
mod reviews;
mod robustness;

use std::collections::HashMap;

use bundle::{Manifest, Params};
use infer::{Control, Model, RunError};
use serde_json::Value;

/// Counts what is allocated, for the tests of memory.
#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// A loaded bundle.
struct Served {
    manifest: Manifest,
    model: Box<dyn Model>,
}

impl Served {
    fn new(manifest: Manifest, files: &HashMap<String, Vec<u8>>) -> Self {
        let model = infer::load(&manifest, files).expect("the bundle loads");
        Self { manifest, model }
    }

    fn params(&self) -> Params {
        self.manifest.read_params(r#"{"probabilities":true}"#).expect("the model has probabilities")
    }

    fn run(&self, input: &Value) -> Result<Value, RunError> {
        let answer = self.model.run(input.to_string().as_bytes(), &self.params(), &Control::default())?;
        Ok(serde_json::from_slice(&answer.body).expect("an answer is JSON"))
    }

    /// Each text's probabilities, in the order of the labels; all texts in one input.
    fn probabilities(&self, texts: &[&str]) -> Vec<Vec<f64>> {
        let bundle::Output::Label { labels } = &self.manifest.output else { panic!("it answers labels") };
        let answers = self.run(&serde_json::json!({"text": texts})).expect("the texts are answered");
        let of = |answer: &Value| -> Vec<f64> {
            labels.iter().map(|label| answer["probabilities"][label].as_f64().expect("a number")).collect()
        };
        let rows: Vec<Vec<f64>> = answers.as_array().expect("a list").iter().map(of).collect();
        for (answer, row) in answers.as_array().into_iter().flatten().zip(&rows) {
            let class = labels.iter().position(|label| answer["label"] == **label).expect("one of the labels");
            assert_eq!(answer["confidence"].as_f64(), Some(row[class]));
            assert!(row.iter().all(|probability| *probability <= row[class]));
        }
        rows
    }
}

fn assert_near(ours: &[f64], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}: {ours:?} for {theirs:?}");
    assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= tolerance), "{what}: {ours:?} for {theirs:?}");
}
