//! XGBoost's JSON dumps, run by the `gbdt` crate, against XGBoost's own predictions by the native files.

use std::collections::HashMap;

use infer::draft::{Choices, DraftError, prepare};
use infer::xgboost::dump::{Beside, complete, load};
use infer::{Control, check_goldens, draft};
use serde_json::{Value, json};

use super::oracle::{dump, parse};
use super::reference::{inputs, records};
use super::{bits, predict};

/// Every model that a dump can express predicts the same bits as its native file, missing values included.
#[test]
fn a_dump_predicts_as_its_native_file() {
    let mut compared = 0;
    for (folder, record) in records() {
        let Some(file) = record.files.iter().find(|file| file.ends_with(".json")) else { continue };
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let native = parse(&bytes);
        let learner = &native["learner"];
        let booster = &learner["gradient_booster"];
        let categorical = record.categories.iter().any(|count| *count > 0);
        let parallel = booster["model"]["gbtree_model_param"]["num_parallel_tree"] != "1";
        let vectors = file.starts_with("vectors") || file.starts_with("targets") || file.starts_with("quantiles");
        if booster["name"] != "gbtree" || categorical || parallel || vectors || file.starts_with("early") {
            continue;
        }
        let model = infer::xgboost::load(&bytes).unwrap();
        let trees: Vec<Value> =
            booster["model"]["trees"].as_array().unwrap().iter().map(|tree| dump(tree, 0)).collect();
        let features: Vec<String> = (0..model.num_features).map(|at| format!("feature {at}")).collect();
        let base_score = learner["learner_model_param"]["base_score"].as_str().unwrap();
        let beside =
            Beside { objective: &model.objective, base_score, num_class: model.num_class, features: Some(&features) };
        // The oracle's dump has the features' places; XGBoost's has their names.
        let text = Value::from(trees).to_string();
        let text = (0..model.num_features)
            .fold(text, |text, at| text.replace(&format!("\"split\":{at},"), &format!("\"split\":\"f{at}\",")));
        let dumped =
            load(&complete(text.as_bytes(), &beside).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let rows = &inputs(&record)[..3_000 * model.num_features];
        assert_eq!(bits(&predict(&dumped, rows)), bits(&predict(&model, rows)), "{file}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} models were compared");
}

/// As XGBoost 3.2 wrote it, with names.
const DUMP: &str = r#"[
  { "nodeid": 0, "depth": 0, "split": "sugar", "split_condition": 0.5, "yes": 1, "no": 2, "missing": 2 , "children": [
    { "nodeid": 1, "leaf": -0.399946749 },
    { "nodeid": 2, "depth": 1, "split": "acid", "split_condition": -1, "yes": 3, "no": 4, "missing": 3 , "children": [
      { "nodeid": 3, "leaf": 0.25 },
      { "nodeid": 4, "leaf": 0.5 }
    ]}
  ]}
]"#;

fn beside() -> Beside<'static> {
    Beside { objective: "reg:squarederror", base_score: "0.5", num_class: 0, features: None }
}

#[test]
fn missing_values_and_the_lowest_number_go_their_ways() {
    let model = load(&complete(DUMP.as_bytes(), &beside()).unwrap()).unwrap();
    assert_eq!(model.feature_names.as_deref().unwrap(), ["sugar", "acid"]);
    let rows =
        [[f32::NAN, f32::NAN], [f32::MIN, 0.0], [f32::NEG_INFINITY, 0.0], [0.5, -1.0], [f32::INFINITY, f32::MIN]];
    let low = 0.5 + -0.399_946_75;
    assert_eq!(predict(&model, rows.as_flattened()), [0.75, low, low, 1.0, 0.75]);
}

#[test]
fn features_without_names_are_numbered() {
    let unnamed = DUMP.replace("sugar", "f3").replace("acid", "f1");
    let model = load(&complete(unnamed.as_bytes(), &beside()).unwrap()).unwrap();
    assert_eq!(model.feature_names.as_deref().unwrap(), ["f0", "f1", "f2", "f3"]);
    let names = ["a", "b", "c", "d"].map(String::from);
    let model = load(&complete(unnamed.as_bytes(), &Beside { features: Some(&names), ..beside() }).unwrap()).unwrap();
    assert_eq!(predict(&model, &[9.0, -2.0, 9.0, 9.0]), [0.75]);
}

#[test]
fn what_a_dump_leaves_out_is_asked_for() {
    let choices = Choices { name: "m".into(), version: "1".into(), ..Choices::default() };
    let unsaid = |choices: &Choices| match prepare(DUMP.as_bytes(), choices) {
        Err(DraftError::Unsaid(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(unsaid(&choices).contains("--objective"), "{}", unsaid(&choices));
    let objective =
        Choices { objective: Some("multi:softprob".into()), base_score: Some("0.5".into()), ..choices.clone() };
    assert!(unsaid(&objective).contains("--labels"), "{}", unsaid(&objective));
    let whole = Choices { objective: Some("binary:logistic".into()), ..objective };
    let (file, bytes) = prepare(DUMP.as_bytes(), &whole).unwrap();
    let manifest = draft(file, &bytes, &whole).unwrap();
    assert_eq!(manifest.engine.format, bundle::ModelFormat::XgboostDump);
    let files = HashMap::from([(file.to_owned(), bytes)]);
    check_goldens(&manifest, &files).unwrap();
    let model = infer::load(&manifest, &files).unwrap();
    let params = manifest.read_params("").unwrap();
    let answer = model.run(br#"{"sugar":1,"acid":null}"#, &params, &Control::default()).unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), r#"{"prediction":"1"}"#);
}

#[test]
fn malformed_dumps_are_refused() {
    let message = |from: &str, to: &str| {
        assert!(DUMP.contains(from), "{from}");
        let file = complete(DUMP.replacen(from, to, 1).as_bytes(), &beside());
        file.and_then(|file| load(&file)).expect_err(to).to_string()
    };
    let children = "invalid model: tree 0 has a node whose yes, no and missing are not its two children";
    assert_eq!(message("\"yes\": 1", "\"yes\": 2"), children);
    assert_eq!(message("\"missing\": 2", "\"missing\": 0"), children);
    assert_eq!(message("\"nodeid\": 1", "\"nodeid\": 2"), children);
    assert_eq!(message("\"split_condition\": 0.5", "\"split_condition\": [1, 2]"), {
        "a dump with splits on categories is not supported"
    });
    assert_eq!(message("\"leaf\": 0.25", "\"leaf\": [0.25]"), "a dump with a vector in each leaf is not supported");
    assert_eq!(message("\"leaf\": 0.25", "\"leaf\": NaN"), "invalid model: tree 0 has a node that is no proper leaf");
    assert_eq!(message("\"leaf\": 0.25", "\"cover\": 2"), {
        "invalid model: tree 0 has a node that is neither a leaf nor a split"
    });
    assert_eq!(message("0.5", "-3.4028235e38"), {
        "invalid model: tree 0 has a node with a split_condition that no value meets"
    });
    let deep = "[{\"nodeid\":0,\"children\":".repeat(100_000);
    assert!(complete(deep.as_bytes(), &beside()).unwrap_err().to_string().contains("nested too deep"));
    let beside = |objective, num_class, base_score| Beside { objective, num_class, base_score, features: None };
    let refused = |beside| load(&complete(DUMP.as_bytes(), &beside).unwrap()).unwrap_err().to_string();
    assert_eq!(refused(beside("reg:unheard", 0, "0")), "objective \"reg:unheard\" is not supported");
    assert_eq!(refused(beside("binary:logistic", 0, "1")), "invalid model: base_score is \"1\"");
    assert_eq!(refused(beside("multi:softprob", 0, "0")), {
        "invalid model: objective \"multi:softprob\" with 0 classes"
    });
    assert_eq!(refused(beside("multi:softprob", 2, "0")), "invalid model: 1 trees for 2 classes");
    assert!(load(json!({"format": "xgboost-dump"}).to_string().as_bytes()).is_err());
}
