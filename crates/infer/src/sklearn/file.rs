//! The JSON that `models/train/export_sklearn.py` writes, and its checks.

use bundle::Precision;
use serde::Deserialize;

use super::{LoadError, SklearnModel};
use crate::trees::{Builder, Node, Scalar, Test};

/// The only version of the form.
const VERSION: u32 = 1;
/// What the form calls itself.
const FORMAT: &str = "sklearn-trees";

/// Whether the bytes are meant to be such a file: its first key is `format`.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    [b"{".as_slice(), b"\"format\"", b":", b"\"sklearn-trees\""]
        .iter()
        .try_fold(bytes, |rest, token| rest.trim_ascii_start().strip_prefix(*token))
        .is_some()
}

/// A model as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    format: String,
    version: u32,
    scikit_learn: String,
    pub(super) estimator: Estimator,
    features: usize,
    feature_names: Option<Vec<String>>,
    missing: bool,
    labels: Option<Vec<String>>,
    link: Link,
    base: Vec<f64>,
    trees: Vec<RawTree>,
}

/// A tree as parallel arrays, one entry a node, but for the leaves' values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTree {
    output: usize,
    /// −1 for a leaf.
    feature: Vec<i64>,
    threshold: Vec<f64>,
    missing_left: Vec<u8>,
    left: Vec<u32>,
    right: Vec<u32>,
    /// Of each leaf, in the order of the nodes, its value or its classes' probabilities.
    value: Vec<f64>,
}

/// What was trained, which decides how trees are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Estimator {
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
}

/// From raw values to a classifier's probabilities or a regressor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Link {
    Identity,
    Log,
    Logit,
    HalfLogit,
    Softmax,
}

impl Estimator {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DecisionTreeClassifier => "DecisionTreeClassifier",
            Self::DecisionTreeRegressor => "DecisionTreeRegressor",
            Self::RandomForestClassifier => "RandomForestClassifier",
            Self::RandomForestRegressor => "RandomForestRegressor",
            Self::ExtraTreeClassifier => "ExtraTreeClassifier",
            Self::ExtraTreeRegressor => "ExtraTreeRegressor",
            Self::ExtraTreesClassifier => "ExtraTreesClassifier",
            Self::ExtraTreesRegressor => "ExtraTreesRegressor",
            Self::GradientBoostingClassifier => "GradientBoostingClassifier",
            Self::GradientBoostingRegressor => "GradientBoostingRegressor",
            Self::HistGradientBoostingClassifier => "HistGradientBoostingClassifier",
            Self::HistGradientBoostingRegressor => "HistGradientBoostingRegressor",
        }
    }

    fn is_classifier(self) -> bool {
        self.name().ends_with("Classifier")
    }

    fn is_single_tree(self) -> bool {
        matches!(
            self,
            Self::DecisionTreeClassifier
                | Self::DecisionTreeRegressor
                | Self::ExtraTreeClassifier
                | Self::ExtraTreeRegressor
        )
    }

    /// Whether an answer is the trees' mean, not their sum.
    pub(super) fn averages(self) -> bool {
        !self.name().contains("Boosting")
    }

    /// What scikit-learn casts inputs to.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::HistGradientBoostingClassifier | Self::HistGradientBoostingRegressor => Precision::Double,
            _ => Precision::Single,
        }
    }

    /// Which of two classes a decision of exactly 0 is: the two kinds of boosting disagree.
    pub(super) fn zero_is_second(self) -> bool {
        self == Self::GradientBoostingClassifier
    }
}

impl RawModel {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        // The text quotes the file, which can be long.
        let form = |error: serde_json::Error| LoadError::Form(error.to_string().chars().take(500).collect());
        let raw: Self = serde_json::from_slice(bytes).map_err(form)?;
        if raw.format != FORMAT || raw.version != VERSION {
            return Err(LoadError::Invalid(format!("its format is not {FORMAT} in version {VERSION}")));
        }
        Ok(raw)
    }

    /// How many sums a row has, after checking that the parts agree on it.
    fn outputs(&self) -> Result<usize, LoadError> {
        let invalid = |why: String| Err(LoadError::Invalid(why));
        let name = self.estimator.name();
        let classes = match &self.labels {
            Some(labels) if self.estimator.is_classifier() && labels.len() >= 2 => labels.len(),
            None if !self.estimator.is_classifier() => 0,
            _ => return invalid(format!("a {name} with {} labels", self.labels.as_ref().map_or(0, Vec::len))),
        };
        if self.features == 0 {
            return invalid("it has no features".into());
        }
        if let Some(names) = &self.feature_names
            && names.len() != self.features
        {
            return invalid(format!("{} feature names for {} features", names.len(), self.features));
        }
        let (fits, outputs) = match (self.estimator.averages(), classes) {
            (true, 0) => (self.link == Link::Identity, 1),
            (true, _) => (self.link == Link::Identity, classes),
            (false, 0) => (matches!(self.link, Link::Identity | Link::Log), 1),
            (false, 2) => (matches!(self.link, Link::Logit | Link::HalfLogit), 1),
            (false, _) => (self.link == Link::Softmax, classes),
        };
        if !fits {
            return invalid(format!("the link does not suit a {name} with {classes} classes"));
        }
        if self.base.len() != if self.estimator.averages() { 0 } else { outputs } {
            return invalid(format!("a {name} with {} base scores", self.base.len()));
        }
        if self.trees.is_empty() || (self.estimator.is_single_tree() && self.trees.len() != 1) {
            return invalid(format!("a {name} with {} trees", self.trees.len()));
        }
        Ok(outputs)
    }
}

impl<X: Scalar> SklearnModel<X> {
    pub(super) fn new(raw: RawModel) -> Result<Self, LoadError> {
        let outputs = raw.outputs()?;
        let base = match raw.base.as_slice() {
            // Adding a leaf to -0 gives the leaf, whatever its sign; a single tree's answer is not added to anything.
            [] => vec![if raw.estimator.is_single_tree() { -0.0 } else { 0.0 }; outputs],
            base => base.to_vec(),
        };
        let width = if raw.estimator.averages() { outputs } else { 1 };
        let mut builder = Builder::new(raw.features, base);
        for (tree, nodes) in raw.trees.iter().enumerate() {
            let nodes_of = nodes.nodes(width).map_err(|why| LoadError::Invalid(format!("tree {tree} {why}")))?;
            builder.add(nodes.output, &nodes_of).map_err(|source| LoadError::Tree { tree, source })?;
        }
        Ok(Self {
            version: raw.scikit_learn,
            feature_names: raw.feature_names,
            num_features: raw.features,
            missing: raw.missing,
            labels: raw.labels,
            estimator: raw.estimator,
            link: raw.link,
            trees: raw.trees.len(),
            forest: builder.build(),
        })
    }
}

impl RawTree {
    /// The nodes, with `width` values a leaf.
    fn nodes<X: Scalar>(&self, width: usize) -> Result<Vec<Node<X, f64>>, String> {
        let nodes = self.feature.len();
        if [self.threshold.len(), self.missing_left.len(), self.left.len(), self.right.len()] != [nodes; 4] {
            return Err("has arrays of different lengths".into());
        }
        let leaves = self.feature.iter().filter(|feature| **feature == -1).count();
        if leaves.checked_mul(width) != Some(self.value.len()) {
            return Err(format!("has {} values for {leaves} leaves of {width}", self.value.len()));
        }
        let mut values = self.value.chunks_exact(width);
        (0..nodes)
            .map(|at| match self.feature[at] {
                -1 => match values.next() {
                    Some([value]) => Ok(Node::Leaf(*value)),
                    Some(list) => Ok(Node::Leaves(list.to_vec())),
                    None => Err("has too few values".into()),
                },
                feature => Ok(Node::Split {
                    feature: usize::try_from(feature).map_err(|_| format!("has the feature {feature}"))?,
                    // What is at most an f64 is at most the largest X not above that.
                    test: Test::AtMost(X::round_down(self.threshold[at])),
                    missing_left: self.missing_left[at] != 0,
                    left: self.left[at] as usize,
                    right: self.right[at] as usize,
                }),
            })
            .collect()
    }
}
