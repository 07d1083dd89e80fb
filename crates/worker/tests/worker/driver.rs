use std::time::Duration;

use cloud::Queue;
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
