//! Messages: send, delete, change visibility, expire.
//!
//! A message is visible once `visible_ms` has come; receiving it moves that time on and gives it a fresh receipt, and
//! only the newest receipt counts. Its age counts from the first time it was sent, wherever it has moved since.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::queues::{self, Queue};

const VISIBILITY_MAX_MS: i64 = 12 * 3600 * 1000;

#[derive(Debug, Clone, Default)]
pub(crate) struct NewMessage {
    pub(crate) body: String,
    /// Message attributes, as JSON in the wire's form.
    pub(crate) attributes: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) delay_s: Option<i64>,
}

impl NewMessage {
    pub(crate) fn of_body(body: String) -> Self {
        Self { body, ..Self::default() }
    }
}

/// What a receipt handle says: which message, and which receive of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) message: i64,
    pub(crate) token: String,
}

impl Store {
    /// Sends messages to one queue, all or none. Returns their ids.
    pub(crate) async fn send(&self, queue: String, messages: Vec<NewMessage>) -> Result<Vec<String>> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
                let queue = queues::find(change, &queue)?;
                messages.iter().map(|message| enqueue(change, &queue, message, now_ms)).collect()
            })
            .await
    }

    /// Deletes the message that a receipt stands for. A receipt that a later receive has replaced deletes nothing
    /// and is no error, as the SQS reference says of standard queues.
    pub(crate) async fn delete_message(&self, queue: String, receipt: Receipt) -> Result<()> {
        self.db
            .write(move |change| {
                let queue = queues::find(change, &queue)?;
                change
                    .prepare_cached("DELETE FROM messages WHERE id = ?1 AND queue = ?2 AND receipt = ?3")?
                    .execute(params![receipt.message, queue.id, receipt.token])?;
                Ok(())
            })
            .await
    }

    /// Sets how long from now a message in flight stays hidden.
    ///
    /// # Errors
    /// `StaleReceipt` if the message was deleted or received again, `NotInFlight` if it is visible.
    pub(crate) async fn change_visibility(&self, queue: String, receipt: Receipt, timeout_s: i64) -> Result<()> {
        let clock = Arc::clone(&self.clock);
        self.db
            .write(move |change| {
                let now_ms = clock().as_millisecond();
                let queue = queues::find(change, &queue)?;
                let found: Option<(i64, i64)> = change
                    .prepare_cached(
                        "SELECT visible_ms, last_received_ms FROM messages
                         WHERE id = ?1 AND queue = ?2 AND receipt = ?3 AND expires_ms > ?4",
                    )?
                    .query_row(params![receipt.message, queue.id, receipt.token, now_ms], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()?;
                let (visible_ms, received_ms) = found.ok_or(StoreError::StaleReceipt)?;
                if visible_ms <= now_ms {
                    return Err(StoreError::NotInFlight);
                }
                let until_ms = now_ms + timeout_s * 1000;
                if until_ms - received_ms > VISIBILITY_MAX_MS {
                    return Err(StoreError::VisibilityTooLong);
                }
                change
                    .prepare_cached("UPDATE messages SET visible_ms = ?2 WHERE id = ?1")?
                    .execute(params![receipt.message, until_ms])?;
                // Whoever sleeps until the old time has to reckon anew.
                change.after_commit(Effect::Wake(queue.id));
                Ok(())
            })
            .await
    }

    /// Removes messages whose retention has ended, in every queue. Returns how many.
    pub(crate) async fn remove_expired(&self) -> Result<usize> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
                let mut removed = 0;
                let mut statement = change.prepare_cached("SELECT id FROM queues")?;
                let queues: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
                for queue in queues {
                    removed += expire(change, queue, now_ms)?;
                }
                Ok(removed)
            })
            .await
    }
}

/// Puts a message into a queue and returns its id. By chance it lies there twice, and each copy comes late.
pub(super) fn enqueue(change: &Change<'_>, queue: &Queue, message: &NewMessage, now_ms: i64) -> Result<String> {
    let message_id = uuid::Uuid::new_v4().to_string();
    let delay_s = message.delay_s.unwrap_or(queue.attributes.delay_s);
    let copies = change.faults().copies();
    for _ in 0..copies {
        let late_ms = change.faults().late_ms();
        change
            .prepare_cached(
                "INSERT INTO messages
                 (queue, message_id, body, attributes, group_id, trace, sent_ms, visible_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                queue.id,
                message_id,
                message.body,
                message.attributes,
                message.group_id,
                message.trace,
                now_ms,
                now_ms + delay_s * 1000 + late_ms,
                now_ms + queue.attributes.retention_s * 1000,
            ])?;
    }
    change.after_commit(Effect::Wake(queue.id));
    Ok(message_id)
}

pub(super) fn expire(db: &Connection, queue: i64, now_ms: i64) -> Result<usize> {
    let removed = db
        .prepare_cached("DELETE FROM messages WHERE queue = ?1 AND expires_ms <= ?2")?
        .execute(params![queue, now_ms])?;
    Ok(removed)
}
