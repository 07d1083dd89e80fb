//! Messages: send, receive, delete, change visibility, redrive, expire.
//!
//! A message is visible once `visible_ms` has come; receiving it moves that time on and gives it a fresh receipt, and
//! only the newest receipt counts. A message received `maxReceiveCount` times moves to the dead-letter queue when it
//! would be received once more. Its age counts from the first time it was sent, wherever it has moved since.

use std::pin::pin;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::Instant;

use super::Store;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::queues::{self, Queue};
use crate::events;

const VISIBILITY_MAX_MS: i64 = 12 * 3600 * 1000;
/// A long poll looks again at least this often, should the wall clock be moved under it.
const LONGEST_NAP: Duration = Duration::from_secs(1);

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

#[derive(Debug, Clone)]
pub(crate) struct ReceivedMessage {
    pub(crate) message_id: String,
    pub(crate) receipt: Receipt,
    pub(crate) body: String,
    pub(crate) attributes: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) sent_ms: i64,
    pub(crate) first_received_ms: i64,
    pub(crate) receive_count: i64,
    pub(crate) dead_letter_source: Option<String>,
}

/// What a receipt handle says: which message, and which receive of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) message: i64,
    pub(crate) token: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiveOptions {
    pub(crate) max_messages: i64,
    pub(crate) visibility_timeout_s: Option<i64>,
    pub(crate) wait: Duration,
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

    /// Receives what is visible; if nothing is, waits for it. Dropping the future takes nothing.
    pub(crate) async fn receive(&self, queue: Queue, options: ReceiveOptions) -> Result<Vec<ReceivedMessage>> {
        let deadline = Instant::now() + options.wait;
        let bell = self.waiters.bell(queue.id);
        loop {
            let mut rung = pin!(bell.notified());
            rung.as_mut().enable();
            let nap = match self.next_visible(queue.id).await? {
                Some(Duration::ZERO) => {
                    let (now_ms, queue) = (self.now_ms(), queue.name.clone());
                    let received = self
                        .db
                        .write(move |change| {
                            let queue = queues::find(change, &queue)?;
                            take_visible(change, &queue, options, now_ms)
                        })
                        .await?;
                    if !received.is_empty() {
                        return Ok(received);
                    }
                    // Someone else was faster, or all were moved to the dead-letter queue; look again.
                    Duration::ZERO
                }
                Some(due) => due.min(LONGEST_NAP),
                None => LONGEST_NAP,
            };
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            if nap.is_zero() {
                continue;
            }
            let wake_at = deadline.min(now + nap);
            tokio::select! {
                biased;
                () = rung => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// How long until a message of the queue is visible; zero if one is.
    async fn next_visible(&self, queue: i64) -> Result<Option<Duration>> {
        let now_ms = self.now_ms();
        self.db
            .read(move |db| {
                let exists: bool = db
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM queues WHERE id = ?1)")?
                    .query_row([queue], |row| row.get(0))?;
                if !exists {
                    return Err(StoreError::NoSuchQueue);
                }
                let due: Option<i64> = db
                    .prepare_cached(
                        "SELECT visible_ms FROM messages WHERE queue = ?1 AND expires_ms > ?2
                         ORDER BY visible_ms LIMIT 1",
                    )?
                    .query_row(params![queue, now_ms], |row| row.get(0))
                    .optional()?;
                Ok(due.map(|due| Duration::from_millis(u64::try_from(due - now_ms).unwrap_or(0))))
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
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
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

/// Puts a message into a queue and returns its id.
pub(super) fn enqueue(change: &Change<'_>, queue: &Queue, message: &NewMessage, now_ms: i64) -> Result<String> {
    let message_id = uuid::Uuid::new_v4().to_string();
    let delay_s = message.delay_s.unwrap_or(queue.attributes.delay_s);
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
            now_ms + delay_s * 1000,
            now_ms + queue.attributes.retention_s * 1000,
        ])?;
    change.after_commit(Effect::Wake(queue.id));
    Ok(message_id)
}

fn expire(db: &Connection, queue: i64, now_ms: i64) -> Result<usize> {
    let removed = db
        .prepare_cached("DELETE FROM messages WHERE queue = ?1 AND expires_ms <= ?2")?
        .execute(params![queue, now_ms])?;
    Ok(removed)
}

fn take_visible(
    change: &Change<'_>,
    queue: &Queue,
    options: ReceiveOptions,
    now_ms: i64,
) -> Result<Vec<ReceivedMessage>> {
    expire(change, queue.id, now_ms)?;
    if let Some(policy) = &queue.attributes.redrive {
        redrive_spent(change, queue, policy, now_ms)?;
    }
    let timeout_s = options.visibility_timeout_s.unwrap_or(queue.attributes.visibility_timeout_s);
    let ids: Vec<i64> = {
        let mut statement = change.prepare_cached(
            "SELECT id FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, id LIMIT ?3",
        )?;
        let rows = statement.query_map(params![queue.id, now_ms, options.max_messages], |row| row.get(0))?;
        rows.collect::<Result<_, _>>()?
    };
    let mut received = Vec::with_capacity(ids.len());
    for id in ids {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let message = change
            .prepare_cached(
                "UPDATE messages SET receive_count = receive_count + 1, receipt = ?2, visible_ms = ?3,
                        last_received_ms = ?4, first_received_ms = coalesce(first_received_ms, ?4)
                 WHERE id = ?1
                 RETURNING message_id, body, attributes, group_id, trace, sent_ms, first_received_ms,
                        receive_count, dead_letter_source",
            )?
            .query_row(params![id, token, now_ms + timeout_s * 1000, now_ms], |row| {
                Ok(ReceivedMessage {
                    message_id: row.get(0)?,
                    receipt: Receipt { message: id, token: token.clone() },
                    body: row.get(1)?,
                    attributes: row.get(2)?,
                    group_id: row.get(3)?,
                    trace: row.get(4)?,
                    sent_ms: row.get(5)?,
                    first_received_ms: row.get(6)?,
                    receive_count: row.get(7)?,
                    dead_letter_source: row.get(8)?,
                })
            })?;
        received.push(message);
    }
    if timeout_s > 0 && !received.is_empty() {
        // Other long polls must learn when these come back.
        change.after_commit(Effect::Wake(queue.id));
    }
    Ok(received)
}

/// Moves visible messages that were received often enough to the dead-letter queue.
fn redrive_spent(change: &Change<'_>, queue: &Queue, policy: &queues::RedrivePolicy, now_ms: i64) -> Result<()> {
    let Some(target) = events::queue_of_arn(&policy.dead_letter_arn) else { return Ok(()) };
    let target = match queues::find(change, target) {
        Ok(target) => target,
        // The dead-letter queue was deleted: SQS goes on delivering.
        Err(StoreError::NoSuchQueue) => return Ok(()),
        Err(error) => return Err(error),
    };
    let source = events::queue_arn(policy.dead_letter_arn.split(':').nth(3).unwrap_or_default(), &queue.name);
    let moved = change
        .prepare_cached(
            "UPDATE messages SET queue = ?2, visible_ms = ?3, receipt = NULL, dead_letter_source = ?4,
                    expires_ms = sent_ms + ?5
             WHERE id IN (SELECT id FROM messages WHERE queue = ?1 AND visible_ms <= ?3 AND receive_count >= ?6)",
        )?
        .execute(params![
            queue.id,
            target.id,
            now_ms,
            source,
            target.attributes.retention_s * 1000,
            policy.max_receive_count,
        ])?;
    if moved > 0 {
        change.after_commit(Effect::Wake(target.id));
    }
    Ok(())
}
