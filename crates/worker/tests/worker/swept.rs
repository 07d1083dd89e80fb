use std::time::Duration;

use cloud::{ObjectStore, Queue};
use job::{Ending, Input, JobId};
use worker::SweepReport;

use crate::bench::{Bench, code, put};

async fn lose_messages(bench: &Bench) {
    for message in bench.queue.receive(10, Duration::ZERO, None).await.unwrap() {
        bench.queue.delete(&message.receipt).await.unwrap();
    }
    assert_eq!(bench.queue.depth(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn j2_a_lost_message_is_sent_again_by_the_sweep() {
    let bench = Bench::new().await;
    let (uploaded, key) = bench.awaiting(1, "[1]").await;
    put(&*bench.inbox, &key, "[1]").await;
    let inline = bench.submit(2, "1").await;
    put(&*bench.inbox, "drop/m/x", "[2]").await;
    lose_messages(&bench).await;
    assert_eq!(bench.sweep().sweep_once().await, SweepReport { open: 2, ..SweepReport::default() }, "all too young");
    assert_eq!(bench.queue.depth(), Default::default());

    tokio::time::advance(Duration::from_secs(61)).await;
    let report = bench.sweep().sweep_once().await;
    assert_eq!(report, SweepReport { open: 2, dropped: 1, ..SweepReport::default() });
    let running = bench.start();
    assert_eq!(code(&bench.ended(uploaded).await), "succeeded");
    assert_eq!(code(&bench.ended(inline).await), "succeeded");
    while bench.text("mirror/m/x.result.json").await.is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.stop().await.unwrap();
    assert_eq!(bench.sweep().sweep_once().await, SweepReport::default());
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_ended_by_the_sweep() {
    let bench = Bench::new().await;
    let (never_uploaded, _) = bench.awaiting(1, "[1]").await;
    let never_run = bench.submit(2, "1").await;
    tokio::time::advance(Duration::from_secs(86_401)).await;
    let report = bench.sweep().sweep_once().await;
    assert_eq!(report, SweepReport { open: 2, expired: 2, ..SweepReport::default() });
    assert_eq!(code(&bench.ended(never_uploaded).await), "upload_expired");
    assert_eq!(code(&bench.ended(never_run).await), "queue_expired");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_file_whose_job_has_expired_gets_its_mirror() {
    let bench = Bench::new().await;
    let etag = put(&*bench.inbox, "drop/m/x", "[1]").await;
    let last_modified = bench.inbox.head("drop/m/x").await.unwrap().last_modified;
    let (key, path) = ("drop/m/x".into(), "x".into());
    // Its first attempt wrote the ticket and no more, and its message is lost.
    bench.ticket(1, Input::Drop { key, path, etag, size_bytes: 3, content_type: None, last_modified }).await;
    tokio::time::advance(Duration::from_secs(86_401)).await;
    assert_eq!(bench.sweep().sweep_once().await.expired, 1);
    assert!(bench.text("mirror/m/x.error.json").await.unwrap().contains("queue_expired"));
}

#[tokio::test(start_paused = true)]
async fn j2_a_begun_job_whose_message_is_lost_is_found_by_its_silence() {
    let bench = Bench::new().await;
    let job = bench.submit(1, r#"{"do":"sleep","ms":10000}"#).await;
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.crash().await;
    tokio::time::advance(bench.settings.visibility_timeout).await;
    lose_messages(&bench).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    let report = bench.sweep().sweep_once().await;
    assert_eq!(report, SweepReport { open: 1, silent: 1, ..SweepReport::default() });
    let running = bench.start();
    assert_eq!(code(&bench.ended(job).await), "succeeded");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn j2_a_begun_job_whose_message_and_input_are_lost_fails() {
    let bench = Bench::new().await;
    let input = r#"{"do":"sleep","ms":10000}"#;
    let (job, key) = bench.awaiting(1, input).await;
    put(&*bench.inbox, &key, input).await;
    let running = bench.start();
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    running.crash().await;
    bench.inbox.delete(&key).await.unwrap();
    tokio::time::advance(bench.settings.visibility_timeout).await;
    lose_messages(&bench).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(bench.sweep().sweep_once().await.silent, 1);
    let running = bench.start();
    assert_eq!(code(&bench.ended(job).await), "input_gone");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_page_ends_within_is_seen_whole() {
    let bench = Bench::new().await;
    let ticket = bench.inline(0, "1").await;
    for number in 1..=600u16 {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let job = JobId::from_random(bytes);
        bench.ledger.accept(&job::Ticket { job, ..ticket.clone() }).await.unwrap();
        bench.ledger.end(job, Ending::Cancelled).await.unwrap();
    }
    // Two documents a job but one for the first: the page of a thousand ends between an outcome and its ticket.
    assert_eq!(bench.sweep().sweep_once().await, SweepReport { open: 1, ..SweepReport::default() });
}
