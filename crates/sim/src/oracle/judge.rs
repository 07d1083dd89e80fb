//! Whether a job's end is the right one, at the moment it is written down.

use std::time::Duration;

use bytes::Bytes;
use cloud::{GetOptions, ObjectStore};
use futures::FutureExt;
use job::{Code, Ending, Input, JobId, Outcome, Sha256, StoredResult, Ticket};

use super::facts::Facts;
use super::{Known, Oracle};
use crate::script::{self, Act, Script};

type Judgement = Result<(), (&'static str, String)>;

/// Beside twice the skew of clocks: how long a call may take that ends in a job's end.
const SLACK: Duration = Duration::from_secs(200);

impl Oracle {
    /// The answer that an outcome holds or names, if it has one. What it names must be there, and whole (J3).
    pub(super) fn answer(&self, ending: &Ending) -> Result<Option<Vec<u8>>, String> {
        let Ending::Succeeded { result } = ending else { return Ok(None) };
        match result {
            StoredResult::Inline(text) => Ok(Some(text.get().as_bytes().to_vec())),
            StoredResult::Object { key, size_bytes, sha256, .. } => {
                let get = self.outbox.get(key, GetOptions::default());
                let object = get.now_or_never().expect("memory answers at once");
                let body = object.map_err(|_| format!("its result {key} is not there"))?.body;
                if (body.len() as u64, Sha256::of(&body)) == (*size_bytes, *sha256) {
                    Ok(Some(body.to_vec()))
                } else {
                    Err(format!("its result {key} is not what the outcome says"))
                }
            }
        }
    }

    pub(super) fn judge(
        &self,
        known: &Known,
        job: JobId,
        outcome: &Outcome,
        answer: Option<&[u8]>,
        at: Duration,
    ) -> Judgement {
        let Some(facts) = known.jobs.get(&job) else { return Err(("J2", "it ended without a ticket".to_owned())) };
        let Some((ticket, _)) = &facts.ticket else { return Err(("J2", "it ended without a ticket".to_owned())) };
        let right = match &outcome.ending {
            Ending::Succeeded { .. } => {
                let inputs = known.inputs_of(ticket);
                let announced = inputs.iter().filter(|input| is_as_announced(ticket, input));
                announced.filter_map(|input| script::answer(input)).any(|right| Some(right.as_bytes()) == answer)
            }
            Ending::Failed { error } => self.may_fail(known, ticket, error.code),
            Ending::Cancelled => facts.cancel_asked,
            Ending::Expired { error } => return self.may_expire(known, facts, ticket, error.code, outcome, at),
        };
        if right { Ok(()) } else { Err(("J2", format!("it ended wrongly: {}", ended(outcome, answer)))) }
    }

    fn may_fail(&self, known: &Known, ticket: &Ticket, code: Code) -> bool {
        let inputs = known.inputs_of(ticket);
        let acts: Vec<Option<Act>> = inputs.iter().map(|input| Script::read(input).map(|script| script.act)).collect();
        let asks = |wanted: &[Act]| acts.iter().flatten().any(|act| wanted.contains(act));
        let versions = known.versions_of(ticket);
        let runs = |input: &Bytes| known.runs.get(input).copied().unwrap_or_default();
        match code {
            Code::ModelPanicked => asks(&[Act::Panic, Act::PanicOnce]) && inputs.iter().any(|input| runs(input) > 0),
            Code::TimedOut => asks(&[Act::Dawdle, Act::Hang]),
            Code::ModelFailed => asks(&[Act::Fail]),
            Code::InvalidInput => acts.contains(&None),
            Code::StorageUnavailable => known.faults > 0,
            // Messages that never get as far as to an attempt's end: their workers die, by themselves or for another's sake.
            Code::WorkerLost => known.faults > 0 || self.plan.weather.lifetime_s > 0 || known.anything_kills(),
            Code::InputReplaced => versions.len() > 1,
            Code::InputGone => versions.iter().any(|version| version.gone_at.is_some()) || versions.is_empty(),
            Code::SizeMismatch | Code::DigestMismatch => {
                versions.iter().any(|version| !is_as_announced(ticket, &version.body))
            }
            Code::UnknownModel => ticket.version.is_none(),
            Code::NoModel => ticket.model.is_empty(),
            _ => false,
        }
    }

    fn may_expire(
        &self,
        known: &Known,
        facts: &Facts,
        ticket: &Ticket,
        code: Code,
        outcome: &Outcome,
        at: Duration,
    ) -> Judgement {
        let slack = SLACK + Duration::from_millis(2 * self.plan.weather.skew_ms);
        let long_ago = |then: Duration| then + slack < at;
        match code {
            Code::UploadExpired if ticket.upload_deadline.is_none_or(|deadline| deadline >= outcome.at) => {
                Err(("J6", "its upload expired before its deadline".to_owned()))
            }
            Code::UploadExpired if known.versions_of(ticket).iter().any(|version| long_ago(version.at)) => {
                Err(("J2", "its upload expired long after it had come".to_owned()))
            }
            Code::QueueExpired if ticket.queue_deadline >= outcome.at => {
                Err(("J6", "it expired in the queue before its deadline".to_owned()))
            }
            Code::QueueExpired if facts.progress_at.is_some_and(long_ago) => {
                Err(("J2", "it expired in the queue long after it had begun".to_owned()))
            }
            Code::UploadExpired | Code::QueueExpired => Ok(()),
            other => Err(("J2", format!("jobs do not expire by {other}"))),
        }
    }
}

impl Known {
    /// Whether some input kills its worker, or makes it stop.
    fn anything_kills(&self) -> bool {
        let deadly = |input| Script::read(input).is_some_and(|script| matches!(script.act, Act::Kill | Act::Hang));
        self.runs.keys().any(|input| deadly(input))
    }
}

/// Whether an upload is what its client said it would be.
fn is_as_announced(ticket: &Ticket, body: &Bytes) -> bool {
    match &ticket.input {
        Input::Upload { size_bytes, sha256, .. } => {
            body.len() as u64 == *size_bytes && sha256.is_none_or(|digest| digest == Sha256::of(body))
        }
        Input::Inline(_) | Input::Drop { .. } => true,
    }
}

fn ended(outcome: &Outcome, answer: Option<&[u8]>) -> String {
    match &outcome.ending {
        Ending::Succeeded { .. } => format!("it answered {}", String::from_utf8_lossy(answer.unwrap_or_default())),
        Ending::Failed { error } | Ending::Expired { error } => error.to_string(),
        Ending::Cancelled => "it was cancelled, and nobody asked for that".to_owned(),
    }
}
