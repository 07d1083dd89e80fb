//! The models that are measured, and rows for them.

use std::path::Path;

use anyhow::Context;

use super::document::Document;
use super::forest::Forest;
use super::grow::{Shape, grow};
use super::rows::Rows;
use crate::failure;

/// A model and rows of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The model wine-quality: 427 trees of depth 4
    Wine,
    /// 100 trees of depth 6
    #[value(name = "depth6x100")]
    Depth6x100,
    /// 500 trees of depth 8
    #[value(name = "depth8x500")]
    Depth8x500,
    /// 100 trees of depth 6; a fifth of all values are missing
    Missing20,
    /// 50 trees of depth 6 for each of 10 classes
    Classes10,
}

/// Features of the models that are grown here.
const FEATURES: usize = 20;

impl Case {
    pub fn name(self) -> &'static str {
        match self {
            Self::Wine => "wine",
            Self::Depth6x100 => "depth6x100",
            Self::Depth8x500 => "depth8x500",
            Self::Missing20 => "missing20",
            Self::Classes10 => "classes10",
        }
    }

    /// What is grown; wine-quality lies there as a file.
    fn shape(self) -> Option<Shape> {
        let shape = Shape { features: FEATURES, depth: 6, rounds: 100, outputs: 1, missing: 0.0 };
        match self {
            Self::Wine => None,
            Self::Depth6x100 => Some(shape),
            Self::Depth8x500 => Some(Shape { depth: 8, rounds: 500, ..shape }),
            Self::Missing20 => Some(Shape { missing: 0.2, ..shape }),
            Self::Classes10 => Some(Shape { rounds: 50, outputs: 10, ..shape }),
        }
    }

    /// The model's file, in both forms, and its trees.
    pub fn model(self, models: &Path) -> anyhow::Result<Model> {
        let document = match self.shape() {
            Some(shape) => grow(shape, SEED),
            None => {
                let path = models.join("wine-quality/1/model.ubj");
                let file = std::fs::read(&path).with_context(|| {
                    let message = format!("cannot read the model of the case wine, {}", path.display());
                    failure::hint(message, "run it in the repository, give --models DIR, or leave wine out of --cases")
                })?;
                Document::from_ubj(&file)?
            }
        };
        Ok(Model { forest: Forest::of(&document)?, ubj: document.to_ubj(), json: document.to_json().into_bytes() })
    }

    /// Rows that the model has not been trained on.
    pub fn rows(self, model: &Model, count: usize) -> Rows {
        match self.shape() {
            Some(shape) => Rows::drawn(shape.features, count, shape.missing, SEED + 1),
            None => Rows::between_thresholds(&model.forest, count, SEED + 1),
        }
    }
}

const SEED: u64 = 20_261_127;

/// A model in the forms that engines take.
pub struct Model {
    pub ubj: Vec<u8>,
    pub json: Vec<u8>,
    pub forest: Forest,
}
