//! Models of tensors.

use bundle::InputError;
use infer::{RunError, check_goldens, load};
use serde_json::json;

use super::{add, ask, file};

#[test]
fn a_net_is_added_and_answers() {
    let (manifest, files) = add(&file("mlp.onnx")).unwrap();
    check_goldens(&manifest, &files).unwrap();
    let model = load(&manifest, &files).unwrap();
    let input = json!({
        "id": "7",
        "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [[0, 0, 0, 0], [0.5, -1, 2, 3]]}],
    });
    let answer = ask(&*model, &input).unwrap();
    assert_eq!(
        (&answer["id"], &answer["model_name"], &answer["model_version"]),
        (&json!("7"), &json!("net"), &json!("1"))
    );
    let output = &answer["outputs"][0];
    assert_eq!((&output["name"], &output["shape"], &output["datatype"]), (&json!("y"), &json!([2, 3]), &json!("FP32")));
    // The first row is the example's.
    let golden: serde_json::Value = serde_json::from_str(&manifest.goldens[0].output).unwrap();
    for (ours, example) in
        output["data"].as_array().unwrap().iter().zip(golden["outputs"][0]["data"].as_array().unwrap())
    {
        assert!((ours.as_f64().unwrap() - example.as_f64().unwrap()).abs() < 1e-6);
    }
}

#[test]
fn some_outputs_can_be_asked_for() {
    let (manifest, files) = add(&file("many.onnx")).unwrap();
    let model = load(&manifest, &files).unwrap();
    let mut input: serde_json::Value = serde_json::from_str(&manifest.goldens[0].input).unwrap();
    input["outputs"] = json!([{"name": "scaled"}, {"name": "above"}]);
    let answer = ask(&*model, &input).unwrap();
    let names: Vec<_> = answer["outputs"].as_array().unwrap().iter().map(|output| output["name"].clone()).collect();
    assert_eq!(names, [json!("scaled"), json!("above")]);
    input["outputs"] = json!([]);
    assert_eq!(ask(&*model, &input).unwrap()["outputs"].as_array().unwrap().len(), 4);
}

#[test]
fn whole_numbers_beyond_the_engine_s_are_refused() {
    let (manifest, files) = add(&file("transformer.onnx")).unwrap();
    let ids = |id: i64| {
        json!({"inputs": [
            {"name": "input_ids", "shape": [1, 1], "datatype": "INT64", "data": [id]},
            {"name": "attention_mask", "shape": [1, 1], "datatype": "INT64", "data": [1]},
        ]})
    };
    let model = load(&manifest, &files).unwrap();
    assert!(ask(&*model, &ids(49)).is_ok());
    match ask(&*model, &ids(1 << 40)) {
        Err(RunError::Input(InputError::Invalid(why))) => assert!(why.contains("32 bits"), "{why}"),
        other => panic!("{other:?}"),
    }
    // An embedding that is not there: the engine's own error.
    assert!(matches!(ask(&*model, &ids(50)), Err(RunError::Failed(_))));
}

#[test]
fn a_manifest_of_another_net_is_refused() {
    let (manifest, _) = add(&file("mlp.onnx")).unwrap();
    let (_, mut files) = add(&file("cnn.onnx")).unwrap();
    let error = load(&manifest, &files).err().unwrap().to_string();
    assert_eq!(error, "model.toml does not fit the model file: the model file's inputs are FP32 image");
    files.clear();
    assert!(load(&manifest, &files).is_err());
}
