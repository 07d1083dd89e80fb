//! Jobs from their messages to their outcomes, on stores and queues in memory and under a paused clock. The tests of the
//! invariants bear their names.

mod bench;
mod cancel;
mod crashes;
mod driver;
mod dropped;
mod inputs;
mod invariants;
#[path = "../../../../tests/support/log.rs"]
mod log;
mod seen;
mod swept;
