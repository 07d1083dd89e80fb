//! Messages: send, receive, delete, change visibility, redrive, expire.
//!
//! A message is visible once `visible_ms` has come; receiving it moves that time on and gives it a fresh receipt, and
//! only the newest receipt counts. A message received `maxReceiveCount` times moves to the dead-letter queue when it
//! would be received once more. Its age counts from the first time it was sent, wherever it has moved since.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::queues::{self, Queue};
use crate::events;

const VISIBILITY_MAX_MS: i64 = 12 * 3600 * 1000;
/// A long poll looks again at least this often, should the wall clock be moved under it.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The `+` keeps SQLite from the index by expiry, for which it would sort the whole queue.
const NEXT_VISIBLE: &str =
    "SELECT visible_ms FROM messages WHERE queue = ?1 AND +expires_ms > ?2 ORDER BY visible_ms LIMIT 1";
const VISIBLE: &str =
    "SELECT id, receive_count FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, id";

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
    pub(crate) max_messages: usize,
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

    /// Receives what is visible; if nothing is, waits for it, until `stop` is cancelled at most. Dropping the future
    /// takes nothing, unless the taking has begun: then the messages come back after their visibility timeout.
    pub(crate) async fn receive(
        &self,
        queue: Queue,
        options: ReceiveOptions,
        stop: &CancellationToken,
    ) -> Result<Vec<ReceivedMessage>> {
        let deadline = Instant::now() + options.wait;
        let bell = self.waiters.bell(queue.id);
        loop {
            let mut rung = pin!(bell.notified());
            rung.as_mut().enable();
            let nap = match self.next_visible(queue.id).await? {
                Some(Duration::ZERO) => {
                    let (clock, queue) = (Arc::clone(&self.clock), queue.name.clone());
                    let received = self
                        .db
                        .write(move |change| {
                            let queue = queues::find(change, &queue)?;
                            // Told only now: a timeout that began while the change waited could be over by then.
                            take_visible(change, &queue, options, clock().as_millisecond())
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
            if now >= deadline || stop.is_cancelled() {
                return Ok(Vec::new());
            }
            if nap.is_zero() {
                continue;
            }
            let wake_at = deadline.min(now + nap);
            tokio::select! {
                biased;
                () = rung => {}
                () = stop.cancelled() => {}
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
                let due: Option<i64> =
                    db.prepare_cached(NEXT_VISIBLE)?.query_row(params![queue, now_ms], |row| row.get(0)).optional()?;
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
    let dead_letters = dead_letters_of(change, queue)?;
    let timeout_s = options.visibility_timeout_s.unwrap_or(queue.attributes.visibility_timeout_s);
    // No more rows are looked at than are taken or moved, however long the queue is.
    let (mut ids, mut spent) = (Vec::new(), Vec::new());
    {
        let mut statement = change.prepare_cached(VISIBLE)?;
        let mut rows = statement.query(params![queue.id, now_ms])?;
        while ids.len() < options.max_messages
            && let Some(row) = rows.next()?
        {
            let (id, receive_count): (i64, i64) = (row.get(0)?, row.get(1)?);
            let is_spent = dead_letters.as_ref().is_some_and(|target| receive_count >= target.max_receive_count);
            if is_spent { &mut spent } else { &mut ids }.push(id);
        }
    }
    if let Some(target) = &dead_letters {
        target.bury(change, &spent, now_ms)?;
    }
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

/// Where the messages of a queue go that were received often enough.
struct DeadLetters {
    target: Queue,
    source: String,
    max_receive_count: i64,
}

fn dead_letters_of(change: &Change<'_>, queue: &Queue) -> Result<Option<DeadLetters>> {
    let Some(policy) = &queue.attributes.redrive else { return Ok(None) };
    let Some(target) = events::queue_of_arn(&policy.dead_letter_arn) else { return Ok(None) };
    let target = match queues::find(change, target) {
        Ok(target) => target,
        // The dead-letter queue was deleted: SQS goes on delivering.
        Err(StoreError::NoSuchQueue) => return Ok(None),
        Err(error) => return Err(error),
    };
    let source = events::queue_arn(policy.dead_letter_arn.split(':').nth(3).unwrap_or_default(), &queue.name);
    Ok(Some(DeadLetters { target, source, max_receive_count: policy.max_receive_count.into() }))
}

impl DeadLetters {
    fn bury(&self, change: &Change<'_>, messages: &[i64], now_ms: i64) -> Result<()> {
        let retention_ms = self.target.attributes.retention_s * 1000;
        for id in messages {
            change
                .prepare_cached(
                    "UPDATE messages SET queue = ?2, visible_ms = ?3, receipt = NULL, dead_letter_source = ?4,
                            expires_ms = sent_ms + ?5
                     WHERE id = ?1",
                )?
                .execute(params![id, self.target.id, now_ms, self.source, retention_ms])?;
            change.after_commit(Effect::Wake(self.target.id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::queues::{QueueAttributes, RedrivePolicy};
    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    fn clock(tell_s: impl Fn() -> i64 + Send + Sync + 'static) -> crate::Clock {
        Arc::new(move || jiff::Timestamp::from_second(tell_s()).expect("in range"))
    }

    async fn open(clock: crate::Clock) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lock = std::fs::File::create(directory.path().join("lock")).expect("a lock");
        let store = Store::open(directory.path(), "us-east-1".into(), clock, lock).expect("opens");
        store.create_queue("dead".into(), QueueAttributes::default()).await.expect("created");
        let dead_letter_arn = events::queue_arn("us-east-1", "dead");
        let redrive = Some(RedrivePolicy { dead_letter_arn, max_receive_count: 2 });
        let attributes = QueueAttributes { redrive, ..QueueAttributes::default() };
        store.create_queue("q".into(), attributes).await.expect("created");
        (directory, store)
    }

    async fn send(store: &Store, bodies: &[&str]) {
        let messages = bodies.iter().map(|&body| NewMessage::of_body(body.into())).collect();
        store.send("q".into(), messages).await.expect("sent");
    }

    async fn receive(store: &Store, queue: &str, max_messages: usize, timeout_s: i64) -> Vec<String> {
        let queue = store.queue(queue.into()).await.expect("there");
        let options = ReceiveOptions { max_messages, visibility_timeout_s: Some(timeout_s), wait: Duration::ZERO };
        let received = store.receive(queue, options, &CancellationToken::new()).await.expect("received");
        received.into_iter().map(|message| message.body).collect()
    }

    #[tokio::test]
    async fn a_visibility_timeout_begins_when_the_message_is_taken() {
        // The database's thread comes round to every change a minute late.
        let late = || std::thread::current().name() == Some("local-cloud-db");
        let (_directory, store) = open(clock(move || if late() { NOW_S + 60 } else { NOW_S })).await;
        send(&store, &["a"]).await;
        assert_eq!(receive(&store, "q", 1, 30).await, ["a"]);
        let queue = store.queue("q".into()).await.expect("there");
        let due = store.next_visible(queue.id).await.expect("known");
        assert_eq!(due, Some(Duration::from_secs(60 + 30)));
    }

    #[tokio::test]
    async fn spent_messages_make_room_for_others_in_the_same_receive() {
        let (_directory, store) = open(clock(|| NOW_S)).await;
        send(&store, &["a", "b"]).await;
        for _ in 0..2 {
            assert_eq!(receive(&store, "q", 10, 0).await, ["a", "b"]);
        }
        send(&store, &["c", "d"]).await;
        assert_eq!(receive(&store, "q", 1, 30).await, ["c"]);
        assert_eq!(receive(&store, "dead", 10, 30).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_receive_reads_no_more_of_a_long_queue_than_it_takes() {
        let (_directory, store) = open(clock(|| NOW_S)).await;
        for sql in [NEXT_VISIBLE, VISIBLE] {
            let plan = store.db.read(move |db| {
                let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let steps = statement.query_map([1, 1], |row| row.get(3))?;
                Ok(steps.collect::<Result<Vec<String>, _>>()?)
            });
            let plan = plan.await.expect("explained");
            assert_eq!(plan.len(), 1, "no sorting: {plan:?}");
            assert!(plan[0].contains("messages_by_visibility"), "{plan:?}");
        }
    }

    #[tokio::test]
    async fn a_long_poll_that_is_told_to_stop_gives_what_it_took() {
        let (_directory, store) = open(clock(|| NOW_S)).await;
        send(&store, &["a"]).await;
        let stop = CancellationToken::new();
        stop.cancel();
        let queue = store.queue("q".into()).await.expect("there");
        let options = ReceiveOptions { max_messages: 1, visibility_timeout_s: None, wait: Duration::from_secs(20) };
        assert_eq!(store.receive(queue.clone(), options, &stop).await.expect("received").len(), 1);
        assert!(store.receive(queue, options, &stop).await.expect("received").is_empty());
    }
}
