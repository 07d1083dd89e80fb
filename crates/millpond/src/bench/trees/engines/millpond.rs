//! Our own engine.

use infer::lightgbm;
use infer::xgboost::{self, XgbModel};

use super::{Blocks, Engine, widened};

/// A way to run a model that this machine has.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    pub name: &'static str,
    load: fn(&[u8]) -> Result<XgbModel, xgboost::LoadError>,
}

/// What `millpond` stands for is what everybody gets: the fastest way that the machine has.
pub const VARIANTS: &[Variant] = &[Variant { name: "millpond", load: xgboost::load }];

/// An XGBoost model.
pub struct Millpond {
    variant: Variant,
    model: XgbModel,
    answers: Vec<f32>,
}

impl Millpond {
    pub fn load(variant: Variant, file: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { variant, model: (variant.load)(file)?, answers: Vec::new() })
    }
}

impl Engine for Millpond {
    fn name(&self) -> &'static str {
        self.variant.name
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
