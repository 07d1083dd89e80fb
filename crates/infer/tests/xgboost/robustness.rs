//! Whatever the bytes are, loading them fails with an error or gives a model that predicts: no panic, no endless loop, no
//! memory beyond a small multiple of the file.

use std::path::Path;

use infer::trees::{PredictError, TreeError};
use infer::xgboost::{LoadError, load};
use proptest::prelude::*;

use super::predict;

/// A small model as JSON.
fn tree_model(objective: &str, base_score: &str, tree: &str) -> String {
    format!(
        r#"{{"learner":{{"attributes":{{}},"feature_names":[],"feature_types":[],
        "gradient_booster":{{"model":{{"gbtree_model_param":{{"num_parallel_tree":"1","num_trees":"1"}},
        "tree_info":[0],"trees":[{tree}]}},"name":"gbtree"}},
        "learner_model_param":{{"base_score":"{base_score}","num_class":"0","num_feature":"2","num_target":"1"}},
        "objective":{{"name":"{objective}"}}}},"version":[3,2,0]}}"#
    )
}

fn tree(left: [i64; 3], right: [i64; 3], feature: i64) -> String {
    format!(
        r#"{{"left_children":{left:?},"right_children":{right:?},"split_indices":[{feature},0,0],
        "split_conditions":[0.5,1.0,2.0],"default_left":[true,false,false],"tree_param":{{"size_leaf_vector":"0"}}}}"#
    )
}

const LEFT: [i64; 3] = [1, -1, -1];
const RIGHT: [i64; 3] = [2, -1, -1];

fn refusal(json: &str) -> LoadError {
    load(json.as_bytes()).expect_err("it should be refused")
}

#[test]
fn the_small_model_is_fine() {
    let model = load(tree_model("reg:squarederror", "[1E1]", &tree(LEFT, RIGHT, 1)).as_bytes()).unwrap();
    assert_eq!(predict(&model, &[0.0, 0.0, 0.0, 0.5, 0.0, f32::NAN]), [11.0, 12.0, 11.0]);
    assert_eq!((model.feature_names, model.num_features), (None, 2));
}

#[test]
fn ragged_rows_and_cancelling() {
    let model = load(tree_model("reg:squarederror", "0", &tree(LEFT, RIGHT, 1)).as_bytes()).unwrap();
    let mut out = Vec::new();
    let error = model.predict(&[0.0; 3], &mut out, &|| false).unwrap_err();
    assert_eq!(error, PredictError::RaggedRows { values: 3, features: 2 });
    assert_eq!(model.predict(&[0.0; 64], &mut out, &|| true), Err(PredictError::Cancelled));
    assert_eq!(model.predict(&[0.0; 2], &mut out, &|| true), Err(PredictError::Cancelled));
    model.predict(&[], &mut out, &|| false).unwrap();
    assert!(out.is_empty());
}

#[test]
fn malformed_trees_are_refused() {
    let refused = |tree: String| match refusal(&tree_model("reg:squarederror", "0", &tree)) {
        LoadError::Tree { tree: 0, source } => source,
        other => panic!("{other}"),
    };
    assert_eq!(refused(tree([1, 0, -1], [2, 2, -1], 0)), TreeError::ReachedTwice { node: 0 });
    assert_eq!(refused(tree([1, -1, -1], [1, -1, -1], 0)), TreeError::ReachedTwice { node: 1 });
    assert_eq!(refused(tree([1, -1, -1], [3, -1, -1], 0)), TreeError::NoSuchChild { node: 0, child: 3 });
    assert_eq!(refused(tree(LEFT, RIGHT, 2)), TreeError::NoSuchFeature { node: 0, feature: 2, features: 2 });
}

#[test]
fn what_is_not_supported_is_named() {
    let fine = tree(LEFT, RIGHT, 0);
    let message = |json: &str| refusal(json).to_string();
    assert_eq!(message(&tree_model("reg:unheard", "0", &fine)), "objective \"reg:unheard\" is not supported");
    let other = tree_model("reg:squarederror", "0", &fine).replace("\"gbtree\"", "\"gbforest\"");
    assert_eq!(message(&other), "booster \"gbforest\" is not supported");
    let vector =
        tree_model("reg:squarederror", "0", &fine.replace("\"size_leaf_vector\":\"0\"", "\"size_leaf_vector\":\"3\""));
    assert_eq!(
        message(&vector),
        "trees with a vector in each leaf (multi_strategy=multi_output_tree) but no leaf_weights, as by XGBoost before \
         3.2, is not supported"
    );
    let categories = fine.replace("\"default_left\"", "\"split_type\":[1,0,0],\"default_left\"");
    let old = tree_model("reg:squarederror", "0", &categories).replace("[3,2,0]", "[1,6,2]");
    assert_eq!(message(&old), "a split on categories by XGBoost before 1.7 is not supported");
    let empty = refusal(&tree_model("reg:squarederror", "0", &categories));
    assert_eq!(empty, LoadError::Invalid("node 0 has no categories".into()));
    assert_eq!(refusal("binf"), LoadError::NotAModel);
    assert_eq!(refusal(""), LoadError::NotAModel);
    assert_eq!(refusal("{}"), LoadError::Missing("learner"));
}

#[test]
fn malformed_vectors_are_refused() {
    let vectors = |width: &str, weights: &str, right: [i64; 3]| {
        let tree = tree(LEFT, right, 0)
            .replace("\"size_leaf_vector\":\"0\"", &format!("\"size_leaf_vector\":\"{width}\""))
            .replace("\"tree_param\"", &format!("\"leaf_weights\":{weights},\"tree_param\""));
        let model = tree_model("reg:squarederror", "0", &tree).replace("\"num_target\":\"1\"", "\"num_target\":\"2\"");
        load(model.as_bytes())
    };
    let message = |width, weights, right| vectors(width, weights, right).unwrap_err().to_string();
    let model = vectors("2", "[1,2,3,4]", [2, 0, 1]).unwrap();
    assert_eq!(predict(&model, &[0.0, 0.0, 0.5, 0.0]), [1.0, 2.0, 3.0, 4.0]);
    let unfit = "invalid model: a tree's leaf_weights are not as many as its leaves need";
    assert_eq!(message("2", "[1,2,3]", [2, 0, 1]), unfit);
    assert_eq!(message("x", "[1,2,3,4]", [2, 0, 1]), unfit);
    assert_eq!(message("18446744073709551615", "[1,2,3,4]", [2, 0, 1]), unfit);
    assert_eq!(message("2", "[1,2,3,4]", [2, 0, 2]), "invalid model: node 2 has a vector that doesn't exist");
    assert_eq!(message("2", "[1,2,3,4]", [2, 0, -1]), "invalid model: node 2 has a vector that doesn't exist");
    assert_eq!(message("4", "[1,2,3,4,5,6,7,8]", [2, 0, 1]), "tree 0 is malformed");
}

#[test]
fn malformed_linear_models_are_refused() {
    let linear = |weights: &str| {
        format!(
            r#"{{"learner":{{"gradient_booster":{{"model":{{"boosted_rounds":1,"weights":{weights}}},"name":"gblinear"}},
            "learner_model_param":{{"base_score":"[5E-1]","num_class":"0","num_feature":"2","num_target":"1"}},
            "objective":{{"name":"reg:squarederror"}}}},"version":[3,2,0]}}"#
        )
    };
    let model = load(linear("[1,2,4]").as_bytes()).unwrap();
    assert_eq!(predict(&model, &[10.0, 100.0, f32::NAN, 1.0]), [214.5, 6.5]);
    let mut out = Vec::new();
    assert_eq!(model.predict(&[0.0; 2], &mut out, &|| true), Err(PredictError::Cancelled));
    assert_eq!(refusal(&linear("[1,2]")).to_string(), "invalid model: 2 weights for 2 features and 1 outputs");
}

#[test]
fn base_scores_must_make_sense() {
    let fine = tree(LEFT, RIGHT, 0);
    for (objective, base) in
        [("binary:logistic", "1"), ("count:poisson", "0"), ("reg:squarederror", "[1,2]"), ("reg:squarederror", "x")]
    {
        let error = refusal(&tree_model(objective, base, &fine));
        assert_eq!(error, LoadError::Invalid(format!("base_score is {base:?}")));
    }
}

#[test]
fn hostile_sizes_and_depths_are_refused() {
    let deep = [b"{\"x\":".as_slice(), &b"[".repeat(1_000_000)].concat();
    assert!(matches!(load(&deep), Err(LoadError::Syntax { problem: "nested too deep", .. })));
    let deep = [b"{i\x01x".as_slice(), &b"[".repeat(1_000_000)].concat();
    assert!(matches!(load(&deep), Err(LoadError::Syntax { problem: "nested too deep", .. })));
    // An array of 2^62 floats, then of 2^62 nulls.
    for array in [b"[$d#L\x40\0\0\0\0\0\0\0", b"[$Z#L\x40\0\0\0\0\0\0\0"] {
        let huge = [b"{i\x01x".as_slice(), array].concat();
        assert!(matches!(load(&huge), Err(LoadError::Syntax { .. })));
    }
}

/// Loads, and predicts if that succeeds.
fn try_out(bytes: &[u8]) {
    if let Ok(model) = load(bytes)
        && model.num_features <= 1 << 20
    {
        predict(&model, &vec![0.25; model.num_features * 3]);
    }
}

fn small_models() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/3.2.0");
    ["categorical.json", "categorical.ubj", "dart.json", "dart.ubj"]
        .map(|file| std::fs::read(folder.join(file)).unwrap())
        .to_vec()
}

/// What JSON and UBJ are made of, so that random bytes get past the first few.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b"[#",
        b"[$d#",
        b"[$l#",
        b"{$i#",
        b"[$[#",
        b"U\x02",
        b"i\x01",
        b"L\0\0\0\0\0\0\0\x03",
        b"N",
        b"Z",
        b"S",
        b"T",
        b"\"",
        b"\\u12",
        b"\\",
        b":",
        b",",
        b"1",
        b"-",
        b"e5",
        b"NaN",
        b"learner",
        b"i\x07learner",
        b"\"learner\":",
        b"\"version\":",
        b"i\x07version",
        b"\"gradient_booster\":",
        b"i\x10gradient_booster",
        b"\"trees\":",
        b"i\x05trees",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), fragments in fragments()) {
        try_out(&bytes);
        for start in [b"{".as_slice(), b"{\"learner\":{\"gradient_booster\":{\"model\":", b"{i\x07learner"] {
            try_out(&[start, &bytes].concat());
            try_out(&[start, &fragments].concat());
        }
        try_out(&fragments);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        for model in small_models() {
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
            try_out(&model[..cut.index(model.len())]);
        }
    }
}
