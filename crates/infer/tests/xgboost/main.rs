//! XGBoost models against XGBoost's own predictions, against another engine, and against hostile files.

#[path = "../common/mod.rs"]
mod common;
mod dump;
mod oracle;
mod reference;
mod robustness;
mod table;
mod wine;

use infer::xgboost::XgbModel;

/// Predicts without ever cancelling.
fn predict(model: &XgbModel, rows: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    model.predict(rows, &mut out, &|| false).expect("whole rows, not cancelled");
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
