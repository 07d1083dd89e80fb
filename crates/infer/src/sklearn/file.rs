//! The JSON that `models/train/export_sklearn.py` writes, and its checks.

use bundle::Precision;

use super::SklearnModel;
use crate::load_error::{LoadError, NodeError};
use crate::source::{Json, Source, forest_bytes};
use crate::torch::short;
use crate::trees::{Builder, MAX_FEATURES, Node, Scalar, Test};

/// The only version of the form.
const VERSION: u32 = 1;
/// What the form calls itself.
const FORMAT: &str = "sklearn-trees";

/// Classes that there may be: bounds what a row's answer takes.
const MAX_OUTPUTS: usize = 1 << 16;

/// Whether the bytes are meant to be such a file: its first key is `format`.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    [b"{".as_slice(), b"\"format\"", b":", b"\"sklearn-trees\""]
        .iter()
        .try_fold(bytes, |rest, token| rest.trim_ascii_start().strip_prefix(*token))
        .is_some()
}

/// A model as the file has it, but for the trees, which are read in a second pass: all of them together would take more memory than
/// the forest made of them.
#[derive(Debug)]
pub(super) struct RawModel {
    scikit_learn: String,
    pub(super) estimator: Estimator,
    features: usize,
    feature_names: Option<Vec<String>>,
    missing: bool,
    labels: Option<Vec<String>>,
    link: Link,
    base: Vec<f64>,
    /// How many there are.
    trees: usize,
}

/// A tree as parallel arrays, one entry a node, but for the leaves' values.
#[derive(Debug, Default)]
struct RawTree {
    output: usize,
    /// −1 for a leaf.
    feature: Vec<i32>,
    threshold: Vec<f64>,
    missing_left: Vec<u8>,
    /// A leaf's, once read, is its place among the leaves.
    left: Vec<u32>,
    right: Vec<u32>,
    /// Of each leaf, in the order of the nodes, its value or its classes' probabilities.
    value: Vec<f64>,
}

/// What was trained, which decides how trees are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Identity,
    Log,
    Logit,
    HalfLogit,
    Softmax,
}

impl Link {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "identity" => Self::Identity,
            "log" => Self::Log,
            "logit" => Self::Logit,
            "half_logit" => Self::HalfLogit,
            "softmax" => Self::Softmax,
            _ => return None,
        })
    }
}

impl Estimator {
    const ALL: [Self; 12] = [
        Self::DecisionTreeClassifier,
        Self::DecisionTreeRegressor,
        Self::RandomForestClassifier,
        Self::RandomForestRegressor,
        Self::ExtraTreeClassifier,
        Self::ExtraTreeRegressor,
        Self::ExtraTreesClassifier,
        Self::ExtraTreesRegressor,
        Self::GradientBoostingClassifier,
        Self::GradientBoostingRegressor,
        Self::HistGradientBoostingClassifier,
        Self::HistGradientBoostingRegressor,
    ];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|estimator| estimator.name() == name)
    }

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
        let (mut format, mut version) = (String::new(), 0_u32);
        let (mut scikit_learn, mut estimator, mut features, mut link) = (None, None, None, None);
        let (mut feature_names, mut missing, mut labels, mut base, mut trees) = (None, None, None, None, None);
        let mut json = Json::new(bytes);
        json.object(|json, key| {
            match key {
                "format" => format = json.string()?,
                "version" => version = json.number()?,
                "scikit_learn" => scikit_learn = Some(json.string()?),
                "estimator" => {
                    let name = json.string()?;
                    let known = Estimator::of(&name);
                    estimator =
                        Some(known.ok_or_else(|| LoadError::Unsupported(format!("the estimator {}", short(&name))))?);
                }
                "features" => features = Some(json.number()?),
                "feature_names" => feature_names = Some(json.optional(Source::strings)?),
                "missing" => missing = Some(json.number::<u8>()? != 0),
                "labels" => labels = Some(json.optional(Source::strings)?),
                "link" => {
                    let name = json.string()?;
                    let known = Link::of(&name);
                    link = Some(known.ok_or_else(|| LoadError::Invalid(format!("there is no link {}", short(&name))))?);
                }
                "base" => base = Some(json.numbers()?),
                "trees" => {
                    let mut count = 0;
                    json.array(|json| {
                        count += 1;
                        json.skip()
                    })?;
                    trees = Some(count);
                }
                other => return Err(LoadError::Invalid(format!("there is no {}", short(other)))),
            }
            Ok(())
        })?;
        json.finish()?;
        if format != FORMAT || version != VERSION {
            return Err(LoadError::Invalid(format!("its format is not {FORMAT} in version {VERSION}")));
        }
        Ok(Self {
            scikit_learn: scikit_learn.ok_or(LoadError::Missing("scikit_learn"))?,
            estimator: estimator.ok_or(LoadError::Missing("estimator"))?,
            features: features.ok_or(LoadError::Missing("features"))?,
            feature_names: feature_names.ok_or(LoadError::Missing("feature_names"))?,
            missing: missing.ok_or(LoadError::Missing("missing"))?,
            labels: labels.ok_or(LoadError::Missing("labels"))?,
            link: link.ok_or(LoadError::Missing("link"))?,
            base: base.ok_or(LoadError::Missing("base"))?,
            trees: trees.ok_or(LoadError::Missing("trees"))?,
        })
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
        if self.features > MAX_FEATURES || classes > MAX_OUTPUTS {
            let most = format!("more than {MAX_FEATURES} features or {MAX_OUTPUTS} classes");
            return Err(LoadError::Unsupported(most));
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
        if !self.base.iter().all(|base| base.is_finite()) {
            return invalid("a base score is no number".into());
        }
        if self.trees == 0 || (self.estimator.is_single_tree() && self.trees != 1) {
            return invalid(format!("a {name} with {} trees", self.trees));
        }
        Ok(outputs)
    }
}

impl<X: Scalar> SklearnModel<X> {
    pub(super) fn new(raw: RawModel, bytes: &[u8]) -> Result<Self, LoadError> {
        let outputs = raw.outputs()?;
        let base = match raw.base.as_slice() {
            // Adding a leaf to -0 gives the leaf, whatever its sign; a single tree's answer is not added to anything.
            [] => vec![if raw.estimator.is_single_tree() { -0.0 } else { 0.0 }; outputs],
            base => base.to_vec(),
        };
        let width = if raw.estimator.averages() { outputs } else { 1 };
        let mut builder = Builder::new(raw.features, base).limited_to(forest_bytes(bytes));
        let mut each = |json: &mut Json<'_>| {
            let place = builder.trees();
            // What this tree takes is free again when the next one comes.
            let budget = json.budget().clone();
            let tree = RawTree::read(json, place, width)?;
            *json.budget() = budget;
            let added = builder.add_with(tree.output, tree.feature.len(), |node| tree.node(node, place, width));
            added.map_err(|error: NodeError| error.of(place))
        };
        Json::new(bytes).object(|json, key| if key == "trees" { json.array(&mut each) } else { json.skip() })?;
        if builder.trees() != raw.trees {
            return Err(LoadError::Invalid("it has several lists of trees".into()));
        }
        Ok(Self {
            version: raw.scikit_learn,
            feature_names: raw.feature_names,
            num_features: raw.features,
            missing: raw.missing,
            labels: raw.labels,
            estimator: raw.estimator,
            link: raw.link,
            trees: raw.trees,
            forest: builder.build(),
        })
    }
}

impl RawTree {
    fn read(json: &mut Json<'_>, place: usize, width: usize) -> Result<Self, LoadError> {
        let invalid = |why: String| LoadError::Invalid(format!("tree {place} {why}"));
        let mut tree = Self::default();
        let mut keys = 0;
        json.object(|json, key| {
            keys += 1;
            match key {
                "output" => tree.output = json.number()?,
                "feature" => tree.feature = json.numbers()?,
                "threshold" => tree.threshold = json.numbers()?,
                "missing_left" => tree.missing_left = json.numbers()?,
                "left" => tree.left = json.numbers()?,
                "right" => tree.right = json.numbers()?,
                "value" => tree.value = json.numbers()?,
                other => return Err(invalid(format!("has a {}, which there is not", short(other)))),
            }
            Ok(())
        })?;
        if keys != 7 {
            return Err(invalid("lacks a part, or has one twice".into()));
        }
        let nodes = tree.feature.len();
        if [tree.threshold.len(), tree.missing_left.len(), tree.left.len(), tree.right.len()] != [nodes; 4] {
            return Err(invalid("has arrays of different lengths".into()));
        }
        if !tree.threshold.iter().chain(&tree.value).all(|number| number.is_finite()) {
            return Err(invalid("has a threshold or value that is no number".into()));
        }
        let mut leaves = 0;
        for (feature, left) in tree.feature.iter().zip(&mut tree.left) {
            if *feature == -1 {
                *left = leaves;
                leaves += 1;
            }
        }
        if (leaves as usize).checked_mul(width) != Some(tree.value.len()) {
            return Err(invalid(format!("has {} values for {leaves} leaves of {width}", tree.value.len())));
        }
        Ok(tree)
    }

    /// A node, with `width` values if it is a leaf.
    fn node<X: Scalar>(&self, at: usize, place: usize, width: usize) -> Result<Node<X, f64>, NodeError> {
        match self.feature[at] {
            -1 => match &self.value[self.left[at] as usize * width..][..width] {
                [value] => Ok(Node::Leaf(*value)),
                list => Ok(Node::Leaves(list.to_vec())),
            },
            feature => Ok(Node::Split {
                feature: usize::try_from(feature)
                    .map_err(|_| LoadError::Invalid(format!("tree {place} has the feature {feature}")))?,
                // What is at most an f64 is at most the largest X not above that.
                test: Test::AtMost(X::round_down(self.threshold[at])),
                missing_left: self.missing_left[at] != 0,
                left: self.left[at] as usize,
                right: self.right[at] as usize,
            }),
        }
    }
}
