//! Receiving messages, and waiting for them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::messages::{self, Receipt};
use super::moves::DeadLetters;
use super::queues::{self, Queue};

/// A long poll looks again at least this often, should the wall clock be moved under it.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// How many messages of a queue may be in flight:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>.
const IN_FLIGHT_MAX: usize = 120_000;

/// How far behind the front chaos takes messages from: it makes a receive dear, but not dearer with every message.
const REORDER_REACH: usize = 1000;

/// The `+` keeps SQLite from the index by expiry, for which it would sort the whole queue.
const NEXT_VISIBLE: &str =
    "SELECT visible_ms FROM messages WHERE queue = ?1 AND +expires_ms > ?2 ORDER BY visible_ms LIMIT 1";
const VISIBLE: &str =
    "SELECT id, receive_count FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, id";
/// Both walk the index by visibility; the first looks at nothing else and no further than it must.
const HIDDEN: &str = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE queue = ?1 AND visible_ms > ?2 LIMIT 120000)";
const IN_FLIGHT: &str = "SELECT count(*) FROM messages WHERE queue = ?1 AND visible_ms > ?2 AND receipt IS NOT NULL";

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

#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiveOptions {
    pub(crate) max_messages: usize,
    pub(crate) visibility_timeout_s: Option<i64>,
    pub(crate) wait: Duration,
}

impl Store {
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
                        .await;
                    match received {
                        Ok(received) if !received.is_empty() => return Ok(received),
                        // Someone else was faster, or all were moved to the dead-letter queue; look again.
                        Ok(_) => Duration::ZERO,
                        // Whoever waits is not told, but waits, as in SQS.
                        Err(StoreError::OverLimit) if !options.wait.is_zero() => LONGEST_NAP,
                        Err(error) => return Err(error),
                    }
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
}

/// How many messages may still be taken into flight.
///
/// # Errors
/// `OverLimit` if none may.
fn room_in_flight(change: &Change<'_>, queue: i64, now_ms: i64) -> Result<usize> {
    let count = |sql: &str| -> Result<usize> {
        let count: i64 = change.prepare_cached(sql)?.query_row(params![queue, now_ms], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    };
    let hidden = count(HIDDEN)?;
    // Those that are merely delayed are told apart only where it matters.
    let in_flight = if hidden < IN_FLIGHT_MAX { hidden } else { count(IN_FLIGHT)? };
    match IN_FLIGHT_MAX.saturating_sub(in_flight) {
        0 => Err(StoreError::OverLimit),
        room => Ok(room),
    }
}

fn take_visible(
    change: &Change<'_>,
    queue: &Queue,
    options: ReceiveOptions,
    now_ms: i64,
) -> Result<Vec<ReceivedMessage>> {
    messages::expire(change, queue.id, now_ms)?;
    let wanted = options.max_messages.min(room_in_flight(change, queue.id, now_ms)?);
    let dead_letters = DeadLetters::of(change, queue)?;
    let timeout_s = options.visibility_timeout_s.unwrap_or(queue.attributes.visibility_timeout_s);
    // No more rows are looked at than are taken or moved, however long the queue is.
    let (mut ids, mut spent) = (Vec::new(), Vec::new());
    {
        let mut statement = change.prepare_cached(VISIBLE)?;
        let mut rows = statement.query(params![queue.id, now_ms])?;
        let reach = if change.faults().reorder() { REORDER_REACH } else { 1 };
        let mut front: VecDeque<(i64, i64)> = VecDeque::new();
        while ids.len() < wanted {
            while front.len() < reach
                && let Some(row) = rows.next()?
            {
                front.push_back((row.get(0)?, row.get(1)?));
            }
            if front.is_empty() {
                break;
            }
            let place = change.faults().place(front.len());
            let Some((id, receive_count)) = front.remove(place) else { break };
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

#[cfg(test)]
mod tests {
    use super::super::messages::NewMessage;
    use super::super::queues::{QueueAttributes, RedrivePolicy};
    use super::*;
    use crate::events;

    const NOW_S: i64 = 1_800_000_000;

    fn clock(tell_s: impl Fn() -> i64 + Send + Sync + 'static) -> crate::Clock {
        Arc::new(move || jiff::Timestamp::from_second(tell_s()).expect("in range"))
    }

    async fn open(clock: crate::Clock) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lock = std::fs::File::create(directory.path().join("lock")).expect("a lock");
        let config = crate::Config { clock, ..crate::Config::new(directory.path(), "key", "secret") };
        let store = Store::open(&config, lock).expect("opens");
        store.create_queue("dead".into(), |_| Ok(())).await.expect("created");
        let dead_letter_arn = events::queue_arn("us-east-1", "dead");
        let redrive = Some(RedrivePolicy { dead_letter_arn, max_receive_count: 2 });
        let set = |to: &mut QueueAttributes| {
            to.redrive = redrive;
            Ok(())
        };
        store.create_queue("q".into(), set).await.expect("created");
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

    /// Puts messages into `q` by hand: so many would take long to send.
    async fn insert(store: &Store, messages: i64, visible_ms: i64, receipt: Option<&'static str>) {
        let inserted = store.db.write(move |change| {
            let queue = queues::find(change, "q")?;
            let sql = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO messages (queue, message_id, body, sent_ms, visible_ms, expires_ms, receipt)
                SELECT ?2, i, 'x', 0, ?3, ?3 + 1000000, ?4 FROM n";
            Ok(change.execute(sql, params![messages, queue.id, visible_ms, receipt])?)
        });
        inserted.await.expect("inserted");
    }

    #[tokio::test]
    async fn so_many_are_in_flight_and_no_more() {
        let (_directory, store) = open(clock(|| NOW_S)).await;
        let later_ms = (NOW_S + 60) * 1000;
        insert(&store, 119_997, later_ms, Some("taken")).await;
        // Delayed messages are hidden, but not in flight.
        insert(&store, 10, later_ms, None).await;
        send(&store, &["a", "b", "c", "d"]).await;
        assert_eq!(receive(&store, "q", 10, 30).await, ["a", "b", "c"], "three more make 120,000");
        let queue = store.queue("q".into()).await.expect("there");
        let options = |wait| ReceiveOptions { max_messages: 1, visibility_timeout_s: None, wait };
        let stop = CancellationToken::new();
        let short = store.receive(queue.clone(), options(Duration::ZERO), &stop).await;
        assert!(matches!(short, Err(StoreError::OverLimit)), "{short:?}");
        let began = Instant::now();
        let long = store.receive(queue.clone(), options(Duration::from_millis(300)), &stop).await;
        assert!(long.expect("no error").is_empty() && began.elapsed() >= Duration::from_millis(300));
        let forgotten = store.db.write(|change| Ok(change.execute("DELETE FROM messages WHERE message_id = '1'", [])?));
        forgotten.await.expect("deleted");
        assert_eq!(store.receive(queue, options(Duration::ZERO), &stop).await.expect("received").len(), 1);
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
