//! The trees in an XGBoost model, for engines that take them in another form.

use anyhow::Context;
use serde_json::{Value, json};

use super::document::Document;

/// Trees whose splits are on numbers.
#[derive(Debug)]
pub struct Forest {
    pub features: usize,
    /// What each output's sum starts from.
    pub base: Vec<f32>,
    /// Whether the answer is each class's probability; else it is the sum itself.
    pub softmax: bool,
    pub trees: Vec<Tree>,
}

#[derive(Debug)]
pub struct Tree {
    /// Which output its leaves are added to.
    pub output: usize,
    /// The root first.
    pub nodes: Vec<Node>,
}

#[derive(Debug)]
pub struct Node {
    /// The threshold, below which a row goes left; or the leaf's value.
    pub value: f32,
    /// Absent in a leaf.
    pub split: Option<Split>,
}

#[derive(Debug)]
pub struct Split {
    pub feature: usize,
    pub left: usize,
    pub right: usize,
    /// Where a row without that value goes.
    pub missing_left: bool,
}

impl Forest {
    /// Those of a model whose margins are its base scores as they are.
    pub fn of(model: &Document) -> anyhow::Result<Self> {
        let learner = model.at(&["learner"])?;
        let param = learner.at(&["learner_model_param"])?;
        let base = param.at(&["base_score"])?.text()?.trim_matches(['[', ']']);
        let base = base.split(',').map(str::parse).collect::<Result<_, _>>().context("a base score is no number")?;
        let objective = learner.at(&["objective", "name"])?.text()?;
        anyhow::ensure!(
            matches!(objective, "reg:squarederror" | "multi:softprob"),
            "the objective {objective} is not one that is measured"
        );
        let booster = learner.at(&["gradient_booster", "model"])?;
        let outputs = booster.at(&["tree_info"])?.integers()?;
        let trees = booster.at(&["trees"])?.list()?.iter().zip(outputs).map(|(tree, output)| Tree::of(tree, output));
        Ok(Self {
            features: param.at(&["num_feature"])?.text()?.parse().context("num_feature is no number")?,
            base,
            softmax: objective == "multi:softprob",
            trees: trees.collect::<Result<_, _>>()?,
        })
    }

    /// How many splits a row passes on its way through all trees.
    pub fn visits(&self, row: &[f32]) -> usize {
        self.trees.iter().map(|tree| tree.visits(row)).sum()
    }

    /// The longest way from a root to a leaf.
    pub fn depth(&self) -> usize {
        self.trees.iter().map(|tree| tree.depth(0)).max().unwrap_or(0)
    }

    /// The trees of one output in the form of XGBoost's dumps, their sums' start before them, as the `gbdt` crate reads them.
    pub fn dump(&self, output: usize) -> String {
        let trees = self.trees.iter().filter(|tree| tree.output == output).map(|tree| tree.dump(0)).collect();
        format!("{}\n{}", self.base[output], Value::Array(trees))
    }
}

impl Tree {
    fn of(tree: &Document, output: i64) -> anyhow::Result<Self> {
        let integers = |key: &str| tree.at(&[key])?.integers();
        anyhow::ensure!(integers("split_type")?.iter().all(|kind| *kind == 0), "a split is on categories");
        let (left, right) = (integers("left_children")?, integers("right_children")?);
        let (features, missing_left) = (integers("split_indices")?, integers("default_left")?);
        let values = tree.at(&["split_conditions"])?.floats()?;
        let node = |(at, value): (usize, &f32)| {
            let split = (left[at] != -1).then(|| {
                anyhow::Ok(Split {
                    feature: features[at].try_into()?,
                    left: left[at].try_into()?,
                    right: right[at].try_into()?,
                    missing_left: missing_left[at] != 0,
                })
            });
            anyhow::Ok(Node { value: *value, split: split.transpose()? })
        };
        let nodes = values.iter().enumerate().map(node).collect::<Result<_, _>>()?;
        Ok(Self { output: output.try_into()?, nodes })
    }

    fn visits(&self, row: &[f32]) -> usize {
        let (mut node, mut visits) = (&self.nodes[0], 0);
        while let Some(split) = &node.split {
            let value = row[split.feature];
            let left = if value.is_nan() { split.missing_left } else { value < node.value };
            node = &self.nodes[if left { split.left } else { split.right }];
            visits += 1;
        }
        visits
    }

    fn depth(&self, node: usize) -> usize {
        let below = |split: &Split| 1 + self.depth(split.left).max(self.depth(split.right));
        self.nodes[node].split.as_ref().map_or(0, below)
    }

    fn dump(&self, at: usize) -> Value {
        // As f64, whose digits come back as the same f32; the crate reads every number as an f64.
        let value = f64::from(self.nodes[at].value);
        match &self.nodes[at].split {
            None => json!({"nodeid": at, "leaf": value}),
            Some(Split { feature, left, right, missing_left }) => json!({
                "nodeid": at,
                "split": feature,
                "split_condition": value,
                "yes": left,
                "no": right,
                "missing": if *missing_left { left } else { right },
                "children": [self.dump(*left), self.dump(*right)],
            }),
        }
    }
}
