//! The conformance suites notice what they are there to notice: each of these implementations breaks one promise.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::conformance::{self, Bucket, Failure, Pace, QueuePair};
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::{
    Condition, GetOptions, Listing, Message, MessageId, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest,
    PutOptions, Queue, QueueError, ReceiptHandle, StoreError,
};
use job::id::ETag;

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// A message that was handed out once never comes back.
    NoRedelivery,
    /// A receipt works for whichever receive of its message was the last.
    ReceiptsNeverStale,
    /// Messages are never hidden for longer than the queue's own timeout.
    VisibilityIgnored,
    /// Long polls look only when their wait is over.
    SleepyPolls,
    /// Whatever is received too often goes on being received.
    NoRedrive,
    /// The condition is looked at, and the write made a moment later.
    CheckThenAct,
    /// Every condition holds.
    ConditionsIgnored,
    /// Listings leave the last one out.
    ShortListings,
    /// Keys are taken for paths.
    KeysNormalised,
}

#[derive(Debug)]
struct BrokenQueue {
    inner: MemoryQueue,
    fault: Fault,
    seen: Mutex<HashSet<MessageId>>,
    latest: Mutex<Vec<(ReceiptHandle, MessageId)>>,
}

impl BrokenQueue {
    /// The latest receipt of the message that this one was for.
    fn current(&self, receipt: &ReceiptHandle) -> ReceiptHandle {
        let latest = self.latest.lock().unwrap();
        let id = latest.iter().find(|(known, _)| known == receipt).map(|(_, id)| id);
        let current = latest.iter().rev().find(|(_, known)| Some(known) == id);
        current.map_or_else(|| receipt.clone(), |(receipt, _)| receipt.clone())
    }
}

#[async_trait]
impl Queue for BrokenQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        self.inner.send(body, group, delay).await
    }

    async fn receive(
        &self,
        max: usize,
        mut wait: Duration,
        mut visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        match self.fault {
            Fault::VisibilityIgnored => visibility = None,
            Fault::SleepyPolls => {
                tokio::time::sleep(wait).await;
                wait = Duration::ZERO;
            }
            _ => {}
        }
        let mut messages = self.inner.receive(max, wait, visibility).await?;
        if self.fault == Fault::NoRedelivery {
            messages.retain(|message| self.seen.lock().unwrap().insert(message.id.clone()));
        }
        let receipts = messages.iter().map(|message| (message.receipt.clone(), message.id.clone()));
        self.latest.lock().unwrap().extend(receipts);
        Ok(messages)
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        self.inner.delete(receipt).await
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        match self.fault {
            Fault::ReceiptsNeverStale => self.inner.change_visibility(&self.current(receipt), timeout).await,
            _ => self.inner.change_visibility(receipt, timeout).await,
        }
    }
}

#[derive(Debug)]
struct BrokenStore {
    inner: MemoryObjectStore,
    fault: Fault,
}

impl BrokenStore {
    fn key(&self, key: &str) -> String {
        let parts = key.split('/').filter(|part| !part.is_empty());
        if self.fault == Fault::KeysNormalised { parts.collect::<Vec<_>>().join("/") } else { key.to_owned() }
    }
}

#[async_trait]
impl ObjectStore for BrokenStore {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    async fn put(&self, key: &str, body: Bytes, mut options: PutOptions) -> Result<ETag, StoreError> {
        if matches!(self.fault, Fault::CheckThenAct | Fault::ConditionsIgnored) {
            let condition = std::mem::take(&mut options.condition);
            let stored = self.inner.head(key).await.ok().map(|meta| meta.etag);
            let holds = match condition {
                Condition::None => true,
                Condition::Absent => stored.is_none(),
                Condition::Matches(etag) => stored == Some(etag),
            };
            if !holds && self.fault == Fault::CheckThenAct {
                return Err(StoreError::PreconditionFailed);
            }
            tokio::task::yield_now().await;
        }
        self.inner.put(&self.key(key), body, options).await
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        self.inner.get(&self.key(key), options).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.inner.head(&self.key(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(&self.key(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        let mut listing = self.inner.list(prefix, after, max).await?;
        if self.fault == Fault::ShortListings && listing.more {
            listing.objects.pop();
            listing.more = false;
        }
        Ok(listing)
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_put(key, put).await
    }

    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_get(key, expires_in, filename).await
    }
}

fn clock() -> Arc<TokioClock> {
    Arc::new(TokioClock::starting_at("2026-05-01T12:00:00Z".parse().unwrap()))
}

async fn queue_failures(fault: Fault) -> Vec<Failure> {
    conformance::queue(Pace::AtOnce, async || {
        let config =
            QueueConfig { visibility_timeout: Duration::from_secs(2), max_receive_count: 4, ..QueueConfig::default() };
        let dead_letters = Arc::new(MemoryQueue::new(QueueConfig::default(), clock(), None));
        let redrive = (fault != Fault::NoRedrive).then(|| dead_letters.clone());
        let inner = MemoryQueue::new(config, clock(), redrive);
        let queue = BrokenQueue { inner, fault, seen: Mutex::default(), latest: Mutex::default() };
        QueuePair {
            queue: Arc::new(queue),
            dead_letters,
            visibility_timeout: Duration::from_secs(2),
            max_receive_count: 4,
        }
    })
    .await
}

async fn store_failures(fault: Fault) -> Vec<Failure> {
    conformance::object_store(Pace::AtOnce, async || {
        let store = BrokenStore { inner: MemoryObjectStore::new("bucket", clock()), fault };
        Bucket { store: Arc::new(store), prefix: String::new() }
    })
    .await
}

#[track_caller]
fn assert_noticed(fault: Fault, failures: &[Failure], by: &[&str]) {
    let failed: HashSet<&str> = failures.iter().map(|failure| failure.case).collect();
    for case in by {
        assert!(failed.contains(case), "{case} did not notice {fault:?}; failed: {failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_queues_are_noticed() {
    for (fault, by) in [
        (
            Fault::NoRedelivery,
            &["an_unacknowledged_message_comes_back", "a_message_can_be_handed_back", "visibility_can_be_extended"][..],
        ),
        (Fault::ReceiptsNeverStale, &["a_stale_receipt_does_not_touch_the_newer_receive"]),
        (Fault::VisibilityIgnored, &["a_receive_can_set_the_visibility"]),
        (Fault::SleepyPolls, &["a_long_poll_wakes_when_a_message_is_sent", "an_unacknowledged_message_comes_back"]),
        (Fault::NoRedrive, &["a_message_received_too_often_is_a_dead_letter"]),
    ] {
        assert_noticed(fault, &queue_failures(fault).await, by);
    }
}

#[tokio::test]
async fn broken_stores_are_noticed() {
    for (fault, by) in [
        (Fault::CheckThenAct, &["one_of_many_creators_wins", "one_of_many_updaters_wins", "no_update_is_lost"][..]),
        (Fault::ConditionsIgnored, &["an_object_is_created_once", "a_stale_tag_does_not_write"]),
        (Fault::ShortListings, &["listings_go_on_where_they_ended"]),
        (Fault::KeysNormalised, &["keys_are_any_text"]),
    ] {
        assert_noticed(fault, &store_failures(fault).await, by);
    }
}
