//! How XGBoost 3.2 saves a model.

use super::{LEARNING_RATE, Shape};
use crate::bench::trees::document::Document;

/// A tree as XGBoost stores it: one entry a node in each list.
#[derive(Default)]
pub struct Lists {
    weights: Vec<f32>,
    pub missing_left: Vec<u8>,
    pub left: Vec<i32>,
    pub right: Vec<i32>,
    pub gains: Vec<f32>,
    parents: Vec<i32>,
    pub conditions: Vec<f32>,
    pub features: Vec<i32>,
    hessians: Vec<f32>,
}

impl Lists {
    /// A leaf, until it is split.
    pub fn push(&mut self, parent: i32, weight: f64, hessian: f64) {
        self.weights.push(weight as f32);
        self.missing_left.push(0);
        self.left.push(-1);
        self.right.push(-1);
        self.gains.push(0.0);
        self.parents.push(parent);
        self.conditions.push((weight * LEARNING_RATE) as f32);
        self.features.push(0);
        self.hessians.push(hessian as f32);
    }

    /// In XGBoost's form.
    pub fn document(self, id: usize, features: usize) -> Document {
        let nodes = self.left.len();
        object([
            ("base_weights", Document::Floats(self.weights)),
            ("categories", Document::Words(Vec::new())),
            ("categories_nodes", Document::Words(Vec::new())),
            ("categories_segments", Document::Longs(Vec::new())),
            ("categories_sizes", Document::Longs(Vec::new())),
            ("default_left", Document::Bytes(self.missing_left)),
            ("id", Document::Integer(id as i64)),
            ("left_children", Document::Words(self.left)),
            ("loss_changes", Document::Floats(self.gains)),
            ("parents", Document::Words(self.parents)),
            ("right_children", Document::Words(self.right)),
            ("split_conditions", Document::Floats(self.conditions)),
            ("split_indices", Document::Words(self.features)),
            ("split_type", Document::Bytes(vec![0; nodes])),
            ("sum_hessian", Document::Floats(self.hessians)),
            (
                "tree_param",
                object([
                    ("num_deleted", text(0)),
                    ("num_feature", text(features)),
                    ("num_nodes", text(nodes)),
                    ("size_leaf_vector", text(1)),
                ]),
            ),
        ])
    }
}

/// The whole model.
pub fn model(Shape { features, rounds, outputs, .. }: Shape, base: f32, trees: Vec<Document>) -> Document {
    let integers = |list: Vec<usize>| Document::List(list.into_iter().map(|n| Document::Integer(n as i64)).collect());
    let empty = || Document::List(Vec::new());
    let count = trees.len();
    let booster = object([
        (
            "cats",
            object([
                ("enc", empty()),
                ("feature_segments", Document::Words(Vec::new())),
                ("sorted_idx", Document::Words(Vec::new())),
            ]),
        ),
        ("gbtree_model_param", object([("num_parallel_tree", text(1)), ("num_trees", text(count))])),
        ("iteration_indptr", integers((0..=rounds).map(|round| round * outputs).collect())),
        ("tree_info", integers((0..count).map(|tree| tree % outputs).collect())),
        ("trees", Document::List(trees)),
    ]);
    let num_class = if outputs == 1 { 0 } else { outputs };
    let objective = if outputs == 1 {
        [("name", text("reg:squarederror")), ("reg_loss_param", object([("scale_pos_weight", text(1))]))]
    } else {
        [("name", text("multi:softprob")), ("softmax_multiclass_param", object([("num_class", text(num_class))]))]
    };
    let learner = object([
        ("attributes", object([])),
        ("feature_names", empty()),
        ("feature_types", empty()),
        ("gradient_booster", object([("model", booster), ("name", text("gbtree"))])),
        (
            "learner_model_param",
            object([
                ("base_score", text(format_args!("[{}]", vec![format!("{base:E}"); outputs].join(",")))),
                ("boost_from_average", text(1)),
                ("num_class", text(num_class)),
                ("num_feature", text(features)),
                ("num_target", text(1)),
            ]),
        ),
        ("objective", object(objective)),
    ]);
    object([("learner", learner), ("version", integers(vec![3, 2, 0]))])
}

fn text(value: impl std::fmt::Display) -> Document {
    Document::Text(value.to_string())
}

fn object<const N: usize>(members: [(&str, Document); N]) -> Document {
    Document::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
