//! The API as a client meets it: requests in, answers out, over stores and a queue in memory. Ids come from a seed and time
//! from tokio's paused clock, so that whole answers can be compared.

mod callers;
mod idempotency;
mod jobs;
#[path = "../../../../tests/support/log.rs"]
mod log;
mod malformed;
mod models;
mod operations;
mod overload;
mod results;
mod retry;
mod schemas;
mod seen;
mod submit;
mod support;
