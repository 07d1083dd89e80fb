//! The long-polling driver: takes messages off the queue, keeps them hidden while their jobs run, and acknowledges them.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloud::{Message, Queue, QueueError};
use futures::FutureExt;
use futures::future::BoxFuture;
use job::error::causes;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::message::{WAITING, handle, is_suspect};
use crate::patience::{QUEUE_CALL, answer};
use crate::process::{Delivery, Processor, Verdict};

/// SQS's longest poll.
const LONG_POLL: Duration = Duration::from_secs(20);
/// SQS's largest receive.
const MAX_RECEIVE: usize = 10;
/// What a poll in flight gets to answer in when all else has ended: what it has received meanwhile would otherwise stay
/// hidden for a visibility timeout.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// How many suspects may wait for their turn before no more messages are taken.
const MAX_WAITING: usize = 10;
/// SQS hides a message for at most 12 hours after a receive; a minute of it is left for calls and clocks.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const MAX_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60 - 60);

/// How long a model may take: well within that, with time to write down what came of it.
const LONGEST_JOB: Duration = Duration::from_secs(11 * 60 * 60);

/// Why a worker ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A model hangs in this process and can't be killed: exit, and be restarted.
    #[error("a model does not stop, so this process must be restarted")]
    Wedged,
}

/// Runs the jobs of a queue, several at once, until it is told to stop.
#[derive(Debug)]
pub struct Worker {
    processor: Arc<Processor>,
}

/// What the tasks of all messages share.
struct Shared {
    processor: Arc<Processor>,
    queue: Arc<dyn Queue>,
    /// Messages received before run one at a time, so that one that kills its worker kills few others.
    turn: Mutex<()>,
    /// How many of them there are: one has its turn, the others wait for theirs.
    suspects: AtomicUsize,
    /// Nothing is begun any more.
    drain: CancellationToken,
    /// Nothing is carried on any more.
    kill: CancellationToken,
}

type Receiving = BoxFuture<'static, Result<Vec<Message>, QueueError>>;

impl Worker {
    /// A worker on the processor's job queue.
    pub fn new(processor: Arc<Processor>) -> Self {
        Self { processor }
    }

    /// Works until `shutdown`, then gives back what it has not begun, and finishes what it has within
    /// [`Settings::drain`](crate::Settings::drain); what is left then is broken off and given back as well.
    ///
    /// Cancellation: dropping the future is as if the process died: messages come back after their visibility timeout.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let settings = self.processor.settings();
        let shared = Arc::new(Shared {
            processor: self.processor.clone(),
            queue: self.processor.ledger().queue.clone(),
            turn: Mutex::new(()),
            suspects: AtomicUsize::new(0),
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        let mut messages = JoinSet::new();
        let mut receiving: Option<Receiving> = None;
        let mut failures = 0;
        loop {
            let waiting = shared.suspects.load(Ordering::Relaxed).saturating_sub(1);
            let active = messages.len().saturating_sub(waiting);
            let room = settings.parallel.max(1).saturating_sub(active).min(MAX_RECEIVE);
            if receiving.is_none() && room > 0 && waiting < MAX_WAITING {
                receiving = Some(shared.clone().receive(room, failures).boxed());
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.processor.wedged().cancelled() => break,
                Some(ended) = messages.join_next() => report(ended),
                received = kept(&mut receiving) => match received {
                    Ok(received) => {
                        if failures > 0 {
                            tracing::info!(failures, "the queue answers again");
                        }
                        failures = 0;
                        shared.spawn_all(received, &mut messages);
                    }
                    Err(error) => {
                        // Once an outage: a worker that polls for days must not fill the log.
                        if failures == 0 {
                            tracing::warn!("no messages can be received: {error}{}", causes(&error));
                        }
                        failures += 1;
                    }
                },
            }
        }

        shared.drain.cancel();
        let mut patience = Box::pin(sleep(settings.drain));
        // Not the whole poll, which would hold the shutdown up for 20 s on a quiet queue.
        let mut last_answer = Box::pin(sleep(LAST_ANSWER));
        while !messages.is_empty() || (receiving.is_some() && !last_answer.is_elapsed()) {
            tokio::select! {
                biased;
                Some(ended) = messages.join_next() => report(ended),
                () = &mut patience, if !shared.kill.is_cancelled() => shared.kill.cancel(),
                // What still comes in is handed back by the tasks, since nothing is begun any more.
                received = kept(&mut receiving) => shared.spawn_all(received.unwrap_or_default(), &mut messages),
                () = &mut last_answer, if !last_answer.is_elapsed() => {}
            }
        }
        if self.processor.wedged().is_cancelled() { Err(WorkerError::Wedged) } else { Ok(()) }
    }
}

/// The poll's answer, once; the poll itself outlives the `select!` that awaits it.
async fn kept(receiving: &mut Option<Receiving>) -> Result<Vec<Message>, QueueError> {
    match receiving {
        Some(poll) => {
            let received = poll.await;
            *receiving = None;
            received
        }
        None => pending().await,
    }
}

fn report(ended: Result<(), JoinError>) {
    if ended.is_err() {
        // Its message comes back after the visibility timeout. What the panic said is not repeated: it may quote anything.
        tracing::error!("a message's task ended by itself");
    }
}

impl Shared {
    /// Polls, after a pause if the polls before failed.
    async fn receive(self: Arc<Self>, max: usize, failures: u32) -> Result<Vec<Message>, QueueError> {
        if failures > 0 {
            sleep(self.processor.backoff(failures.min(4))).await;
        }
        let visibility = Some(self.processor.settings().visibility_timeout);
        match answer(LONG_POLL + QUEUE_CALL, self.queue.receive(max, LONG_POLL, visibility)).await {
            Ok(received) => received,
            Err(slow) => Err(QueueError::Unavailable(Box::new(slow))),
        }
    }

    /// Begins a task for each message, those received before last.
    fn spawn_all(self: &Arc<Self>, mut received: Vec<Message>, messages: &mut JoinSet<()>) {
        received.sort_by_key(|message| message.receive_count);
        for message in received {
            // Counted here, so that the next look at the room for others sees it.
            let suspect = is_suspect(message.receive_count).then(|| Suspect::of(self));
            messages.spawn(self.clone().message(message, suspect));
        }
    }

    /// One message from its receive to its end.
    async fn message(self: Arc<Self>, message: Message, _counted: Option<Suspect>) {
        let received = Instant::now();
        let verdict = tokio::select! {
            biased;
            () = self.kill.cancelled() => None,
            verdict = self.work(&message, received) => verdict,
        };
        let (processor, count) = (&*self.processor, message.receive_count);
        let back = match verdict {
            Some(verdict) => verdict.comes_back_after(processor, count),
            None => Some(Duration::ZERO),
        };
        let left = MAX_HIDDEN.saturating_sub(received.elapsed());
        let settled = match back {
            None => answer(QUEUE_CALL, self.queue.delete(&message.receipt)).await,
            Some(delay) => answer(QUEUE_CALL, self.queue.change_visibility(&message.receipt, delay.min(left))).await,
        };
        match settled {
            Ok(Ok(())) => {}
            // It comes back by itself, and finds what was done.
            Ok(Err(error)) => {
                tracing::warn!(message_id = message.id.0, "a message was not settled: {error}{}", causes(&error))
            }
            Err(slow) => tracing::warn!(message_id = message.id.0, "a message was not settled: {slow}"),
        }
    }

    /// Runs what the message asks for, if it is not too late to begin.
    async fn work(&self, message: &Message, received: Instant) -> Option<Verdict> {
        let period = self.processor.settings().visibility_timeout / 3;
        let (_turn, pause) = match is_suspect(message.receive_count) {
            true => match self.turn.try_lock() {
                Ok(turn) => (Some(turn), period),
                Err(_) => (Some(self.wait_for_turn(message).await?), Duration::ZERO),
            },
            false => (None, period),
        };
        if self.drain.is_cancelled() {
            return None;
        }
        let (receive_count, sent_at) = (message.receive_count, Some(message.sent_at));
        let delivery = Delivery { receive_count, sent_at, deadline: None, longest: LONGEST_JOB };
        tokio::select! {
            biased;
            verdict = handle(&self.processor, &message.id.0, &message.body, &delivery) => Some(verdict),
            () = self.keep_hidden(message, received, pause) => None,
        }
    }

    /// The turn of a suspect. None if nothing is to be begun any more.
    async fn wait_for_turn(&self, message: &Message) -> Option<MutexGuard<'_, ()>> {
        let hidden = WAITING.min(self.processor.settings().visibility_timeout);
        let mut turn = pin!(self.turn.lock());
        loop {
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return None,
                turn = &mut turn => return Some(turn),
                // If it fails, the message comes back a little earlier or later than it should.
                () = async {
                    let _ = answer(QUEUE_CALL, self.queue.change_visibility(&message.receipt, hidden)).await;
                    sleep(hidden / 3).await;
                } => {}
            }
        }
    }

    /// Prolongs the message's visibility timeout as long as SQS allows, after a first `pause`. Never ends.
    async fn keep_hidden(&self, message: &Message, received: Instant, mut pause: Duration) {
        let visibility = self.processor.settings().visibility_timeout;
        let period = visibility / 3;
        loop {
            sleep(pause).await;
            let left = MAX_HIDDEN.saturating_sub(received.elapsed());
            if left.is_zero() {
                return pending().await;
            }
            let prolong = self.queue.change_visibility(&message.receipt, visibility.min(left));
            pause = match answer(QUEUE_CALL.min(period), prolong).await {
                Ok(Ok(())) => period,
                // Somebody else has it by now. The job goes on: whoever ends it first wins.
                Ok(Err(QueueError::StaleReceipt)) => return pending().await,
                // Soon again, so that several tries fit into what is left of the timeout.
                Ok(Err(error)) => {
                    tracing::debug!(message_id = message.id.0, "a heartbeat failed: {error}{}", causes(&error));
                    period / 4
                }
                Err(slow) => {
                    tracing::debug!(message_id = message.id.0, "a heartbeat failed: {slow}");
                    period / 4
                }
            };
        }
    }
}

/// Counts a suspect from its receive to its end.
struct Suspect(Arc<Shared>);

impl Suspect {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.suspects.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Suspect {
    fn drop(&mut self) {
        self.0.suspects.fetch_sub(1, Ordering::Relaxed);
    }
}
