//! XGBoost's native models, JSON and UBJ, predicting with XGBoost's own arithmetic: the same bits as its CPU predictor.
//!
//! Read are the boosters gbtree, DART and gblinear as XGBoost 1.0 to 3.x save them, with splits on numbers and (since 1.7) on
//! categories, any number of classes or targets, parallel trees, trees with a vector in each leaf (as 3.2 saves them), and every objective
//! that [`LoadError::Unsupported`] doesn't name.
//!
//! A model that was stopped early predicts up to its `best_iteration`, if the file has that attribute. That is what XGBoost's
//! scikit-learn classes answer; its bare `Booster` uses all trees.

pub mod dump;
mod linear;
mod model;
mod objective;

use std::sync::Arc;

use bundle::{ModelFormat, Precision};
use dump::Dump;
use linear::Linear;
use model::{EarlyTrees, MAX_OUTPUTS, RawModel, each_tree};
use objective::Transform;

use crate::source::{Json, Source, Ubj, forest_bytes};
use crate::table_model::{Answers, Facts, TableEngine};
use crate::torch::short;
use crate::trees::{Builder, Forest, Layout, MAX_FEATURES, PredictError};

pub use crate::load_error::LoadError;

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
    booster: Booster,
}

#[derive(Clone, Debug, PartialEq)]
enum Booster {
    Trees(Forest),
    Linear(Linear),
    Dump(Arc<Dump>),
}

/// Reads a model file, JSON or UBJ by its first bytes.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number and 64 MB.
pub fn load(bytes: &[u8]) -> Result<XgbModel, LoadError> {
    let text = bytes.trim_ascii_start();
    match (bytes, text) {
        // In UBJ an object goes on with the first key's length, with its own type or count, or with its end.
        ([b'{', b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#' | b'N', ..], _) => {
            XgbModel::read(bytes, || Ubj::new(bytes))
        }
        (_, [b'{', ..]) => XgbModel::read(bytes, || Json::new(bytes)),
        _ => Err(LoadError::NotAModel),
    }
}

impl XgbModel {
    /// How many values a row's answer has: one, or one for each class or target. `multi:softmax` answers the class's number.
    #[must_use]
    pub fn outputs_per_row(&self) -> usize {
        self.transform.outputs(self.margins_per_row())
    }

    fn margins_per_row(&self) -> usize {
        match &self.booster {
            Booster::Trees(forest) => forest.outputs(),
            Booster::Linear(linear) => linear.outputs(),
            Booster::Dump(dump) => dump.outputs(),
        }
    }

    /// How many trees a prediction walks.
    #[must_use]
    pub fn num_trees(&self) -> usize {
        match &self.booster {
            Booster::Trees(forest) => forest.trees(),
            Booster::Linear(_) => 0,
            Booster::Dump(dump) => dump.trees(),
        }
    }

    /// The same model, predicting batches in this way: see [`Forest::laid_out`].
    #[must_use]
    pub fn laid_out(mut self, layout: Layout) -> Self {
        if let Booster::Trees(forest) = self.booster {
            self.booster = Booster::Trees(forest.laid_out(layout));
        }
        self
    }

    /// Predicts for n rows, as XGBoost's `predict` does.
    ///
    /// `rows` is row-major, n × [`num_features`](Self::num_features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs_per_row`](Self::outputs_per_row). `cancel` is asked before each block of at most 512 rows. Infinities are compared like any
    /// number; XGBoost's own `DMatrix` refuses them.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.predict_margin(rows, out, cancel)?;
        self.transform.apply(out, self.margins_per_row());
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
        match &self.booster {
            Booster::Trees(forest) => forest.predict(rows, out, cancel),
            Booster::Linear(linear) => linear.predict(rows, out, cancel),
            Booster::Dump(dump) => dump.predict(rows, out, cancel),
        }
    }

    fn read<S: Source>(bytes: &[u8], source: impl Fn() -> S) -> Result<Self, LoadError> {
        let forest_bytes = forest_bytes(bytes);
        let mut raw = RawModel::read(&mut source(), forest_bytes)?;
        let early = raw.booster.early.take();
        let RawModel { booster, objective, base_score, version: saved_by, feature_names, feature_types, .. } = &raw;
        let (dart, linear) = match booster.name.as_str() {
            "gbtree" => (false, false),
            "dart" => (true, false),
            "gblinear" => (false, true),
            "" => return Err(LoadError::Missing("booster")),
            other => return Err(LoadError::Unsupported(format!("booster {}", short(other)))),
        };
        if objective.is_empty() {
            return Err(LoadError::Missing("objective"));
        }
        let transform = Transform::of(objective)
            .ok_or_else(|| LoadError::Unsupported(format!("objective {}", short(objective))))?;

        let num_features = parse("num_feature", &raw.num_feature)?;
        let num_class = parse("num_class", &raw.num_class)?;
        // Absent before 1.6.
        let num_target = if raw.num_target.is_empty() { 1 } else { parse("num_target", &raw.num_target)? };
        let outputs = num_class.max(num_target).max(1);
        if num_features == 0 {
            return Err(LoadError::Invalid("it has no features".into()));
        }
        if num_features > MAX_FEATURES {
            return Err(LoadError::Unsupported(format!("{num_features} features, more than {MAX_FEATURES},")));
        }
        if outputs > MAX_OUTPUTS {
            return Err(LoadError::Unsupported(format!("{outputs} classes or targets, more than {MAX_OUTPUTS},")));
        }
        for (what, list) in [("names", feature_names), ("types", feature_types)] {
            if !list.is_empty() && list.len() != num_features {
                let len = list.len();
                return Err(LoadError::Invalid(format!("{len} feature {what} for {num_features} features")));
            }
        }
        let mut version = [0; 3];
        for (ours, theirs) in version.iter_mut().zip(saved_by) {
            *ours = *theirs;
        }
        let base = base_scores(base_score, objective, outputs)?;
        let booster = if linear {
            Booster::Linear(Linear::new(booster.weights.clone(), base, num_features)?)
        } else {
            let before_1_7 = version < [1, 7, 0];
            let used = used_trees(&raw, dart, outputs)?;
            let right = |early: &EarlyTrees| !(dart || before_1_7 && early.categories);
            let early = early.filter(right).and_then(|early| early.builder.refit(num_features, &base, used));
            let builder = if let Some(builder) = early {
                builder
            } else {
                let mut builder = Builder::new(num_features, base).limited_to(forest_bytes);
                each_tree(&mut source(), |place, tree| {
                    if before_1_7 && tree.has_categories() {
                        // 1.5 and 1.6 sent a category beyond a set's largest the default way; since 1.7 it goes left, even with an old file.
                        return Err(LoadError::Unsupported("a split on categories by XGBoost before 1.7".into()));
                    }
                    if place >= used {
                        return Ok(());
                    }
                    let weight = dart.then(|| booster.weight_drop[place]);
                    let output = booster.tree_info[place] as usize;
                    tree.add_to(&mut builder, output, weight).map_err(|error| error.of(place))
                })?;
                // A file may have one list of trees only: the last of several was counted.
                if builder.trees() != used {
                    return Err(LoadError::Invalid("it has several lists of trees".into()));
                }
                builder
            };
            Booster::Trees(builder.build())
        };
        let named = |list: Vec<String>| if list.is_empty() { None } else { Some(list) };
        Ok(Self {
            num_features,
            num_class,
            version,
            transform,
            booster,
            feature_names: named(raw.feature_names),
            feature_types: named(raw.feature_types),
            objective: raw.objective,
        })
    }
}

/// How many of the trees a prediction walks.
fn used_trees(raw: &RawModel, dart: bool, outputs: usize) -> Result<usize, LoadError> {
    let booster = &raw.booster;
    let trees = booster.trees;
    if booster.tree_info.len() != trees || (dart && booster.weight_drop.len() != trees) {
        return Err(LoadError::Invalid("tree_info or weight_drop is not as long as trees".into()));
    }
    let parallel = match booster.num_parallel_tree.as_str() {
        "" => 1,
        text => parse("num_parallel_tree", text)?,
    };
    Ok(match &raw.best_iteration {
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
    })
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
        match &self.booster {
            Booster::Trees(forest) => Some(forest.memory_bytes()),
            Booster::Linear(_) | Booster::Dump(_) => None,
        }
    }

    fn facts(&self) -> Facts {
        let [major, minor, patch] = self.version;
        let mut training = toml::Table::new();
        let is_dump = matches!(self.booster, Booster::Dump(_));
        let library = if is_dump { "XGBoost, a dump".into() } else { format!("XGBoost {major}.{minor}.{patch}") };
        training.insert("library".into(), library.into());
        training.insert("objective".into(), self.objective.clone().into());
        training.insert("trees".into(), i64::try_from(self.num_trees()).unwrap_or(i64::MAX).into());
        let types = self.feature_types.iter().flatten();
        Facts {
            format: if is_dump { ModelFormat::XgboostDump } else { ModelFormat::Xgboost },
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
    text.parse().map_err(|_| LoadError::Invalid(format!("{name} is {}", short(text))))
}

/// The margins that a row's sums start at: from `5E-1`, or since 3.1 `[5E-1]`, or a list with one for each class or target.
fn base_scores(text: &str, objective: &str, outputs: usize) -> Result<Vec<f32>, LoadError> {
    if text.is_empty() {
        return Err(LoadError::Missing("base_score"));
    }
    let invalid = || LoadError::Invalid(format!("base_score is {}", short(text)));
    // Counted before there is room for them.
    let count = text.split(',').count();
    if count != 1 && count != outputs {
        return Err(invalid());
    }
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
