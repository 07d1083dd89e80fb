//! LightGBM's text models, predicting with LightGBM's own arithmetic: the same bits as `Booster.predict` on x86-64.
//!
//! Read are models as LightGBM 4 saves them (`booster.save_model("model.txt")`), and as LightGBM 3 does, whose files have the same
//! form but are not among those that the tests compare, with splits on numbers and on categories, any
//! of the three ways to treat missing values, any number of classes, random forests, and the objectives that
//! [`LoadError::Unsupported`] doesn't name: not linear trees, and not categories that pandas encoded.

mod file;
mod objective;

use bundle::{ModelFormat, Precision};

use crate::table_model::{Answers, Facts, TableEngine};
use crate::trees::{Forest, PredictError};
use objective::Objective;

pub use crate::load_error::LoadError;
pub use file::is_model;

/// A model ready to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct LightGbmModel {
    /// Names of the features, in the order of a row's values; LightGBM makes some up if there are none.
    pub feature_names: Vec<String>,
    /// The objective as the file has it, such as "binary sigmoid:1".
    pub objective: String,
    meaning: Objective,
    /// How many trees there are for each output, where an answer is their mean.
    averaged: Option<usize>,
    trees: usize,
    /// The columns that the trees see.
    readings: Vec<Reading>,
    forest: Forest<f64, f64>,
}

/// A feature in the way that a split takes it. One feature may be taken in several ways, for training that went on with other data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reading {
    feature: usize,
    kind: ReadingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ReadingKind {
    /// NaN is missing.
    Nan,
    /// NaN is 0, and nothing is missing.
    NanIsZero,
    /// NaN and 0 are missing.
    NanAndZero,
    /// A category: truncated, so that −0.5 is category 0.
    Category,
}

/// What LightGBM takes for 0: up to 1e-35 as f32 has it (`kZeroThreshold`).
const ZERO: f64 = 1e-35_f32 as f64;

impl Reading {
    fn of(self, row: &[f64]) -> f64 {
        let value = row[self.feature];
        // Before it looks at splits, LightGBM leaves out what is nearly 0, and then reads 0.
        let value = if value.abs() <= ZERO { 0.0 } else { value };
        match self.kind {
            ReadingKind::Nan => value,
            ReadingKind::NanIsZero if value.is_nan() => 0.0,
            ReadingKind::NanIsZero => value,
            ReadingKind::NanAndZero if value == 0.0 => f64::NAN,
            ReadingKind::NanAndZero => value,
            ReadingKind::Category => value.trunc(),
        }
    }
}

/// Reads a model file.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number and 64 MB.
pub fn load(bytes: &[u8]) -> Result<LightGbmModel, LoadError> {
    file::read(bytes)
}

impl LightGbmModel {
    /// How many values make a row.
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.feature_names.len()
    }

    /// How many values a row's answer has: one, or one for each class.
    #[must_use]
    pub fn outputs_per_row(&self) -> usize {
        self.forest.outputs()
    }

    /// Predicts for n rows, as LightGBM's `Booster.predict` does.
    ///
    /// `rows` is row-major, n × [`num_features`](Self::num_features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs_per_row`](Self::outputs_per_row). `cancel` is asked before each block of at most 128 rows.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict(&self, rows: &[f64], out: &mut Vec<f64>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        self.predict_raw(rows, out, cancel)?;
        if let Some(trees) = self.averaged {
            out.iter_mut().for_each(|sum| *sum /= trees as f64);
        }
        out.chunks_exact_mut(self.outputs_per_row()).for_each(|row| self.meaning.convert(row));
        Ok(())
    }

    /// The sums of leaves that [`predict`](Self::predict) starts from: `predict(raw_score=True)`.
    ///
    /// # Errors
    ///
    /// Those of [`predict`](Self::predict).
    pub fn predict_raw(&self, rows: &[f64], out: &mut Vec<f64>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        let features = self.num_features();
        if !rows.len().is_multiple_of(features) {
            return Err(PredictError::RaggedRows { values: rows.len(), features });
        }
        let read: Vec<f64> =
            rows.chunks_exact(features).flat_map(|row| self.readings.iter().map(|reading| reading.of(row))).collect();
        self.forest.predict(&read, out, cancel)
    }
}

impl TableEngine for LightGbmModel {
    type Input = f64;
    type Output = f64;

    fn memory_bytes(&self) -> Option<usize> {
        Some(self.forest.memory_bytes())
    }

    fn facts(&self) -> Facts {
        let mut training = toml::Table::new();
        training.insert("library".into(), "LightGBM".into());
        training.insert("objective".into(), self.objective.clone().into());
        training.insert("trees".into(), i64::try_from(self.trees).unwrap_or(i64::MAX).into());
        let mut integers = vec![false; self.num_features()];
        for reading in self.readings.iter().filter(|reading| reading.kind == ReadingKind::Category) {
            integers[reading.feature] = true;
        }
        Facts {
            format: ModelFormat::Lightgbm,
            features: self.num_features(),
            feature_names: Some(self.feature_names.clone()),
            integers,
            missing: true,
            precision: Precision::Double,
            answers: match self.meaning.classes(self.outputs_per_row()) {
                Some(classes) => Answers::Labels { classes, probabilities: true },
                None => Answers::Numbers,
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

    fn predict(&self, rows: &[f64], out: &mut Vec<f64>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        Self::predict(self, rows, out, cancel)
    }

    fn class(&self, values: &[f64]) -> usize {
        let values = self.probabilities(values);
        values.iter().enumerate().fold(0, |best, (class, value)| if *value > values[best] { class } else { best })
    }

    fn number(&self, values: &[f64]) -> f64 {
        values[0]
    }

    fn numbers(&self, values: &[f64]) -> Vec<f64> {
        values.to_vec()
    }

    fn probabilities(&self, values: &[f64]) -> Vec<f64> {
        match values {
            // As LGBMClassifier does.
            [second] => vec![1.0 - second, *second],
            _ => values.to_vec(),
        }
    }
}
