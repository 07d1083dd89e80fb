//! One queue message: everything it asks for, and what becomes of it.

use std::time::Duration;

use job::envelope;

use crate::observer::Event;
use crate::process::{Delivery, Processor, Verdict};

/// Does everything that a message asks for, in order. It is done when all of it is.
pub(crate) async fn handle(processor: &Processor, id: &str, body: &str, delivery: &Delivery) -> Verdict {
    let verdict = verdict(processor, id, body, delivery).await;
    processor.observer.observe(&Event::Message(verdict));
    verdict
}

async fn verdict(processor: &Processor, id: &str, body: &str, delivery: &Delivery) -> Verdict {
    let works = match envelope::decode(body) {
        Ok(works) => works,
        Err(error) => {
            tracing::warn!(message_id = id, receive_count = delivery.receive_count, "a message names no job: {error}");
            return Verdict::Reject;
        }
    };
    let mut verdict = Verdict::Done;
    for work in &works {
        verdict = verdict.and(processor.process(work, delivery).await);
    }
    verdict
}

/// How long a suspect that waits for its turn stays hidden at a time: if another one kills this worker meanwhile, those that
/// waited come back soon, and not together with it, which would let it kill them again and again.
pub(crate) const WAITING: Duration = Duration::from_secs(30);

/// A message received before is a suspect: it may be what killed the worker that had it.
pub(crate) fn is_suspect(receive_count: u32) -> bool {
    receive_count > 1
}

impl Verdict {
    /// The verdict on a message out of those on two of its parts. What is to be tried again wins, since only then does
    /// what was rejected come back with it.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Self::RetryAfter(a), Self::RetryAfter(b)) => Self::RetryAfter(a.min(b)),
            (retry @ Self::RetryAfter(_), Self::Done | Self::Reject)
            | (Self::Done | Self::Reject, retry @ Self::RetryAfter(_)) => retry,
            (Self::Reject, Self::Done | Self::Reject) | (Self::Done, Self::Reject) => Self::Reject,
            (Self::Done, Self::Done) => Self::Done,
        }
    }

    /// How long the message is to be hidden before it comes back; none if it is to be acknowledged.
    pub(crate) fn comes_back_after(self, processor: &Processor, receive_count: u32) -> Option<Duration> {
        match self {
            Self::Done => None,
            Self::RetryAfter(delay) => Some(delay),
            // A few short rounds lead it to the dead letters; not at once, because the cause may pass.
            Self::Reject => Some(processor.backoff(receive_count)),
        }
    }
}
