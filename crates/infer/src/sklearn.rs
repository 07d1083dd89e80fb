//! scikit-learn's trees and their ensembles, predicting as scikit-learn does.
//!
//! They come as JSON that `models/train/export_sklearn.py` writes (its form is described in `models/train/README.md`), never as a
//! pickle, which could run any code. Covered are DecisionTree, RandomForest, ExtraTrees, GradientBoosting and
//! HistGradientBoosting, classifiers and regressors, with one output.
//!
//! Bit for bit scikit-learn's on x86-64 are:
//!
//! - what forests and single trees answer, probabilities included: f32 inputs against f64 thresholds, f64 leaves summed in the
//!   order of the trees (scikit-learn itself keeps to that order only with `n_jobs=1`);
//! - the boosting estimators' `decision_function`, their labels, their probabilities of two classes, and their numbers under the
//!   identity link.
//!
//! The last bits of other probabilities and of numbers under the log link may differ: scikit-learn takes NumPy's `exp`
//! there, which depends on the processor that it runs on.

mod file;

use bundle::{ModelFormat, Precision};

use file::{Estimator, Link};

use crate::math;
use crate::table_model::{Answers, Facts, TableEngine};
use crate::trees::{Forest, PredictError, Scalar};

pub use crate::load_error::LoadError;
pub use file::is_model;

/// A model, by the floats that its splits compare.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyModel {
    /// Everything but histogram boosting.
    Single(SklearnModel<f32>),
    /// HistGradientBoosting.
    Double(SklearnModel<f64>),
}

/// A model ready to predict for rows of `X`.
#[derive(Clone, Debug, PartialEq)]
pub struct SklearnModel<X: Scalar> {
    /// The scikit-learn that trained it.
    pub version: String,
    /// Names of the features, in the order of a row's values, if it was trained with names.
    pub feature_names: Option<Vec<String>>,
    /// How many values make a row.
    pub num_features: usize,
    /// Whether NaN is taken, as a missing value.
    pub missing: bool,
    /// The classes' labels; none for a regressor.
    pub labels: Option<Vec<String>>,
    estimator: Estimator,
    link: Link,
    trees: usize,
    forest: Forest<X, f64>,
}

/// Reads a model file.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number and 64 MB.
pub fn load(bytes: &[u8]) -> Result<AnyModel, LoadError> {
    let raw = file::RawModel::read(bytes)?;
    match raw.estimator.precision() {
        Precision::Single => SklearnModel::new(raw, bytes).map(AnyModel::Single),
        Precision::Double => SklearnModel::new(raw, bytes).map(AnyModel::Double),
    }
}

impl<X: Scalar> SklearnModel<X> {
    /// How many values [`predict_raw`](Self::predict_raw) gives for a row.
    #[must_use]
    pub fn outputs_per_row(&self) -> usize {
        self.forest.outputs()
    }

    /// Predicts for n rows what everything else follows from: the mean of the trees' answers (for a classifier, each class's
    /// probability), or the boosting estimators' `decision_function`.
    ///
    /// `rows` is row-major, n × [`num_features`](Self::num_features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs_per_row`](Self::outputs_per_row). `cancel` is asked before each block of at most 128 rows.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict_raw(&self, rows: &[X], out: &mut Vec<f64>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.forest.predict(rows, out, cancel)?;
        if self.estimator.averages() {
            // A division each, as scikit-learn does: multiplying by the inverse rounds otherwise.
            let trees = self.trees as f64;
            out.iter_mut().for_each(|sum| *sum /= trees);
        }
        Ok(())
    }

    /// A row's class, of its raw values: what `predict` answers. Of equal ones the first.
    #[must_use]
    pub fn class(&self, raw: &[f64]) -> usize {
        match raw {
            [raw] if self.estimator.zero_is_second() => usize::from(*raw >= 0.0),
            [raw] => usize::from(*raw > 0.0),
            _ => raw.iter().enumerate().fold(0, |best, (class, value)| if *value > raw[best] { class } else { best }),
        }
    }

    /// A row's answer in numbers, of its raw values: a regressor's `predict`, a classifier's `predict_proba`.
    #[must_use]
    pub fn numbers(&self, raw: &[f64]) -> Vec<f64> {
        let both = |second: f64| vec![1.0 - second, second];
        match (self.link, raw) {
            (Link::Identity, _) => raw.to_vec(),
            (Link::Log, _) => raw.iter().map(|raw| math::double::exp(*raw)).collect(),
            (Link::Logit, _) => both(math::double::expit(raw[0])),
            (Link::HalfLogit, _) => both(math::double::expit(2.0 * raw[0])),
            (Link::Softmax, _) => {
                let mut values = raw.to_vec();
                math::double::softmax(&mut values);
                values
            }
        }
    }
}

impl<X: Scalar + bundle::Number> TableEngine for SklearnModel<X> {
    type Input = X;
    type Output = f64;

    fn memory_bytes(&self) -> Option<usize> {
        Some(self.forest.memory_bytes())
    }

    fn facts(&self) -> Facts {
        let mut training = toml::Table::new();
        training.insert("library".into(), format!("scikit-learn {}", self.version).into());
        training.insert("estimator".into(), self.estimator.name().into());
        training.insert("trees".into(), i64::try_from(self.trees).unwrap_or(i64::MAX).into());
        Facts {
            format: ModelFormat::SklearnTrees,
            features: self.num_features,
            feature_names: self.feature_names.clone(),
            integers: vec![false; self.feature_names.as_ref().map_or(0, Vec::len)],
            missing: self.missing,
            precision: self.estimator.precision(),
            answers: match &self.labels {
                Some(labels) => Answers::Labels { classes: labels.len(), probabilities: true },
                None => Answers::Numbers,
            },
            numbers: self.labels.as_ref().map_or(1, Vec::len),
            labels: self.labels.clone(),
            kind: format!("the estimator {}", self.estimator.name()),
            training,
        }
    }

    fn width(&self) -> usize {
        self.outputs_per_row()
    }

    fn predict(&self, rows: &[X], out: &mut Vec<f64>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.predict_raw(rows, out, cancel)
    }

    fn class(&self, values: &[f64]) -> usize {
        Self::class(self, values)
    }

    fn number(&self, values: &[f64]) -> f64 {
        self.numbers(values)[0]
    }

    fn numbers(&self, values: &[f64]) -> Vec<f64> {
        Self::numbers(self, values)
    }

    fn probabilities(&self, values: &[f64]) -> Vec<f64> {
        Self::numbers(self, values)
    }
}
