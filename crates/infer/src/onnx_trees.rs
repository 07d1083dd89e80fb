//! ONNX files with trees in them (`TreeEnsembleRegressor` and `TreeEnsembleClassifier` of ai.onnx.ml 1 to 3), as skl2onnx and
//! onnxmltools write them, predicting as ONNX Runtime does.
//!
//! Read are graphs of one such node with one input, n × features of f32. Before it may stand `Scaler`, `Identity` and a cast to f32, after
//! it `Identity`, `ZipMap` and casts; anything else is refused by name. Leaves are summed in f32 and in the order of the trees, and base values
//! added last, as ONNX Runtime does for one row; for many it may sum in another order, so its last bits are its own: within 1e-6,
//! relatively, is the same.
//!
//! A conversion to f32 is not always the model that was trained: 5 of 6,500 labels of a forest changed in one. Where the library's own
//! file can be had, that is exact.

mod ensemble;
mod graph;
mod scores;
mod wire;

use bundle::{ModelFormat, Precision};

use ensemble::{Ensemble, floats};
use graph::{Graph, Operator, attributes};
use scores::{Scores, Transform};
use wire::Fields;

use crate::load_error::LoadError as Error;
use crate::source::{Budget, forest_bytes};
use crate::table_model::{Answers, Facts, TableEngine};
use crate::torch::short;
use crate::trees::{Builder, Forest, MAX_FEATURES, PredictError};

pub use crate::load_error::LoadError;
pub use graph::is_model;

/// Targets or classes that there may be: bounds what a row's answer takes.
const MAX_OUTPUTS: usize = 1 << 16;

/// A model ready to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxTrees {
    /// How many values make a row.
    pub num_features: usize,
    /// The classes' labels; none for a regressor.
    pub labels: Option<Vec<String>>,
    scaler: Option<Scaler>,
    scores: Scores,
    trees: usize,
    forest: Forest,
}

/// `Scaler`: what is taken from each feature, and what the rest is multiplied by.
#[derive(Clone, Debug, PartialEq)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    fn read(node: Fields<'_>) -> Result<Self, Error> {
        let (mut offset, mut scale) = (Vec::new(), Vec::new());
        // There are fewer than there are features, of which there are few.
        let mut budget = Budget::of(&[]);
        attributes(node, |name, attribute| match name {
            "offset" => floats(attribute, &mut offset, &mut budget),
            "scale" => floats(attribute, &mut scale, &mut budget),
            _ => Ok(()),
        })?;
        Ok(Self { offset, scale })
    }

    /// One for each feature, or one for all, as the operator has it.
    fn fits(&self, features: usize) -> bool {
        [&self.offset, &self.scale].iter().all(|list| list.len() == 1 || list.len() == features)
    }

    fn apply(&self, row: &[f32], out: &mut Vec<f32>) {
        let of = |list: &[f32], at: usize| list[at.min(list.len() - 1)];
        out.extend(row.iter().enumerate().map(|(at, value)| (value - of(&self.offset, at)) * of(&self.scale, at)));
    }
}

/// Reads a model file.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number and 64 MB.
pub fn load(bytes: &[u8]) -> Result<OnnxTrees, Error> {
    let Graph { operator, node, features, scaler } = graph::read(bytes)?;
    let mut ensemble = Ensemble::read(node, &mut Budget::of(bytes))?;
    let tested = ensemble.features();
    let num_features = features.unwrap_or(tested);
    if num_features > MAX_FEATURES || tested > num_features {
        return Err(Error::Invalid(format!("it tests {tested} features of {num_features}")));
    }
    if scaler.as_ref().is_some_and(|scaler| !scaler.fits(num_features)) {
        return Err(Error::Invalid("its Scaler does not fit its features".into()));
    }
    let transform = Transform::of(&ensemble.transform)
        .ok_or_else(|| Error::Unsupported(format!("the post_transform {}", short(&ensemble.transform))))?;
    let (outputs, is_binary) = outputs(operator, &ensemble)?;
    if !matches!(ensemble.aggregate.as_str(), "" | "SUM" | "AVERAGE") {
        let why = format!("the aggregate_function {}", short(&ensemble.aggregate));
        return Err(Error::Unsupported(why));
    }
    let average = ensemble.aggregate == "AVERAGE";
    let mut builder = Builder::new(num_features, vec![0.0; outputs]).limited_to(forest_bytes(bytes));
    let (trees, all_scored) = ensemble.build(outputs, &mut builder)?;
    let base = std::mem::take(&mut ensemble.base);
    if operator == Operator::Classifier && !is_binary && base.is_empty() && !all_scored {
        return Err(Error::Unsupported("a class that some rows get no weight for".into()));
    }
    let scores = match operator {
        // A regressor's transform is applied by some runtimes only, and not for one target.
        Operator::Regressor if transform != Transform::None => {
            return Err(Error::Unsupported(format!(
                "a regressor with the post_transform {}",
                short(&ensemble.transform)
            )));
        }
        Operator::Regressor => Scores::Numbers { base, average: average.then_some(trees) },
        Operator::Classifier if average => {
            return Err(Error::Unsupported("a classifier with an aggregate_function".into()));
        }
        Operator::Classifier if is_binary => Scores::binary(transform, &base, ensemble.all_positive())?,
        Operator::Classifier => Scores::Classes { base, transform },
    };
    Ok(OnnxTrees {
        num_features,
        labels: (operator == Operator::Classifier).then_some(ensemble.labels),
        scaler,
        scores,
        trees,
        forest: builder.build(),
    })
}

/// How many sums a row has, and whether one sum tells two classes apart.
fn outputs(operator: Operator, ensemble: &Ensemble) -> Result<(usize, bool), Error> {
    let count = match operator {
        Operator::Regressor => ensemble.targets,
        Operator::Classifier => ensemble.labels.len(),
    };
    let least = if operator == Operator::Regressor { 1 } else { 2 };
    if !(least..=MAX_OUTPUTS).contains(&count) {
        return Err(Error::Invalid(format!("{count} targets or classes")));
    }
    let is_binary = operator == Operator::Classifier && count == 2;
    if is_binary && !ensemble.only_first_id() {
        // Converters write one weight a leaf, which they say is the first class's. Whatever else there is, ONNX Runtime has rules for that
        // the operator's description has not, such as that the second class wins whenever its score is above 0.
        return Err(Error::Unsupported("a classifier of two classes with weights for the second".into()));
    }
    let base = ensemble.base.len();
    if !is_binary && base != 0 && base != count {
        return Err(Error::Invalid(format!("{base} base values for {count} targets or classes")));
    }
    Ok((if is_binary { 1 } else { count }, is_binary))
}

impl OnnxTrees {
    /// How many values [`predict_raw`](Self::predict_raw) gives for a row.
    #[must_use]
    pub fn outputs_per_row(&self) -> usize {
        self.forest.outputs()
    }

    /// Predicts for n rows the sums of leaves that everything else follows from.
    ///
    /// `rows` is row-major, n × [`num_features`](Self::num_features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs_per_row`](Self::outputs_per_row). `cancel` is asked before each block of at most 128 rows.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict_raw(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        match &self.scaler {
            None => self.forest.predict(rows, out, cancel),
            Some(scaler) => {
                let mut scaled = Vec::with_capacity(rows.len());
                rows.chunks(self.num_features).for_each(|row| scaler.apply(row, &mut scaled));
                self.forest.predict(&scaled, out, cancel)
            }
        }
    }

    /// A row's class, of its sums.
    #[must_use]
    pub fn class(&self, sums: &[f32]) -> usize {
        self.scores.class(sums)
    }

    /// A row's answer, of its sums: the targets, or each class's score, which is its probability if
    /// [`has_probabilities`](Self::has_probabilities).
    #[must_use]
    pub fn scores(&self, sums: &[f32]) -> Vec<f32> {
        self.scores.of(sums)
    }

    /// Whether scores are probabilities.
    #[must_use]
    pub fn has_probabilities(&self) -> bool {
        self.scores.are_probabilities()
    }
}

impl TableEngine for OnnxTrees {
    type Input = f32;
    type Output = f32;

    fn facts(&self) -> Facts {
        let operator = if self.labels.is_some() { "TreeEnsembleClassifier" } else { "TreeEnsembleRegressor" };
        let mut training = toml::Table::new();
        training.insert("library".into(), "ONNX".into());
        training.insert("operator".into(), operator.into());
        training.insert("trees".into(), i64::try_from(self.trees).unwrap_or(i64::MAX).into());
        Facts {
            format: ModelFormat::OnnxTrees,
            features: self.num_features,
            feature_names: None,
            integers: Vec::new(),
            missing: true,
            precision: Precision::Single,
            answers: match &self.labels {
                Some(labels) => Answers::Labels { classes: labels.len(), probabilities: self.has_probabilities() },
                None => Answers::Numbers,
            },
            numbers: self.labels.as_ref().map_or(self.outputs_per_row(), Vec::len),
            labels: self.labels.clone(),
            kind: format!("the operator {operator}"),
            training,
        }
    }

    fn width(&self) -> usize {
        self.outputs_per_row()
    }

    fn predict(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.predict_raw(rows, out, cancel)
    }

    fn class(&self, values: &[f32]) -> usize {
        Self::class(self, values)
    }

    fn number(&self, values: &[f32]) -> f64 {
        self.numbers(values)[0]
    }

    fn numbers(&self, values: &[f32]) -> Vec<f64> {
        self.scores(values).into_iter().map(f64::from).collect()
    }

    fn probabilities(&self, values: &[f32]) -> Vec<f64> {
        if self.has_probabilities() { self.numbers(values) } else { Vec::new() }
    }
}
