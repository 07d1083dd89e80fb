//! XGBoost itself, through its C API.

use super::foreign::{RowsDescription, XgBoost, XgBoostBooster};
use super::{Blocks, Engine, widened};

/// Predicts from dense rows in place, the C API's shortest way for rows that it hasn't seen. A `DMatrix` made beforehand is no
/// quicker the first time, and the second time the booster answers from its cache without a look at a tree.
pub struct XgBoostModel {
    booster: XgBoostBooster,
    descriptions: Vec<RowsDescription>,
}

impl XgBoostModel {
    pub const NAME: &'static str = "xgboost";

    pub fn load(library: &XgBoost, file: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { booster: library.load(file)?, descriptions: Vec::new() })
    }
}

impl Engine for XgBoostModel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn prepare(&mut self, blocks: Blocks<'_>) -> anyhow::Result<()> {
        let describe = |values| RowsDescription::of(values, blocks.rows.features);
        self.descriptions = blocks.all().map(describe).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn predict(&mut self, blocks: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        self.booster.predict(blocks.values(block), &self.descriptions[block])
    }

    fn answers(&self) -> Vec<f64> {
        widened(self.booster.answers())
    }
}
