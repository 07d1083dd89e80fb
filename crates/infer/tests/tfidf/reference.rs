//! Features and decisions for texts of all kinds, saved by scikit-learn. `models/train/reference_tfidf.py` writes them.

use infer::tfidf::{Scratch, TfidfModel};
use serde::Deserialize;

use super::common::folder;

/// How far numbers may be off. Those of the vectorizer in f32 are allowed what f32 rounds.
const TOLERANCE: f64 = 1e-9;
const TOLERANCE_SINGLE: f64 = 1e-6;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    models: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    file: String,
    /// For each text, the places of its features and their values.
    places: Vec<Vec<u32>>,
    values: Vec<Vec<f64>>,
    decisions: Vec<Vec<f64>>,
    probabilities: Option<Vec<Vec<f64>>>,
    labels: Vec<String>,
}

fn reference() -> Reference {
    let json = std::fs::read(folder("tfidf").join("reference.json")).expect("the references are committed");
    serde_json::from_slice(&json).expect("the references are well-formed")
}

fn bytes(record: &Record) -> Vec<u8> {
    std::fs::read(folder("tfidf").join(&record.file)).expect("the models are committed")
}

/// The numbers are as many, and as large.
fn assert_near(ours: &[f64], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}: {ours:?} for {theirs:?}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{what}: {ours} for {theirs}");
    }
}

#[test]
fn every_feature_and_every_decision() {
    let Reference { texts, models } = reference();
    let mut features = 0;
    for record in &models {
        let model = TfidfModel::read(&bytes(record)).unwrap_or_else(|error| panic!("{}: {error}", record.file));
        let tolerance = if record.file == "word.tfidf" { TOLERANCE_SINGLE } else { TOLERANCE };
        let mut scratch = Scratch::default();
        for (at, text) in texts.iter().enumerate() {
            let what = format!("{} of {text:?}", record.file);
            let (places, values): (Vec<u32>, Vec<f64>) = model.features(text, &mut scratch).iter().copied().unzip();
            assert_eq!(places, record.places[at], "{what}");
            assert_near(&values, &record.values[at], tolerance, &what);
            features += values.len();

            let decision = model.decide(text, &mut scratch);
            assert_near(&decision, &record.decisions[at], tolerance, &what);
            assert_eq!(model.labels()[model.class(&decision)], record.labels[at], "{what}");
            match &record.probabilities {
                Some(expected) => assert_near(&model.probabilities(&decision), &expected[at], tolerance, &what),
                None => assert!(model.probabilities(&decision).is_empty() && !model.has_probabilities(), "{what}"),
            }
        }
    }
    assert!(models.len() > 10 && features > 10_000, "{} models, {features} features", models.len());
}

/// What was computed before for other texts changes nothing.
#[test]
fn a_used_scratch_is_as_good_as_a_new_one() {
    let Reference { texts, models } = reference();
    for record in &models {
        let model = TfidfModel::read(&bytes(record)).unwrap();
        let mut scratch = Scratch::default();
        for text in texts.iter().chain(texts.iter().rev()) {
            let used = model.decide(text, &mut scratch);
            assert_eq!(used, model.decide(text, &mut Scratch::default()), "{} of {text:?}", record.file);
        }
    }
}
