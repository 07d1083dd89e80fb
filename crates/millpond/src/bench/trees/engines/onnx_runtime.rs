//! ONNX Runtime, on the trees as ONNX.

use std::path::Path;

use anyhow::Context;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::{Blocks, Engine, widened};
use crate::bench::trees::forest::Forest;
use crate::bench::trees::onnx;
use crate::failure;

/// The library.
pub struct OnnxRuntime(Environment);

impl OnnxRuntime {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let builder = ort::init_from(std::path::absolute(path)?).with_context(|| {
            let from = "as the Python package onnxruntime has it in onnxruntime/capi/libonnxruntime.so.1...";
            let message = format!("cannot load ONNX Runtime from {}", path.display());
            failure::usage(message, format!("give the shared library itself, {from}"))
        })?;
        Ok(Self(builder.with_name("millpond bench").with_telemetry(false).build()?))
    }

    pub fn load(&self, forest: &Forest) -> anyhow::Result<OnnxRuntimeModel> {
        let builder = Session::builder(&self.0)?.with_intra_threads(1).map_err(plain)?;
        let builder = builder.with_inter_threads(1).map_err(plain)?;
        let mut builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(plain)?;
        Ok(OnnxRuntimeModel { session: builder.commit_from_memory(&onnx::model(forest))?, answers: Vec::new() })
    }
}

/// The error without the builder that it would give back, which threads cannot share.
fn plain(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("ONNX Runtime: {error}")
}

/// A loaded model.
pub struct OnnxRuntimeModel {
    session: Session,
    answers: Vec<f32>,
}

impl Engine for OnnxRuntimeModel {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn prepare(&mut self, _: Blocks<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    fn predict(&mut self, blocks: Blocks<'_>, block: usize) -> anyhow::Result<()> {
        let rows = TensorRef::from_array_view(([blocks.block_rows, blocks.rows.features], blocks.values(block)))?;
        let answers = self.session.run(ort::inputs![onnx::ROWS => rows])?;
        let (_, answers) = answers.get(onnx::ANSWERS).context("ONNX Runtime gives no answers")?.try_extract_tensor()?;
        self.answers.clear();
        self.answers.extend_from_slice(answers);
        Ok(())
    }

    fn answers(&self) -> Vec<f64> {
        widened(&self.answers)
    }
}
