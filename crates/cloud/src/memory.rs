//! An object store and a queue in this process's memory, for tests: the contracts in full, no network, no disk.
//!
//! Nothing is simplified that a caller could come to rely on: messages are redelivered, receipts go stale, conditional
//! writes race. Waiting goes through tokio's timers, so that a test whose tokio clock is paused (with a
//! [`TokioClock`](crate::clock::TokioClock)) sees hours of visibility timeouts pass at once.

mod object_store;
mod queue;

pub use object_store::MemoryObjectStore;
pub use queue::{Depth, MemoryQueue, QueueConfig};
