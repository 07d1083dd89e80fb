//! What must be there in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cloud::memory::Depth;
use cloud::{GetOptions, ObjectStore};
use futures::FutureExt;
use job::layout::{self, InboxKey, MirrorKeys};
use job::{Ending, Input, JobId, StoredResult, Ticket};

use super::facts::{Ended, Facts};
use super::{Known, Oracle};
use crate::script::{Act, Script};
use crate::world::World;

type Unsettled = Option<(&'static str, String)>;

/// In calm weather a good job waits for nothing but the others, some of which hang, and for a suspect's turn.
const CALM_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Each of up to four posts under one key sends a job's message, and so do the API and the sweep when it is a minute old and
/// shows no sign of work.
const MAX_COPIES: u64 = 8;
/// When processes are up again, and no late message is on its way.
const AFTERMATH: Duration = Duration::from_secs(10);
/// Those who come after the storm wait for what it left at most.
const PROBE_PATIENCE: Duration = Duration::from_secs(20 * 60);

impl Oracle {
    /// A job that should have ended by `now`, and has not.
    pub(crate) fn overdue(&self, now: Duration) -> Option<JobId> {
        let known = self.lock();
        let mut overdue = known.jobs.iter().filter(|(_, facts)| match &facts.ticket {
            Some((ticket, at)) if facts.ended.is_none() && !known.is_left_to_the_sweep(ticket) => {
                now > self.plan.soon + at.saturating_sub(self.plan.quiet_at)
            }
            _ => false,
        });
        overdue.next().map(|(job, _)| *job)
    }

    /// What has not come to its end yet, and which promise it breaks if that stays so.
    pub(crate) fn unsettled(&self, world: &World) -> Unsettled {
        let known = self.lock();
        let open = known.jobs.iter().find(|(_, facts)| facts.ticket.is_some() && facts.ended.is_none());
        if let Some((job, _)) = open {
            return Some(("J2", format!("job {job} has not ended")));
        }
        let present = |key: &String| world.inbox.head(key).now_or_never().expect("memory answers at once").ok();
        for key in known.inputs.keys().filter(|key| key.starts_with(layout::DROP)) {
            if let Some(meta) = present(key).filter(|_| InboxKey::parse(key) != InboxKey::Folder) {
                let job = JobId::for_dropped_file("inbox", key, &meta.etag, meta.last_modified);
                if known.jobs.get(&job).is_none_or(|facts| facts.ticket.is_none()) {
                    return Some(("J2", format!("the dropped file {key} is no job")));
                }
                if let Some(why) = self.mirror_fault(&known, key) {
                    return Some(("J2", why));
                }
            }
        }
        for (name, queue) in [("job", &world.queue), ("dead-letter", &world.dead)] {
            let depth = queue.depth();
            if depth != Depth::default() {
                return Some(("J2", format!("the {name} queue is not empty: {depth:?}")));
            }
        }
        let dead = known.garbage.iter().find(|body| !self.is_recorded(body));
        dead.map(|body| ("J2", format!("there is no record of the message {body}")))
    }

    /// What is wrong with the mirror of the file's newest version.
    fn mirror_fault(&self, known: &Known, key: &str) -> Option<String> {
        let newest = known.inputs.get(key)?.last()?;
        let is_of_newest = |ticket: &Ticket| match &ticket.input {
            Input::Drop { key: of, etag, last_modified, .. } => {
                (of.as_str(), etag, last_modified) == (key, &newest.etag, &newest.modified)
            }
            Input::Inline(_) | Input::Upload { .. } => false,
        };
        let (model, path) = match InboxKey::parse(key) {
            InboxKey::Drop { model, path } => (model, path),
            _ => (String::new(), key[layout::DROP.len()..].to_owned()),
        };
        // A retry of the job is one more that the mirror may show.
        let jobs = known.jobs.values().filter(|facts| facts.ticket.as_ref().is_some_and(|(t, _)| is_of_newest(t)));
        let right: Vec<(String, Bytes)> =
            jobs.filter_map(|facts| mirror_of(facts.ended.as_ref()?, &model, &path)).collect();
        if right.is_empty() {
            return None;
        }
        let keys = |extension| MirrorKeys::new(&model, &path, extension);
        let there: Vec<(String, Bytes)> = [keys("json").result, keys("txt").result, keys("json").error]
            .into_iter()
            .filter_map(|key| Some((self.read(&key)?, key)).map(|(body, key)| (key, body)))
            .collect();
        match there.as_slice() {
            [one] if right.contains(one) => None,
            _ => Some(format!("the mirror of {key} holds {there:?}; right would be one of {right:?}")),
        }
    }

    fn read(&self, key: &str) -> Option<Bytes> {
        let get = self.outbox.get(key, GetOptions::default());
        Some(get.now_or_never().expect("memory answers at once").ok()?.body)
    }

    fn is_recorded(&self, body: &str) -> bool {
        let list = self.outbox.list(layout::DEAD, None, 1000).now_or_never().expect("memory answers at once");
        let escaped = serde_json::to_string(body).expect("a text");
        list.is_ok_and(|listing| {
            let mut records = listing.objects.iter().filter_map(|object| self.read(&object.key));
            records.any(|record| String::from_utf8_lossy(&record).contains(&escaped))
        })
    }

    /// Inputs that killed more workers than they may: each message that names their job is received so often, and in calm
    /// weather there are few of them, however many look at it.
    fn deadly_inputs(&self, known: &Known) -> Vec<(&'static str, String)> {
        let deadly = |input: &Bytes| Script::read(input).is_some_and(|script| script.act == Act::Kill);
        let too_many = |(input, runs): (&Bytes, &u64)| {
            let about = |facts: &&Facts| facts.ticket.as_ref().is_some_and(|(t, _)| known.inputs_of(t).contains(input));
            let jobs = known.jobs.values().filter(about).count() as u64;
            (*runs > jobs * MAX_COPIES * u64::from(self.plan.max_receives))
                .then(|| ("J6", format!("{jobs} jobs killed {runs} workers by {}", String::from_utf8_lossy(input))))
        };
        let runs = known.runs.iter().filter(|(input, _)| self.plan.calm && deadly(input));
        runs.filter_map(too_many).collect()
    }

    /// How many jobs ended how, and how many messages were given up.
    pub(crate) fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = BTreeMap::new();
        for ended in self.lock().jobs.values().filter_map(|facts| facts.ended.as_ref()) {
            let name = match &ended.outcome.ending {
                Ending::Failed { error } | Ending::Expired { error } => format!("{} {}", ended.state, error.code),
                Ending::Succeeded { .. } | Ending::Cancelled => ended.state.to_string(),
            };
            *ends.entry(name).or_default() += 1;
        }
        let given_up = self.outbox.list(layout::DEAD, None, 1000).now_or_never().expect("memory answers at once");
        ends.insert("given up".to_owned(), given_up.map_or(0, |listing| listing.objects.len() as u64));
        ends
    }

    /// Once more over everything, when nothing changes any more.
    pub(crate) fn check_all(&self) {
        let mut known = self.lock();
        let mut faults = Vec::new();
        for (job, facts) in &known.jobs {
            let Some(ended) = &facts.ended else { continue };
            if self.read(&layout::outcome_key(*job)).as_ref() != Some(&ended.document) {
                faults.push(("J1", format!("the outcome of job {job} is another one than was written")));
            }
            if self.answer(&ended.outcome.ending).ok().as_ref() != Some(&ended.answer) {
                faults.push(("J3", format!("the result of job {job} is another one than was written")));
            }
            let Some((ticket, accepted)) = &facts.ticket else { continue };
            let good = |input: &Bytes| Script::read(input).is_some_and(Script::is_good);
            let is_good = known.inputs_of(ticket).iter().all(good) && !facts.cancel_asked;
            let is_good = is_good && !known.is_left_to_the_sweep(ticket);
            let Some(ready) = known.ready_at(ticket, *accepted).filter(|_| is_good) else { continue };
            let after_the_storm = ready > self.plan.quiet_at + AFTERMATH;
            let patience = if self.plan.calm { CALM_PATIENCE } else { PROBE_PATIENCE };
            if (self.plan.calm || after_the_storm) && ended.at > ready + patience {
                faults.push(("J5", format!("the good job {job} took more than {patience:?}")));
            }
        }
        faults.extend(self.deadly_inputs(&known));
        for (invariant, what) in faults {
            known.violated(invariant, what);
        }
        if let Some((process, running)) = known.running.iter().find(|(_, running)| **running > 0) {
            let what = format!("{running} models still run in {process}");
            known.violated("leak", what);
        }
    }
}

/// The mirror that a job's end asks for.
fn mirror_of(ended: &Ended, model: &str, path: &str) -> Option<(String, Bytes)> {
    let keys = |extension: &str| MirrorKeys::new(model, path, extension);
    match &ended.outcome.ending {
        Ending::Succeeded { result } => {
            let extension = match result {
                StoredResult::Inline(_) => "json",
                StoredResult::Object { extension, .. } => extension,
            };
            Some((keys(extension).result, Bytes::from(ended.answer.clone()?)))
        }
        Ending::Failed { error } | Ending::Expired { error } => {
            Some((keys("json").error, Bytes::from(serde_json::to_vec(error).expect("a problem is JSON"))))
        }
        Ending::Cancelled => None,
    }
}
