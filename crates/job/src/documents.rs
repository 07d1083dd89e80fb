//! The stored documents: what lies in the outbox under `jobs/<job>/`.
//!
//! Each carries `"v": 1`. A reader refuses a version that it does not know rather than guess.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Code, Problem};
use crate::id::{AttemptId, ETag, JobId, Sha256, Tenant, Version};
use crate::state::State;
use crate::trace::{self, TraceParent};

/// The document version that this code writes, and the only one it reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "version {other} of this document is not known; this program reads version 1"
            ))),
        }
    }
}

/// The job's record, written once when the job is accepted (`If-None-Match: *`) and never changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ticket {
    /// Always 1.
    pub v: V1,
    /// Its own id.
    pub job: JobId,
    /// Whose job it is.
    pub tenant: Tenant,
    /// The model that answers. For a dropped file it may name no model at all: that job only fails.
    pub model: String,
    /// The version it was accepted with, whatever is pushed later; absent only where no such model is.
    pub version: Option<Version>,
    /// SHA-256 of that version's manifest, which pins every file of the bundle.
    pub model_digest: Option<Sha256>,
    /// The client's parameters, checked against the manifest: a JSON object.
    pub params: Box<RawValue>,
    /// What to run on.
    pub input: Input,
    /// What the model's limits were when the job was accepted.
    pub limits: Limits,
    /// When the job was accepted.
    pub created_at: Timestamp,
    /// Until when the input must have arrived; none for inputs that are there from the start.
    pub upload_deadline: Option<Timestamp>,
    /// Until when a worker must have started.
    pub queue_deadline: Timestamp,
    /// From then on the job is no more: the API answers 404 and workers acknowledge it unrun.
    pub retained_until: Timestamp,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
    /// SHA-256 of the request, so that an `Idempotency-Key` cannot be reused for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<Sha256>,
    /// The trace of the request that made the job, for log lines.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient")]
    pub trace: Option<TraceParent>,
}

/// The model that jobs are counted under which name none that there was. Whoever drops files chooses their folders' names.
pub const UNKNOWN_MODEL: &str = "unknown";

impl Ticket {
    /// The model under which the job is counted: its own, or [`UNKNOWN_MODEL`].
    pub fn counted_model(&self) -> &str {
        // A version was pinned if and only if the registry had the model.
        if self.version.is_some() { &self.model } else { UNKNOWN_MODEL }
    }
}

/// Where a job's input is. (Tagged from outside: serde cannot read a [`RawValue`] through the buffer of an inner tag.)
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// In the ticket itself: JSON exactly as the client wrote it.
    Inline(Box<RawValue>),
    /// In the inbox, put there by a client with a presigned URL.
    Upload {
        /// Inbox key.
        key: String,
        /// As the client named it.
        filename: String,
        /// As the client announced it.
        content_type: String,
        /// As the client announced it, in bytes.
        size_bytes: u64,
        /// As the client announced it.
        sha256: Option<Sha256>,
        /// Known only to a retry: the version that the first job ran on.
        etag: Option<ETag>,
    },
    /// In the inbox, dropped there by whoever can write to it.
    Drop {
        /// Inbox key.
        key: String,
        /// What follows `drop/<model>/`; the mirror is named after it.
        path: String,
        /// The version that this job is for.
        etag: ETag,
        /// In bytes, as stored.
        size_bytes: u64,
        /// As stored; S3's own default is `binary/octet-stream`.
        content_type: Option<String>,
        /// When that version was written; a mirror of a newer one is not overwritten.
        last_modified: Timestamp,
    },
}

impl Input {
    /// How large it is, in bytes; for an upload, how large it was announced to be.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(text) => text.get().len() as u64,
            Self::Upload { size_bytes, .. } | Self::Drop { size_bytes, .. } => *size_bytes,
        }
    }
}

/// The limits that the job was accepted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest input, in bytes.
    pub max_input_bytes: u64,
    /// The longest that one model call may take, in seconds.
    pub max_seconds: u64,
}

/// How a running attempt is doing. Advisory: no decision about the outcome rests on it but "is anyone alive".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Always 1.
    pub v: V1,
    /// The attempt that wrote it last.
    pub attempt: AttemptId,
    /// When that attempt started.
    pub started_at: Timestamp,
    /// When it was last known to be alive.
    pub beat_at: Timestamp,
    /// How many units (rows, tiles, letters) are done.
    pub done: u64,
    /// Of how many, where that is known.
    pub total: Option<u64>,
    /// How many attempts have failed so far.
    pub failures: u32,
    /// Why the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Problem>,
}

/// The commit record of a job (J1): written once, with `If-None-Match: *`, never changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "OutcomeWire", into = "OutcomeWire")]
pub struct Outcome {
    /// The job.
    pub job: JobId,
    /// Who wrote it, so that a writer whose answer was lost knows its own record again.
    pub writer: AttemptId,
    /// When it was written.
    pub at: Timestamp,
    /// When the attempt that ended the job began, if one did.
    pub started_at: Option<Timestamp>,
    /// How long the model itself took, in milliseconds.
    pub infer_ms: Option<f64>,
    /// How it ended.
    pub ending: Ending,
}

/// The four ways a job can end.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The model answered.
    Succeeded {
        /// The answer, or where it is.
        result: StoredResult,
    },
    /// It will not answer; the error is the very body that HTTP would have returned.
    Failed {
        /// Why.
        error: Problem,
    },
    /// The client asked for that.
    Cancelled,
    /// A deadline passed.
    Expired {
        /// Which one.
        error: Problem,
    },
}

impl Ending {
    /// The terminal state that it puts the job in.
    pub fn state(&self) -> State {
        match self {
            Self::Succeeded { .. } => State::Succeeded,
            Self::Failed { .. } => State::Failed,
            Self::Cancelled => State::Cancelled,
            Self::Expired { .. } => State::Expired,
        }
    }

    /// Why it has no result, if there is a reason.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Succeeded { .. } | Self::Cancelled => None,
            Self::Failed { error } | Self::Expired { error } => Some(error.code),
        }
    }
}

/// An [`Outcome`] as JSON: flat, because clients may read it from S3 themselves.
#[derive(Serialize, Deserialize)]
struct OutcomeWire {
    v: V1,
    job: JobId,
    state: State,
    writer: AttemptId,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    infer_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<StoredResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

impl From<Outcome> for OutcomeWire {
    fn from(outcome: Outcome) -> Self {
        let state = outcome.ending.state();
        let (result, error) = match outcome.ending {
            Ending::Succeeded { result } => (Some(result), None),
            Ending::Failed { error } | Ending::Expired { error } => (None, Some(error)),
            Ending::Cancelled => (None, None),
        };
        let Outcome { job, writer, at, started_at, infer_ms, ending: _ } = outcome;
        Self { v: V1, job, state, writer, at, started_at, infer_ms, result, error }
    }
}

impl TryFrom<OutcomeWire> for Outcome {
    type Error = String;
    fn try_from(wire: OutcomeWire) -> Result<Self, String> {
        let ending = match (wire.state, wire.result, wire.error) {
            (State::Succeeded, Some(result), None) => Ending::Succeeded { result },
            (State::Failed, None, Some(error)) => Ending::Failed { error },
            (State::Expired, None, Some(error)) => Ending::Expired { error },
            (State::Cancelled, None, None) => Ending::Cancelled,
            (state, ..) => return Err(format!("an outcome cannot be {state} with what it carries")),
        };
        let OutcomeWire { job, writer, at, started_at, infer_ms, .. } = wire;
        Ok(Self { job, writer, at, started_at, infer_ms, ending })
    }
}

/// A result, small or large.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredResult {
    /// At most [`MAX_INLINE_RESULT_BYTES`] of JSON, exactly as the model's postprocessing wrote it.
    Inline(Box<RawValue>),
    /// An object of the outbox that was complete before this record was written (J3).
    Object {
        /// Outbox key.
        key: String,
        /// In bytes.
        size_bytes: u64,
        /// Of the whole object.
        sha256: Sha256,
        /// Media type.
        content_type: String,
        /// File name extension without the dot.
        extension: String,
    },
}

/// Results of more bytes are objects of their own.
pub const MAX_INLINE_RESULT_BYTES: usize = 64 * 1024;
/// Inputs of more bytes must be uploaded.
pub const MAX_INLINE_INPUT_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending) -> Outcome {
        Outcome {
            job: JobId::from_random([1; 16]),
            writer: AttemptId::from_random([2; 8]),
            at: Timestamp::UNIX_EPOCH,
            started_at: None,
            infer_ms: Some(1.5),
            ending,
        }
    }

    fn result() -> StoredResult {
        StoredResult::Inline(RawValue::from_string("[6.573914051055908]".into()).unwrap())
    }

    #[test]
    fn outcomes_look_like_this() {
        let all = [
            outcome(Ending::Succeeded { result: result() }),
            outcome(Ending::Failed { error: Problem::new(Code::TimedOut, "it took 61 s of 60 s") }),
            outcome(Ending::Cancelled),
            outcome(Ending::Expired { error: Problem::new(Code::UploadExpired, "no upload by noon") }),
        ];
        let text: Vec<String> = all.iter().map(|o| serde_json::to_string_pretty(o).unwrap()).collect();
        insta::assert_snapshot!(text.join("\n"));
        for text in text {
            let read: Outcome = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string_pretty(&read).unwrap(), text);
        }
    }

    #[test]
    fn a_trace_is_no_reason_to_refuse_a_ticket() {
        let written = |trace: &str| {
            let text = format!(
                r#"{{"v":1,"job":"{}","tenant":"t","model":"m","version":null,"model_digest":null,"params":{{}},
                    "input":{{"inline":1}},"limits":{{"max_input_bytes":1,"max_seconds":1}},
                    "created_at":"2026-01-01T00:00:00Z","upload_deadline":null,"queue_deadline":"2026-01-01T00:00:00Z",
                    "retained_until":"2026-01-01T00:00:00Z"{trace}}}"#,
                JobId::from_random([1; 16])
            );
            serde_json::from_str::<Ticket>(&text).unwrap()
        };
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ticket = written(&format!(r#","trace":"{example}""#));
        assert_eq!(ticket.trace.unwrap().to_string(), example);
        assert!(serde_json::to_string(&ticket).unwrap().contains(example));
        for unknown in ["", r#","trace":null"#, r#","trace":"some other form""#, r#","trace":{"id":7}"#] {
            let ticket = written(unknown);
            assert!(ticket.trace.is_none(), "{unknown}");
            assert!(!serde_json::to_string(&ticket).unwrap().contains("trace"));
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let text = serde_json::to_string(&outcome(Ending::Cancelled)).unwrap().replace("\"v\":1", "\"v\":2");
        let error = serde_json::from_str::<Outcome>(&text).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
