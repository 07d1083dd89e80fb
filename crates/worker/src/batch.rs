//! The driver for batches that somebody else received and will acknowledge, as Lambda's event source mapping does.

use std::collections::BTreeSet;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cloud::ReceiptHandle;
use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use job::error::causes;
use registry::{Registry, RegistryError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::message::{WAITING, handle, is_suspect};
use crate::patience::{MARGIN, QUEUE_CALL, answer};
use crate::process::{Delivery, Processor, Verdict};

/// What is left of the deadline for the answer itself.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a job waits for its message, or those behind it, to be hidden.
const HIDE: Duration = Duration::from_secs(1);

/// A message as a batch brings it.
#[derive(Debug, Clone)]
pub struct BatchMessage {
    /// Its id, by which it is reported as failed.
    pub id: String,
    /// This receive's handle, if the batch brings it.
    pub receipt: Option<ReceiptHandle>,
    /// What was sent.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was first sent, where that is known.
    pub sent_at: Option<Timestamp>,
}

impl From<cloud::Message> for BatchMessage {
    fn from(message: cloud::Message) -> Self {
        let cloud::Message { id, receipt, body, receive_count, sent_at, group: _ } = message;
        Self { id: id.0, receipt: Some(receipt), body, receive_count, sent_at: Some(sent_at) }
    }
}

/// The longest that a model may take in a batch which is to be answered within `timeout`, whatever the model's own limit: all of
/// it but the time to write down what came of it, and a twentieth in which the ticket is read and the model loaded.
pub fn longest_job(timeout: Duration) -> Duration {
    timeout.saturating_sub(MARGIN + timeout / 20).max(Duration::from_secs(1))
}

/// What is wrong with these limits for batches of `batch` messages under a function timeout of `timeout`, in words: a job
/// that takes too long is stopped, and one at the end of a batch is begun in another.
pub async fn limits_too_long(
    registry: &Registry,
    batch: u32,
    parallel: usize,
    timeout: Duration,
) -> Result<Vec<String>, RegistryError> {
    let mut faults = Vec::new();
    for name in registry.names().await? {
        let published = match registry.resolve(&name).await {
            Ok(Some(published)) => published,
            Ok(None) => continue,
            Err(error) if error.is_transient() => return Err(error),
            // Its jobs fail for it at once.
            Err(_) => continue,
        };
        let limit = Duration::from_secs(published.manifest.limits.max_seconds);
        let rounds = batch.div_ceil(u32::try_from(parallel.max(1)).unwrap_or(u32::MAX));
        let (limit_s, timeout_s) = (limit.as_secs(), timeout.as_secs());
        let longest = longest_job(timeout);
        if limit > longest {
            let longest_s = longest.as_secs();
            faults.push(format!(
                "jobs of {name} are stopped after {longest_s} s, although its limit is {limit_s} s: more does not fit the \
                 function timeout of {timeout_s} s"
            ));
        } else if limit * rounds > timeout {
            faults.push(format!(
                "a batch of {batch} jobs of {name}, {parallel} at once, each at its limit of {limit_s} s, does not fit the \
                 function timeout of {timeout_s} s; its last ones come back for another"
            ));
        }
    }
    Ok(faults)
}

/// Runs a batch and returns the ids of the messages that must come back; all others may be acknowledged. It answers
/// before `deadline`, whatever the jobs do, and nothing of it goes on after that but a model that does not stop; then
/// [`Processor::wedged`] is cancelled.
pub async fn handle_batch(processor: &Processor, messages: &[BatchMessage], deadline: Instant) -> Vec<String> {
    let done = Mutex::new(BTreeSet::new());
    let longest = longest_job(deadline.saturating_duration_since(Instant::now()));
    let run = async |at: usize| {
        let message = &messages[at];
        let (receive_count, sent_at) = (message.receive_count, message.sent_at);
        let delivery = Delivery { receive_count, sent_at, deadline: Some(deadline), longest };
        // A panic in our own code is one message's as well (J5).
        let one = AssertUnwindSafe(one(processor, message, &delivery)).catch_unwind().await;
        if one.unwrap_or(false) {
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(at);
        }
    };
    let (suspects, fresh): (Vec<usize>, Vec<usize>) =
        (0..messages.len()).partition(|at| is_suspect(messages[*at].receive_count));
    let hide = async |suspects: &[usize], how_long: Duration| {
        let receipts = suspects.iter().filter_map(|at| messages[*at].receipt.as_ref());
        // Whatever comes of it: then a message comes back earlier or later than it should.
        join_all(receipts.map(|receipt| processor.ledger().queue.change_visibility(receipt, how_long))).await;
    };
    let visibility = processor.settings().visibility_timeout;
    let waiting = WAITING.min(visibility);
    // Those that wait come back soon if this function is killed meanwhile.
    let keep_hidden = async |suspects: &[usize]| {
        while !suspects.is_empty() {
            sleep(waiting / 3).await;
            let _ = answer(QUEUE_CALL, hide(suspects, waiting)).await;
        }
        pending().await
    };
    let all = async {
        let _ = answer(HIDE, hide(&suspects, waiting)).await;
        tokio::select! {
            () = stream::iter(fresh).for_each_concurrent(processor.settings().parallel.max(1), &run) => {}
            () = keep_hidden(&suspects) => {}
        }
        // Those received before run last, one at a time: one that kills its worker then kills few others.
        for (nth, at) in suspects.iter().enumerate() {
            let _ = answer(HIDE, hide(&[*at], visibility)).await;
            tokio::select! {
                () = run(*at) => {}
                () = keep_hidden(&suspects[nth + 1..]) => {}
            }
        }
    };
    let end = deadline.checked_sub(ANSWER).unwrap_or(deadline);
    if timeout_at(end, all).await.is_err() {
        tracing::warn!("a batch did not end in time; what is left of it comes back");
    }
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let left = messages.iter().enumerate().filter(|(at, _)| !done.contains(at));
    left.map(|(_, message)| message.id.clone()).collect()
}

/// Runs one message; whether it may be acknowledged.
async fn one(processor: &Processor, message: &BatchMessage, delivery: &Delivery) -> bool {
    let verdict: Verdict = handle(processor, &message.id, &message.body, delivery).await;
    let Some(delay) = verdict.comes_back_after(processor, message.receive_count) else { return true };
    if let Some(receipt) = &message.receipt {
        // Otherwise it comes back after the whole visibility timeout, which is long but harmless.
        match answer(QUEUE_CALL, processor.ledger().queue.change_visibility(receipt, delay)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(message_id = message.id, "the backoff was not set: {error}{}", causes(&error))
            }
            Err(slow) => tracing::debug!(message_id = message.id, "the backoff was not set: {slow}"),
        }
    }
    false
}
