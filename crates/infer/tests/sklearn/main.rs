//! scikit-learn's trees against scikit-learn's own predictions, and against hostile files.

#[path = "../common/mod.rs"]
mod common;
mod reference;
mod robustness;

use infer::sklearn::{AnyModel, SklearnModel};
use infer::trees::Scalar;

/// A model behind one face: rows of f64 in, which are rounded as scikit-learn rounds them.
trait Predict {
    /// The raw values, row-major.
    fn raw(&self, rows: &[f64]) -> Vec<f64>;
    /// How many raw values a row has.
    fn outputs(&self) -> usize;
    fn numbers(&self, raw: &[f64]) -> Vec<f64>;
    fn class(&self, raw: &[f64]) -> usize;
}

fn raw_of<X: Scalar>(model: &SklearnModel<X>, rows: &[X]) -> Vec<f64> {
    let mut out = Vec::new();
    model.predict_raw(rows, &mut out, &|| false).expect("whole rows, not cancelled");
    out
}

impl Predict for AnyModel {
    fn raw(&self, rows: &[f64]) -> Vec<f64> {
        match self {
            Self::Single(model) => raw_of(model, &rows.iter().map(|value| *value as f32).collect::<Vec<_>>()),
            Self::Double(model) => raw_of(model, rows),
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Single(model) => model.outputs_per_row(),
            Self::Double(model) => model.outputs_per_row(),
        }
    }

    fn numbers(&self, raw: &[f64]) -> Vec<f64> {
        match self {
            Self::Single(model) => model.numbers(raw),
            Self::Double(model) => model.numbers(raw),
        }
    }

    fn class(&self, raw: &[f64]) -> usize {
        match self {
            Self::Single(model) => model.class(raw),
            Self::Double(model) => model.class(raw),
        }
    }
}
