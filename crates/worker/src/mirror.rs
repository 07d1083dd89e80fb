//! The mirror of a dropped file: what came of it, found by the path that was dropped.
//!
//! Several versions of one file may be under way at once, in any order, and a redelivery may repeat any of this. So a
//! mirror carries when its source was written, and a step on behalf of an older source leaves a newer one's alone. The times are
//! whole seconds: of two versions of the same one, that is the newer which lies in the inbox. And a delete has no condition, so it
//! may hit what a newer version has just written: whoever has changed something looks which version lies in the inbox, and if that
//! one's job has ended, writes its mirror once more. (If it has not, its mirror is still to come.)

use std::collections::BTreeMap;

use bytes::Bytes;
use cloud::{Condition, GetOptions, ObjectMeta, ObjectStore, PutOptions, StoreError};
use jiff::Timestamp;
use job::id::ETag;
use job::layout::{MAX_KEY_BYTES, MirrorKeys};
use job::{Ending, Input, JobId, Outcome, Sha256, StoredResult, Ticket};
use ledger::Ledger;

use crate::fault::Fault;
use crate::patience::{self, within};

/// Metadata: the job whose answer it is.
const JOB: &str = "millpond-job";
/// Metadata: when the source's version was written.
const MODIFIED: &str = "millpond-source-modified";
/// Metadata: the source's version.
const ETAG: &str = "millpond-source-etag";
/// Metadata: SHA-256 of the source's key, which itself may not be ASCII. Another file's mirror can have a key that looks
/// like a sibling of this one's.
const SOURCE: &str = "millpond-source-key-sha256";

/// How often the swap is tried against others.
const TRIES: u32 = 5;
/// More results of one file than there are formats of answers.
const MAX_SIBLINGS: usize = 100;

/// A mirror to be written.
struct Mirror<'a> {
    ledger: &'a Ledger,
    /// The source's key.
    source: &'a str,
    /// The source's version.
    etag: &'a ETag,
    key: String,
    error_key: String,
    /// What the keys of results start with.
    result_prefix: String,
    modified: Timestamp,
    metadata: BTreeMap<String, String>,
}

/// Writes what `outcome` says beside what was dropped, and takes away what an earlier version left there. Does nothing for
/// jobs that are no dropped file's, and for cancelled ones: nothing came of them.
pub(crate) async fn write(ledger: &Ledger, ticket: &Ticket, outcome: &Outcome) -> Result<(), Fault> {
    let Input::Drop { key, .. } = &ticket.input else { return Ok(()) };
    let mut written = ticket.job;
    let mut changed = write_one(ledger, ticket, outcome).await?;
    while changed && let Some((ticket, outcome)) = ended_newest(ledger, key).await? {
        if ticket.job == written {
            break;
        }
        written = ticket.job;
        changed = write_one(ledger, &ticket, &outcome).await?;
    }
    Ok(())
}

/// The job of the version that lies in the inbox, if it has ended.
async fn ended_newest(ledger: &Ledger, key: &str) -> Result<Option<(Ticket, Outcome)>, Fault> {
    let meta = match ledger.inbox.head(key).await {
        Ok(meta) => meta,
        Err(StoreError::NotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ended(ledger, key, &meta).await
}

/// The job of this version of a dropped file, if it has ended.
pub(crate) async fn ended(ledger: &Ledger, key: &str, meta: &ObjectMeta) -> Result<Option<(Ticket, Outcome)>, Fault> {
    let job = JobId::for_dropped_file(ledger.inbox.bucket(), key, &meta.etag, meta.last_modified);
    let read = async { tokio::try_join!(ledger.stored_ticket(job), ledger.outcome(job)) };
    let (ticket, outcome) = within(patience::CALL, read).await?;
    Ok(ticket.zip(outcome))
}

/// Does it for one version; whether it changed anything.
async fn write_one(ledger: &Ledger, ticket: &Ticket, outcome: &Outcome) -> Result<bool, Fault> {
    let Input::Drop { key: source, path, etag, last_modified, .. } = &ticket.input else { return Ok(false) };
    let extension = match &outcome.ending {
        Ending::Succeeded { result: StoredResult::Object { extension, .. } } => extension,
        Ending::Succeeded { result: StoredResult::Inline(_) } | Ending::Failed { .. } | Ending::Expired { .. } => {
            "json"
        }
        Ending::Cancelled => return Ok(false),
    };
    let keys = MirrorKeys::new(&ticket.model, path, extension);
    let result_prefix = keys.result.strip_suffix(extension).unwrap_or(&keys.result).to_owned();
    let key = match &outcome.ending {
        Ending::Succeeded { .. } => keys.result,
        Ending::Failed { .. } | Ending::Expired { .. } | Ending::Cancelled => keys.error.clone(),
    };
    if key.len() > MAX_KEY_BYTES || keys.error.len() > MAX_KEY_BYTES {
        // The job failed for just that, and its outcome is where one reads it.
        return Ok(false);
    }
    let metadata = BTreeMap::from([
        (JOB.to_owned(), ticket.job.to_string()),
        (MODIFIED.to_owned(), last_modified.to_string()),
        (ETAG.to_owned(), etag.unquoted().to_owned()),
        (SOURCE.to_owned(), Sha256::of(source.as_bytes()).to_string()),
    ]);
    let (error_key, modified) = (keys.error, *last_modified);
    let mirror = Mirror { ledger, source, etag, key, error_key, result_prefix, modified, metadata };

    if mirror.is_older_than_any(&mirror.siblings().await?).await? {
        return Ok(false);
    }
    if !mirror.swap_in(&outcome.ending).await? {
        return Ok(false);
    }
    // Only after the write can it be seen whether somebody with a newer version came in between.
    let siblings = mirror.siblings().await?;
    if mirror.is_older_than_any(&siblings).await? {
        ledger.outbox.delete(&mirror.key).await?;
        return Ok(true);
    }
    for (key, _) in siblings {
        ledger.outbox.delete(&key).await?;
    }
    Ok(true)
}

impl Mirror<'_> {
    /// The other mirrors of the same file: its error, or its results.
    async fn siblings(&self) -> Result<Vec<(String, ObjectMeta)>, StoreError> {
        let mut keys: Vec<String> = vec![self.error_key.clone()];
        let results = self.ledger.outbox.list(&self.result_prefix, None, MAX_SIBLINGS).await?;
        keys.extend(results.objects.into_iter().map(|object| object.key));
        let mut siblings = Vec::new();
        for key in keys.into_iter().filter(|key| *key != self.key) {
            match self.ledger.outbox.head(&key).await {
                Ok(meta) if meta.metadata.get(SOURCE) == self.metadata.get(SOURCE) => siblings.push((key, meta)),
                Ok(_) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(siblings)
    }

    /// Whether a mirror is that of a newer version.
    async fn is_older_than(&self, meta: &ObjectMeta) -> Result<bool, StoreError> {
        let theirs = meta.metadata.get(MODIFIED).and_then(|text| text.parse::<Timestamp>().ok());
        let Some(theirs) = theirs else { return Ok(false) };
        if theirs != self.modified || meta.metadata.get(ETAG).is_some_and(|etag| etag == self.etag.unquoted()) {
            return Ok(theirs > self.modified);
        }
        match self.ledger.inbox.head(self.source).await {
            Ok(there) => Ok(there.etag != *self.etag),
            // Neither lies there any more; what is written stays.
            Err(StoreError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn is_older_than_any(&self, siblings: &[(String, ObjectMeta)]) -> Result<bool, StoreError> {
        for (_, meta) in siblings {
            if self.is_older_than(meta).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes it over an older one or over none. False if a newer one is there.
    async fn swap_in(&self, ending: &Ending) -> Result<bool, Fault> {
        let mut body: Option<(Bytes, String)> = None;
        for _ in 0..TRIES {
            let condition = match self.ledger.outbox.head(&self.key).await {
                Ok(meta) if self.is_older_than(&meta).await? => return Ok(false),
                // An earlier delivery got as far as this.
                Ok(meta) if meta.metadata.get(JOB) == self.metadata.get(JOB) => return Ok(true),
                Ok(meta) => Condition::Matches(meta.etag),
                Err(StoreError::NotFound) => Condition::Absent,
                Err(error) => return Err(error.into()),
            };
            let (bytes, content_type) = match &body {
                Some(body) => body.clone(),
                None => body.insert(content(&*self.ledger.outbox, ending).await?).clone(),
            };
            let metadata = self.metadata.clone();
            let options = PutOptions { condition, content_type: Some(content_type), metadata };
            match self.ledger.outbox.put(&self.key, bytes, options).await {
                Ok(_) => return Ok(true),
                Err(StoreError::PreconditionFailed | StoreError::Conflict | StoreError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }
}

/// The bytes that a mirror holds, and their media type.
async fn content(outbox: &dyn ObjectStore, ending: &Ending) -> Result<(Bytes, String), StoreError> {
    const JSON: &str = "application/json";
    match ending {
        Ending::Succeeded { result: StoredResult::Inline(text) } => {
            Ok((Bytes::copy_from_slice(text.get().as_bytes()), JSON.to_owned()))
        }
        Ending::Succeeded { result: StoredResult::Object { key, content_type, .. } } => {
            Ok((outbox.get(key, GetOptions::default()).await?.body, content_type.clone()))
        }
        Ending::Failed { error } | Ending::Expired { error } => {
            Ok((serde_json::to_vec(error).expect("a problem is JSON").into(), JSON.to_owned()))
        }
        Ending::Cancelled => Ok((Bytes::new(), JSON.to_owned())),
    }
}
