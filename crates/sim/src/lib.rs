//! A deterministic simulation of the whole service, in the manner of FoundationDB's.
//!
//! One seed is one history: the real API router, two real workers, the real dead-letter handler and the real sweep run over
//! an S3 and an SQS in memory, in one thread and in virtual time, and everything goes wrong that may go wrong. Clients
//! upload, post, drop, overwrite, delete, cancel, retry and poll; an oracle sees every change of the buckets as it
//! happens and says which of the invariants J1 to J7 does not hold.
//!
//! - `plan` draws from the seed how bad the weather is and how everything is set. Time runs until the faults have ended,
//!   and then until all has come to its end, or should have.
//! - `fate` decides what becomes of each call to the cloud: refused, done but its answer lost, done late, stuck, or the
//!   process dies right before or after it. `store` and `queue` are the bucket and the queue that a process then sees;
//!   under them lie `cloud::memory`'s, which keep the contracts. Each call takes a random time, which orders all else.
//! - `process` starts processes, kills them at any point, and starts them anew with nothing but the buckets to go by. Each
//!   has a clock of its own, which is off.
//! - `pool` runs models in virtual time; `script` has inputs that say what the model does, so that the right answer is known.
//! - `clients` are the clients, `http` their way to the API, `oracle` the judge.
//! - `planted` has bugs on purpose, each of which must be found: a simulator that finds nothing proves nothing.
//!
//! The same seed gives the same history, to the last line: no thread but one, no clock but tokio's paused one, no chance but
//! the seed's. What is random otherwise (a `HashMap`'s order, a `select!` that is not `biased`) must not be iterated or
//! polled by what runs here; a test compares histories.
//!
//! What it does not simulate: bytes on a wire (the SDK's retries appear as their effects alone), eventual consistency (S3
//! has none), retention's end, and writes and deletions of mirrors that land long after their caller has died, for which S3
//! has no condition (seed 122795 had a mirror of an older version appear beside the newer one's, 80 s late).

mod chance;
mod clients;
mod fate;
mod history;
mod http;
mod oracle;
mod plan;
mod planted;
mod pool;
mod process;
mod queue;
mod run;
mod script;
mod store;
mod world;

pub use oracle::Violation;
pub use planted::Bug;
pub use run::{Report, run};
