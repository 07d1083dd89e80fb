//! What is known of a job.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use job::{ETag, Input, Outcome, State, Ticket};

use super::Known;

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// And when it was written.
    pub(super) ticket: Option<(Ticket, Duration)>,
    /// When its first progress record was written.
    pub(super) progress_at: Option<Duration>,
    /// How many attempts have failed, by the last progress record.
    pub(super) failures: u32,
    /// Whether a client has asked for that.
    pub(super) cancel_asked: bool,
    pub(super) ended: Option<Ended>,
}

/// A job's outcome.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) at: Duration,
    pub(super) state: State,
    /// The outcome as it was written.
    pub(super) document: Bytes,
    pub(super) outcome: Outcome,
    /// The result, wherever it lies.
    pub(super) answer: Option<Vec<u8>>,
}

/// One version of an object of the inbox.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) body: Bytes,
    pub(super) etag: ETag,
    pub(super) modified: Timestamp,
    pub(super) at: Duration,
    /// When it was deleted, if it was, rather than overwritten.
    pub(super) gone_at: Option<Duration>,
}

impl Known {
    fn versions(&self, key: &str) -> &[Version] {
        self.inputs.get(key).map_or(&[], Vec::as_slice)
    }

    /// All versions of the object that holds the job's input; none for an inline one.
    pub(super) fn versions_of(&self, ticket: &Ticket) -> &[Version] {
        match &ticket.input {
            Input::Inline(_) => &[],
            Input::Upload { key, .. } | Input::Drop { key, .. } => self.versions(key),
        }
    }

    /// Whether nothing but the sweep leads to the job any more. A dropped file's events do not name its job: that takes the
    /// file's HEAD, so once the file is another one or none, they lead to the job no more.
    pub(super) fn is_left_to_the_sweep(&self, ticket: &Ticket) -> bool {
        let versions = self.versions_of(ticket);
        let changed = versions.len() > 1 || versions.iter().any(|version| version.gone_at.is_some());
        changed && matches!(ticket.input, Input::Drop { .. })
    }

    /// The inputs that the job may be about: one, but for an upload that came in several versions.
    pub(super) fn inputs_of(&self, ticket: &Ticket) -> Vec<Bytes> {
        let etag = match &ticket.input {
            Input::Inline(text) => return vec![Bytes::copy_from_slice(text.get().as_bytes())],
            Input::Upload { etag, .. } => etag.as_ref(),
            Input::Drop { etag, .. } => Some(etag),
        };
        let versions = self.versions_of(ticket).iter();
        let right = versions.filter(|version| etag.is_none_or(|etag| *etag == version.etag));
        right.map(|version| version.body.clone()).collect()
    }

    /// When the job could first be run.
    pub(super) fn ready_at(&self, ticket: &Ticket, accepted: Duration) -> Option<Duration> {
        match &ticket.input {
            Input::Inline(_) => Some(accepted),
            Input::Upload { .. } | Input::Drop { .. } => {
                self.versions_of(ticket).first().map(|version| version.at.max(accepted))
            }
        }
    }
}
