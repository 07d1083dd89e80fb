use std::time::Duration;

use job::envelope::{ObjectVersion, Order};
use job::{Ending, JobId, Message, StoredResult, Work, layout};
use tokio::time::Instant;
use worker::{BatchMessage, Verdict, handle_batch};

use cloud::{ObjectStore, Queue};

use crate::bench::{Bench, VISIBILITY, answer, code, first, put};

#[tokio::test(start_paused = true)]
async fn j1_one_outcome_whatever_is_delivered_twice() {
    let bench = Bench::new().await;
    let ticket = bench.inline(1, r#"{"do":"count"}"#).await;
    let processor = bench.processor();
    let work = Work::Run { job: ticket.job, etag: None, bucket: None, trace: None };
    let delivery = first();
    // Each run answers something else, and each ends at another time.
    let runs = (0..8).map(|_| async {
        let verdict = processor.process(&work, &delivery).await;
        let outcome = bench.ledger.outcome(ticket.job).await.unwrap().unwrap();
        (verdict, outcome.writer, answer(&outcome).to_owned())
    });
    let seen = futures::future::join_all(runs).await;
    assert!(bench.pool.runs() > 1, "they did race");
    assert_eq!(seen[0].0, Verdict::Done);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    // A late redelivery runs nothing.
    let runs = bench.pool.runs();
    assert_eq!(processor.process(&work, &delivery).await, Verdict::Done);
    assert_eq!(bench.pool.runs(), runs);
}

#[tokio::test(start_paused = true)]
async fn j3_a_large_result_is_whole_before_its_outcome_names_it() {
    // The bench's outbox refuses an outcome whose result is not.
    let bench = Bench::new().await;
    let job = bench.inline(1, r#"{"do":"big","bytes":100000}"#).await.job;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    let outcome = bench.ended(job).await;
    let Ending::Succeeded { result: StoredResult::Object { key, size_bytes, extension, .. } } = outcome.ending else {
        panic!("{outcome:?}");
    };
    assert!(key.starts_with(&format!("results/{job}/{}/", outcome.writer)), "{key}");
    assert_eq!((size_bytes, extension.as_str()), (100_002, "json"));
}

#[tokio::test(start_paused = true)]
async fn j5_one_bad_apple_spoils_no_batch() {
    let bench = Bench::new().await;
    let (panics, slow) = (bench.submit(1, r#"{"do":"panic"}"#).await, bench.submit(2, r#"{"do":"hang"}"#).await);
    let good = [bench.submit(3, "1").await, bench.submit(4, "2").await];
    bench.queue.send("not a message", None, Duration::ZERO).await.unwrap();
    let received = bench.queue.receive(10, Duration::ZERO, None).await.unwrap();
    let batch: Vec<BatchMessage> = received.into_iter().map(BatchMessage::from).collect();
    assert_eq!(batch.len(), 5);
    let (processor, deadline) = (bench.processor(), Instant::now() + Duration::from_secs(120));
    let failed = handle_batch(&processor, &batch, deadline).await;
    for job in good {
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    assert_eq!(code(&bench.ended(slow).await), "timed_out");
    // The panic is tried again, the malformed one goes to the dead letters in the end.
    assert_eq!(failed, [batch[0].id.clone(), batch[4].id.clone()]);
    let (progress, _) = bench.ledger.progress(panics).await.unwrap().unwrap();
    assert_eq!((progress.failures, progress.last_error.unwrap().code.as_str()), (1, "model_panicked"));
    assert!(processor.wedged().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn j6_an_input_over_the_limit_is_too_large() {
    let bench = Bench::new().await;
    let large = format!("{:?}", "x".repeat(1000));
    let (job, key) = bench.awaiting(1, &large).await;
    let etag = put(&*bench.inbox, &key, &large).await;
    assert_eq!(bench.run_once(job, Some(etag)).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "too_large");
    assert_eq!(bench.pool.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn j6_a_model_over_its_limit_is_stopped_and_counts_as_an_attempt() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"sleep","ms":61000}"#).await;
    let running = bench.start();
    assert_eq!(code(&bench.ended(job).await), "timed_out");
    assert_eq!(bench.pool.runs(), 3);
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_on_that_cannot_be_finished() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    let delivery = worker::Delivery { deadline: Some(Instant::now() + Duration::from_secs(69)), ..first() };
    let work = Work::Run { job, etag: None, bucket: None, trace: None };
    assert_eq!(bench.processor().process(&work, &delivery).await, Verdict::Done);
    assert!(bench.outbox.head(&layout::progress_key(job)).await.is_err());
    assert_eq!(bench.pool.runs(), 0);
    // It has a message of its own, which was never received.
    let left = bench.queue.receive(10, Duration::ZERO, None).await.unwrap();
    assert_eq!((left.len(), left[0].receive_count), (1, 1));
    assert_eq!(left[0].body, Message::new(Order::Run { job, etag: None, trace: None }).to_body());
}

/// Batches as Lambda gets them, until the queue is empty; how many there were.
async fn batches(bench: &Bench, timeout: Duration) -> usize {
    let processor = bench.processor();
    for number in 0..1000 {
        let received = bench.queue.receive(10, Duration::ZERO, None).await.unwrap();
        if received.is_empty() {
            return number;
        }
        let batch: Vec<BatchMessage> = received.into_iter().map(BatchMessage::from).collect();
        let failed = handle_batch(&processor, &batch, Instant::now() + timeout).await;
        for message in batch.iter().filter(|message| !failed.contains(&message.id)) {
            bench.queue.delete(message.receipt.as_ref().unwrap()).await.unwrap();
        }
    }
    panic!("the queue is never empty");
}

#[tokio::test(start_paused = true)]
async fn j2_slow_jobs_at_the_end_of_batches_are_not_given_up() {
    // Two receives, and a message is given up. A batch begins four of these at once, and no other in what time is left.
    let bench = Bench::with_max_receives(2).await;
    let mut jobs = Vec::new();
    for number in 1..=40 {
        jobs.push(bench.submit(number, r#"{"do":"sleep","ms":55000}"#).await);
    }
    assert_eq!(batches(&bench, Duration::from_secs(120)).await, 10);
    for job in jobs {
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    assert!(bench.dead.receive(10, Duration::ZERO, None).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn j6_a_limit_that_does_not_fit_the_batch_s_time_is_what_fits() {
    let bench = Bench::new().await;
    let (short, long) =
        (bench.submit(1, r#"{"do":"sleep","ms":30000}"#).await, bench.submit(2, r#"{"do":"sleep","ms":50000}"#).await);
    // The model's limit is a minute.
    assert_eq!(worker::longest_job(Duration::from_secs(50)).as_millis(), 37_500);
    batches(&bench, Duration::from_secs(50)).await;
    assert_eq!(code(&bench.ended(short).await), "succeeded");
    let (progress, _) = bench.ledger.progress(long).await.unwrap().unwrap();
    assert_eq!((progress.failures, progress.last_error.unwrap().code.as_str()), (1, "timed_out"));
}

#[tokio::test(start_paused = true)]
async fn j6_a_job_past_its_deadline_is_expired_and_not_run() {
    let bench = Bench::new().await;
    let job = bench.submit(1, "1").await;
    tokio::time::sleep(Duration::from_secs(86_401)).await;
    batches(&bench, Duration::from_secs(120)).await;
    let outcome = bench.ended(job).await;
    assert_eq!((code(&outcome).as_str(), outcome.started_at), ("queue_expired", None));
    assert_eq!(bench.pool.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn j5_seven_good_ones_of_ten_are_answered_at_their_usual_speed() {
    let good = r#"{"do":"sleep","ms":2000}"#;
    let usual = async {
        let bench = Bench::new().await;
        for number in 1..=7 {
            bench.submit(number, good).await;
        }
        seconds_until_seven_have_ended(&bench).await
    };
    let beside = async {
        let bench = Bench::new().await;
        bench.queue.send("not a message", None, Duration::ZERO).await.unwrap();
        bench.submit(8, r#"{"do":"panic"}"#).await;
        // Beyond the model's limit, and deaf to being told so.
        bench.submit(9, r#"{"do":"hang"}"#).await;
        for number in 1..=7 {
            bench.submit(number, good).await;
        }
        let seconds = seconds_until_seven_have_ended(&bench).await;
        assert_eq!(code(&bench.ended(JobId::from_random([9; 16])).await), "timed_out");
        seconds
    };
    // Four at once: two rounds. Beside the slow one, which keeps its place, three at once: three rounds.
    assert_eq!((usual.await, beside.await), (4, 6));
}

/// How long a batch of all that is queued takes until the jobs 1 to 7 have succeeded, in seconds.
async fn seconds_until_seven_have_ended(bench: &Bench) -> u64 {
    let (began, batched) = (Instant::now(), batches(bench, Duration::from_secs(120)));
    let ended = async {
        for number in 1..=7 {
            assert_eq!(code(&bench.ended(JobId::from_random([number; 16])).await), "succeeded");
        }
        began.elapsed().as_secs()
    };
    tokio::join!(batched, ended).1
}

#[tokio::test(start_paused = true)]
async fn what_no_model_takes_is_refused_however_little_time_is_left() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/nope/x", "[1]").await;
    let delivery = worker::Delivery { deadline: Some(Instant::now() + Duration::from_secs(30)), ..first() };
    let (bucket, key) = ("inbox".to_owned(), "drop/nope/x".to_owned());
    let work = Work::Dropped(ObjectVersion { bucket, key, etag: None, size_bytes: None });
    assert_eq!(bench.processor().process(&work, &delivery).await, Verdict::Done);
    assert!(bench.text("mirror/nope/x.error.json").await.unwrap().contains("unknown_model"));
}

#[tokio::test(start_paused = true)]
async fn limits_that_do_not_fit_the_function_timeout_are_named() {
    let bench = Bench::new().await;
    let faults = async |batch, seconds| {
        worker::limits_too_long(&bench.registry, batch, 4, Duration::from_secs(seconds)).await.unwrap()
    };
    assert_eq!(faults(8, 120).await, [""; 0]);
    assert!(faults(9, 120).await[0].starts_with("a batch of 9 jobs of m, 4 at once"));
    assert_eq!(faults(1, 74).await, [""; 0]);
    assert!(faults(1, 73).await[0].starts_with("jobs of m are stopped after 59 s"));
}

fn message(job: JobId, receive_count: u32) -> BatchMessage {
    let body = Message::new(Order::Run { job, etag: None, trace: None }).to_body();
    BatchMessage { id: job.to_string(), receipt: None, body, receive_count, sent_at: None }
}

#[tokio::test(start_paused = true)]
async fn j5_in_a_batch_those_received_before_run_last_one_at_a_time() {
    let bench = Bench::new().await;
    let mut batch = Vec::new();
    for (number, receive_count) in [(1, 2), (2, 1), (3, 3), (4, 1)] {
        let ticket = bench.inline(number, r#"{"do":"sleep","ms":1000}"#).await;
        batch.push(message(ticket.job, receive_count));
    }
    let (began, deadline) = (Instant::now(), Instant::now() + Duration::from_secs(120));
    assert_eq!(handle_batch(&bench.processor(), &batch, deadline).await, [""; 0]);
    assert_eq!(began.elapsed().as_secs(), 3, "the two new ones side by side, then the others");
    let mut ends = Vec::new();
    for number in [2, 4, 1, 3] {
        ends.push(bench.ended(JobId::from_random([number; 16])).await.at);
    }
    assert!(ends.is_sorted(), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn j5_those_that_waited_in_a_killed_batch_come_back_before_the_others() {
    let bench = Bench::new().await;
    for number in 1..=3 {
        bench.submit(number, r#"{"do":"sleep","ms":40000}"#).await;
    }
    for message in bench.queue.receive(10, Duration::ZERO, None).await.unwrap() {
        bench.queue.change_visibility(&message.receipt, Duration::ZERO).await.unwrap();
    }
    bench.submit(4, r#"{"do":"sleep","ms":30000}"#).await;
    let received = bench.queue.receive(10, Duration::ZERO, None).await.unwrap();
    let batch: Vec<BatchMessage> = received.into_iter().map(BatchMessage::from).collect();
    let processor = bench.processor();
    let deadline = Instant::now() + Duration::from_secs(600);
    // Dropped, as if it was killed, while the first of the three runs.
    let killed = tokio::time::timeout(Duration::from_secs(50), handle_batch(&processor, &batch, deadline)).await;
    assert!(killed.is_err());
    assert_eq!((bench.pool.runs(), bench.queue.depth().in_flight), (2, 4), "those that wait are kept hidden");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(bench.queue.depth().visible, 2, "those that waited come back soon");
    tokio::time::sleep(VISIBILITY).await;
    assert_eq!(bench.queue.depth().visible, 4);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waited_too_long_for_its_place_is_not_begun() {
    let mut bench = Bench::new().await;
    bench.settings.parallel = 5;
    let mut batch = Vec::new();
    for number in 1..=5 {
        batch.push(message(bench.inline(number, r#"{"do":"sleep","ms":50000}"#).await.job, 1));
    }
    // When the fifth gets one of the four places, half of the time is gone.
    let deadline = Instant::now() + Duration::from_secs(100);
    assert_eq!(handle_batch(&bench.processor(), &batch, deadline).await.len(), 1);
    assert_eq!(bench.pool.runs(), 4);
}

#[tokio::test(start_paused = true)]
async fn j6_inputs_in_hand_are_bounded_together() {
    let mut bench = Bench::new().await;
    bench.settings.input_memory_bytes = 2 << 10;
    // Each takes a KiB and a second; four would run at once.
    let input = format!(r#"{{"do":"sleep","ms":1000,"pad":{:?}}}"#, "x".repeat(900));
    let mut jobs = Vec::new();
    for number in 1..=8 {
        jobs.push(bench.submit(number, &input).await);
    }
    let (running, began) = (bench.start(), Instant::now());
    for job in jobs {
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    assert_eq!(began.elapsed().as_secs(), 4, "two at a time");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_input_larger_than_all_room_is_run_alone() {
    let mut bench = Bench::new().await;
    bench.settings.input_memory_bytes = 0;
    let job = bench.submit(1, &format!("{:?}", "x".repeat(900))).await;
    assert_eq!(batches(&bench, Duration::from_secs(120)).await, 1);
    assert_eq!(code(&bench.ended(job).await), "succeeded");
}
