//! The bundle of film reviews.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use bundle::Manifest;
use infer::{Control, RunError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::common::folder;
use super::{ALLOCATED, Served, assert_near};

#[derive(Deserialize)]
struct Reference {
    texts: Vec<Record>,
}

/// A text, and the probabilities that ONNX Runtime and scikit-learn give it.
#[derive(Deserialize)]
struct Record {
    text: String,
    deep: Vec<f64>,
    fast: Vec<f64>,
}

fn records() -> Vec<Record> {
    let json = std::fs::read(folder("reviews").join("reference.json")).expect("the references are committed");
    serde_json::from_slice::<Reference>(&json).expect("the references are well-formed").texts
}

fn reviews() -> &'static Served {
    static REVIEWS: OnceLock<Served> = OnceLock::new();
    REVIEWS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/reviews/1");
        let manifest = Manifest::parse(&std::fs::read_to_string(folder.join("model.toml")).unwrap()).unwrap();
        let files: HashMap<String, Vec<u8>> =
            manifest.files.keys().map(|file| (file.clone(), std::fs::read(folder.join(file)).unwrap())).collect();
        let bytes: usize = files.values().map(Vec::len).sum();
        assert!(bytes < 25_000_000, "{bytes}");
        Served::new(manifest, &files)
    })
}

#[test]
fn the_deep_engine_answers_as_onnx_runtime() {
    let records = records();
    assert!(records.len() > 50);
    let texts: Vec<&str> = records.iter().map(|record| record.text.as_str()).collect();
    let together = reviews().probabilities(&texts);
    for (record, together) in records.iter().zip(&together) {
        assert_near(together, &record.deep, 1e-5, &record.text);
        // However texts are batched, each is answered for itself.
        let alone = &reviews().probabilities(&[&record.text])[0];
        assert_near(alone, &record.deep, 1e-5, &record.text);
    }
}

#[test]
fn the_fast_engine_answers_as_scikit_learn() {
    for record in records() {
        let answer = reviews().run(&json!({"text": record.text, "do_fast": true})).unwrap();
        let ours = ["negative", "positive"].map(|label| answer["probabilities"][label].as_f64().unwrap());
        assert_near(&ours, &record.fast, 1e-6, &record.text);
    }
}

#[test]
fn answers_are_in_the_form_of_the_texts() {
    let reviews = reviews();
    let label = |answer: &Value| answer["label"].as_str().map(str::to_owned).unwrap();
    for do_fast in [false, true] {
        let named = json!({"text": {"b": "정말 최고!", "a": "시간 낭비", "c": "정말 최고!"}, "do_fast": do_fast});
        let params = reviews.manifest.read_params("").unwrap();
        let answer = reviews.model.run(named.to_string().as_bytes(), &params, &Control::default()).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.starts_with(r#"{"b":{"label":"positive","confidence":0."#), "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((label(&answer["a"]), label(&answer["c"])), ("negative".into(), "positive".into()));
        let single = reviews.run(&json!({"text": "시간 낭비", "do_fast": do_fast})).unwrap();
        assert_eq!(label(&single), "negative");
    }
    let fault = reviews.run(&json!({"text": []})).unwrap_err();
    assert_eq!(fault.to_string(), "text has no texts");
}

/// Many short texts and a long one: the short ones are not padded to its length, and memory does not grow with their number.
#[test]
fn many_texts_take_bounded_memory_and_say_how_far_they_are() {
    let reviews = reviews();
    let words = ["정말 재미있게 봤어요", "별로", "배우들 연기도 최고!", "시간이 아깝다... 지루하고 뻔한 이야기"];
    let mut texts: Vec<String> = (0..1500).map(|at| format!("{} {}", words[at % 4], at % 100)).collect();
    texts[700] = "굿 ".repeat(5_000);
    let input = json!({"text": texts}).to_string();
    let control = Control::default();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let answer = reviews.model.run(input.as_bytes(), &reviews.params(), &control).unwrap();
    let peak = ALLOCATED.peak_usage().saturating_sub(before);
    assert_eq!(control.progress(), (1500, 1500));
    assert!(peak < 128 << 20, "{peak}");
    let answers: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
    for at in [0, 1, 2, 3, 699, 700, 1499] {
        let alone = reviews.run(&json!({"text": texts[at]})).unwrap();
        let of = |answer: &Value| vec![answer["probabilities"]["positive"].as_f64().unwrap()];
        assert_near(&of(&answers[at]), &of(&alone), 1e-5, &format!("text {at}"));
    }
}

#[test]
fn a_cancelled_run_stops() {
    let control = Control::default();
    control.cancel();
    for do_fast in [false, true] {
        let input = json!({"text": "굿", "do_fast": do_fast}).to_string();
        let outcome = reviews().model.run(input.as_bytes(), &reviews().params(), &control);
        assert_eq!(outcome, Err(RunError::Cancelled));
    }
}
