//! The wine-quality models: the committed one, and, where it lies beside the repository, the one that it succeeds.

use std::path::{Path, PathBuf};

use super::predict;

const FEATURES: [&str; 13] = [
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
    "color_red",
    "color_white",
];

fn as_f64(predictions: &[f32]) -> Vec<f64> {
    predictions.iter().map(|value| f64::from(*value)).collect()
}

#[test]
fn the_committed_model_answers_as_when_it_was_trained() {
    const GAP: f32 = f32::NAN;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/wine-quality/1/model.ubj");
    let model = infer::xgboost::load(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(model.feature_names.as_deref().unwrap(), FEATURES);
    assert_eq!(model.feature_types.as_deref().unwrap()[10..], ["float", "int", "int"]);
    assert_eq!((model.objective.as_str(), model.num_class, model.outputs_per_row()), ("reg:squarederror", 0, 1));
    assert_eq!((model.num_trees(), model.version), (427, [3, 2, 0]));
    // What models/train/train_wine.py printed.
    let rows = [
        [10.1, 0.65, 0.37, 5.1, 0.11, 11.0, 65.0, 1.0026, 3.32, 0.64, 10.4, 1.0, 0.0],
        [12.5, 0.6, 0.49, 4.3, 0.1, 5.0, 14.0, 1.001, 3.25, 0.74, 11.9, 1.0, 0.0],
        [6.6, 0.2, GAP, 7.9, 0.052, 30.0, 145.0, 0.9947, 3.32, 0.56, 11.0, 0.0, 1.0],
    ];
    let predictions = predict(&model, rows.as_flattened());
    assert_eq!(as_f64(&predictions), [5.241799354553223, 5.740426063537598, 6.2255682945251465]);
}

/// The model that the system's users know, saved by XGBoost 1.6.2, and the answer that they know. It is not ours to publish:
/// `MILLPOND_REFERENCE_DATA`, or a folder `shared/data` beside the repository, has it, or the test is skipped.
#[test]
fn the_reference_model_answers_as_ever() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("MILLPOND_REFERENCE_DATA").map_or_else(beside, PathBuf::from).join("wine");
    let (Ok(model), Ok(samples)) =
        (std::fs::read(folder.join("xgboost_wine_quality.json")), std::fs::read(folder.join("samples.json")))
    else {
        eprintln!("SKIPPED: no wine/xgboost_wine_quality.json and samples.json under MILLPOND_REFERENCE_DATA");
        return;
    };
    let model = infer::xgboost::load(&model).unwrap();
    assert_eq!((model.num_trees(), model.version), (427, [1, 6, 2]));
    let samples: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&samples).unwrap();
    let rows: Vec<f32> =
        samples.iter().flat_map(|sample| FEATURES.map(|name| sample[name].as_f64().unwrap() as f32)).collect();
    assert_eq!(as_f64(&predict(&model, &rows)), [6.573914051055908, 4.869720935821533]);
}
