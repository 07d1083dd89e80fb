//! One queue in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Clock;
use crate::queue::{Message, MessageId, Queue, QueueError, ReceiptHandle};

// SQS's limits: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MAX_BODY_BYTES: usize = 1024 * 1024;
const MAX_BATCH: usize = 10;
const MAX_WAIT: Duration = Duration::from_secs(20);
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
const MAX_GROUP_BYTES: usize = 128;

/// A queue's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// How long a received message stays hidden, unless the receive says otherwise.
    pub visibility_timeout: Duration,
    /// After how many receives a message goes to the dead-letter queue, where there is one.
    pub max_receive_count: u32,
    /// How long a message is kept, from when it was first sent.
    pub retention: Duration,
}

impl Default for QueueConfig {
    /// SQS's own defaults for the times; ten receives.
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30),
            max_receive_count: 10,
            retention: Duration::from_secs(4 * 24 * 60 * 60),
        }
    }
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// A receive would hand them out.
    pub visible: usize,
    /// Received and not yet deleted, their visibility timeout running.
    pub in_flight: usize,
    /// Sent with a delay that has not ended.
    pub delayed: usize,
}

/// One queue in memory. Times are kept exactly, where SQS takes whole seconds.
pub struct MemoryQueue {
    config: QueueConfig,
    clock: Arc<dyn Clock>,
    dead_letters: Option<Arc<MemoryQueue>>,
    state: Mutex<State>,
    /// Told whenever a message may have become visible sooner than waiting receives reckon.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By the number in their id, so oldest first.
    messages: BTreeMap<u64, Stored>,
    sent: u64,
    receives: u64,
}

struct Stored {
    id: MessageId,
    body: String,
    group: Option<String>,
    sent_at: Timestamp,
    sent: Instant,
    visible_at: Instant,
    receive_count: u32,
    last_receive: Option<Receive>,
}

/// The latest hand-out of a message; its number makes the receipt.
struct Receive {
    number: u64,
    at: Instant,
}

impl MemoryQueue {
    /// An empty queue, with a dead-letter queue or without.
    pub fn new(config: QueueConfig, clock: Arc<dyn Clock>, dead_letters: Option<Arc<MemoryQueue>>) -> Self {
        Self { config, clock, dead_letters, state: Mutex::default(), changed: Notify::new() }
    }

    /// What is on the queue now.
    pub fn depth(&self) -> Depth {
        let now = Instant::now();
        let mut state = self.lock();
        self.expire(&mut state, now);
        let mut depth = Depth::default();
        for message in state.messages.values() {
            match (message.visible_at <= now, &message.last_receive) {
                (true, _) => depth.visible += 1,
                (false, Some(_)) => depth.in_flight += 1,
                (false, None) => depth.delayed += 1,
            }
        }
        depth
    }

    /// Sends without looking at limits or waiting for anything; what [`Queue::send`] and bucket events share.
    pub(super) fn push(&self, body: String, group: Option<String>, delay: Duration) -> MessageId {
        let now = Instant::now();
        let mut state = self.lock();
        state.sent += 1;
        let number = state.sent;
        let id = MessageId(format!("message-{number}"));
        let message = Stored {
            id: id.clone(),
            body,
            group,
            sent_at: self.clock.now(),
            sent: now,
            visible_at: now + delay,
            receive_count: 0,
            last_receive: None,
        };
        state.messages.insert(number, message);
        drop(state);
        self.changed.notify_waiters();
        id
    }

    /// Takes over a message that another queue gives up, as it is: its id and age stay.
    fn accept_dead_letter(&self, mut message: Stored) {
        message.visible_at = Instant::now();
        message.last_receive = None;
        let mut state = self.lock();
        state.sent += 1;
        let number = state.sent;
        state.messages.insert(number, message);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Hands out what is visible, or says when something will be.
    fn take(&self, max: usize, visibility: Duration) -> Result<Vec<Message>, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.lock();
        self.expire(&mut state, now);
        self.redrive(&mut state, now);
        let State { messages, receives, .. } = &mut *state;
        let mut taken = Vec::new();
        for (number, message) in messages.iter_mut().filter(|(_, message)| message.visible_at <= now).take(max) {
            *receives += 1;
            message.last_receive = Some(Receive { number: *receives, at: now });
            message.receive_count += 1;
            message.visible_at = now + visibility;
            taken.push(Message {
                id: message.id.clone(),
                receipt: ReceiptHandle(format!("receipt-{number}-{receives}")),
                body: message.body.clone(),
                receive_count: message.receive_count,
                sent_at: message.sent_at,
                group: message.group.clone(),
            });
        }
        if taken.is_empty() { Err(messages.values().map(|message| message.visible_at).min()) } else { Ok(taken) }
    }

    fn expire(&self, state: &mut State, now: Instant) {
        state.messages.retain(|_, message| now.duration_since(message.sent) < self.config.retention);
    }

    /// Moves what is due again but was received often enough.
    fn redrive(&self, state: &mut State, now: Instant) {
        let Some(dead_letters) = &self.dead_letters else { return };
        let max = self.config.max_receive_count;
        let spent = state.messages.extract_if(.., |_, m| m.visible_at <= now && m.receive_count >= max);
        for (_, message) in spent {
            dead_letters.accept_dead_letter(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state whole even if it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        check_body(body)?;
        check(delay <= MAX_DELAY, "a delay is at most 15 minutes")?;
        let group_fits = |group: &str| {
            (1..=MAX_GROUP_BYTES).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_graphic())
        };
        check(group.is_none_or(group_fits), "a message group is 1 to 128 printable ASCII characters")?;
        Ok(self.push(body.to_owned(), group.map(str::to_owned), delay))
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        check((1..=MAX_BATCH).contains(&max), "a receive takes 1 to 10 messages")?;
        check(wait <= MAX_WAIT, "a receive waits at most 20 seconds")?;
        let visibility = visibility.unwrap_or(self.config.visibility_timeout);
        check(visibility <= MAX_VISIBILITY, "a visibility timeout is at most 12 hours")?;
        let deadline = Instant::now() + wait;
        loop {
            // Listens before it looks, so that what is sent in between wakes it.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next_visible = match self.take(max, visibility) {
                Ok(messages) => return Ok(messages),
                Err(next_visible) => next_visible,
            };
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            let until = next_visible.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        let (message, receive) = parse(receipt)?;
        let mut state = self.lock();
        // As SQS has it, an older receipt succeeds without effect, and so does one of a message that is gone.
        // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html>
        if state.messages.get(&message).and_then(|stored| stored.last_receive.as_ref()).map(|last| last.number)
            == Some(receive)
        {
            state.messages.remove(&message);
        }
        Ok(())
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        let (message, receive) = parse(receipt)?;
        let now = Instant::now();
        let mut state = self.lock();
        self.expire(&mut state, now);
        let stored = state.messages.get_mut(&message).ok_or(QueueError::StaleReceipt)?;
        let last = stored.last_receive.as_ref().ok_or(QueueError::StaleReceipt)?;
        if last.number != receive || stored.visible_at <= now {
            return Err(QueueError::StaleReceipt);
        }
        check(now + timeout <= last.at + MAX_VISIBILITY, "a message stays hidden for at most 12 hours in all")?;
        stored.visible_at = now + timeout;
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }
}

fn parse(receipt: &ReceiptHandle) -> Result<(u64, u64), QueueError> {
    receipt
        .0
        .strip_prefix("receipt-")
        .and_then(|numbers| numbers.split_once('-'))
        .and_then(|(message, receive)| Some((message.parse().ok()?, receive.parse().ok()?)))
        .ok_or(QueueError::StaleReceipt)
}

fn check_body(body: &str) -> Result<(), QueueError> {
    check((1..=MAX_BODY_BYTES).contains(&body.len()), "a message has 1 byte to 1 MiB")?;
    // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    check(body.chars().all(allowed), "a message has no control characters")
}

fn check(holds: bool, rule: &'static str) -> Result<(), QueueError> {
    if holds { Ok(()) } else { Err(QueueError::Invalid(rule.into())) }
}
