//! Whatever the bytes are, loading them fails with a reason or gives a model that predicts.

use infer::onnx_trees::load;
use proptest::prelude::*;

use super::{bytes, reference, sums};

/// A field of a message: its number, and its content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(content);
    field
}

/// Why the file is refused with one text in all places of another of the same length.
fn replaced(file: &str, from: &str, to: &str) -> String {
    let mut bytes = bytes(file);
    let is_there = |at: &usize| bytes[*at..].starts_with(from.as_bytes());
    let places: Vec<usize> = (0..bytes.len()).filter(is_there).collect();
    assert!(!places.is_empty() && from.len() == to.len(), "{from}");
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
    load(&bytes).expect_err(to).to_string()
}

#[test]
fn what_is_not_supported_is_named() {
    assert_eq!(replaced("modes.onnx", "BRANCH_EQ", "BRANCH_IN"), "a node of mode \"BRANCH_IN\" is not supported");
    assert_eq!(
        replaced("base_average.onnx", "AVERAGE", "MAXIMUM"),
        "the aggregate_function \"MAXIMUM\" is not supported"
    );
    assert_eq!(
        replaced("mixed_logistic.onnx", "LOGISTIC", "SOFTPLUS"),
        "the post_transform \"SOFTPLUS\" is not supported"
    );
    assert_eq!(
        replaced("scaled.onnx", "Scaler", "Binary"),
        "a graph with \"Binary\" beside its trees is not supported"
    );
    assert_eq!(
        replaced("modes.onnx", "nodes_values", "nodes_valves"),
        "an ensemble of trees with \"nodes_valves\" is not supported"
    );
    assert_eq!(
        replaced("classes_none.onnx", "class_weights", "nodes_weights"),
        "an ensemble of trees with \"nodes_weights\" is not supported"
    );
}

#[test]
fn malformed_files_are_refused() {
    let message = |bytes: &[u8]| load(bytes).expect_err("malformed").to_string();
    assert_eq!(message(b""), "the model has no graph");
    assert_eq!(message(b"\x08\x08\x3a\xff\xff\xff\xff\x0f"), "malformed ONNX at byte 8: the file ends too early");
    assert_eq!(message(&[0xff; 12]), "malformed ONNX at byte 10: a number is too long");
    assert_eq!(message(&field(7, &[])), "the model has no input");
    let whole = bytes("modes.onnx");
    assert!(message(&whole[..whole.len() - 10]).contains("the file ends too early"));
    // A graph of nodes without end.
    let nodes: Vec<u8> = (0..1_000).flat_map(|_| field(1, &field(4, b"Identity"))).collect();
    assert_eq!(message(&field(7, &nodes)), "a graph of many nodes around its trees is not supported");
}

/// Loads, and predicts if that succeeds.
fn try_out(bytes: &[u8]) {
    if let Ok(model) = load(bytes) {
        for sums in sums(&model, &vec![0.25; model.num_features * 3]).chunks(model.outputs_per_row()) {
            assert!(model.labels.is_none() || model.class(sums) < model.scores(sums).len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..6),
        cut in any::<proptest::sample::Index>(),
        which in any::<proptest::sample::Index>(),
    ) {
        let records = reference().models;
        let model = bytes(&records[which.index(records.len())].file);
        try_out(&model[..cut.index(model.len())]);
        let mut bytes = model.clone();
        for (at, byte, kind) in &edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => { bytes.remove(at); }
            }
        }
        try_out(&bytes);
    }
}
