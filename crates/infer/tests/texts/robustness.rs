//! Whatever a tokenizer's bytes are, they are refused with a reason, in bounded memory, or texts are answered.

use std::collections::HashMap;

use infer::{Control, draft, load};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ALLOCATED;
use super::nets::{choices, file};

fn with(pointer: &str, value: Value) -> String {
    let mut tokenizer: Value = serde_json::from_slice(&file("bert.json")).unwrap();
    *tokenizer.pointer_mut(pointer).expect(pointer) = value;
    tokenizer.to_string()
}

/// Why a bundle with the tokenizer cannot be added.
fn reason(tokenizer: impl Into<Vec<u8>>) -> String {
    let error = draft("model.onnx", &file("bert.onnx"), &choices(Some(tokenizer.into()))).expect_err("it is refused");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn faults_are_named() {
    let replace = |content: &str| json!({"type": "Replace", "pattern": {"String": "a"}, "content": content});
    let many: Vec<Value> = vec![replace("aa"); 40];
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}],
        "pair": [], "special_tokens": {}});
    let reasons = [
        reason(""),
        reason("{}"),
        reason("[]"),
        reason("\u{80}"),
        reason("[".repeat(100_000)),
        reason(with("/model", json!({"type": "Magic"}))),
        reason(with("/model/vocab", json!({"a": -1}))),
        reason(with("/model/vocab", json!({}))),
        reason(with("/normalizer", json!({"type": "Sequence", "normalizers": many}))),
        reason(with("/normalizer", replace(&"a".repeat(2000)))),
        reason(with(
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": false}),
        )),
        reason(with("/post_processor", template)),
        reason(with("/model", json!({"type": "BPE", "dropout": 0.5, "vocab": {"a": 0}, "merges": []}))),
        reason(vec![b' '; (20 << 20) + 1]),
    ];
    insta::assert_snapshot!(reasons.join("\n"));
}

#[test]
fn memory_is_bounded_by_the_files() {
    let mut tokenizer: Value = serde_json::from_slice(&file("bert.json")).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let known = vocab.len();
    for at in 0..100_000 {
        vocab.insert(format!("w{at:x}"), (known + at).into());
    }
    let tokenizer = tokenizer.to_string().into_bytes();
    let net = file("bert.onnx");
    let total = net.len() + tokenizer.len();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let manifest = draft("model.onnx", &net, &choices(Some(tokenizer))).unwrap();
    let peak = ALLOCATED.peak_usage().saturating_sub(before);
    assert_eq!(manifest.goldens.len(), 1);
    assert!(peak <= 4 * total + (64 << 20), "{peak} bytes for {total}");
}

/// Adds the bundle, and asks it if that succeeds.
fn try_out(net: &[u8], tokenizer: &[u8]) {
    let Ok(manifest) = draft("model.onnx", net, &choices(Some(tokenizer.to_vec()))) else { return };
    let files = HashMap::from([("model.onnx".to_owned(), net), ("tokenizer.json".to_owned(), tokenizer)]);
    let model = load(&manifest, &files).unwrap();
    let params = manifest.read_params("").unwrap();
    let input = json!({"text": ["", "the film, 한국어 \u{301} 漢", "x".repeat(300)]}).to_string();
    let _ = model.run(input.as_bytes(), &params, &Control::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn mutated_tokenizers_never_panic(
        which in 0..4_usize,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..4),
        digits in proptest::collection::vec((any::<proptest::sample::Index>(), b'0'..=b'9'), 0..6),
    ) {
        let name = ["bert", "left", "fixed", "bare"][which];
        let (net, mut bytes) = (file(&format!("{name}.onnx")), file(&format!("{name}.json")));
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
        for (at, digit) in &digits {
            bytes[places[at.index(places.len())]] = *digit;
        }
        try_out(&net, &bytes);
        for (at, byte, kind) in &edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => { bytes.remove(at); }
            }
        }
        try_out(&net, &bytes);
    }
}
