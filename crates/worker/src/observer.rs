//! What a worker tells whoever counts: one event for each thing worth a number.
//!
//! Everything in an event comes from the service itself, so that whoever makes series of it has a bounded number of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use job::documents::UNKNOWN_MODEL;
use job::{Code, State, Ticket};

use crate::process::Verdict;
use crate::sweep::SweepReport;

/// Counts what it is told.
///
/// # Contract
///
/// [`Observer::observe`] is called on the async threads, by many tasks at once: it neither blocks nor panics.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

/// Counts nothing.
impl Observer for () {
    fn observe(&self, _: &Event<'_>) {}
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A message was handled.
    Message(Verdict),
    /// An attempt begins. [`Event::Over`] follows, unless the process dies.
    Begun {
        /// The model, or [`UNKNOWN_MODEL`].
        model: &'a str,
    },
    /// An attempt is over, whatever came of it.
    Over {
        /// As in [`Event::Begun`].
        model: &'a str,
    },
    /// An attempt failed, and its job is tried again.
    Failed {
        /// As in [`Event::Begun`].
        model: &'a str,
        /// Why.
        code: Code,
    },
    /// A job was given its outcome here.
    Ended(Ended<'a>),
    /// A model was loaded.
    Loaded {
        /// Its name.
        model: &'a str,
        /// From when its files were asked for.
        took: Duration,
    },
    /// The record of a message that was given up was written.
    GivenUp,
    /// A sweep went through the buckets.
    Swept(SweepReport),
}

/// How a job ended. The times are those of the attempt that ended it, if one did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended<'a> {
    /// The model, or [`UNKNOWN_MODEL`].
    pub model: &'a str,
    /// Its terminal state.
    pub state: State,
    /// Why it failed or expired.
    pub code: Option<Code>,
    /// From the arrival of its input to the begin of the attempt; known of a first attempt only, since others have waited
    /// on purpose.
    pub waited: Option<Duration>,
    /// From the begin of the attempt to the outcome.
    pub ran: Option<Duration>,
    /// The model's call alone.
    pub inferred: Option<Duration>,
}

/// An attempt under way. However it ends, cancelled or by a panic, it is over.
pub(crate) struct UnderWay {
    observer: Arc<dyn Observer>,
    model: String,
}

impl UnderWay {
    pub(crate) fn begin(observer: &Arc<dyn Observer>, ticket: &Ticket) -> Self {
        let begun = Self { observer: observer.clone(), model: ticket.counted_model().to_owned() };
        begun.observer.observe(&Event::Begun { model: &begun.model });
        begun
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.observer.observe(&Event::Over { model: &self.model });
    }
}
