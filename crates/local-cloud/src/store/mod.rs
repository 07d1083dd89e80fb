//! The store below both protocols: buckets, objects, queues and messages in one database, object bytes in files.

mod blobs;
mod buckets;
mod db;
mod error;
mod listing;
mod messages;
mod moves;
mod multipart;
mod objects;
mod queues;
mod receive;
mod schema;
mod waiters;

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

pub(crate) use blobs::{BlobWriter, FinishedBlob, SMALL_MAX_BYTES, StagedBlob};
pub(crate) use buckets::CorsRule;
pub(crate) use error::{Result, StoreError};
pub(crate) use listing::{Listing, ListingEntry, ListingQuery};
pub(crate) use messages::{NewMessage, Receipt};
pub(crate) use moves::MoveTasks;
pub(crate) use multipart::{CompletedPart, PartRecord, UploadRecord};
pub(crate) use objects::{Condition, Content, Head, NewObject, ObjectRecord};
pub(crate) use queues::{NAME_MAX_CHARS as QUEUE_NAME_MAX_CHARS, Queue, QueueAttributes, RedrivePolicy};
pub(crate) use receive::{ReceiveOptions, ReceivedMessage};

use crate::chaos::Faults;
use crate::{AbsentKeys, Clock, Config};
use blobs::Blobs;
use db::{Change, Db, Effect};
use waiters::Waiters;

/// The database's file in the data directory.
pub(crate) const DATABASE: &str = "cloud.sqlite3";

/// Everything that is kept. Cheap to share behind an `Arc`; every method may be called from any task.
pub(crate) struct Store {
    db: Db,
    blobs: Blobs,
    waiters: Arc<Waiters>,
    clock: Clock,
    pub(crate) region: String,
    pub(crate) absent_keys: AbsentKeys,
    pub(crate) move_tasks: MoveTasks,
    // The directory's lock, released when the file is closed: after the database, however the process ends.
    _lock: File,
}

impl Store {
    /// Opens the store in the data directory, checks it, and removes what a crash left behind. Blocking.
    pub(crate) fn open(config: &Config, lock: File) -> Result<Self> {
        let blobs = Blobs::open(&config.data_dir)?;
        let path = config.data_dir.join(DATABASE);
        let log = config.data_dir.join(format!("{DATABASE}-wal"));
        if !path.try_exists()? && (blobs.any()? || log.try_exists()?) {
            return Err(StoreError::Damaged("it is missing, but what belongs to it is there".into()));
        }
        let connection = schema::open(&path)?;
        let mut named = HashSet::new();
        for names in ["SELECT blob FROM objects WHERE blob IS NOT NULL", "SELECT blob FROM parts"] {
            let mut statement = connection.prepare(names)?;
            for name in statement.query_map([], |row| row.get(0))? {
                named.insert(name?);
            }
        }
        let removed = blobs.sweep(&named)?;
        if removed > 0 {
            tracing::info!(removed, "removed files that no object names");
        }
        let waiters = Arc::new(Waiters::default());
        let perform = {
            let (blobs, waiters) = (blobs.clone(), Arc::clone(&waiters));
            move |effect| match effect {
                Effect::Wake(queue) => waiters.wake(queue),
                Effect::RemoveBlob(name) => blobs.remove(&name),
            }
        };
        let db = Db::start(&path, connection, Faults::new(config.chaos.unwrap_or_default()), perform)?;
        Ok(Self {
            db,
            blobs,
            waiters,
            clock: Arc::clone(&config.clock),
            region: config.region.clone(),
            absent_keys: config.absent_keys,
            move_tasks: MoveTasks::default(),
            _lock: lock,
        })
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        (self.clock)()
    }

    fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Waits for changes under way and closes the database. Blocking.
    pub(crate) fn close(&self) {
        self.db.close();
    }
}

/// The next number of the sequence that orders the events of a key.
fn next_in_sequence(change: &Change<'_>) -> Result<u64> {
    let next: i64 = change
        .prepare_cached("UPDATE sequencer SET next = next + 1 RETURNING next")?
        .query_row([], |row| row.get(0))?;
    Ok(next.unsigned_abs())
}
