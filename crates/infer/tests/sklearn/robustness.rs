//! Whatever the bytes are, loading them fails with a reason or gives a model that predicts.

use infer::sklearn::{AnyModel, LoadError, load};
use infer::trees::TreeError;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Predict;

/// A forest of one stump on the second of two features.
fn stump() -> Value {
    json!({
        "format": "sklearn-trees", "version": 1, "scikit_learn": "1.9.1", "estimator": "RandomForestRegressor",
        "features": 2, "feature_names": null, "missing": true, "labels": null, "link": "identity", "base": [],
        "trees": [{
            "output": 0, "feature": [1, -1, -1], "threshold": [0.1, 0.0, 0.0], "missing_left": [1, 0, 0],
            "left": [1, 0, 0], "right": [2, 0, 0], "value": [1.5, 2.5],
        }],
    })
}

fn with(pointer: &str, value: Value) -> Result<AnyModel, LoadError> {
    let mut model = stump();
    *model.pointer_mut(pointer).expect(pointer) = value;
    load(model.to_string().as_bytes())
}

fn reason(pointer: &str, value: Value) -> String {
    with(pointer, value).expect_err(pointer).to_string()
}

#[test]
fn a_threshold_between_two_f32_is_met_from_below() {
    let model = load(stump().to_string().as_bytes()).unwrap();
    // 0.1 as f32 is above 0.1 as f64, so it goes right.
    let below = f64::from(0.1_f32.next_down());
    assert_eq!(model.raw(&[0.0, 0.1, 0.0, below, 0.0, f64::NAN]), [2.5, 1.5, 1.5]);
    let Ok(AnyModel::Single(model)) = with("/trees/0/threshold", json!([f64::MAX, 0.0, 0.0])) else { panic!() };
    let mut out = Vec::new();
    model.predict_raw(&[0.0, f32::MAX], &mut out, &|| false).unwrap();
    assert_eq!(out, [1.5]);
}

#[test]
fn a_single_tree_keeps_the_sign_of_zero() {
    let mut model = stump();
    model["estimator"] = json!("DecisionTreeRegressor");
    model["trees"][0]["value"] = json!([-0.0, 1.0]);
    let model = load(model.to_string().as_bytes()).unwrap();
    assert_eq!(model.raw(&[0.0, 0.0])[0].to_bits(), (-0.0_f64).to_bits());
}

/// A decision of exactly 0: the two kinds of boosting disagree about its class.
#[test]
fn ties_are_broken_as_by_each_estimator() {
    for (estimator, expected) in [("GradientBoostingClassifier", 1), ("HistGradientBoostingClassifier", 0)] {
        let mut model = stump();
        model["estimator"] = json!(estimator);
        model["labels"] = json!(["a", "b"]);
        model["link"] = json!("logit");
        model["base"] = json!([-1.5]);
        let model = load(model.to_string().as_bytes()).unwrap();
        assert_eq!(model.raw(&[0.0, 0.0]), [0.0]);
        assert_eq!(model.class(&[0.0]), expected);
        assert_eq!(model.numbers(&[0.0]), [0.5, 0.5]);
    }
    let mut model = stump();
    model["estimator"] = json!("RandomForestClassifier");
    model["labels"] = json!(["a", "b", "c"]);
    model["trees"][0]["value"] = json!([0.4, 0.4, 0.2, 0.0, 0.5, 0.5]);
    let model = load(model.to_string().as_bytes()).unwrap();
    let raw = model.raw(&[0.0, 0.0, 0.0, 1.0]);
    assert_eq!((model.class(&raw[..3]), model.class(&raw[3..])), (0, 1));
}

#[test]
fn malformed_trees_are_refused() {
    let tree = |pointer, value| match with(pointer, value) {
        Err(LoadError::Tree { tree: 0, source }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(tree("/trees/0/left", json!([0, 0, 0])), TreeError::ReachedTwice { node: 0 });
    assert_eq!(tree("/trees/0/right", json!([1, 0, 0])), TreeError::ReachedTwice { node: 1 });
    assert_eq!(tree("/trees/0/right", json!([3, 0, 0])), TreeError::NoSuchChild { node: 0, child: 3 });
    assert_eq!(tree("/trees/0/output", json!(1)), TreeError::NoSuchOutput { output: 1, outputs: 1 });
    let feature = TreeError::NoSuchFeature { node: 0, feature: 2, features: 2 };
    assert_eq!(tree("/trees/0/feature", json!([2, -1, -1])), feature);
    assert_eq!(reason("/trees/0/feature", json!([-2, -1, -1])), "invalid model: tree 0 has the feature -2");
    assert_eq!(reason("/trees/0/value", json!([1.0])), "invalid model: tree 0 has 1 values for 2 leaves of 1");
    assert_eq!(reason("/trees/0/left", json!([1, 0])), "invalid model: tree 0 has arrays of different lengths");
    let nothing = json!({
        "output": 0, "feature": [], "threshold": [], "missing_left": [], "left": [], "right": [], "value": [],
    });
    assert_eq!(tree("/trees/0", nothing), TreeError::Empty);
}

#[test]
fn contradictions_are_named() {
    assert_eq!(reason("/features", json!(0)), "invalid model: it has no features");
    assert_eq!(reason("/feature_names", json!(["a"])), "invalid model: 1 feature names for 2 features");
    assert_eq!(reason("/labels", json!(["a", "b"])), "invalid model: a RandomForestRegressor with 2 labels");
    assert_eq!(reason("/base", json!([1.0])), "invalid model: a RandomForestRegressor with 1 base scores");
    assert_eq!(reason("/trees", json!([])), "invalid model: a RandomForestRegressor with 0 trees");
    assert_eq!(reason("/version", json!(2)), "invalid model: its format is not sklearn-trees in version 1");
    let link = reason("/link", json!("softmax"));
    assert_eq!(link, "invalid model: the link does not suit a RandomForestRegressor with 0 classes");
    assert_eq!(reason("/estimator", json!("IsolationForest")), "the estimator \"IsolationForest\" is not supported");
    assert!(reason("/estimator", json!("x".repeat(100_000))).len() < 1000);
    assert!(reason("/trees/0/left", json!([-1, 0, 0])).starts_with("malformed JSON at byte"));
    let with_key = |object: &str, key: &str| {
        let mut model = stump();
        model.pointer_mut(object).unwrap()[key] = json!(1);
        load(model.to_string().as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(with_key("", "depth"), "invalid model: there is no \"depth\"");
    assert_eq!(with_key("/trees/0", "depth"), "invalid model: tree 0 has a \"depth\", which there is not");
}

#[test]
fn deep_and_malformed_json_is_refused() {
    let nan = stump().to_string().replace("0.1", "NaN");
    let infinite = stump().to_string().replace("0.1", "1e999");
    let deep = format!("{{\"format\":{}", "[".repeat(1_000_000));
    for text in ["", "{", "{}", "[]", "{\"format\":\"sklearn-trees\"", &nan, &infinite, &deep] {
        assert!(
            matches!(
                load(text.as_bytes()),
                Err(LoadError::Syntax { .. } | LoadError::Invalid(_) | LoadError::Missing(_))
            ),
            "{text:.40}"
        );
    }
}

/// Loads, and predicts if that succeeds.
fn try_out(bytes: &[u8]) {
    match load(bytes) {
        Ok(AnyModel::Single(model)) if model.num_features > 1 << 20 => {}
        Ok(AnyModel::Double(model)) if model.num_features > 1 << 20 => {}
        Ok(model) => {
            let features = match &model {
                AnyModel::Single(model) => model.num_features,
                AnyModel::Double(model) => model.num_features,
            };
            for raw in model.raw(&vec![0.25; features * 3]).chunks(model.outputs()) {
                model.numbers(raw);
                model.class(raw);
            }
        }
        Err(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..5),
        digits in proptest::collection::vec((any::<proptest::sample::Index>(), b'0'..=b'9'), 0..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let model = stump().to_string().into_bytes();
        try_out(&model[..cut.index(model.len())]);
        let mut bytes = model.clone();
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
        for (at, digit) in &digits {
            bytes[places[at.index(places.len())]] = *digit;
        }
        try_out(&bytes);
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
