//! What a job's objects mean together, as one pure function.
//!
//! A job's state is never stored: it follows from which objects exist (J4 then follows from the order in which they can
//! appear, since none of them is ever taken away before the job's retention ends).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::documents::{Input, Ticket};
use crate::error::{Code, Problem};

/// Where a job is. The order of the first three is the order in which they are passed (J4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted; its input has not been uploaded yet.
    AwaitingUpload,
    /// Its input is there; no worker is known to have started it.
    Queued,
    /// A worker has started it.
    Running,
    /// It has a result.
    Succeeded,
    /// It has an error.
    Failed,
    /// Its client gave it up.
    Cancelled,
    /// A deadline passed before it could start.
    Expired,
}

impl State {
    /// Whether it is final.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::AwaitingUpload | Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired => true,
        }
    }

    /// Whether a poller who saw `self` may see `next` (J4).
    pub fn may_become(self, next: State) -> bool {
        if self.is_terminal() { self == next } else { next.is_terminal() || self <= next }
    }

    /// The name used in documents and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "awaiting_upload",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which objects a reader found. Each of them, once there, stays, so whatever the order of the reads, a later look finds
/// at least what an earlier one found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// When the input was written, if it is there. Inline and dropped inputs count as there from the ticket on.
    pub input_at: Option<Timestamp>,
    /// Whether there is a progress record.
    pub progress: bool,
    /// The outcome's state, if there is an outcome.
    pub outcome: Option<State>,
}

impl Found {
    /// What is known without looking: an input that is no upload, or a retry's, was there before the ticket.
    pub fn from_ticket(ticket: &Ticket) -> Self {
        let input_at = match &ticket.input {
            Input::Inline(_) | Input::Drop { .. } | Input::Upload { etag: Some(_), .. } => Some(ticket.created_at),
            Input::Upload { etag: None, .. } => None,
        };
        Self { input_at, ..Self::default() }
    }
}

/// What a reader of a job does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the state says it all.
    Nothing,
    /// Send the job's message again; its event or message may have been lost. A repeat is harmless.
    SendAgain,
    /// Commit `expired` for this reason, then report whatever outcome stands.
    Expire(Problem),
}

/// How long an input may lie without a sign of work before its message is sent again, in seconds.
pub const REPEAT_AFTER_SECONDS: i64 = 60;

/// The state that the objects mean, and what to do about it at `now`. No terminal state is derived here: that takes an
/// outcome.
pub fn observe(ticket: &Ticket, found: Found, now: Timestamp) -> (State, Next) {
    if let Some(state) = found.outcome {
        return (state, Next::Nothing);
    }
    if found.progress {
        return (State::Running, Next::Nothing);
    }
    match found.input_at {
        None => {
            let next = match ticket.upload_deadline {
                Some(deadline) if deadline < now => {
                    Next::Expire(Problem::new(Code::UploadExpired, format!("nothing was uploaded by {deadline}")))
                }
                _ => Next::Nothing,
            };
            (State::AwaitingUpload, next)
        }
        Some(_) if ticket.queue_deadline < now => {
            let detail = format!("no worker had started it by {}", ticket.queue_deadline);
            (State::Queued, Next::Expire(Problem::new(Code::QueueExpired, detail)))
        }
        Some(at) if now.as_second() - at.as_second() >= REPEAT_AFTER_SECONDS => (State::Queued, Next::SendAgain),
        Some(_) => (State::Queued, Next::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Limits, V1};
    use crate::id::JobId;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            v: V1,
            job: JobId::from_random([0; 16]),
            tenant: "default".parse().unwrap(),
            model: "m".into(),
            version: None,
            model_digest: None,
            params: RawValue::from_string("{}".into()).unwrap(),
            input: Input::Upload {
                key: "k".into(),
                filename: "f".into(),
                content_type: "application/json".into(),
                size_bytes: 1,
                sha256: None,
                etag: None,
            },
            limits: Limits { max_input_bytes: 1, max_seconds: 1 },
            created_at: at(0),
            upload_deadline: Some(at(1000)),
            queue_deadline: at(5000),
            retained_until: at(100_000),
            retry_of: None,
            request_digest: None,
            trace: None,
        }
    }

    /// The objects appear in any order that the protocol allows, at any time, and a poller looks in between.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Upload,
        Progress,
        Outcome(State),
        Wait(i64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Upload),
            Just(Event::Progress),
            prop_oneof![Just(State::Succeeded), Just(State::Failed), Just(State::Cancelled), Just(State::Expired)]
                .prop_map(Event::Outcome),
            (0i64..3000).prop_map(Event::Wait),
        ]
    }

    proptest! {
        #[test]
        fn j4_forward_only(events in proptest::collection::vec(event(), 0..20)) {
            let (mut found, mut now) = (Found::default(), 0);
            let mut seen = State::AwaitingUpload;
            for event in events {
                match event {
                    Event::Upload => found.input_at = found.input_at.or(Some(at(now))),
                    Event::Progress if found.input_at.is_some() => found.progress = true,
                    Event::Progress => {}
                    Event::Outcome(state) => found.outcome = found.outcome.or(Some(state)),
                    Event::Wait(seconds) => now += seconds,
                }
                let (state, next) = observe(&ticket(), found, at(now));
                prop_assert!(seen.may_become(state), "{seen} became {state}");
                prop_assert!(!seen.is_terminal() || next == Next::Nothing);
                seen = state;
            }
        }
    }

    #[test]
    fn deadlines_and_repeats() {
        let ticket = ticket();
        let no_input = Found::default();
        assert_eq!(observe(&ticket, no_input, at(1000)), (State::AwaitingUpload, Next::Nothing));
        let (state, next) = observe(&ticket, no_input, at(1001));
        assert!(state == State::AwaitingUpload && matches!(next, Next::Expire(p) if p.code == Code::UploadExpired));

        let uploaded = Found { input_at: Some(at(900)), ..no_input };
        assert_eq!(observe(&ticket, uploaded, at(959)), (State::Queued, Next::Nothing));
        assert_eq!(observe(&ticket, uploaded, at(960)), (State::Queued, Next::SendAgain));
        let (state, next) = observe(&ticket, uploaded, at(5001));
        assert!(state == State::Queued && matches!(next, Next::Expire(p) if p.code == Code::QueueExpired));

        let running = Found { progress: true, ..uploaded };
        assert_eq!(observe(&ticket, running, at(90_000)), (State::Running, Next::Nothing));
    }
}
