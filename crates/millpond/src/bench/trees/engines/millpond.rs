//! Our own engine.

use infer::lightgbm;
use infer::trees::Layout;
use infer::xgboost::{self, XgbModel};

use super::{Blocks, Engine, widened};

/// An XGBoost model.
pub struct Millpond {
    name: &'static str,
    model: XgbModel,
    answers: Vec<f32>,
}

impl Millpond {
    /// What everybody gets: the layout that suits the machine best.
    pub const NAME: &'static str = "millpond";

    pub fn load(file: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { name: Self::NAME, model: xgboost::load(file)?, answers: Vec::new() })
    }

    /// The same model in each other layout that the machine has the instructions for.
    pub fn load_others(file: &[u8]) -> anyhow::Result<Vec<Self>> {
        let others = Layout::available().into_iter().filter(|layout| *layout != Layout::best());
        let load = |layout| {
            let name = match layout {
                Layout::Walk => "millpond-walk",
                Layout::Portable => "millpond-portable",
                Layout::Neon => "millpond-neon",
                Layout::Avx2 => "millpond-avx2",
                Layout::Avx512 => "millpond-avx512",
            };
            Ok(Self { name, model: xgboost::load(file)?.laid_out(layout), answers: Vec::new() })
        };
        others.map(load).collect()
    }
}

impl Engine for Millpond {
    fn name(&self) -> &'static str {
        self.name
    }

    fn prepare(&mut self, _: Blocks<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn predict(&mut self, blocks: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        Ok(self.model.predict(blocks.values(block), &mut self.answers, &|| false)?)
    }

    fn answers(&self) -> Vec<f64> {
        widened(&self.answers)
    }
}

/// A LightGBM model.
pub struct LightGbmByMillpond {
    model: lightgbm::LightGbmModel,
    blocks: Vec<Vec<f64>>,
    answers: Vec<f64>,
}

impl LightGbmByMillpond {
    pub const NAME: &'static str = "millpond-lightgbm";

    pub fn load(file: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { model: lightgbm::load(file)?, blocks: Vec::new(), answers: Vec::new() })
    }
}

impl Engine for LightGbmByMillpond {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// LightGBM's models compare f64, so rows are f64; LightGBM itself takes f32 as well.
    fn prepare(&mut self, blocks: Blocks<'_>) -> anyhow::Result<()> {
        self.blocks = blocks.all().map(widened).collect();
        Ok(())
    }

    fn predict(&mut self, _: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        Ok(self.model.predict(&self.blocks[block], &mut self.answers, &|| false)?)
    }

    fn answers(&self) -> Vec<f64> {
        self.answers.clone()
    }

    fn equals(&self) -> Option<&'static str> {
        Some("lightgbm")
    }
}
