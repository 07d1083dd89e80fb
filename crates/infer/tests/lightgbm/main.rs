//! LightGBM models against LightGBM's own predictions, and against hostile files.

#[path = "../common/mod.rs"]
mod common;
mod reference;
mod robustness;

use infer::lightgbm::LightGbmModel;

/// Predicts without ever cancelling.
fn predict(model: &LightGbmModel, rows: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    model.predict(rows, &mut out, &|| false).expect("whole rows, not cancelled");
    out
}
