use std::sync::atomic::Ordering;
use std::time::Duration;

use cloud::ObjectStore;
use job::envelope::{ObjectVersion, Order};
use job::{Message, Work, layout};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::{BatchMessage, Verdict};

use crate::bench::{Bench, answer, code, first, put};

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
async fn j6_a_job_that_kills_its_workers_at_once_is_not_sent_again_at_every_look() {
    let bench = Bench::new().await;
    let ticket = bench.inline(1, r#"{"do":"sleep","ms":50000}"#).await;
    bench.ledger.enqueue(&ticket, None, Duration::ZERO).await.unwrap();
    for runs in 1..=2 {
        let running = bench.start();
        bench.begun(runs).await;
        // Before the first beat.
        running.crash().await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        bench.ledger.look(&ticket).await.unwrap();
    }
    // The one look that could not know better has sent it again; the other saw that it has begun.
    assert_eq!((bench.queue.depth().visible, bench.queue.depth().in_flight), (0, 2));
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
async fn a_dead_letter_whose_record_could_not_be_written_gets_it_later() {
    let bench = Bench::new().await;
    let ticket = bench.inline(1, "1").await;
    let body = Message::new(Order::Run { job: ticket.job, etag: None, trace: None }).to_body();
    let batch = [BatchMessage { id: "a".into(), receipt: None, body, receive_count: 11, sent_at: None }];
    let deadline = Instant::now() + Duration::from_secs(120);
    *bench.outbox.down.lock().unwrap() = Some(layout::DEAD);
    assert_eq!(bench.dead_letters().handle_batch(&batch, deadline).await, ["a"]);
    *bench.outbox.down.lock().unwrap() = None;
    assert_eq!(bench.dead_letters().handle_batch(&batch, deadline).await, [""; 0]);
    assert!(bench.text("dead/a.json").await.unwrap().contains("worker_lost"));
    assert_eq!(code(&bench.ended(ticket.job).await), "worker_lost");
}

#[tokio::test(start_paused = true)]
async fn j5_a_panic_over_one_dead_letter_harms_no_other() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    let (bucket, key) = ("inbox".to_owned(), "drop/m/x".to_owned());
    let file = ObjectVersion { bucket, key, etag: None, size_bytes: None };
    assert_eq!(bench.processor().process(&Work::Dropped(file.clone()), &first()).await, Verdict::Done);
    tokio::time::advance(Duration::from_secs(2)).await;
    // The next version's failure takes the place of that result, whose deletion panics.
    put(&*bench.inbox, "drop/m/x", "[2]").await;
    *bench.outbox.delete_gate.lock().unwrap() = Some(oneshot::channel().1);
    let other = bench.inline(1, "1").await.job;
    let letter = |id: &str, order| {
        let body = Message::new(order).to_body();
        BatchMessage { id: id.into(), receipt: None, body, receive_count: 11, sent_at: None }
    };
    let batch = [letter("a", Order::Dropped(file)), letter("b", Order::Run { job: other, etag: None, trace: None })];
    let deadline = Instant::now() + Duration::from_secs(120);
    assert_eq!(bench.dead_letters().handle_batch(&batch, deadline).await, ["a"]);
    assert_eq!(code(&bench.ended(other).await), "worker_lost");
    assert_eq!(bench.dead_letters().handle_batch(&batch, deadline).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn j6_a_failure_counts_although_its_first_record_was_refused() {
    let bench = Bench::new().await;
    let job = bench.inline(1, r#"{"do":"panic"}"#).await.job;
    *bench.outbox.down.lock().unwrap() = Some("jobs/");
    let recovery = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        *bench.outbox.down.lock().unwrap() = None;
    };
    tokio::join!(bench.run_once(job, None), recovery);
    assert_eq!(bench.ledger.progress(job).await.unwrap().unwrap().0.failures, 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_storage_costs_no_job() {
    let bench = Bench::new().await;
    let job = bench.submit(1, "1").await;
    *bench.outbox.down.lock().unwrap() = Some("");
    let running = bench.start();
    bench.begun(2).await;
    assert!(bench.ledger.progress(job).await.unwrap().is_none(), "not even the failure could be recorded");
    *bench.outbox.down.lock().unwrap() = None;
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
