//! Nets as ONNX graphs, run by [rten](https://github.com/robertknight/rten), in pure Rust, or by ONNX Runtime where this program was built with
//! the feature `onnxruntime` and told where its library is.
//!
//! rten finds out at run time whether the processor has AVX-512, AVX2 or Neon. It has no integers of 64 bits, no booleans and no doubles: they
//! are i32 and f32 there, and turned back on the way out. Whole numbers beyond 32 bits are refused, not cut.

mod graph;
mod growth;
#[cfg(feature = "onnxruntime")]
mod onnx_runtime;
mod prefix;
mod proto;
mod rten;
mod sizes;

use std::collections::BTreeMap;

pub use bundle::{Data, Datatype, Port, Tensor};

use self::graph::Facts;
#[cfg(feature = "onnxruntime")]
pub use self::onnx_runtime::use_onnx_runtime;

use crate::model::RunError;

/// Why a net cannot be read or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The file is not ONNX, or contradicts itself.
    #[error("not a usable ONNX model: {0}")]
    Malformed(String),
    /// The file has what the engine does not read.
    #[error("the ONNX model has {0}")]
    Unsupported(String),
    /// The file would take too much memory.
    #[error("the ONNX model is too large: {0}")]
    TooLarge(String),
    /// The engine refuses the file.
    #[error("the ONNX model cannot be loaded: {0}")]
    Load(String),
    /// What goes in is not what the net takes.
    #[error("{0}")]
    Input(String),
    /// The engine gave up.
    #[error("the net failed: {0}")]
    Run(String),
}

impl From<proto::Malformed> for NetError {
    fn from(_: proto::Malformed) -> Self {
        Self::Malformed("it is truncated or damaged".to_owned())
    }
}

impl From<NetError> for RunError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Input(why) => Self::Input(bundle::InputError::Invalid(why)),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Whether a file looks like ONNX.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    graph::recognises(bytes)
}

/// A net ready to run.
pub struct Net {
    facts: Facts,
    engine: Engine,
    file_bytes: usize,
}

enum Engine {
    Rten(Box<rten::Engine>),
    #[cfg(feature = "onnxruntime")]
    OnnxRuntime(onnx_runtime::Engine),
}

impl Engine {
    fn read(bytes: &[u8], facts: &Facts) -> Result<Self, NetError> {
        #[cfg(feature = "onnxruntime")]
        if let Some(read) = onnx_runtime::Engine::read(bytes) {
            return read.map(Self::OnnxRuntime);
        }
        rten::Engine::read(bytes, facts).map(|engine| Self::Rten(Box::new(engine)))
    }
}

impl Net {
    /// Reads a net from an ONNX file. Whatever the bytes are, it takes at most four times their number and 64 MB of memory.
    ///
    /// # Errors
    ///
    /// [`NetError`].
    pub fn read(bytes: &[u8]) -> Result<Self, NetError> {
        let facts = Facts::read(bytes)?;
        let engine = Engine::read(bytes, &facts)?;
        Ok(Self { facts, engine, file_bytes: bytes.len() })
    }

    /// What goes in.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.facts.inputs
    }

    /// What comes out.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.facts.outputs
    }

    /// The operators that write an output: the last first, up to the first that does more than reshape.
    pub(crate) fn last_operators(&self, output: usize) -> &[String] {
        &self.facts.last_operators[output]
    }

    /// Runs it on the caller's thread, in effect: one thread beside it works while it waits. Each input must be there once, of the
    /// port's datatype and shape; outputs come in the graph's order.
    ///
    /// # Errors
    ///
    /// [`NetError::Input`] if they aren't, or if the run would take too much memory; [`NetError::Run`].
    pub fn run(&self, inputs: Vec<(&str, Tensor)>) -> Result<Vec<Tensor>, NetError> {
        let mut sizes = BTreeMap::new();
        let mut places: Vec<Option<Tensor>> = vec![None; self.facts.inputs.len()];
        for (name, tensor) in inputs {
            let fault = |fault: &str| NetError::Input(format!("input {} {fault}", crate::torch::short(name)));
            let at = self.facts.inputs.iter().position(|port| port.name == name);
            let at = at.filter(|at| places[*at].is_none()).ok_or_else(|| fault("is not the net's, or there twice"))?;
            let port = &self.facts.inputs[at];
            if tensor.data.datatype() != port.datatype {
                return Err(fault(&format!("must be {}, not {}", port.datatype, tensor.data.datatype())));
            }
            if let Some(dims) = &port.shape {
                bundle::tensors::check_shape(dims, &tensor.shape, &mut sizes).map_err(|why| fault(&why))?;
            }
            let count = tensor.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            if count != Some(tensor.data.len()) {
                return Err(fault("has not as many elements as its shape says"));
            }
            places[at] = Some(tensor);
        }
        let lacking = |port: &Port| NetError::Input(format!("input {} is missing", crate::torch::short(&port.name)));
        let tensors: Result<Vec<Tensor>, NetError> = places
            .into_iter()
            .zip(&self.facts.inputs)
            .map(|(tensor, port)| tensor.ok_or_else(|| lacking(port)))
            .collect();
        match &self.engine {
            Engine::Rten(engine) => engine.run(tensors?, &self.facts.outputs),
            #[cfg(feature = "onnxruntime")]
            Engine::OnnxRuntime(engine) => engine.run(tensors?, &self.facts.inputs, &self.facts.outputs),
        }
    }

    /// About how much memory it takes while no one runs it, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let copies = match &self.engine {
            Engine::Rten(_) => 1,
            // The file, from which further sessions are made, and one session.
            #[cfg(feature = "onnxruntime")]
            Engine::OnnxRuntime(_) => 2,
        };
        copies * self.file_bytes as u64
    }
}
