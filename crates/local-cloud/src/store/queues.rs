//! Queues and their attributes.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::Store;
use super::db::Effect;
use super::error::{Result, StoreError};
use crate::events;

/// The longest name of a queue.
pub(crate) const NAME_MAX_CHARS: usize = 80;

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedrivePolicy {
    pub(crate) dead_letter_arn: String,
    pub(crate) max_receive_count: u32,
}

/// The attributes that can be set, with SQS's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueAttributes {
    pub(crate) visibility_timeout_s: i64,
    pub(crate) delay_s: i64,
    pub(crate) message_max_bytes: usize,
    pub(crate) retention_s: i64,
    pub(crate) receive_wait_s: i64,
    pub(crate) redrive: Option<RedrivePolicy>,
    /// Attributes that are kept and given back, and have no effect here: policies, encryption.
    pub(crate) inert: std::collections::BTreeMap<String, String>,
}

impl Default for QueueAttributes {
    fn default() -> Self {
        Self {
            visibility_timeout_s: 30,
            delay_s: 0,
            message_max_bytes: 1 << 20,
            retention_s: 4 * 24 * 3600,
            receive_wait_s: 0,
            redrive: None,
            inert: std::collections::BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) attributes: QueueAttributes,
}

/// About how many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MessageCounts {
    pub(crate) visible: i64,
    pub(crate) in_flight: i64,
    pub(crate) delayed: i64,
}

impl Store {
    /// Creates a queue with the attributes that `set` sets, or finds it if it is there and `set` changes none. Those
    /// that a creation doesn't name may differ, as in SQS.
    ///
    /// # Errors
    /// `QueueExists` if it is there with others.
    pub(crate) async fn create_queue(
        &self,
        name: String,
        set: impl FnOnce(&mut QueueAttributes) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
                let there = match find(change, &name) {
                    Ok(queue) => Some(queue.attributes),
                    Err(StoreError::NoSuchQueue) => None,
                    Err(error) => return Err(error),
                };
                let mut attributes = there.clone().unwrap_or_default();
                set(&mut attributes)?;
                match there {
                    None => insert(change, &name, &attributes, now_ms),
                    Some(there) if there == attributes => Ok(()),
                    Some(_) => Err(StoreError::QueueExists),
                }
            })
            .await
    }

    /// Creates a queue or sets the attributes of the one that is there.
    pub(crate) async fn ensure_queue(&self, name: String, attributes: QueueAttributes) -> Result<()> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| match find(change, &name) {
                Ok(queue) if queue.attributes == attributes => Ok(()),
                Ok(queue) => update(change, &queue, &attributes, now_ms),
                Err(StoreError::NoSuchQueue) => insert(change, &name, &attributes, now_ms),
                Err(error) => Err(error),
            })
            .await
    }

    /// Changes the attributes of a queue by `edit`.
    pub(crate) async fn edit_queue(
        &self,
        name: String,
        edit: impl FnOnce(&mut QueueAttributes) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
                let queue = find(change, &name)?;
                let mut attributes = queue.attributes.clone();
                edit(&mut attributes)?;
                update(change, &queue, &attributes, now_ms)
            })
            .await
    }

    pub(crate) async fn queue(&self, name: String) -> Result<Queue> {
        self.db.read(move |db| find(db, &name)).await
    }

    pub(crate) async fn queues(&self) -> Result<Vec<Queue>> {
        self.db.read(all).await
    }

    /// The queues whose dead letters go to `name`.
    pub(crate) async fn dead_letter_sources(&self, name: String) -> Result<Vec<Queue>> {
        self.db
            .read(move |db| {
                find(db, &name)?;
                let mut sources = all(db)?;
                sources.retain(|queue| {
                    let redrive = queue.attributes.redrive.as_ref();
                    redrive.is_some_and(|policy| events::queue_of_arn(&policy.dead_letter_arn) == Some(&name))
                });
                Ok(sources)
            })
            .await
    }

    pub(crate) async fn message_counts(&self, queue: i64) -> Result<MessageCounts> {
        let now_ms = self.now_ms();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "SELECT count(*) FILTER (WHERE visible_ms <= ?2),
                            count(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NOT NULL),
                            count(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NULL)
                     FROM messages WHERE queue = ?1 AND expires_ms > ?2",
                )?;
                let counts = statement.query_row(params![queue, now_ms], |row| {
                    Ok(MessageCounts { visible: row.get(0)?, in_flight: row.get(1)?, delayed: row.get(2)? })
                })?;
                Ok(counts)
            })
            .await
    }

    pub(crate) async fn delete_queue(&self, name: String) -> Result<()> {
        self.db
            .write(move |change| {
                let queue = find(change, &name)?;
                change.execute("DELETE FROM messages WHERE queue = ?1", [queue.id])?;
                change.execute("DELETE FROM queues WHERE id = ?1", [queue.id])?;
                change.after_commit(Effect::Wake(queue.id));
                Ok(())
            })
            .await
    }

    pub(crate) async fn purge_queue(&self, name: String) -> Result<()> {
        self.db
            .write(move |change| {
                let queue = find(change, &name)?;
                change.execute("DELETE FROM messages WHERE queue = ?1", [queue.id])?;
                Ok(())
            })
            .await
    }
}

const COLUMNS: &str = "id, name, created_ms, modified_ms, attributes";

type QueueRow = (i64, String, i64, i64, String);

fn queue_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<QueueRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn parse((id, name, created_ms, modified_ms, attributes): QueueRow) -> Result<Queue> {
    Ok(Queue { id, name, created_ms, modified_ms, attributes: serde_json::from_str(&attributes)? })
}

pub(super) fn find(db: &Connection, name: &str) -> Result<Queue> {
    let row = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM queues WHERE name = ?1"))?
        .query_row([name], queue_row)
        .optional()?;
    parse(row.ok_or(StoreError::NoSuchQueue)?)
}

fn all(db: &Connection) -> Result<Vec<Queue>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM queues ORDER BY name"))?;
    let rows = statement.query_map([], queue_row)?;
    rows.map(|row| parse(row?)).collect()
}

fn check_redrive(db: &Connection, attributes: &QueueAttributes) -> Result<()> {
    let Some(policy) = &attributes.redrive else { return Ok(()) };
    let target = events::queue_of_arn(&policy.dead_letter_arn);
    match target.map(|name| find(db, name)) {
        Some(Ok(_)) => Ok(()),
        None | Some(Err(StoreError::NoSuchQueue)) => {
            Err(StoreError::Invalid("the dead-letter target of the RedrivePolicy does not exist".into()))
        }
        Some(Err(error)) => Err(error),
    }
}

fn insert(db: &Connection, name: &str, attributes: &QueueAttributes, now_ms: i64) -> Result<()> {
    check_redrive(db, attributes)?;
    db.execute(
        "INSERT INTO queues (name, created_ms, modified_ms, attributes) VALUES (?1, ?2, ?2, ?3)",
        params![name, now_ms, serde_json::to_string(attributes)?],
    )?;
    Ok(())
}

fn update(db: &Connection, queue: &Queue, attributes: &QueueAttributes, now_ms: i64) -> Result<()> {
    check_redrive(db, attributes)?;
    db.execute(
        "UPDATE queues SET attributes = ?2, modified_ms = ?3 WHERE id = ?1",
        params![queue.id, serde_json::to_string(attributes)?, now_ms],
    )?;
    // A new retention applies to the messages that are there, as in SQS.
    if queue.attributes.retention_s != attributes.retention_s {
        db.execute(
            "UPDATE messages SET expires_ms = sent_ms + ?2 WHERE queue = ?1",
            params![queue.id, attributes.retention_s * 1000],
        )?;
    }
    Ok(())
}
