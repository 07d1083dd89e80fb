//! XGBoost's native models, JSON and UBJ, predicting with XGBoost's own arithmetic: the same bits as its CPU predictor.
//!
//! Read are the boosters gbtree and DART as XGBoost 1.0 to 3.x save them, with splits on numbers and (since 1.7) on categories, any number
//! of classes or targets, parallel trees, and every objective that [`LoadError::Unsupported`] doesn't name: not gblinear, and no trees with
//! a vector in each leaf.
//!
//! A model that was stopped early predicts up to its `best_iteration`, if the file has that attribute. That is what XGBoost's
//! scikit-learn classes answer; its bare `Booster` uses all trees.

mod json;
mod model;
mod objective;
mod source;
mod ubj;

use bundle::{ModelFormat, Precision};
use model::{RawModel, RawTree};
use objective::Transform;

use crate::table_model::{Answers, Facts, TableEngine};
use crate::trees::{Builder, Forest, PredictError, TreeError};

/// Why a model file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Neither of the formats: a model in the binary format before 1.0, for one, or a pickle.
    #[error("not an XGBoost model in JSON or UBJ (`save_model` with a name that ends in .json or .ubj writes one)")]
    NotAModel,
    /// The bytes are not well-formed.
    #[error("malformed {format} at byte {at}: {problem}")]
    Syntax {
        /// "JSON" or "UBJ".
        format: &'static str,
        /// Offset into the file.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// Something every model has isn't there.
    #[error("the model has no {0}")]
    Missing(&'static str),
    /// A parameter or an array makes no sense.
    #[error("invalid model: {0}")]
    Invalid(String),
    /// A valid model that this engine can't predict with.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A tree is malformed.
    #[error("tree {tree} is malformed")]
    Tree {
        /// Its place in the model.
        tree: usize,
        /// What is wrong with it.
        source: TreeError,
    },
}

/// A model ready to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct XgbModel {
    /// Names of the features, in the order of a row's values, if the model was trained with names.
    pub feature_names: Option<Vec<String>>,
    /// Their types as XGBoost names them ("float", "int", "i" for boolean, "q", "c" for a category's code, ...), if known.
    pub feature_types: Option<Vec<String>>,
    /// How many values make a row.
    pub num_features: usize,
    /// The objective's name, such as "reg:squarederror".
    pub objective: String,
    /// How many classes there are; 0 if the model is no multi-class one.
    pub num_class: usize,
    /// The XGBoost that saved it: major, minor, patch.
    pub version: [i64; 3],
    transform: Transform,
    forest: Forest,
}

/// Margins a row may have: bounds what a row's answer takes.
const MAX_OUTPUTS: usize = 1 << 16;

/// Reads a model file, JSON or UBJ by its first bytes.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within a small multiple of their number.
pub fn load(bytes: &[u8]) -> Result<XgbModel, LoadError> {
    let text = bytes.trim_ascii_start();
    let raw = match (bytes, text) {
        // In UBJ an object goes on with the first key's length, with its own type or count, or with its end.
        ([b'{', b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#' | b'N', ..], _) => {
            RawModel::read(&mut ubj::Ubj::new(bytes))?
        }
        (_, [b'{', ..]) => RawModel::read(&mut json::Json::new(bytes))?,
        _ => return Err(LoadError::NotAModel),
    };
    XgbModel::new(raw)
}

impl XgbModel {
    /// How many values a row's answer has: one, or one for each class or target. `multi:softmax` answers the class's number.
    #[must_use]
    pub fn outputs_per_row(&self) -> usize {
        self.transform.outputs(self.forest.outputs())
    }

    /// How many trees a prediction walks.
    #[must_use]
    pub fn num_trees(&self) -> usize {
        self.forest.trees()
    }

    /// Predicts for n rows, as XGBoost's `predict` does.
    ///
    /// `rows` is row-major, n × [`num_features`](Self::num_features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs_per_row`](Self::outputs_per_row). `cancel` is asked before each block of at most 128 rows. Infinities are compared like any
    /// number; XGBoost's own `DMatrix` refuses them.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.predict_margin(rows, out, cancel)?;
        self.transform.apply(out, self.forest.outputs());
        Ok(())
    }

    /// The sums of leaves that [`predict`](Self::predict) starts from: `predict(output_margin=True)`, always one value for each class or target.
    ///
    /// # Errors
    ///
    /// Those of [`predict`](Self::predict).
    pub fn predict_margin(
        &self,
        rows: &[f32],
        out: &mut Vec<f32>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        self.forest.predict(rows, out, cancel)
    }

    fn new(raw: RawModel) -> Result<Self, LoadError> {
        let RawModel { booster, objective, .. } = raw;
        let dart = match booster.name.as_str() {
            "gbtree" => false,
            "dart" => true,
            "" => return Err(LoadError::Missing("booster")),
            other => return Err(LoadError::Unsupported(format!("booster {other:?}"))),
        };
        if objective.is_empty() {
            return Err(LoadError::Missing("objective"));
        }
        let transform =
            Transform::of(&objective).ok_or_else(|| LoadError::Unsupported(format!("objective {objective:?}")))?;

        let num_features = parse("num_feature", &raw.num_feature)?;
        let num_class = parse("num_class", &raw.num_class)?;
        // Absent before 1.6.
        let num_target = if raw.num_target.is_empty() { 1 } else { parse("num_target", &raw.num_target)? };
        let outputs = num_class.max(num_target).max(1);
        if num_features == 0 {
            return Err(LoadError::Invalid("it has no features".into()));
        }
        if outputs > MAX_OUTPUTS {
            return Err(LoadError::Unsupported(format!("{outputs} classes or targets, more than {MAX_OUTPUTS},")));
        }
        let named = |what, list: Vec<String>| match list.len() {
            0 => Ok(None),
            len if len == num_features => Ok(Some(list)),
            len => Err(LoadError::Invalid(format!("{len} feature {what} for {num_features} features"))),
        };

        let trees = booster.trees.len();
        if booster.tree_info.len() != trees || (dart && booster.weight_drop.len() != trees) {
            return Err(LoadError::Invalid("tree_info or weight_drop is not as long as trees".into()));
        }
        let parallel = match booster.num_parallel_tree.as_str() {
            "" => 1,
            text => parse("num_parallel_tree", text)?,
        };
        let used = match &raw.best_iteration {
            None => trees,
            Some(best) => {
                let rounds = parse("best_iteration", best)?.saturating_add(1);
                let end = match booster.iteration_indptr.get(rounds) {
                    Some(end) => usize::try_from(*end).unwrap_or(trees),
                    None => rounds.saturating_mul(parallel).saturating_mul(outputs),
                };
                // An attribute that says more than there is was left by a longer model.
                end.min(trees)
            }
        };

        let mut version = [0; 3];
        for (ours, theirs) in version.iter_mut().zip(raw.version) {
            *ours = theirs;
        }
        if version < [1, 7, 0] && booster.trees.iter().any(RawTree::has_categories) {
            // 1.5 and 1.6 sent a category beyond a set's largest the default way; since 1.7 it goes left, even with an old file.
            return Err(LoadError::Unsupported("a split on categories by XGBoost before 1.7".into()));
        }

        let base = base_scores(&raw.base_score, &objective, outputs)?;
        let mut builder = Builder::new(num_features, base);
        for (tree, (nodes, output)) in booster.trees.iter().zip(&booster.tree_info).take(used).enumerate() {
            let weight = dart.then(|| booster.weight_drop[tree]);
            let output = usize::try_from(*output).unwrap_or(usize::MAX);
            builder.add(output, &nodes.nodes(weight)?).map_err(|source| LoadError::Tree { tree, source })?;
        }
        Ok(Self {
            feature_names: named("names", raw.feature_names)?,
            feature_types: named("types", raw.feature_types)?,
            num_features,
            objective,
            num_class,
            version,
            transform,
            forest: builder.build(),
        })
    }
}

/// What the numbers of an answer mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Numbers.
    Number,
    /// The second class's probability.
    Probability,
    /// Each class's probability.
    Probabilities,
    /// A class's number.
    ClassNumber,
}

impl XgbModel {
    /// Several targets under `binary:logistic` are labels of their own, so numbers here.
    fn meaning(&self) -> Meaning {
        match (self.objective.as_str(), self.outputs_per_row()) {
            ("binary:logistic", 1) => Meaning::Probability,
            ("multi:softprob", _) => Meaning::Probabilities,
            ("multi:softmax" | "binary:hinge", 1) => Meaning::ClassNumber,
            _ => Meaning::Number,
        }
    }
}

impl TableEngine for XgbModel {
    type Input = f32;
    type Output = f32;

    fn memory_bytes(&self) -> Option<usize> {
        Some(self.forest.memory_bytes())
    }

    fn facts(&self) -> Facts {
        let [major, minor, patch] = self.version;
        let mut training = toml::Table::new();
        training.insert("library".into(), format!("XGBoost {major}.{minor}.{patch}").into());
        training.insert("objective".into(), self.objective.clone().into());
        training.insert("trees".into(), i64::try_from(self.num_trees()).unwrap_or(i64::MAX).into());
        let types = self.feature_types.iter().flatten();
        Facts {
            format: ModelFormat::Xgboost,
            features: self.num_features,
            feature_names: self.feature_names.clone(),
            integers: types.map(|kind| matches!(kind.as_str(), "int" | "i" | "c")).collect(),
            missing: true,
            precision: Precision::Single,
            answers: match self.meaning() {
                Meaning::Number => Answers::Numbers,
                meaning => Answers::Labels {
                    classes: if meaning == Meaning::Probability { 2 } else { self.num_class.max(2) },
                    probabilities: meaning != Meaning::ClassNumber,
                },
            },
            numbers: self.outputs_per_row(),
            labels: None,
            kind: format!("objective {}", self.objective),
            training,
        }
    }

    fn width(&self) -> usize {
        self.outputs_per_row()
    }

    fn predict(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        Self::predict(self, rows, out, cancel)
    }

    fn class(&self, values: &[f32]) -> usize {
        match self.meaning() {
            Meaning::Probability => usize::from(values[0] > 0.5),
            // Like NumPy's argmax: of equal ones the first.
            Meaning::Probabilities => values
                .iter()
                .enumerate()
                .fold(0, |best, (class, value)| if *value > values[best] { class } else { best }),
            Meaning::ClassNumber | Meaning::Number => values[0] as usize,
        }
    }

    fn number(&self, values: &[f32]) -> f64 {
        f64::from(values[0])
    }

    fn numbers(&self, values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    fn probabilities(&self, values: &[f32]) -> Vec<f64> {
        match self.meaning() {
            // As XGBClassifier does: the other class has the rest, in f32.
            Meaning::Probability => vec![f64::from(1.0 - values[0]), f64::from(values[0])],
            Meaning::Probabilities => self.numbers(values),
            Meaning::ClassNumber | Meaning::Number => Vec::new(),
        }
    }
}

fn parse(name: &'static str, text: &str) -> Result<usize, LoadError> {
    if text.is_empty() {
        return Err(LoadError::Missing(name));
    }
    text.parse().map_err(|_| LoadError::Invalid(format!("{name} is {text:?}")))
}

/// The margins that a row's sums start at: from `5E-1`, or since 3.1 `[5E-1]`, or a list with one for each class or target.
fn base_scores(text: &str, objective: &str, outputs: usize) -> Result<Vec<f32>, LoadError> {
    if text.is_empty() {
        return Err(LoadError::Missing("base_score"));
    }
    let invalid = || LoadError::Invalid(format!("base_score is {text:?}"));
    let list = text.strip_prefix('[').map_or(Some(text), |rest| rest.strip_suffix(']')).ok_or_else(invalid)?;
    let margins = list
        .split(',')
        .map(|score| {
            let score: f32 = score.trim().parse().map_err(|_| invalid())?;
            let margin = objective::margin(objective, score);
            if margin.is_finite() { Ok(margin) } else { Err(invalid()) }
        })
        .collect::<Result<Vec<f32>, _>>()?;
    match margins.len() {
        1 => Ok(vec![margins[0]; outputs]),
        len if len == outputs => Ok(margins),
        _ => Err(invalid()),
    }
}
