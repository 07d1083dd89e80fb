//! What must hold of every history, whatever went wrong in it (J1 to J7).
//!
//! The oracle sees each change of the buckets at the moment it happens, each run of a model, and what clients are told. It
//! knows what was sent in and what was asked for, and so which ends of a job are right.

mod ended;
mod facts;
mod judge;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cloud::memory::MemoryObjectStore;
use jiff::Timestamp;
use job::{ETag, JobId, Outcome, Progress, State, Ticket};

use crate::plan::Plan;
use crate::script::{Act, MAX_SECONDS, Script};
use facts::{Ended, Facts, Version};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `J1` to `J7`, or `leak`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// By when a running attempt has felt that its job has ended: a beat, a call, and the models' own steps.
const FELT: Duration = Duration::from_secs(3);
/// Beside a model's limit: the five seconds in which it may stop, and the timers' grain.
const GRACE: Duration = Duration::from_millis(5_050);

#[derive(Debug)]
pub(crate) struct Oracle {
    plan: Plan,
    outbox: Arc<MemoryObjectStore>,
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: BTreeMap<JobId, Facts>,
    /// Each version of each object of the inbox.
    inputs: BTreeMap<String, Vec<Version>>,
    /// How often a model was run on an input.
    runs: BTreeMap<Bytes, u64>,
    /// How many models run now, by process.
    running: BTreeMap<&'static str, usize>,
    /// Messages that name no job, by their body.
    garbage: Vec<String>,
    faults: u64,
    violation: Option<Violation>,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan, outbox: Arc<MemoryObjectStore>) -> Self {
        Self { plan: plan.clone(), outbox, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first promise that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.lock().violation.clone()
    }

    pub(crate) fn violated(&self, invariant: &'static str, what: impl Into<String>) {
        self.lock().violated(invariant, what);
    }

    /// Something was made to go wrong.
    pub(crate) fn fault(&self) {
        self.lock().faults += 1;
    }

    /// A model begins; how often one ran on that input before.
    pub(crate) fn begins(&self, process: &'static str, input: &Bytes) -> u64 {
        let mut known = self.lock();
        let running = known.running.entry(process).or_default();
        *running += 1;
        let running = *running;
        if running > self.plan.parallel {
            known.violated("J6", format!("{running} models run at once in {process}"));
        }
        let runs = known.runs.entry(input.clone()).or_default();
        *runs += 1;
        *runs - 1
    }

    /// A model has ended, or its process has, `now`.
    pub(crate) fn ran(&self, process: &'static str, input: &Bytes, took: Duration, now: Duration) {
        let mut known = self.lock();
        *known.running.entry(process).or_default() -= 1;
        if let Some(job) = self.ran_in_vain(&known, input, took, now) {
            known.violated("J6", format!("a model ran for more than {FELT:?} after its job {job} had ended"));
        }
        if took > Duration::from_secs(MAX_SECONDS) + GRACE {
            known.violated("J6", format!("a model ran for {took:?} on {}", String::from_utf8_lossy(input)));
        }
    }

    /// The job whose model ran on although the job had ended by somebody else's doing.
    fn ran_in_vain(&self, known: &Known, input: &Bytes, took: Duration, now: Duration) -> Option<JobId> {
        let obedient = Script::read(input).is_none_or(|script| script.act != Act::Hang);
        if took < FELT || !obedient || !self.plan.weather.is_clear() {
            return None;
        }
        let about = |facts: &&Facts| facts.ticket.as_ref().is_some_and(|(t, _)| known.inputs_of(t).contains(input));
        let mut jobs = known.jobs.iter().filter(|(_, facts)| about(facts));
        // Of several jobs on one input it isn't known whose run it was.
        let (Some((job, facts)), None) = (jobs.next(), jobs.next()) else { return None };
        let ended = facts.ended.as_ref()?.at;
        (ended > now.saturating_sub(took) && ended + FELT < now).then_some(*job)
    }

    /// An object of the inbox was written.
    pub(crate) fn input_written(&self, key: &str, body: Bytes, etag: ETag, modified: Timestamp, at: Duration) {
        let version = Version { body, etag, modified, at, gone_at: None };
        self.lock().inputs.entry(key.to_owned()).or_default().push(version);
    }

    /// An object of the inbox was deleted.
    pub(crate) fn input_deleted(&self, key: &str, at: Duration) {
        if let Some(last) = self.lock().inputs.get_mut(key).and_then(|versions| versions.last_mut()) {
            last.gone_at = Some(at);
        }
    }

    /// A message was sent that names no job.
    pub(crate) fn garbage_sent(&self, body: String) {
        self.lock().garbage.push(body);
    }

    /// A client asks to cancel the job.
    pub(crate) fn cancel_asked(&self, job: JobId) {
        self.lock().jobs.entry(job).or_default().cancel_asked = true;
    }

    /// A client was told that its job is accepted.
    pub(crate) fn accepted(&self, job: JobId) {
        let mut known = self.lock();
        if known.jobs.get(&job).is_none_or(|facts| facts.ticket.is_none()) {
            known.violated("J2", format!("job {job} was accepted, and has no ticket"));
        }
    }

    /// A client was shown the job in this state, by a call that began at `begun`; `before` is what it saw last.
    pub(crate) fn saw(&self, job: JobId, before: Option<State>, state: State, begun: Duration) {
        let mut known = self.lock();
        if let Some(before) = before.filter(|before| !before.may_become(state)) {
            known.violated("J4", format!("job {job} was {before}, then {state}"));
        }
        let outcome = known.jobs.get(&job).and_then(|facts| facts.ended.as_ref());
        let (stands, stood) = (outcome.map(|ended| ended.state), outcome.filter(|ended| ended.at < begun));
        if state.is_terminal() && stands != Some(state) {
            known.violated("J4", format!("job {job} was shown as {state}; its outcome says {stands:?}"));
        } else if !state.is_terminal() && stood.is_some() {
            known.violated("J4", format!("job {job} was shown as {state} after its outcome was written"));
        }
    }

    /// A client read the job's result.
    pub(crate) fn saw_result(&self, job: JobId, answer: &[u8]) {
        let mut known = self.lock();
        let stands = known.jobs.get(&job).and_then(|facts| facts.ended.as_ref()).map(|ended| ended.answer.clone());
        if stands.flatten().as_deref() != Some(answer) {
            let answer = String::from_utf8_lossy(answer).into_owned();
            known.violated("J3", format!("job {job} answered {answer}, not what its outcome says"));
        }
    }

    /// An object of the outbox was written.
    pub(crate) fn written(&self, key: &str, before: Option<Bytes>, body: &Bytes, at: Duration) {
        let mut known = self.lock();
        if key.starts_with("results/") && before.is_some() {
            known.violated("J3", format!("{key} was written a second time"));
        }
        let document = key.strip_prefix("jobs/").and_then(|rest| rest.split_once('/'));
        let Some((Ok(job), document)) = document.map(|(job, document)| (job.parse::<JobId>(), document)) else {
            return;
        };
        if before.is_some() && document != "progress.json" {
            let invariant = if document == "outcome.json" { "J1" } else { "J4" };
            known.violated(invariant, format!("{key} was written a second time"));
            return;
        }
        match document {
            "ticket.json" => {
                let ticket: Ticket = serde_json::from_slice(body).expect("a ticket");
                known.jobs.entry(job).or_default().ticket = Some((ticket, at));
            }
            "progress.json" => {
                let progress: Progress = serde_json::from_slice(body).expect("a progress record");
                let facts = known.jobs.entry(job).or_default();
                facts.progress_at.get_or_insert(at);
                let failures = std::mem::replace(&mut facts.failures, progress.failures);
                if progress.failures > self.plan.max_attempts || progress.failures < failures {
                    let what = format!("job {job} has failed {} times, after {failures}", progress.failures);
                    known.violated("J6", what);
                }
            }
            "outcome.json" => {
                let outcome: Outcome = serde_json::from_slice(body).expect("an outcome");
                let answer = match self.answer(&outcome.ending) {
                    Ok(answer) => answer,
                    Err(why) => return known.violated("J3", format!("job {job}: {why}")),
                };
                let state = outcome.ending.state();
                let judged = self.judge(&known, job, &outcome, answer.as_deref(), at);
                let ended = Ended { at, state, document: body.clone(), outcome, answer };
                known.jobs.entry(job).or_default().ended = Some(ended);
                if let Err((invariant, why)) = judged {
                    known.violated(invariant, format!("job {job}: {why}"));
                }
            }
            other => known.violated("J4", format!("jobs have no document {other}")),
        }
    }

    /// An object of the outbox is deleted.
    pub(crate) fn deleted(&self, key: &str) {
        if !key.starts_with("mirror/") {
            self.violated("J4", format!("{key} was deleted"));
        }
    }
}

impl Known {
    fn violated(&mut self, invariant: &'static str, what: impl Into<String>) {
        self.violation.get_or_insert(Violation { invariant, what: what.into() });
    }
}
