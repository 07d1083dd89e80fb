//! Wall time, from outside.

use std::sync::Arc;

/// Tells the time. Tests pass one that they move.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(machine_now)
}

/// The machine's own time: the default clock, and what signatures are judged by.
#[allow(clippy::disallowed_methods, reason = "this crate's one place that reads the machine's clock")]
pub(crate) fn machine_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
