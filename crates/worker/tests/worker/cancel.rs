use std::time::Duration;

use job::Ending;
use tokio::time::Instant;

use crate::bench::{Bench, code};

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_felt_within_a_second_and_no_other_outcome_follows() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"sleep","ms":30000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    let (progress, _) = bench.ledger.progress(job).await.unwrap().unwrap();
    assert_eq!(progress.total, Some(300));
    bench.ledger.end(job, Ending::Cancelled).await.unwrap();
    let cancelled = Instant::now();
    // The message is acknowledged as soon as the attempt has stopped.
    while bench.queue.depth() != Default::default() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cancelled.elapsed() <= Duration::from_millis(1_200), "{:?}", cancelled.elapsed());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(code(&bench.ended(job).await), "cancelled");
    assert_eq!(bench.pool.runs(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_model_that_ignores_its_cancellation_wedges_the_worker() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"hang"}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    bench.ledger.end(job, Ending::Cancelled).await.unwrap();
    assert!(running.task.await.unwrap().is_err());
    assert_eq!(bench.queue.depth(), Default::default());
}
