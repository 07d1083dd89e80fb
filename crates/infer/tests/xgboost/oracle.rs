//! Another engine as the oracle: the `gbdt` crate, fed XGBoost's dump format made from the native file.

use gbdt::decision_tree::{Data, VALUE_TYPE_UNKNOWN};
use gbdt::gradient_boost::GBDT;
use infer::trees::Layout;
use serde_json::{Value, json};

use super::reference::{inputs, records};
use super::{bits, predict};

/// A native model file. In `loss_changes` of splits on categories, XGBoost 1.6 wrote NaN, which serde_json rightly refuses.
pub fn parse(model: &[u8]) -> Value {
    let text = String::from_utf8(model.to_vec()).unwrap().replace("NaN", "0");
    serde_json::from_str(&text).unwrap()
}

/// A node in XGBoost's dump format, from a tree of the native JSON format.
pub fn dump(tree: &Value, node: usize) -> Value {
    let at = |name: &str| &tree[name][node];
    let child = |name: &str| at(name).as_i64().unwrap();
    if child("left_children") == -1 {
        return json!({"nodeid": node, "leaf": at("split_conditions")});
    }
    let (left, right) = (child("left_children"), child("right_children"));
    json!({
        "nodeid": node,
        "split": at("split_indices"),
        "split_condition": at("split_conditions"),
        "yes": left,
        "no": right,
        "missing": if at("default_left") == 0 { right } else { left },
        "children": [dump(tree, left as usize), dump(tree, right as usize)],
    })
}

#[test]
fn the_gbdt_crate_agrees_to_the_last_bit() {
    let mut compared = 0;
    for (folder, record) in records() {
        // What it can express: one output, numeric splits, and the margin, for it has an exponential of its own.
        let Some(file) = record.files.iter().find(|file| file.ends_with(".json")) else { continue };
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let model = infer::xgboost::load(&bytes).unwrap();
        let native = parse(&bytes);
        let booster = &native["learner"]["gradient_booster"];
        let categorical = record.categories.iter().any(|count| *count > 0);
        if booster["name"] != "gbtree" || categorical || model.outputs_per_row() > 1 || model.num_class > 1 {
            continue;
        }
        let trees = booster["model"]["trees"].as_array().unwrap();
        let dumped: Vec<Value> = trees.iter().take(model.num_trees()).map(|tree| dump(tree, 0)).collect();

        let rows = &inputs(&record)[..2_000 * model.num_features];
        let base = base_margin(&bytes);
        let text = format!("{base}\n{}", Value::Array(dumped));
        let oracle = GBDT::from_xgboost_reader(text.as_bytes(), "reg:linear").unwrap();
        let data = rows
            .chunks_exact(model.num_features)
            .map(|row| {
                let known = |value: &f32| if value.is_nan() { VALUE_TYPE_UNKNOWN } else { *value };
                Data::new_test_data(row.iter().map(known).collect(), None)
            })
            .collect();
        let expected = bits(&oracle.predict(&data));
        for layout in Layout::available() {
            let mut margins = Vec::new();
            model.clone().laid_out(layout).predict_margin(rows, &mut margins, &|| false).unwrap();
            assert_eq!(bits(&margins), expected, "{file}, {layout:?}");
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} models were compared");
}

/// The model's base score as a margin, computed here in f64 by the formulas of XGBoost's documentation, rounded once. It may differ from
/// XGBoost's f32 steps in the last bit, so then the engine's own is taken if it is that close.
fn base_margin(model: &[u8]) -> f32 {
    let mut native = parse(model);
    let learner = &mut native["learner"];
    let text = learner["learner_model_param"]["base_score"].as_str().unwrap();
    let score: f64 = text.trim_matches(['[', ']']).parse().unwrap();
    let exact = match learner["objective"]["name"].as_str().unwrap() {
        "reg:logistic" | "binary:logistic" => (score / (1.0 - score)).ln(),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" => score.ln(),
        _ => score,
    };
    // The same model with no trees answers its base margin.
    let booster = &mut learner["gradient_booster"]["model"];
    booster["trees"] = json!([]);
    booster["tree_info"] = json!([]);
    let empty = infer::xgboost::load(native.to_string().as_bytes()).unwrap();
    let mut ours = Vec::new();
    empty.predict_margin(&vec![0.0; empty.num_features], &mut ours, &|| false).unwrap();
    assert!((f64::from(ours[0]) - exact).abs() <= exact.abs().max(1.0) * 3e-7, "base margin {} for {exact}", ours[0]);
    ours[0]
}

#[test]
fn predictions_are_margins_transformed() {
    for (folder, record) in records() {
        let model = infer::xgboost::load(&std::fs::read(folder.join(&record.files[0])).unwrap()).unwrap();
        let rows = &inputs(&record)[..50 * model.num_features];
        let mut margins = Vec::new();
        model.predict_margin(rows, &mut margins, &|| false).unwrap();
        let predictions = predict(&model, rows);
        if matches!(model.objective.as_str(), "reg:squarederror" | "binary:logitraw") {
            assert_eq!(bits(&predictions), bits(&margins));
        }
        if model.objective == "multi:softprob" {
            for row in predictions.chunks_exact(model.num_class) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
        }
    }
}
