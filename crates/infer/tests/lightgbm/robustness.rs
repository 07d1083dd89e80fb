//! Whatever the bytes are, loading them fails with a reason or gives a model that predicts.

use infer::lightgbm::{LoadError, load};
use infer::trees::TreeError;
use proptest::prelude::*;

use super::predict;

/// A split on a number, and below it one on categories 1, 3 and 32.
const SMALL: &str = "tree
version=v4
num_class=1
num_tree_per_iteration=1
max_feature_idx=1
objective=regression
feature_names=a b
feature_infos=[0:1] 1:3:32

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
threshold=0.5 0
decision_type=10 1
left_child=1 -1
right_child=-2 -3
leaf_value=1 2 3
cat_boundaries=0 2
cat_threshold=10 1
is_linear=0
shrinkage=1


end of trees

pandas_categorical:null
";

fn refusal(from: &str, to: &str) -> LoadError {
    assert!(SMALL.contains(from), "{from}");
    load(SMALL.replacen(from, to, 1).as_bytes()).expect_err(to)
}

#[test]
fn the_small_model_is_fine() {
    let model = load(SMALL.as_bytes()).unwrap();
    let rows = [[0.5, 1.0], [f64::NAN, 32.9], [0.0, 2.0], [0.0, f64::NAN], [0.0, -1.0], [0.6, 1.0]];
    assert_eq!(predict(&model, rows.as_flattened()), [1.0, 1.0, 3.0, 3.0, 3.0, 2.0]);
    assert!(load(SMALL.replace('\n', "\r\n").as_bytes()).is_ok());
}

#[test]
fn what_is_not_supported_is_named() {
    let message = |from, to| refusal(from, to).to_string();
    assert_eq!(message("version=v4", "version=v2"), "LightGBM's format \"v2\" is not supported");
    assert_eq!(message("objective=regression", "objective=custom"), "objective \"custom\" is not supported");
    assert_eq!(
        message("is_linear=0", "is_linear=1"),
        "a tree with linear models in its leaves (linear_tree) is not supported"
    );
    assert_eq!(
        message("pandas_categorical:null", "pandas_categorical:[[\"x\"]]"),
        "a frame with columns of pandas categories is not supported"
    );
    assert_eq!(message("objective=regression\n", ""), "the model has no objective");
}

#[test]
fn malformed_trees_are_refused() {
    let tree = |from, to| match refusal(from, to) {
        LoadError::Tree { tree: 0, source } => source,
        other => panic!("{other}"),
    };
    assert_eq!(tree("left_child=1 -1", "left_child=0 -1"), TreeError::ReachedTwice { node: 0 });
    assert_eq!(tree("left_child=1 -1", "left_child=1 -2"), TreeError::ReachedTwice { node: 3 });
    assert_eq!(tree("left_child=1 -1", "left_child=7 -1"), TreeError::NoSuchChild { node: 0, child: 7 });
    let lowest = format!("left_child={} -1", i32::MIN);
    assert!(matches!(tree("left_child=1 -1", &lowest), TreeError::NoSuchChild { .. }));
    let feature = TreeError::NoSuchFeature { node: 0, feature: 2, features: 2 };
    assert_eq!(tree("split_feature=0 1", "split_feature=2 1"), feature);
    let message = |from, to| refusal(from, to).to_string();
    assert_eq!(
        message("threshold=0.5 0", "threshold=nan 0"),
        "invalid model: tree 0 has a split 0 without a threshold"
    );
    assert_eq!(message("threshold=0.5 0", "threshold=0.5 1"), "invalid model: tree 0 has a split 1 without categories");
    assert_eq!(message("cat_boundaries=0 2", "cat_boundaries=0 3"), "invalid model: tree 0 has malformed categories");
    assert_eq!(message("cat_boundaries=0 2", "cat_boundaries=2 0"), "invalid model: tree 0 has malformed categories");
    assert_eq!(message("leaf_value=1 2 3", "leaf_value=1 2 inf"), "invalid model: tree 0 has a leaf that is no number");
    assert_eq!(
        message("leaf_value=1 2 3", "leaf_value=1 2"),
        "invalid model: tree 0 has lists that don't fit its 3 leaves"
    );
    assert_eq!(message("num_leaves=3", "num_leaves=0"), "invalid model: tree 0 has lists that don't fit its 0 leaves");
    assert_eq!(
        message("decision_type=10 1", "decision_type=12 1"),
        "invalid model: tree 0 has a split 0 with missing values of kind 3"
    );
    // Two splits on one set: it could be as long as the file.
    assert_eq!(
        message("decision_type=10 1", "decision_type=11 1"),
        "invalid model: tree 0 has a split 1 without categories"
    );
}

#[test]
fn malformed_headers_are_refused() {
    let message = |from, to| refusal(from, to).to_string();
    assert_eq!(message("max_feature_idx=1", "max_feature_idx=18446744073709551615"), {
        "invalid model: 2 feature names, but the last is 18446744073709551615"
    });
    assert_eq!(message("num_class=1\nnum_tree_per_iteration=1", "num_class=2\nnum_tree_per_iteration=2"), {
        "invalid model: 1 trees, 2 in each iteration"
    });
    assert_eq!(message("num_tree_per_iteration=1", "num_tree_per_iteration=2"), {
        "invalid model: 1 classes, but 2 trees in each iteration"
    });
    assert_eq!(message("num_class=1", "num_class=x"), "line 3 is malformed: a number was expected");
    assert_eq!(message("Tree=0", "Tree=1"), "line 10 is malformed: the trees are not in order");
    assert_eq!(message("num_cat=1", "num_leaves=1"), "line 12 is malformed: its key was there before");
    assert!(load(SMALL.replace("num_cat=1", "tree_sizes=1\ntree_sizes=2").as_bytes()).is_ok(), "nobody reads it");
    let long = refusal("objective=regression", &format!("objective={}", "\u{1}".repeat(100_000))).to_string();
    assert!(long.len() < 500, "{} bytes", long.len());
    assert_eq!(message("end of trees", ""), "the model has no end of trees");
    assert_eq!(message("objective=regression", "objective=binary"), {
        "invalid model: objective \"binary\" has no sigmoid"
    });
    assert_eq!(message("objective=regression", "objective=multiclass num_class:1"), {
        "invalid model: 1 classes, but 1 trees in each iteration"
    });
    assert!(matches!(load(b"tree\nversion=v4\n\xff"), Err(LoadError::Line { line: 3, problem: "not UTF-8" })));
    assert!(load(b"").is_err());
}

/// Loads, and predicts if that succeeds.
fn try_out(bytes: &[u8]) {
    if let Ok(model) = load(bytes)
        && model.num_features() <= 1 << 20
    {
        predict(&model, &vec![0.25; model.num_features() * 3]);
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
        let model = SMALL.as_bytes();
        try_out(&model[..cut.index(model.len())]);
        let mut bytes = model.to_vec();
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
