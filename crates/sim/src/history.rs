//! What happened, as lines that one can read.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The history of one run. Lines are only made if somebody wants them: a run that passes is not looked at.
#[derive(Debug)]
pub(crate) struct History {
    started: Instant,
    lines: Option<Mutex<String>>,
}

impl History {
    pub(crate) fn new(kept: bool) -> Self {
        Self { started: Instant::now(), lines: kept.then(Mutex::default) }
    }

    /// Virtual milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        let Some(lines) = &self.lines else { return };
        let (what, at) = (what(), self.now_ms());
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(lines, "{:>6}.{:03} {who:<14} {what}", at / 1000, at % 1000).expect("a string takes all");
    }

    pub(crate) fn text(&self) -> String {
        let text = |lines: &Mutex<String>| lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.lines.as_ref().map(text).unwrap_or_default()
    }
}
