//! gblinear: a weight for each feature and output.

use crate::load_error::LoadError;
use crate::trees::PredictError;

/// Rows between two looks at the cancel flag.
const BLOCK_ROWS: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    features: usize,
    /// Feature by feature, one for each output.
    weights: Vec<f32>,
    /// Where each output's sum starts: its bias and base score.
    start: Vec<f32>,
}

impl Linear {
    /// Of weights as the file has them, with the biases last.
    pub(super) fn new(mut weights: Vec<f32>, base: Vec<f32>, features: usize) -> Result<Self, LoadError> {
        let outputs = base.len();
        if features.checked_add(1).and_then(|rows| rows.checked_mul(outputs)) != Some(weights.len()) {
            let len = weights.len();
            return Err(LoadError::Invalid(format!("{len} weights for {features} features and {outputs} outputs")));
        }
        let biases = weights.split_off(features * outputs);
        // XGBoost 3.2 adds the first class's base score to all.
        let start = biases.iter().map(|bias| bias + base[0]).collect();
        Ok(Self { features, weights, start })
    }

    pub(super) fn outputs(&self) -> usize {
        self.start.len()
    }

    /// As [`Forest::predict`](crate::trees::Forest::predict): the sums, feature by feature as XGBoost takes them, missing ones left out.
    pub(super) fn predict(
        &self,
        rows: &[f32],
        out: &mut Vec<f32>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        if !rows.len().is_multiple_of(self.features) {
            return Err(PredictError::RaggedRows { values: rows.len(), features: self.features });
        }
        out.clear();
        for (number, row) in rows.chunks_exact(self.features).enumerate() {
            if number % BLOCK_ROWS == 0 && cancel() {
                return Err(PredictError::Cancelled);
            }
            let begin = out.len();
            out.extend_from_slice(&self.start);
            let sums = &mut out[begin..];
            for (value, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs())) {
                if !value.is_nan() {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += value * weight;
                    }
                }
            }
        }
        Ok(())
    }
}
