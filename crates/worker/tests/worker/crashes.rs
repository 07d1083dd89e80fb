use std::sync::atomic::Ordering;
use std::time::Duration;

use cloud::ObjectStore;
use job::layout;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use worker::Verdict;

use crate::bench::{Bench, answer, code};

#[tokio::test(start_paused = true)]
async fn j2_a_job_whose_worker_dies_is_run_by_another() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"sleep","ms":5000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.crash().await;
    assert!(bench.ledger.progress(job).await.unwrap().is_some());
    let running = bench.start();
    assert_eq!(code(&bench.ended(job).await), "succeeded");
    assert_eq!(bench.pool.runs(), 2);
    running.stop().await.unwrap();
    assert_eq!(bench.queue.depth(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn j2_out_of_attempts_a_job_fails_with_its_last_error() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"panic"}"#).await;
    let running = bench.start();
    assert_eq!(code(&bench.ended(job).await), "model_panicked");
    running.stop().await.unwrap();
    assert_eq!(bench.pool.runs(), 3);
    let (progress, _) = bench.ledger.progress(job).await.unwrap().unwrap();
    assert_eq!(progress.failures, 3);
    assert_eq!(bench.queue.depth(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn j2_the_last_attempt_s_failure_ends_the_job_at_once() {
    let bench = Bench::new().await;
    let job = bench.inline(1, r#"{"do":"panic"}"#).await.job;
    for _ in 0..2 {
        assert!(matches!(bench.run_once(job, None).await, Verdict::RetryAfter(_)));
    }
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!((code(&bench.ended(job).await), bench.pool.runs()), ("model_panicked".into(), 3));
}

#[tokio::test(start_paused = true)]
async fn j2_a_later_attempt_may_succeed() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"panic until","run":2}"#).await;
    let running = bench.start();
    assert_eq!(answer(&bench.ended(job).await), "3");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn j2_a_job_that_kills_every_worker_is_ended_by_the_dead_letter_handler() {
    let bench = Bench::with_max_receives(2).await;
    let job = bench.submit(1, r#"{"do":"sleep","ms":50000}"#).await;
    for runs in 1..=2 {
        let running = bench.start();
        bench.begun(runs).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.crash().await;
    }
    // The next receive hands it to the dead letters; another worker finds nothing.
    let running = bench.start();
    let shutdown = CancellationToken::new();
    let (handler, stop) = (bench.dead_letters(), shutdown.clone());
    let task = tokio::spawn(async move { handler.run(stop).await });
    let outcome = bench.ended(job).await;
    assert_eq!(code(&outcome), "worker_lost");
    let (progress, _) = bench.ledger.progress(job).await.unwrap().unwrap();
    let silence = outcome.at.duration_since(progress.beat_at);
    assert!(silence.unsigned_abs() >= bench.settings.visibility_timeout, "its last beat was too young: {silence:?}");

    while bench.dead.depth() != Default::default() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let listing = bench.outbox.list(layout::DEAD, None, 10).await.unwrap();
    let record: Value = serde_json::from_str(&bench.text(&listing.objects[0].key).await.unwrap()).unwrap();
    assert_eq!(record["job"], job.to_string());
    assert!(record["reason"].as_str().unwrap().starts_with("worker_lost"), "{record}");
    shutdown.cancel();
    task.await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_names_no_job_gets_a_record_alone() {
    use cloud::Queue;
    let bench = Bench::new().await;
    bench.queue.send("not a message", None, Duration::ZERO).await.unwrap();
    let running = bench.start();
    let shutdown = CancellationToken::new();
    let (handler, stop) = (bench.dead_letters(), shutdown.clone());
    let task = tokio::spawn(async move { handler.run(stop).await });
    let record = async {
        loop {
            if let Some(object) = bench.outbox.list(layout::DEAD, None, 10).await.unwrap().objects.pop() {
                return bench.text(&object.key).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let record = tokio::time::timeout(Duration::from_secs(86_400), record).await.unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["body"], record.get("job")), (&Value::from("not a message"), None));
    shutdown.cancel();
    task.await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_storage_costs_no_job() {
    let bench = Bench::new().await;
    let job = bench.submit(1, "1").await;
    bench.outbox.down.store(true, Ordering::Relaxed);
    let running = bench.start();
    bench.begun(2).await;
    assert!(bench.ledger.progress(job).await.unwrap().is_none(), "not even the failure could be recorded");
    bench.outbox.down.store(false, Ordering::Relaxed);
    assert_eq!(code(&bench.ended(job).await), "succeeded");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_known_again() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    bench.outbox.lost_answers.store(1, Ordering::Relaxed);
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!((code(&bench.ended(job).await), bench.pool.runs()), ("succeeded".into(), 1));

    // The same of a large result, and then of its outcome.
    let job = bench.inline(2, r#"{"do":"big","bytes":100000}"#).await.job;
    bench.outbox.lost_answers.store(2, Ordering::Relaxed);
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!((code(&bench.ended(job).await), bench.pool.runs()), ("succeeded".into(), 2));
}
