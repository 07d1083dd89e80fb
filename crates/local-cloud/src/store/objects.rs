//! Objects: write, read, delete, copy. Each write decides its condition, records the object and enqueues its
//! events in one transaction.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use s3s::checksum::ChecksumHasher;
use serde::{Deserialize, Serialize};

use super::blobs::{BlobWriter, StagedBlob, Stored};
use super::buckets::{bucket_id, notifications_of};
use super::db::Change;
use super::error::{Result, StoreError};
use super::messages::{self, NewMessage};
use super::{Store, next_in_sequence, queues};
use crate::events::{self, EventObject, ObjectEvent};

/// What is kept of an object beside its bytes: headers to give back, metadata, checksums.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) cache_control: Option<String>,
    /// Seconds since 1970.
    pub(crate) expires: Option<i64>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Algorithm (`CRC32`, `SHA256`, ...) to base64.
    pub(crate) checksums: BTreeMap<String, String>,
    /// The checksum is of checksums of parts, not of the whole.
    pub(crate) composite: bool,
    /// Bytes of each part, if the object was uploaded in parts.
    pub(crate) part_sizes: Vec<u64>,
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// `If-None-Match: *`
    IfAbsent,
    /// `If-Match`: the ETag, unquoted.
    IfMatch(String),
    /// `If-Match: *`
    IfPresent,
}

/// An object to be recorded, its bytes durable already or small.
pub(crate) struct NewObject {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) staged: StagedBlob,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) head: Head,
    pub(crate) condition: Condition,
    pub(crate) event: ObjectEvent,
    pub(crate) request_id: String,
}

#[derive(Debug, Clone)]
pub(crate) struct ObjectRecord {
    pub(crate) stored: Stored,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    pub(crate) head: Head,
}

/// The bytes of an object as they are when it is opened.
pub(crate) enum Content {
    Memory(Bytes),
    File(File),
}

impl Store {
    pub(crate) fn create_blob(&self, checksums: ChecksumHasher) -> BlobWriter {
        self.blobs.create(checksums)
    }

    /// Records an object, if its condition holds. Returns when it was modified.
    pub(crate) async fn put_object(&self, object: NewObject) -> Result<i64> {
        let (now, region) = (self.now(), self.region.clone());
        self.db.write(move |change| record(change, object, now, &region)).await
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`.
    pub(crate) async fn object(&self, bucket: String, key: String) -> Result<ObjectRecord> {
        self.db
            .read(move |db| {
                let bucket = bucket_id(db, &bucket)?;
                find(db, bucket, &key)?.ok_or(StoreError::NoSuchKey)
            })
            .await
    }

    /// The object and its bytes, which stay readable whatever happens to it afterwards.
    pub(crate) async fn open_object(&self, bucket: String, key: String) -> Result<(ObjectRecord, Content)> {
        // Between the look-up and the opening the object may be replaced and its blob removed; look again then.
        for _ in 0..16 {
            let (bucket, key) = (bucket.clone(), key.clone());
            let found = self.db.read(move |db| {
                let bucket = bucket_id(db, &bucket)?;
                let record = find(db, bucket, &key)?.ok_or(StoreError::NoSuchKey)?;
                let small = if let Stored::Row(row) = record.stored { small_bytes(db, row)? } else { None };
                Ok((record, small))
            });
            let (record, small) = found.await?;
            match (&record.stored, small) {
                (Stored::Row(_), Some(bytes)) => return Ok((record, Content::Memory(bytes.into()))),
                // Look-ups of one read see one state, but for a writer's commit between them.
                (Stored::Row(_), None) => {}
                (Stored::File(name), _) => {
                    let path = self.blobs.path(name);
                    match blocking(move || File::open(path)).await {
                        Ok(file) => return Ok((record, Content::File(file))),
                        Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Err(StoreError::Io(io::Error::new(io::ErrorKind::NotFound, "the object's bytes are missing")))
    }

    /// Deletes an object; one that is not there is no error, unless a condition asks for it.
    pub(crate) async fn delete_object(
        &self,
        bucket: String,
        key: String,
        condition: Condition,
        request_id: String,
    ) -> Result<()> {
        let (now, region) = (self.now(), self.region.clone());
        self.db
            .write(move |change| {
                let bucket_row = bucket_id(change, &bucket)?;
                let Some(old) = find(change, bucket_row, &key)? else {
                    return match condition {
                        Condition::Always => Ok(()),
                        Condition::IfAbsent | Condition::IfMatch(_) | Condition::IfPresent => {
                            Err(StoreError::NoSuchKey)
                        }
                    };
                };
                require(&condition, Some(&old))?;
                change
                    .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
                    .execute(params![bucket_row, key])?;
                old.stored.remove(change)?;
                let object =
                    EventObject { bucket: &bucket, key: &key, written: None, sequencer: next_in_sequence(change)? };
                notify(change, bucket_row, ObjectEvent::Delete, &object, now, &region, &request_id)
            })
            .await
    }

    /// An object's bytes once more, ready to be recorded.
    ///
    /// # Errors
    /// `Io` of the kind `NotFound` if they have been removed meanwhile.
    pub(crate) async fn copy_bytes(&self, stored: Stored) -> Result<StagedBlob> {
        match stored {
            Stored::File(name) => {
                let blobs = self.blobs.clone();
                blocking(move || blobs.link(&name)).await
            }
            Stored::Row(row) => {
                let bytes = self.db.read(move |db| small_bytes(db, row)).await?;
                Ok(StagedBlob::Small(bytes.ok_or(io::Error::from(io::ErrorKind::NotFound))?))
            }
        }
    }
}

fn small_bytes(db: &Connection, row: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = db.prepare_cached("SELECT bytes FROM small_blobs WHERE id = ?1")?;
    Ok(statement.query_row([row], |row| row.get(0)).optional()?)
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)??)
}

/// Writes the record of an object and its events. The caller's transaction makes it all or nothing.
pub(super) fn record(change: &Change<'_>, object: NewObject, now: jiff::Timestamp, region: &str) -> Result<i64> {
    let bucket = bucket_id(change, &object.bucket)?;
    let old = find(change, bucket, &object.key)?;
    require(&object.condition, old.as_ref())?;
    let now_ms = now.as_millisecond();
    let head = serde_json::to_string(&object.head)?;
    let size = i64::try_from(object.size_bytes).map_err(|_| StoreError::Invalid("too large".into()))?;
    let (blob, small) = match object.staged.store(change)? {
        Stored::File(name) => (Some(name), None),
        Stored::Row(row) => (None, Some(row)),
    };
    change
        .prepare_cached(
            "INSERT OR REPLACE INTO objects (bucket, key, blob, small, size, etag, modified_ms, head)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![bucket, object.key, blob, small, size, object.etag, now_ms, head])?;
    if let Some(old) = old {
        old.stored.remove(change)?;
    }
    let described = EventObject {
        bucket: &object.bucket,
        key: &object.key,
        written: Some((object.size_bytes, &object.etag)),
        sequencer: next_in_sequence(change)?,
    };
    notify(change, bucket, object.event, &described, now, region, &object.request_id)?;
    Ok(now_ms)
}

fn require(condition: &Condition, old: Option<&ObjectRecord>) -> Result<()> {
    match (condition, old) {
        (Condition::Always, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => Ok(()),
        (Condition::IfMatch(etag), Some(old)) if *etag == old.etag => Ok(()),
        (Condition::IfMatch(_) | Condition::IfPresent, None) => Err(StoreError::NoSuchKey),
        (Condition::IfAbsent | Condition::IfMatch(_), Some(_)) => Err(StoreError::PreconditionFailed),
    }
}

fn notify(
    change: &Change<'_>,
    bucket: i64,
    event: ObjectEvent,
    object: &EventObject<'_>,
    now: jiff::Timestamp,
    region: &str,
    request_id: &str,
) -> Result<()> {
    for rule in notifications_of(change, bucket)?.rules {
        if !rule.matches(event, object.key) {
            continue;
        }
        let Some(name) = events::queue_of_arn(&rule.queue_arn) else { continue };
        match queues::find(change, name) {
            Ok(queue) => {
                let body = events::event_body(event, &rule, object, region, now, request_id);
                messages::enqueue(change, &queue, &NewMessage::of_body(body), now.as_millisecond())?;
            }
            // As with S3, a queue deleted after it was configured loses events and nothing else.
            Err(StoreError::NoSuchQueue) => {
                tracing::warn!(queue = name, "an event has no queue to go to");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn find(db: &Connection, bucket: i64, key: &str) -> Result<Option<ObjectRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT blob, small, size, etag, modified_ms, head FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    let row = statement
        .query_row(params![bucket, key], |row| {
            let size: i64 = row.get(2)?;
            let head: String = row.get(5)?;
            let stored = Stored::of_columns(row.get(0)?, row.get(1)?);
            Ok((stored, size.unsigned_abs(), row.get(3)?, row.get(4)?, head))
        })
        .optional()?;
    row.map(|(stored, size_bytes, etag, modified_ms, head)| {
        Ok(ObjectRecord { stored, size_bytes, etag, modified_ms, head: serde_json::from_str(&head)? })
    })
    .transpose()
}
