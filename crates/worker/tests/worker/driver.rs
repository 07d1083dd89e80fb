use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cloud::memory::MemoryQueue;
use cloud::{Message, MessageId, Queue, QueueError, ReceiptHandle};
use tokio::time::Instant;

use crate::bench::{Bench, VISIBILITY, code};

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_runs_and_gives_the_rest_back() {
    let mut bench = Bench::new().await;
    bench.settings.parallel = 2;
    let running_job = bench.submit(1, r#"{"do":"sleep","ms":10000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    let shutdown = Instant::now();
    running.shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = bench.submit(2, "1").await;
    running.task.await.unwrap().unwrap();
    assert!(shutdown.elapsed() < Duration::from_secs(11), "{:?}", shutdown.elapsed());
    assert_eq!(code(&bench.ended(running_job).await), "succeeded");
    // What came during the drain was not begun, and can be had at once.
    assert!(bench.ledger.outcome(late).await.unwrap().is_none());
    assert_eq!(bench.queue.depth().visible, 1);
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_is_broken_off_and_given_back() {
    let mut bench = Bench::new().await;
    bench.settings.drain = Duration::from_secs(5);
    bench.submit(1, r#"{"do":"sleep","ms":40000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    let shutdown = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(shutdown.elapsed().as_secs(), 5);
    assert_eq!(bench.queue.depth().visible, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_suspects_are_given_back_unbegun() {
    let bench = Bench::new().await;
    for number in 0..3 {
        bench.submit(number, r#"{"do":"sleep","ms":10000}"#).await;
    }
    for message in bench.queue.receive(10, Duration::ZERO, None).await.unwrap() {
        bench.queue.change_visibility(&message.receipt, Duration::ZERO).await.unwrap();
    }
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.pool.runs(), 1, "those received before run one at a time");
    running.stop().await.unwrap();
    assert_eq!(bench.pool.runs(), 1);
    assert_eq!((bench.queue.depth().visible, bench.queue.depth().in_flight), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn suspects_that_a_killed_worker_had_come_back_apart() {
    let bench = Bench::new().await;
    for number in 0..3 {
        bench.submit(number, r#"{"do":"sleep","ms":100000}"#).await;
    }
    for message in bench.queue.receive(10, Duration::ZERO, None).await.unwrap() {
        bench.queue.change_visibility(&message.receipt, Duration::ZERO).await.unwrap();
    }
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(bench.queue.depth().in_flight, 3, "those that wait are kept hidden");
    running.crash().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.queue.depth().visible, 2, "those that waited come back soon");
    tokio::time::sleep(VISIBILITY).await;
    assert_eq!(bench.queue.depth().visible, 3);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_s_message_is_hidden_while_it_runs_after_its_wait() {
    let mut bench = Bench::new().await;
    bench.settings.visibility_timeout = Duration::from_secs(33);
    for number in 0..2 {
        bench.submit(number, r#"{"do":"sleep","ms":50000}"#).await;
    }
    for message in bench.queue.receive(10, Duration::ZERO, None).await.unwrap() {
        bench.queue.change_visibility(&message.receipt, Duration::ZERO).await.unwrap();
    }
    let (one, two) = (bench.start(), bench.start());
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!((bench.pool.runs(), bench.queue.depth()), (2, Default::default()), "each ran once");
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_keeps_a_long_job_s_message_hidden() {
    let mut bench = Bench::new().await;
    bench.settings.visibility_timeout = Duration::from_secs(30);
    let ticket = bench.inline(1, r#"{"do":"sleep","ms":50000}"#).await;
    bench.ledger.enqueue(&ticket, None, Duration::ZERO).await.unwrap();
    let (one, two) = (bench.start(), bench.start());
    assert_eq!(code(&bench.ended(ticket.job).await), "succeeded");
    assert_eq!(bench.pool.runs(), 1, "nobody else got it");
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hung_model_fails_its_job_and_ends_the_worker() {
    let bench = Bench::new().await;
    let hung = bench.submit(1, r#"{"do":"hang"}"#).await;
    let good = bench.submit(2, r#"{"do":"sleep","ms":10000}"#).await;
    let running = bench.start();
    assert!(running.task.await.unwrap().is_err());
    assert_eq!(code(&bench.ended(hung).await), "timed_out");
    assert_eq!(code(&bench.ended(good).await), "succeeded");
    assert_eq!(bench.queue.depth(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn backoff_is_set_on_the_message() {
    let bench = Bench::new().await;
    bench.submit(1, r#"{"do":"panic"}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    let first = Instant::now();
    bench.begun(2).await;
    assert!(first.elapsed() < VISIBILITY / 100, "{:?}", first.elapsed());
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn j6_no_more_are_in_hand_than_may_be_though_some_were_received_before() {
    let mut bench = Bench::new().await;
    bench.settings.parallel = 1;
    bench.submit(1, r#"{"do":"sleep","ms":10000}"#).await;
    let suspect = &bench.queue.receive(1, Duration::ZERO, None).await.unwrap()[0];
    bench.queue.change_visibility(&suspect.receipt, Duration::ZERO).await.unwrap();
    bench.submit(2, r#"{"do":"sleep","ms":10000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((bench.pool.runs(), bench.queue.depth().in_flight), (1, 1));
    running.stop().await.unwrap();
}

/// A queue whose answers take their time.
#[derive(Debug)]
struct SlowQueue {
    queue: Arc<MemoryQueue>,
    /// The next change of visibility is never answered, nor made.
    hangs: AtomicBool,
}

impl SlowQueue {
    fn before(bench: &mut Bench, hangs: bool) {
        bench.ledger.queue = Arc::new(Self { queue: bench.queue.clone(), hangs: AtomicBool::new(hangs) });
    }
}

#[async_trait]
impl Queue for SlowQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        self.queue.send(body, group, delay).await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        let received = self.queue.receive(max, wait, visibility).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        received
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        self.queue.delete(receipt).await
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        if self.hangs.swap(false, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.queue.change_visibility(receipt, timeout).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_idle_worker_received_as_it_was_stopped_is_given_back() {
    let mut bench = Bench::new().await;
    SlowQueue::before(&mut bench, false);
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.submit(1, "1").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.queue.depth().in_flight, 1, "its answer is under way");
    running.stop().await.unwrap();
    assert_eq!((bench.queue.depth().visible, bench.pool.runs()), (1, 0));

    // With nothing to come, it takes no longer than a second.
    let bench = Bench::new().await;
    let running = bench.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shutdown = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(shutdown.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_an_answer_is_tried_again_in_time() {
    let mut bench = Bench::new().await;
    bench.settings.visibility_timeout = Duration::from_secs(30);
    SlowQueue::before(&mut bench, true);
    let job = bench.submit(1, r#"{"do":"sleep","ms":50000}"#).await;
    let (one, two) = (bench.start(), bench.start());
    assert_eq!(code(&bench.ended(job).await), "succeeded");
    assert_eq!(bench.pool.runs(), 1, "nobody else got it");
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}
