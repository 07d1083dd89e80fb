//! The protocol of conditional writes, over a store that can lose its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::memory::{MemoryObjectStore, MemoryQueue, QueueConfig};
use cloud::{
    Clock, GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions, Queue,
    SeededEntropy, StoreError,
};
use jiff::{Timestamp, ToSpan};
use job::documents::V1;
use job::id::{ETag, JobId};
use job::{Code, Ending, Input, Limits, Progress, State, Ticket, layout};
use ledger::{Ledger, Once};
use serde_json::value::RawValue;

/// A store that does what it is asked and then, a number of times, says that it didn't answer.
#[derive(Debug)]
struct LosesAnswers {
    inner: MemoryObjectStore,
    lost: AtomicUsize,
}

#[async_trait]
impl ObjectStore for LosesAnswers {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        let answer = self.inner.put(key, body, options).await;
        let lost = self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if lost { Err(StoreError::Unavailable("the line broke".into())) } else { answer }
    }
    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        self.inner.get(key, options).await
    }
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.inner.head(key).await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        self.inner.list(prefix, after, max).await
    }
    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_put(key, put).await
    }
    async fn presign_get(&self, key: &str, life: Duration, name: Option<&str>) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_get(key, life, name).await
    }
}

struct World {
    ledger: Ledger,
    outbox: Arc<LosesAnswers>,
    queue: Arc<MemoryQueue>,
}

fn world() -> World {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let inbox = Arc::new(MemoryObjectStore::new("inbox", clock.clone()));
    let outbox =
        Arc::new(LosesAnswers { inner: MemoryObjectStore::new("outbox", clock.clone()), lost: AtomicUsize::new(0) });
    let queue = Arc::new(MemoryQueue::new(QueueConfig::default(), clock.clone(), None));
    let entropy = Arc::new(SeededEntropy::new(7));
    let ledger = Ledger::new(inbox, outbox.clone(), queue.clone(), clock, entropy);
    World { ledger, outbox, queue }
}

fn ticket(now: Timestamp, number: u8) -> Ticket {
    let job = JobId::from_random([number; 16]);
    Ticket {
        v: V1,
        job,
        tenant: "default".parse().unwrap(),
        model: "m".into(),
        version: Some("1".parse().unwrap()),
        model_digest: None,
        params: RawValue::from_string("{}".into()).unwrap(),
        input: Input::Upload {
            key: layout::upload_key(job, "f"),
            filename: "f".into(),
            content_type: "application/json".into(),
            size_bytes: 1,
            sha256: None,
            etag: None,
        },
        limits: Limits { max_input_bytes: 1, max_seconds: 1 },
        created_at: now,
        upload_deadline: Some(now + 1.hours()),
        queue_deadline: now + 24.hours(),
        retained_until: now + 720.hours(),
        retry_of: None,
        request_digest: None,
        trace: None,
    }
}

fn progress(world: &World, number: u8) -> Progress {
    let now = world.ledger.clock.now();
    Progress {
        v: V1,
        attempt: job::AttemptId::from_random([number; 8]),
        started_at: now,
        beat_at: now,
        done: 0,
        total: None,
        failures: 0,
        last_error: None,
    }
}

#[tokio::test(start_paused = true)]
async fn j1_the_first_outcome_stands() {
    let world = world();
    let job = JobId::from_random([1; 16]);
    let mut written = 0;
    for _ in 0..5 {
        match world.ledger.end(job, Ending::Cancelled).await.unwrap() {
            Once::Written => written += 1,
            Once::There(other) => assert_eq!(other.ending.state(), State::Cancelled),
        }
    }
    assert_eq!(written, 1);
}

#[tokio::test(start_paused = true)]
async fn j1_a_lost_answer_is_no_second_outcome() {
    let world = world();
    let job = JobId::from_random([1; 16]);
    world.outbox.lost.store(3, Ordering::Relaxed);
    // The first try wrote it; the later ones find it, and know it for their own.
    assert!(matches!(world.ledger.end(job, Ending::Cancelled).await.unwrap(), Once::Written));
    assert!(matches!(world.ledger.end(job, Ending::Cancelled).await.unwrap(), Once::There(_)));
}

#[tokio::test(start_paused = true)]
async fn progress_belongs_to_the_attempt_that_took_it_last() {
    let world = world();
    let (job, ledger) = (JobId::from_random([1; 16]), &world.ledger);
    let first = ledger.write_progress(job, &progress(&world, 1), None).await.unwrap().expect("nobody is there");
    assert_eq!(ledger.write_progress(job, &progress(&world, 2), None).await.unwrap(), None);
    let second =
        ledger.write_progress(job, &progress(&world, 2), Some(first.clone())).await.unwrap().expect("taken over");
    assert_eq!(ledger.write_progress(job, &progress(&world, 1), Some(first)).await.unwrap(), None);
    assert!(ledger.write_progress(job, &progress(&world, 2), Some(second)).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn j2_a_lost_message_is_sent_again_once_a_minute() {
    let world = world();
    let ledger = &world.ledger;
    let ticket = ticket(ledger.clock.now(), 1);
    assert!(matches!(ledger.accept(&ticket).await.unwrap(), Once::Written));
    let key = layout::upload_key(ticket.job, "f");
    ledger.inbox.put(&key, Bytes::from_static(b"x"), PutOptions::default()).await.unwrap();
    assert_eq!(ledger.look(&ticket).await.unwrap().state, State::Queued);
    assert_eq!(world.queue.depth().visible, 0);
    tokio::time::advance(Duration::from_secs(61)).await;
    for _ in 0..10 {
        assert_eq!(ledger.look(&ticket).await.unwrap().state, State::Queued);
    }
    assert_eq!(world.queue.depth().visible, 1, "a crowd of pollers repeats it once");
    tokio::time::advance(Duration::from_secs(61)).await;
    ledger.look(&ticket).await.unwrap();
    assert_eq!(world.queue.depth().visible, 2);
    let message = &world.queue.receive(1, Duration::ZERO, None).await.unwrap()[0];
    let works = job::envelope::decode(&message.body).unwrap();
    assert!(matches!(&works[..], [job::Work::Run { job, etag: Some(_), .. }] if *job == ticket.job));
}

#[tokio::test(start_paused = true)]
async fn j2_a_passed_deadline_is_committed_by_who_sees_it() {
    let world = world();
    let ledger = &world.ledger;
    let ticket = ticket(ledger.clock.now(), 1);
    ledger.accept(&ticket).await.unwrap();
    assert_eq!(ledger.look(&ticket).await.unwrap().state, State::AwaitingUpload);
    tokio::time::advance(Duration::from_secs(3601)).await;
    let sight = ledger.look(&ticket).await.unwrap();
    assert_eq!(sight.state, State::Expired);
    let Some(Ending::Expired { error }) = sight.outcome.map(|outcome| outcome.ending) else { panic!("an expiry") };
    assert_eq!(error.code, Code::UploadExpired);
    // And it stands: a late upload changes nothing.
    let key = layout::upload_key(ticket.job, "f");
    ledger.inbox.put(&key, Bytes::from_static(b"x"), PutOptions::default()).await.unwrap();
    assert_eq!(ledger.look(&ticket).await.unwrap().state, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_job_past_its_retention_is_no_more() {
    let world = world();
    let ticket = ticket(world.ledger.clock.now(), 1);
    world.ledger.accept(&ticket).await.unwrap();
    assert!(world.ledger.ticket(ticket.job).await.unwrap().is_some());
    tokio::time::advance(Duration::from_secs(721 * 3600)).await;
    assert!(world.ledger.ticket(ticket.job).await.unwrap().is_none());
}
