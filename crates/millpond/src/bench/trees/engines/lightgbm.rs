//! LightGBM, through its C API, on a model of its own.

use std::ffi::CString;

use super::foreign::{LightGbm, LightGbmBooster};
use super::{Blocks, Engine};
use crate::bench::trees::forest::Forest;
use crate::bench::trees::rows::Rows;

/// Has LightGBM train a model of the same shape: as many trees, as deep, as many leaves at most, on rows of the same kind that the measured
/// model has answered. It cannot read XGBoost's models.
pub fn train(library: &LightGbm, forest: &Forest, rows: &Rows, answers: &[f32]) -> anyhow::Result<Vec<u8>> {
    let outputs = forest.base.len();
    let (depth, rounds) = (forest.depth(), forest.trees.len() / outputs);
    let objective = if outputs == 1 { "regression".to_owned() } else { format!("multiclass num_class={outputs}") };
    let parameters = format!(
        "objective={objective} max_depth={depth} num_leaves={} min_data_in_leaf=1 learning_rate=0.1 num_threads=1 \
         deterministic=true seed=1 verbosity=-1",
        1 << depth
    );
    let labels: Vec<f32> = answers
        .chunks_exact(outputs)
        .map(|row| if outputs == 1 { row[0] } else { first_largest(row) as f32 })
        .collect();
    library.train(&rows.values, rows.features, &labels, rounds, &CString::new(parameters)?)
}

fn first_largest(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// A model that LightGBM has trained.
pub struct LightGbmModel {
    booster: LightGbmBooster,
    answers: Vec<f64>,
}

impl LightGbmModel {
    pub const NAME: &'static str = "lightgbm";

    pub fn load(library: &LightGbm, text: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { booster: library.load(text)?, answers: Vec::new() })
    }
}

impl Engine for LightGbmModel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prepare(&mut self, _: Blocks<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn predict(&mut self, blocks: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        self.booster.predict(blocks.values(block), &mut self.answers)
    }

    fn answers(&self) -> Vec<f64> {
        self.answers.clone()
    }

    fn equals(&self) -> Option<&'static str> {
        Some(Self::NAME)
    }
}
