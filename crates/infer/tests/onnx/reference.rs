//! Against ONNX Runtime's own answers (`models/train/reference_onnx.py`).

use infer::load;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{add, ask, common, file};

/// A net's run.
#[derive(Deserialize)]
struct Record {
    file: String,
    inputs: Value,
    outputs: Vec<Value>,
}

/// The greatest difference of two outputs, relative where numbers are above 1. Anything but numbers must be equal.
fn difference(ours: &Value, theirs: &Value) -> f64 {
    for key in ["name", "shape", "datatype"] {
        assert_eq!(ours[key], theirs[key], "{key} of {}", theirs["name"]);
    }
    let (ours, theirs) = (ours["data"].as_array().unwrap(), theirs["data"].as_array().unwrap());
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(ours, theirs)| match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() / theirs.abs().max(1.0),
        _ => {
            assert_eq!(ours, theirs);
            0.0
        }
    });
    differences.fold(0.0, f64::max)
}

/// Runs every record; answers the greatest difference.
fn greatest_difference() -> f64 {
    let records: Vec<Record> = common::records(&common::folder("onnx"));
    assert!(records.len() >= 10);
    let mut greatest = 0.0;
    for record in records {
        let (manifest, files) = add(&file(&record.file)).unwrap_or_else(|error| panic!("{}: {error:?}", record.file));
        let model = load(&manifest, &files).unwrap();
        let answer = ask(&*model, &json!({"inputs": record.inputs})).unwrap();
        let outputs = answer["outputs"].as_array().unwrap();
        assert_eq!(outputs.len(), record.outputs.len(), "{}", record.file);
        for (ours, theirs) in outputs.iter().zip(&record.outputs) {
            let difference = difference(ours, theirs);
            println!("{} {}: {difference:.1e}", record.file, theirs["name"]);
            greatest = f64::max(greatest, difference);
        }
    }
    greatest
}

#[test]
fn answers_are_those_of_onnx_runtime() {
    let greatest = greatest_difference();
    assert!(greatest <= 1e-5, "{greatest:e}");
}

/// Where its library lies, for tests alone; the command line has its own variable.
#[cfg(feature = "onnxruntime")]
#[test]
#[ignore = "all nets of the process run on ONNX Runtime from then on; run it alone"]
fn onnx_runtime_answers_the_same_bundles() {
    let library = std::env::var_os("MILLPOND_ONNX_RUNTIME").filter(|path| !path.is_empty());
    let Some(library) = library else {
        println!("skipped: MILLPOND_ONNX_RUNTIME does not say where libonnxruntime.so is");
        return;
    };
    let library = std::path::Path::new(&library);
    // rten first, then the same on ONNX Runtime.
    assert!(greatest_difference() <= 1e-5);
    infer::onnx::use_onnx_runtime(library).unwrap();
    assert!(infer::onnx::use_onnx_runtime(library).is_err(), "chosen once");
    let greatest = greatest_difference();
    // The same library, or one that does the same.
    assert!(greatest <= 1e-5, "{greatest:e}");
    let (manifest, files) = add(&file("mlp.onnx")).unwrap();
    assert_eq!(load(&manifest, &files).unwrap().memory_bytes(), 2 * file("mlp.onnx").len() as u64, "it runs there");
}

#[cfg(feature = "onnxruntime")]
#[test]
fn a_library_that_is_not_there_is_named() {
    let error = infer::onnx::use_onnx_runtime(std::path::Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/libonnxruntime.so"), "{error}");
}
