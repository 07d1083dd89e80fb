//! The engines that are measured, each behind the same three calls.

mod foreign;
mod gbdt;
mod lightgbm;
mod millpond;
#[cfg(feature = "onnxruntime")]
mod onnx_runtime;
mod xgboost;

pub use foreign::{LightGbm, XgBoost};
pub use gbdt::Gbdt;
pub use lightgbm::{LightGbmModel, train};
pub use millpond::{LightGbmByMillpond, Millpond};
#[cfg(feature = "onnxruntime")]
pub use onnx_runtime::OnnxRuntime;
pub use xgboost::XgBoostModel;

use super::rows::Rows;

/// Blocks of rows, one of which is asked about in each call.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    pub rows: &'a Rows,
    pub block_rows: usize,
}

impl<'a> Blocks<'a> {
    pub fn count(self) -> usize {
        self.rows.values.len() / self.block_values()
    }

    /// The values of a block, row-major.
    pub fn values(self, block: usize) -> &'a [f32] {
        &self.rows.values[block * self.block_values()..][..self.block_values()]
    }

    fn all(self) -> impl Iterator<Item = &'a [f32]> {
        (0..self.count()).map(move |block| self.values(block))
    }

    fn block_values(self) -> usize {
        self.block_rows * self.rows.features
    }
}

/// A model that an engine has loaded, to run on one thread.
pub trait Engine {
    /// As reports name it.
    fn name(&self) -> &'static str;

    /// Brings the blocks into the form that the engine takes. Isn't measured.
    fn prepare(&mut self, blocks: Blocks<'_>) -> anyhow::Result<()>;

    /// Answers a block; the answers lie where the engine puts them. This is what is measured.
    fn predict(&mut self, blocks: Blocks<'_>, block: usize) -> anyhow::Result<()>;

    /// The last block's answers. An f32 is the f64 that equals it.
    fn answers(&self) -> Vec<f64>;

    /// The engine whose answers these should equal to the bit, if that is another one than everybody's.
    fn equals(&self) -> Option<&'static str> {
        None
    }
}

fn widened(answers: &[f32]) -> Vec<f64> {
    answers.iter().map(|answer| f64::from(*answer)).collect()
}
