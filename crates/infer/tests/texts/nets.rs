//! Small nets with tokenizers of every kind, as `models add` makes bundles of them. `models/train/reference_texts.py` made both.

use std::collections::HashMap;

use bundle::Output;
use infer::draft::{Choices, DraftError, Task, prepare};
use infer::{check_goldens, draft};
use serde::Deserialize;

use super::common::folder;
use super::{Served, assert_near};

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    models: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    /// ONNX Runtime's for each text; `null` for one of no tokens.
    probabilities: Vec<Option<Vec<f64>>>,
}

fn reference() -> Reference {
    let json = std::fs::read(folder("texts").join("reference.json")).expect("the references are committed");
    serde_json::from_slice(&json).expect("the references are well-formed")
}

pub(super) fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder("texts").join(name)).expect("the nets are committed")
}

pub(super) fn choices(tokenizer: Option<Vec<u8>>) -> Choices {
    Choices { name: "m".into(), version: "1".into(), tokenizer, ..Choices::default() }
}

fn added(name: &str) -> Served {
    let (net, tokenizer) = (file(&format!("{name}.onnx")), file(&format!("{name}.json")));
    let manifest = draft("model.onnx", &net, &choices(Some(tokenizer.clone()))).expect(name);
    let files = HashMap::from([("model.onnx".to_owned(), net), ("tokenizer.json".to_owned(), tokenizer)]);
    check_goldens(&manifest, &files).expect(name);
    Served::new(manifest, &files)
}

#[test]
fn every_net_answers_as_onnx_runtime() {
    let Reference { texts, models } = reference();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(models.len(), 4);
    for record in models {
        let served = added(&record.name);
        // All together, and each alone.
        let together = served.probabilities(&texts);
        for ((text, ours), expected) in texts.iter().zip(together).zip(&record.probabilities) {
            let what = format!("{} of {text:?}", record.name);
            let alone = served.probabilities(&[text]).remove(0);
            match expected {
                Some(expected) => {
                    assert_near(&ours, expected, 1e-5, &what);
                    assert_near(&alone, expected, 1e-5, &what);
                }
                // A text of no tokens is answered like any other.
                None => assert_near(&ours, &alone, 1e-5, &what),
            }
        }
    }
}

#[test]
fn labels_are_those_given() {
    let (net, tokenizer) = (file("bert.onnx"), file("bert.json"));
    let with = |labels: &[&str]| Choices {
        labels: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
        ..choices(Some(tokenizer.clone()))
    };
    let manifest = draft("model.onnx", &net, &with(&["a", "b", "c"])).unwrap();
    assert_eq!(manifest.output, Output::Label { labels: vec!["a".into(), "b".into(), "c".into()] });
    assert_eq!(manifest.engine.tokenizer.as_deref(), Some("tokenizer.json"));
    let error = draft("model.onnx", &net, &with(&["a", "b"])).unwrap_err();
    assert_eq!(error.to_string(), "the model has 3 classes, but --labels names 2");
}

#[test]
fn what_is_missing_is_asked_for() {
    let error = draft("model.onnx", &file("bert.onnx"), &choices(None)).unwrap_err();
    assert!(matches!(&error, DraftError::Unsaid(why) if why.contains("--tokenizer FILE")), "{error}");
    let error = draft("model.onnx", &file("bert.onnx"), &choices(Some(b"{}".to_vec()))).unwrap_err();
    assert!(
        matches!(&error, DraftError::Load(why) if why.to_string().starts_with("not a tokenizer.json")),
        "{error:?}"
    );
}

#[test]
fn a_limit_on_tokens_cuts_texts() {
    let (net, tokenizer) = (file("bert.onnx"), file("bert.json"));
    let mut manifest = draft("model.onnx", &net, &choices(Some(tokenizer.clone()))).unwrap();
    let bundle::manifest::Input::Texts(schema) = &mut manifest.input else { panic!("it takes texts") };
    schema.max_tokens = Some(5);
    let files = HashMap::from([("model.onnx".to_owned(), net), ("tokenizer.json".to_owned(), tokenizer)]);
    let served = Served::new(manifest.clone(), &files);
    let rows = served.probabilities(&[". , ; ! .", ". , ;", ". , !"]);
    assert_eq!(rows[0], rows[1], "three tokens and the two that the tokenizer adds");
    assert_ne!(rows[1], rows[2]);
    let bundle::manifest::Input::Texts(schema) = &mut manifest.input else { panic!("it takes texts") };
    schema.max_tokens = Some(2);
    let error = infer::load(&manifest, &files).err().expect("no room for a token");
    let source = std::error::Error::source(&error).expect("a reason").to_string();
    assert_eq!(source, "the tokenizer adds 2 tokens to a text, which may have 2 in all");
}

/// A file of scikit-learn's, by itself, with probabilities and without.
#[test]
fn text_features_can_be_added() {
    for (name, probabilities) in [("char_wb.tfidf", true), ("word_stop.tfidf", false)] {
        let bytes = std::fs::read(folder("tfidf").join(name)).unwrap();
        let (file, prepared) = prepare(&bytes, &choices(None)).unwrap();
        assert_eq!((file, &*prepared), ("model.tfidf", &bytes[..]));
        let manifest = draft(file, &bytes, &choices(None)).unwrap();
        assert_eq!(manifest.params.contains_key("probabilities"), probabilities, "{name}");
        assert!(matches!(&manifest.output, Output::Label { labels } if labels[0] == "label 0"));
        let golden = &manifest.goldens[0];
        assert_eq!(golden.output.contains("confidence"), probabilities, "{}", golden.output);
        check_goldens(&manifest, &HashMap::from([(file.to_owned(), bytes.clone())])).unwrap();
        let mut swapped = manifest.clone();
        let Output::Label { labels } = &mut swapped.output else { panic!("it answers labels") };
        labels.swap(0, 1);
        let error = infer::load(&swapped, &HashMap::from([(file.to_owned(), bytes.clone())])).err().unwrap();
        assert!(error.to_string().ends_with("its labels are the model file's in another order"), "{error}");
        let wrong = Choices { task: Some(Task::Names), ..choices(None) };
        assert!(matches!(draft(file, &bytes, &wrong), Err(DraftError::Contradiction(_))));
    }
}
