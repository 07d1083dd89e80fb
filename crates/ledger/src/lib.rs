//! The job documents in the outbox, and the protocol of conditional writes that J1 and J4 rest on.
//!
//! API, worker, dead-letter handler and sweep all read and write jobs through a [`Ledger`]; none of them puts a job's
//! document by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cloud::{Clock, Condition, Entropy, GetOptions, ObjectStore, PutOptions, Queue, QueueError, StoreError};
use jiff::Timestamp;
use job::envelope::Order;
use job::error::{Code, causes};
use job::id::{ETag, JobId};
use job::state::{Found, Next, observe};
use job::{Ending, Input, Message, Outcome, Problem, Progress, State, Ticket, layout};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a write is tried whose outcome is unknown or which met another one.
const WRITE_TRIES: u32 = 5;
/// The first pause between such tries; each further one doubles it.
const WRITE_PAUSE: Duration = Duration::from_millis(50);
/// No document of ours is larger: a ticket holds at most 1 MiB of input and some fields.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// Where jobs live, and everything needed to read and write them.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// What clients write.
    pub inbox: Arc<dyn ObjectStore>,
    /// What the service writes.
    pub outbox: Arc<dyn ObjectStore>,
    /// The job queue.
    pub queue: Arc<dyn Queue>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// When each job's message was last sent again by this process, so that a crowd of pollers repeats it once.
    repeats: Arc<Mutex<HashMap<JobId, Timestamp>>>,
}

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error("a job's record could not be read or written")]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error("a job's message could not be sent")]
    Queue(#[from] QueueError),
    /// A document is not what this program writes.
    #[error("the {what} of job {job} cannot be read")]
    Corrupt {
        /// `ticket`, `progress` or `outcome`.
        what: &'static str,
        /// Whose.
        job: JobId,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl LedgerError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Queue(error) => error.is_transient(),
            Self::Corrupt { .. } => false,
        }
    }

    /// What a client is told.
    pub fn problem(&self) -> Problem {
        if self.is_transient() {
            Problem::new(Code::StorageUnavailable, "the job's records could not be reached; try again shortly")
        } else {
            Problem::new(Code::Internal, "the job's records could not be used")
        }
    }
}

/// What became of a write that happens at most once.
#[derive(Debug)]
pub enum Once<T> {
    /// This call wrote it, or an earlier try of the same write did.
    Written,
    /// Another one was there.
    There(T),
}

/// A job as one look at its documents shows it.
#[derive(Debug)]
pub struct Sight {
    /// Where it is.
    pub state: State,
    /// Its outcome; there is one if and only if the state is terminal.
    pub outcome: Option<Outcome>,
    /// Its progress record, if it was looked at and is there.
    pub progress: Option<Progress>,
    /// The upload's current version, if it was looked at and is there.
    pub uploaded: Option<ETag>,
}

impl Ledger {
    /// A ledger over these stores and this queue.
    pub fn new(
        inbox: Arc<dyn ObjectStore>,
        outbox: Arc<dyn ObjectStore>,
        queue: Arc<dyn Queue>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { inbox, outbox, queue, clock, entropy, repeats: Arc::default() }
    }

    /// The job's ticket; none if there never was one, or its retention is over.
    pub async fn ticket(&self, job: JobId) -> Result<Option<Ticket>, LedgerError> {
        Ok(self.stored_ticket(job).await?.filter(|ticket| self.is_retained(ticket)))
    }

    /// The job's ticket whatever its age, for whoever must tell a job that is no more from one that never was.
    pub async fn stored_ticket(&self, job: JobId) -> Result<Option<Ticket>, LedgerError> {
        Ok(self.read("ticket", job, &layout::ticket_key(job)).await?.map(|(ticket, _)| ticket))
    }

    /// Whether the job's retention is not over yet.
    pub fn is_retained(&self, ticket: &Ticket) -> bool {
        self.clock.now() < ticket.retained_until
    }

    /// Accepts a job: from then on it must reach an outcome (J2).
    pub async fn accept(&self, ticket: &Ticket) -> Result<Once<Ticket>, LedgerError> {
        let same = |there: &Ticket| {
            // A repeated try of this very write, as opposed to another request under the same idempotency key.
            there.created_at == ticket.created_at && there.request_digest == ticket.request_digest
        };
        self.write_once("ticket", ticket.job, &layout::ticket_key(ticket.job), ticket, same).await
    }

    /// The job's outcome, if it has one.
    pub async fn outcome(&self, job: JobId) -> Result<Option<Outcome>, LedgerError> {
        Ok(self.read("outcome", job, &layout::outcome_key(job)).await?.map(|(outcome, _)| outcome))
    }

    /// Ends the job (J1): the first outcome stands, and every later one finds it.
    pub async fn commit(&self, outcome: &Outcome) -> Result<Once<Outcome>, LedgerError> {
        let same = |there: &Outcome| there.writer == outcome.writer;
        self.write_once("outcome", outcome.job, &layout::outcome_key(outcome.job), outcome, same).await
    }

    /// Ends the job without a result, on behalf of no attempt.
    pub async fn end(&self, job: JobId, ending: Ending) -> Result<Once<Outcome>, LedgerError> {
        let (writer, at) = (self.entropy.attempt_id(), self.clock.now());
        self.commit(&Outcome { job, writer, at, started_at: None, infer_ms: None, ending }).await
    }

    /// The job's progress and its version.
    pub async fn progress(&self, job: JobId) -> Result<Option<(Progress, ETag)>, LedgerError> {
        self.read("progress", job, &layout::progress_key(job)).await
    }

    /// Writes progress over the version `last`, or over none. `None` means that another attempt wrote in between: then
    /// the caller writes no more.
    pub async fn write_progress(
        &self,
        job: JobId,
        progress: &Progress,
        last: Option<ETag>,
    ) -> Result<Option<ETag>, LedgerError> {
        let key = layout::progress_key(job);
        let condition = last.map_or(Condition::Absent, Condition::Matches);
        match self.outbox.put(&key, to_json(progress), PutOptions::json(condition)).await {
            Ok(etag) => Ok(Some(etag)),
            Err(StoreError::PreconditionFailed | StoreError::NotFound) => {
                // Ours after all, if the answer to an earlier try was lost.
                Ok(self.progress(job).await?.filter(|(there, _)| there == progress).map(|(_, etag)| etag))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the job's message.
    pub async fn enqueue(&self, ticket: &Ticket, etag: Option<ETag>, delay: Duration) -> Result<(), LedgerError> {
        let body = Message::new(Order::Run { job: ticket.job, etag, trace: ticket.trace }).to_body();
        self.queue.send(&body, Some(ticket.tenant.as_str()), delay).await?;
        Ok(())
    }

    /// Looks at a job, and mends what it finds: a passed deadline is committed, a message that may have been lost is
    /// sent again.
    pub async fn look(&self, ticket: &Ticket) -> Result<Sight, LedgerError> {
        let job = ticket.job;
        let mut found = Found::from_ticket(ticket);
        if let Some(outcome) = self.outcome(job).await? {
            return Ok(Sight { state: outcome.ending.state(), outcome: Some(outcome), progress: None, uploaded: None });
        }
        let upload = async {
            match &ticket.input {
                Input::Upload { key, etag: None, .. } => match self.inbox.head(key).await {
                    Ok(meta) => Ok(Some(meta)),
                    Err(StoreError::NotFound) => Ok(None),
                    Err(error) => Err(LedgerError::from(error)),
                },
                _ => Ok(None),
            }
        };
        let (upload, progress) = tokio::try_join!(upload, self.progress(job))?;
        let progress = progress.map(|(progress, _)| progress);
        found.input_at = found.input_at.or(upload.as_ref().map(|meta| meta.last_modified));
        found.progress = progress.is_some();
        let uploaded = upload.map(|meta| meta.etag);
        let (state, next) = observe(ticket, found, self.clock.now());
        match next {
            Next::Nothing => {}
            Next::SendAgain => {
                // The job's state is known all the same, and the next look tries again.
                if let Err(error) = self.send_again(ticket, uploaded.clone()).await {
                    tracing::warn!(%job, code = %error.problem().code, "a lost message could not be repeated: {error}{}", causes(&error));
                }
            }
            Next::Expire(error) => {
                let ending = Ending::Expired { error };
                let outcome = match self.end(job, ending.clone()).await? {
                    Once::Written => self.outcome(job).await?,
                    Once::There(other) => Some(other),
                };
                if let Some(outcome) = outcome {
                    return Ok(Sight { state: outcome.ending.state(), outcome: Some(outcome), progress, uploaded });
                }
            }
        }
        Ok(Sight { state, outcome: None, progress, uploaded })
    }

    async fn send_again(&self, ticket: &Ticket, uploaded: Option<ETag>) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let pause = job::state::REPEAT_AFTER_SECONDS;
        {
            let mut repeats = self.repeats.lock().expect("no panic while it is held");
            let recent = |sent: &Timestamp| now.as_second() - sent.as_second() < pause;
            if repeats.get(&ticket.job).is_some_and(recent) {
                return Ok(());
            }
            // Only before it would grow: looking through a long backlog at every repeat would be quadratic.
            if repeats.len() == repeats.capacity() {
                repeats.retain(|_, sent| recent(sent));
            }
            repeats.insert(ticket.job, now);
        }
        let sent = self.enqueue(ticket, uploaded, Duration::ZERO).await;
        if sent.is_err() {
            self.repeats.lock().expect("no panic while it is held").remove(&ticket.job);
        }
        sent
    }

    async fn read<T: DeserializeOwned>(
        &self,
        what: &'static str,
        job: JobId,
        key: &str,
    ) -> Result<Option<(T, ETag)>, LedgerError> {
        let options = GetOptions { if_match: None, max_bytes: Some(MAX_DOCUMENT_BYTES) };
        match self.outbox.get(key, options).await {
            Ok(object) => match serde_json::from_slice(&object.body) {
                Ok(document) => Ok(Some((document, object.meta.etag))),
                Err(source) => Err(LedgerError::Corrupt { what, job, source }),
            },
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a document that is written once. What is transient is tried again with the same bytes, because the write
    /// may have happened; what is found there instead is compared, because it may be that very write.
    async fn write_once<T: Serialize + DeserializeOwned>(
        &self,
        what: &'static str,
        job: JobId,
        key: &str,
        document: &T,
        same: impl Fn(&T) -> bool,
    ) -> Result<Once<T>, LedgerError> {
        let body = to_json(document);
        let mut pause = WRITE_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.outbox.put(key, body.clone(), PutOptions::json_once()).await {
                Ok(_) => return Ok(Once::Written),
                Err(StoreError::PreconditionFailed) => match self.read(what, job, key).await? {
                    Some((there, _)) if same(&there) => return Ok(Once::Written),
                    Some((there, _)) => return Ok(Once::There(there)),
                    // Removed in between, by nobody of ours: try again.
                    None => StoreError::Conflict,
                },
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error.into()),
            };
            if tries == WRITE_TRIES {
                return Err(error.into());
            }
            tokio::time::sleep(pause.mul_f64(0.5 + self.entropy.unit())).await;
            pause *= 2;
        }
    }
}

fn to_json<T: Serialize>(document: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(document).expect("our documents are JSON"))
}
