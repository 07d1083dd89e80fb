//! Models of tensors.

use std::collections::HashMap;

use bundle::Manifest;
use infer::draft::{Choices, prepare};
use infer::{Control, check_goldens, draft, load};
use serde_json::{Value, json};

fn reference(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/reference/onnx/{file}", env!("CARGO_MANIFEST_DIR"))).expect(file)
}

/// What `models add` makes of a file.
fn added(bytes: &[u8]) -> (Manifest, HashMap<String, Vec<u8>>) {
    let choices = Choices { name: "net".into(), version: "1".into(), ..Choices::default() };
    let (file, bytes) = prepare(bytes, &choices).unwrap();
    let manifest = draft(file, &bytes, &choices).unwrap();
    (manifest, HashMap::from([(file.to_owned(), bytes.into_owned())]))
}

#[test]
fn a_net_is_added_and_answers() {
    let (manifest, files) = added(&reference("mlp.onnx"));
    check_goldens(&manifest, &files).unwrap();
    let model = load(&manifest, &files).unwrap();
    let input = json!({
        "id": "7",
        "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [[0, 0, 0, 0], [0.5, -1, 2, 3]]}],
    });
    let params = manifest.read_params("").unwrap();
    let answer = model.run(input.to_string().as_bytes(), &params, &Control::default()).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["id"], "7");
    assert_eq!((&answer["model_name"], &answer["model_version"]), (&json!("net"), &json!("1")));
    let output = &answer["outputs"][0];
    assert_eq!((&output["name"], &output["shape"], &output["datatype"]), (&json!("y"), &json!([2, 3]), &json!("FP32")));
    let golden: Value = serde_json::from_str(&manifest.goldens[0].output).unwrap();
    // The first row is the example's.
    assert_eq!(output["data"].as_array().unwrap()[..3], golden["outputs"][0]["data"].as_array().unwrap()[..]);
}
