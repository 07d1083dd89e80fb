//! Runs jobs. What happens to one job is [`process`], which knows nothing of queues; around it are a long-polling driver
//! ([`poll`]), a driver for batches that somebody else received, as Lambda does ([`batch`]), the handler of given-up
//! messages ([`dead_letters`]) and the sweep that finds lost ones ([`sweep`]).
//!
//! A process makes one [`Processor`] and gives it to its drivers:
//!
//! ```no_run
//! # async fn f(ledger: ledger::Ledger, registry: registry::Registry) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use tokio_util::sync::CancellationToken;
//! use worker::{Processor, Settings, Worker};
//!
//! let processor = Arc::new(Processor::new(ledger, Arc::new(registry), Settings::default())?);
//! let shutdown = CancellationToken::new();
//! Worker::new(processor).run(shutdown).await?;
//! # Ok(()) }
//! ```

pub mod batch;
pub mod dead_letters;
mod fault;
mod message;
mod mirror;
pub mod models;
pub mod observer;
mod patience;
pub mod poll;
pub mod pool;
pub mod process;
mod settings;
mod span;
pub mod sweep;

#[cfg(feature = "onnxruntime")]
pub use infer::onnx::use_onnx_runtime;

pub use batch::{BatchMessage, handle_batch, limits_too_long, longest_job};
pub use dead_letters::{DeadLetters, DeadRecord};
pub use models::{InferModels, Models};
pub use observer::{Ended, Event, Observer};
pub use poll::{Worker, WorkerError};
pub use pool::{InlinePool, Pool, ThreadPool};
pub use process::{Delivery, Processor, Verdict};
pub use settings::Settings;
pub use sweep::{Sweep, SweepReport};
