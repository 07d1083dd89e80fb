//! The one trait that engines implement.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bundle::{InputError, Params};

/// A loaded model. Loading has initialised it; [`Model::run`] validates, preprocesses, infers and postprocesses.
///
/// # Contract
///
/// - Synchronous and self-contained: no I/O, no clock, no randomness but what the parameters seed. The same input and
///   parameters give the same bytes, on every platform, whatever ran before or beside it.
/// - Any bytes may come in. What is not an input of this model is [`RunError::Input`]; nothing panics on purpose.
/// - Cancelling is felt between row blocks, tiles or letters, within about a second.
pub trait Model: Send + Sync {
    /// Answers one input.
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError>;

    /// About how much memory the model holds, in bytes.
    fn memory_bytes(&self) -> u64;
}

/// A model's answer, as it is handed to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The bytes.
    pub body: Vec<u8>,
    /// Their media type; `application/json` may be stored inline.
    pub content_type: &'static str,
    /// The file name extension that goes with it, without the dot.
    pub extension: &'static str,
}

/// Why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The input is not one of this model's.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
    /// The model cannot answer this input, and never will.
    #[error("{0}")]
    Failed(String),
}

/// Why a bundle cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The model file is missing from what was given.
    #[error("the bundle lacks its model file {0}")]
    FileMissing(String),
    /// The engine does not take the file.
    #[error("the model file {file} cannot be loaded")]
    Engine {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Manifest and model file contradict each other.
    #[error("model.toml does not fit the model file: {0}")]
    Contradiction(String),
}

/// The strings between a run and whoever waits for it: cancel from outside, progress from inside.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
}

impl Control {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Says how many units (rows, tiles, letters) are done, of how many.
    pub fn report(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// How many units are done, of how many; (0, 0) before the first report.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}
