//! The memory implementation passes the conformance suites.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::conformance::{self, Bucket, Pace, QueuePair};
use cloud::memory::{Depth, MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::{ObjectStore, PutOptions, Queue};
use job::envelope::{self, Work};

fn clock() -> Arc<TokioClock> {
    Arc::new(TokioClock::starting_at("2026-05-01T12:00:00.25Z".parse().unwrap()))
}

fn queues() -> (Arc<MemoryQueue>, Arc<MemoryQueue>, QueueConfig) {
    let config =
        QueueConfig { visibility_timeout: Duration::from_secs(3), max_receive_count: 4, ..QueueConfig::default() };
    let dead_letters = Arc::new(MemoryQueue::new(QueueConfig::default(), clock(), None));
    let queue = Arc::new(MemoryQueue::new(config.clone(), clock(), Some(dead_letters.clone())));
    (queue, dead_letters, config)
}

#[tokio::test]
async fn the_object_store_conforms() {
    let failures = conformance::object_store(Pace::AtOnce, async || {
        let store = MemoryObjectStore::new("bucket", clock());
        Bucket { store: Arc::new(store), prefix: String::new() }
    })
    .await;
    conformance::assert_none(&failures);
}

#[tokio::test]
async fn the_object_store_conforms_under_a_prefix() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryObjectStore::new("bucket", clock()));
    let places = std::sync::atomic::AtomicU32::new(0);
    let failures = conformance::object_store(Pace::AtOnce, async || {
        let place = places.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Bucket { store: store.clone(), prefix: format!("case {place}/") }
    })
    .await;
    conformance::assert_none(&failures);
}

#[tokio::test(start_paused = true)]
async fn the_queue_conforms() {
    let failures = conformance::queue(Pace::AtOnce, async || {
        let (queue, dead_letters, QueueConfig { visibility_timeout, max_receive_count, .. }) = queues();
        QueuePair { queue, dead_letters, visibility_timeout, max_receive_count }
    })
    .await;
    conformance::assert_none(&failures);
}

#[tokio::test(start_paused = true)]
async fn one_queue_can_serve_all_cases_in_turn() {
    let (queue, dead_letters, QueueConfig { visibility_timeout, max_receive_count, .. }) = queues();
    let failures = conformance::queue(Pace::OneByOne, async || QueuePair {
        queue: queue.clone(),
        dead_letters: dead_letters.clone(),
        visibility_timeout,
        max_receive_count,
    })
    .await;
    conformance::assert_none(&failures);
    assert_eq!((queue.depth(), dead_letters.depth()), (Depth::default(), Depth::default()));
}

#[tokio::test(start_paused = true)]
async fn a_message_outlives_neither_its_retention_nor_its_hiding() {
    let (queue, _, config) = queues();
    queue.send("short-lived", None, Duration::from_secs(10)).await.unwrap();
    assert_eq!(queue.depth(), Depth { delayed: 1, ..Depth::default() });
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(queue.depth(), Depth { visible: 1, ..Depth::default() });
    let received = queue.receive(1, Duration::ZERO, Some(Duration::from_secs(60))).await.unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(queue.depth(), Depth { in_flight: 1, ..Depth::default() });
    tokio::time::advance(config.retention).await;
    assert_eq!(queue.depth(), Depth::default());
}

#[tokio::test(start_paused = true)]
async fn a_put_sends_its_event_where_the_prefix_fits() {
    let (queue, ..) = queues();
    let store = MemoryObjectStore::new("inbox", clock());
    store.on_put(queue.clone(), &["uploads/", "drop/"]);
    for key in ["jobs/x", "drop/wine-quality/a b+c/한글%.json"] {
        store.put(key, Bytes::from_static(b"[]"), PutOptions::default()).await.unwrap();
    }
    let received = queue.receive(10, Duration::ZERO, None).await.unwrap();
    assert_eq!(received.len(), 1);
    let work = envelope::decode(&received[0].body).unwrap();
    let [Work::Dropped(object)] = work.as_slice() else { panic!("{work:?}") };
    assert_eq!(object.bucket, "inbox");
    assert_eq!(object.key, "drop/wine-quality/a b+c/한글%.json");
    assert_eq!(object.etag, Some(store.head(&object.key).await.unwrap().etag));
    assert_eq!(object.size_bytes, Some(2));
}
