//! What every queue must do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Case, Expect, Failure, Pace, Verdict, cases, ensure, run};
use crate::queue::{Message, MessageId, Queue, QueueError, ReceiptHandle};
use crate::{Entropy, OsEntropy};

/// A queue for one case, and how it is configured.
#[derive(Debug, Clone)]
pub struct QueuePair {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Where its messages go that were received too often.
    pub dead_letters: Arc<dyn Queue>,
    /// Its visibility timeout: whole seconds, and at most six, since cases wait for it twice in one long poll.
    pub visibility_timeout: Duration,
    /// Its maximum receive count: at least 3, for cases that receive a message that often.
    pub max_receive_count: u32,
}

/// Runs the suite; `make` gives each case a fresh queue. With [`Pace::OneByOne`] it can be the same one each time:
/// cases pass over messages of others, and delete them.
pub async fn queue(pace: Pace, make: impl AsyncFn() -> QueuePair) -> Vec<Failure> {
    run(CASES, pace, async || Subject::new(make().await)).await
}

const CASES: &[Case<Subject>] = cases![
    a_message_is_received_once_and_deleted,
    bodies_come_back_as_they_were,
    bodies_that_no_queue_takes_are_refused,
    attributes_come_back,
    an_unacknowledged_message_comes_back,
    a_receive_can_set_the_visibility,
    visibility_can_be_extended,
    a_message_can_be_handed_back,
    a_stale_receipt_does_not_touch_the_newer_receive,
    the_receipt_of_a_deleted_message_does_nothing,
    an_empty_receive_waits_as_long_as_asked,
    a_long_poll_wakes_when_a_message_is_sent,
    a_delayed_message_is_hidden_at_first,
    batches_have_ten_messages_at_most,
    a_message_received_too_often_is_a_dead_letter,
];

/// SQS's longest wait.
const LONG: Duration = Duration::from_secs(20);
/// Longer than any case needs.
const HIDDEN: Duration = Duration::from_secs(600);
/// By how much a message may come back early: clocks tick in milliseconds, and differ between machines.
const EARLY: Duration = Duration::from_millis(150);
/// How late what should come at once may come, on a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// A queue, and a mark by which a case knows its own messages.
#[derive(Debug, Clone)]
struct Subject {
    queue: Arc<dyn Queue>,
    dead_letters: Arc<dyn Queue>,
    visibility_timeout: Duration,
    max_receive_count: u32,
    mark: String,
}

impl Subject {
    fn new(pair: QueuePair) -> Self {
        let QueuePair { queue, dead_letters, visibility_timeout, max_receive_count } = pair;
        let mark = format!("{}\n", OsEntropy.job_id());
        Self { queue, dead_letters, visibility_timeout, max_receive_count, mark }
    }

    async fn send(&self, text: &str, delay: Duration) -> Result<MessageId, String> {
        let body = format!("{}{text}", self.mark);
        self.queue.send(&body, None, delay).await.expect_to("send")
    }

    /// One receive; what it brought of this case's messages, the mark taken off.
    async fn receive(&self, max: usize, wait: Duration, hide: Option<Duration>) -> Result<Vec<Message>, String> {
        self.receive_from(&self.queue, max, wait, hide).await
    }

    async fn receive_from(
        &self,
        queue: &Arc<dyn Queue>,
        max: usize,
        wait: Duration,
        hide: Option<Duration>,
    ) -> Result<Vec<Message>, String> {
        let deadline = Instant::now() + wait;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            // A wait of no whole second would be rounded up, past the deadline.
            let wait = Duration::from_secs(wait.as_millis().div_ceil(1000) as u64);
            let received = timeout(wait + LONG, queue.receive(max, wait, hide)).await;
            let received = received.map_err(|_| format!("a receive of {wait:?} did not end"))?.expect_to("receive")?;
            let (mut mine, nothing) = (Vec::new(), received.is_empty());
            for mut message in received {
                match message.body.strip_prefix(&self.mark) {
                    Some(text) => {
                        message.body = text.to_owned();
                        mine.push(message);
                    }
                    None => queue.delete(&message.receipt).await.expect_to("delete a message of another case")?,
                }
            }
            if nothing || !mine.is_empty() {
                return Ok(mine);
            }
        }
    }

    /// Waits for the one message that must come.
    async fn receive_one(&self, hide: Option<Duration>) -> Result<Message, String> {
        let mut messages = self.receive(1, LONG, hide).await?;
        ensure!(messages.len() <= 1, "a receive of one brought {}", messages.len());
        messages.pop().ok_or_else(|| format!("no message came in {LONG:?}"))
    }

    /// Gives a message that must not come `wait` to come in.
    async fn expect_nothing(&self, wait: Duration, why: &str) -> Verdict {
        let messages = self.receive(10, wait, None).await?;
        ensure!(messages.is_empty(), "{why}, but {messages:?} came");
        Ok(())
    }

    async fn delete(&self, message: &Message) -> Verdict {
        self.queue.delete(&message.receipt).await.expect_to("delete")
    }
}

/// How much earlier or later than at `due` something came, if it was too much.
fn ensure_punctual(what: &str, since: Instant, due: Duration) -> Verdict {
    let elapsed = since.elapsed();
    ensure!(elapsed + EARLY >= due, "{what} came after {elapsed:?}, due after {due:?}");
    ensure!(elapsed <= due + LATE, "{what} came only after {elapsed:?}, due after {due:?}");
    Ok(())
}

async fn a_message_is_received_once_and_deleted(subject: Subject) -> Verdict {
    let id = subject.send("hello", Duration::ZERO).await?;
    let message = subject.receive_one(None).await?;
    ensure!(message.body == "hello", "\"hello\" came back as {:?}", message.body);
    ensure!(message.id == id, "send gave the id {id:?} and receive {:?}", message.id);
    ensure!(message.receive_count == 1, "the first receive was counted as {}", message.receive_count);
    subject.delete(&message).await?;
    let wait = subject.visibility_timeout + Duration::from_secs(1);
    subject.expect_nothing(wait, "the message was deleted").await
}

async fn bodies_come_back_as_they_were(subject: Subject) -> Verdict {
    let long = "길다 ".repeat(256 * 1024 / 7);
    let bodies = [
        r#"{"Records": [{"s3": {"object": {"key": "a+b%2F"}}}]}"#,
        "line\nline\r\n\ttab",
        " spaces around ",
        "<a b=\"c\">&amp;</a> '\\",
        "한글 e\u{301} 🦆\u{fffd}",
        &long,
    ];
    for body in bodies {
        subject.send(body, Duration::ZERO).await?;
        let message = subject.receive_one(Some(HIDDEN)).await?;
        ensure!(message.body == body, "{body:.60?} came back as {:.60?}", message.body);
        subject.delete(&message).await?;
    }
    Ok(())
}

async fn bodies_that_no_queue_takes_are_refused(subject: Subject) -> Verdict {
    let too_long = "x".repeat(1024 * 1024 + 1);
    for body in ["", "control \u{1}", "not a character \u{ffff}", &too_long] {
        let sent = subject.queue.send(body, None, Duration::ZERO).await;
        ensure!(matches!(sent, Err(QueueError::Invalid(_))), "sending {body:.30?} gave {sent:?}");
    }
    Ok(())
}

async fn attributes_come_back(subject: Subject) -> Verdict {
    let body = |text: &str| format!("{}{text}", subject.mark);
    subject.queue.send(&body("grouped"), Some("tenant-a"), Duration::ZERO).await.expect_to("send with a group")?;
    let grouped = subject.receive_one(None).await?;
    ensure!(grouped.group.as_deref() == Some("tenant-a"), "the group came back as {:?}", grouped.group);
    let again = subject.receive_one(None).await?;
    ensure!(again.group == grouped.group, "the second time, the group was {:?}", again.group);
    ensure!(again.sent_at == grouped.sent_at, "sent at {}, and then at {}", grouped.sent_at, again.sent_at);
    subject.delete(&again).await?;
    subject.send("alone", Duration::ZERO).await?;
    let alone = subject.receive_one(None).await?;
    ensure!(alone.group.is_none(), "without a group, it came back as {:?}", alone.group);
    ensure!(alone.sent_at >= grouped.sent_at, "sent at {}, after {}", alone.sent_at, grouped.sent_at);
    subject.delete(&alone).await
}

async fn an_unacknowledged_message_comes_back(subject: Subject) -> Verdict {
    let id = subject.send("again", Duration::ZERO).await?;
    let mut receipts = BTreeSet::new();
    for count in 1..=3 {
        let before = Instant::now();
        let message = subject.receive_one(None).await?;
        if count > 1 {
            ensure_punctual("the message", before, subject.visibility_timeout)?;
        }
        ensure!(message.id == id, "{id:?} came back as {:?}", message.id);
        ensure!(message.body == "again", "\"again\" came back as {:?}", message.body);
        ensure!(message.receive_count == count, "receive {count} was counted as {}", message.receive_count);
        ensure!(receipts.insert(message.receipt.0.clone()), "two receives had the receipt {:?}", message.receipt);
        if count == 3 {
            subject.delete(&message).await?;
        }
    }
    Ok(())
}

async fn a_receive_can_set_the_visibility(subject: Subject) -> Verdict {
    subject.send("longer", Duration::ZERO).await?;
    let longer = 2 * subject.visibility_timeout + Duration::from_secs(1);
    let before = Instant::now();
    subject.receive_one(Some(longer)).await?;
    let message = subject.receive_one(Some(HIDDEN)).await?;
    ensure_punctual("the message", before, longer)?;
    subject.delete(&message).await
}

async fn visibility_can_be_extended(subject: Subject) -> Verdict {
    subject.send("beat", Duration::ZERO).await?;
    let message = subject.receive_one(Some(HIDDEN)).await?;
    let mut before = Instant::now();
    // Two beats of a heartbeat, each counting from when it was sent.
    for _ in 0..2 {
        before = Instant::now();
        let extended = subject.queue.change_visibility(&message.receipt, 2 * subject.visibility_timeout).await;
        extended.expect_to("extend the visibility")?;
        subject.expect_nothing(subject.visibility_timeout, "the message was hidden for twice as long").await?;
    }
    let message = subject.receive_one(Some(HIDDEN)).await?;
    ensure_punctual("the message", before, 2 * subject.visibility_timeout)?;
    subject.delete(&message).await
}

async fn a_message_can_be_handed_back(subject: Subject) -> Verdict {
    subject.send("back", Duration::ZERO).await?;
    let message = subject.receive_one(Some(HIDDEN)).await?;
    // The receiver that waits already is to get it.
    let before = Instant::now();
    let (received, handed_back) = tokio::join!(subject.receive_one(Some(HIDDEN)), async {
        sleep(Duration::from_millis(300)).await;
        subject.queue.change_visibility(&message.receipt, Duration::ZERO).await
    });
    handed_back.expect_to("hand the message back")?;
    let message = received?;
    ensure_punctual("the message", before, Duration::from_millis(300))?;
    ensure!(message.receive_count == 2, "the second receive was counted as {}", message.receive_count);
    subject.delete(&message).await
}

async fn a_stale_receipt_does_not_touch_the_newer_receive(subject: Subject) -> Verdict {
    subject.send("mine now", Duration::ZERO).await?;
    let older = subject.receive_one(None).await?;
    let newer = subject.receive_one(Some(HIDDEN)).await?;
    let changed = subject.queue.change_visibility(&older.receipt, Duration::ZERO).await;
    let refused = matches!(changed, Ok(()) | Err(QueueError::StaleReceipt));
    ensure!(refused, "handing back by a stale receipt gave {changed:?}");
    let wait = subject.visibility_timeout + Duration::from_secs(1);
    subject.expect_nothing(wait, "a stale receipt was used on a hidden message").await?;
    let changed = subject.queue.change_visibility(&newer.receipt, HIDDEN).await;
    changed.expect_to("extend by the receipt that holds")?;
    subject.delete(&newer).await
}

async fn the_receipt_of_a_deleted_message_does_nothing(subject: Subject) -> Verdict {
    subject.send("gone", Duration::ZERO).await?;
    let message = subject.receive_one(Some(HIDDEN)).await?;
    subject.delete(&message).await?;
    let garbage = ReceiptHandle("not a receipt".to_owned());
    for receipt in [&message.receipt, &garbage] {
        let changed = subject.queue.change_visibility(receipt, Duration::ZERO).await;
        let harmless = matches!(changed, Ok(()) | Err(QueueError::StaleReceipt));
        ensure!(harmless, "changing the visibility by {receipt:?} gave {changed:?}");
        let deleted = subject.queue.delete(receipt).await;
        let harmless = matches!(deleted, Ok(()) | Err(QueueError::StaleReceipt));
        ensure!(harmless, "deleting by {receipt:?} gave {deleted:?}");
    }
    subject.expect_nothing(Duration::from_secs(1), "the message was deleted").await
}

async fn an_empty_receive_waits_as_long_as_asked(subject: Subject) -> Verdict {
    for wait in [Duration::ZERO, Duration::from_secs(2)] {
        let before = Instant::now();
        subject.expect_nothing(wait, "nothing was sent").await?;
        ensure_punctual("the empty answer", before, wait)?;
    }
    Ok(())
}

async fn a_long_poll_wakes_when_a_message_is_sent(subject: Subject) -> Verdict {
    let before = Instant::now();
    let (received, sent) = tokio::join!(subject.receive_one(None), async {
        sleep(Duration::from_millis(300)).await;
        subject.send("wake up", Duration::ZERO).await
    });
    sent?;
    let message = received?;
    ensure_punctual("the message", before, Duration::from_millis(300))?;
    subject.delete(&message).await
}

async fn a_delayed_message_is_hidden_at_first(subject: Subject) -> Verdict {
    let delay = Duration::from_secs(2);
    let before = Instant::now();
    subject.send("later", delay).await?;
    subject.send("now", Duration::ZERO).await?;
    let now = subject.receive_one(Some(HIDDEN)).await?;
    ensure!(now.body == "now", "{:?} came first", now.body);
    let later = subject.receive_one(Some(HIDDEN)).await?;
    ensure!(later.body == "later", "{:?} came second", later.body);
    ensure_punctual("the delayed message", before, delay)?;
    subject.delete(&now).await?;
    subject.delete(&later).await
}

async fn batches_have_ten_messages_at_most(subject: Subject) -> Verdict {
    let mut missing = BTreeSet::new();
    for number in 0..25 {
        missing.insert(format!("message {number}"));
        subject.send(&format!("message {number}"), Duration::ZERO).await?;
    }
    let mut max = 10;
    while !missing.is_empty() {
        let messages = subject.receive(max, LONG, Some(HIDDEN)).await?;
        ensure!(!messages.is_empty(), "these never came: {missing:?}");
        ensure!(messages.len() <= max, "a receive of {max} brought {}", messages.len());
        for message in messages {
            missing.remove(&message.body);
            subject.delete(&message).await?;
        }
        max = if max == 10 { 3 } else { 10 };
    }
    for max in [0, 11] {
        let received = subject.queue.receive(max, Duration::ZERO, None).await;
        ensure!(matches!(received, Err(QueueError::Invalid(_))), "a receive of {max} gave {received:?}");
    }
    Ok(())
}

async fn a_message_received_too_often_is_a_dead_letter(subject: Subject) -> Verdict {
    let body = format!("{}poison", subject.mark);
    subject.queue.send(&body, Some("tenant-a"), Duration::ZERO).await.expect_to("send")?;
    for count in 1..=subject.max_receive_count {
        let message = subject.receive_one(Some(HIDDEN)).await?;
        ensure!(message.receive_count == count, "receive {count} was counted as {}", message.receive_count);
        let early = subject.receive_from(&subject.dead_letters, 1, Duration::ZERO, None).await?;
        ensure!(early.is_empty(), "after {count} receives, it is a dead letter already");
        let handed_back = subject.queue.change_visibility(&message.receipt, Duration::ZERO).await;
        handed_back.expect_to("hand the message back")?;
    }
    subject.expect_nothing(Duration::from_secs(1), "the message was received as often as it may").await?;
    let mut dead = subject.receive_from(&subject.dead_letters, 1, LONG, Some(HIDDEN)).await?;
    let dead = dead.pop().ok_or("it is on neither queue")?;
    ensure!(dead.body == "poison", "the dead letter's body is {:?}", dead.body);
    ensure!(dead.group.as_deref() == Some("tenant-a"), "the dead letter's group is {:?}", dead.group);
    subject.dead_letters.delete(&dead.receipt).await.expect_to("delete the dead letter")
}
