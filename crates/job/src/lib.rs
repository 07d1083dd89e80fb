//! What a job is: its ids, the objects it is made of, the states it passes through, the messages that name it, and the
//! errors it can end with. Pure data and pure functions; whoever reads and writes the objects lives elsewhere.
//!
//! Start with [`layout`] (which keys exist) and [`state`] (what they mean together).

pub mod documents;
pub mod envelope;
pub mod error;
pub mod id;
pub mod layout;
pub mod state;
pub mod trace;

pub use documents::{Ending, Input, Limits, Outcome, Progress, StoredResult, Ticket};
pub use envelope::{Message, Work};
pub use error::{Code, Problem};
pub use id::{AttemptId, ETag, JobId, ModelName, Sha256, Tenant, Version};
pub use state::State;
pub use trace::TraceParent;
