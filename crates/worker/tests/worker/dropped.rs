use std::time::Duration;

use bytes::Bytes;
use cloud::{GetOptions, ObjectStore, PutOptions};
use job::envelope::ObjectVersion;
use job::id::ETag;
use job::{Ending, JobId, Work};
use tokio::sync::oneshot;
use worker::Verdict;

use crate::bench::{Bench, code, first, put};

async fn id(bench: &Bench, key: &str) -> JobId {
    let meta = bench.inbox.head(key).await.unwrap();
    JobId::for_dropped_file("inbox", key, &meta.etag, meta.last_modified)
}

fn event(key: &str, etag: Option<ETag>) -> Work {
    Work::Dropped(ObjectVersion { bucket: "inbox".into(), key: key.into(), etag, size_bytes: None })
}

async fn process(bench: &Bench, key: &str, etag: Option<ETag>) -> Verdict {
    bench.processor().process(&event(key, etag), &first()).await
}

async fn mirrors(bench: &Bench) -> Vec<String> {
    bench.outbox.list("mirror/", None, 100).await.unwrap().objects.into_iter().map(|object| object.key).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_file_is_a_job_and_its_mirror_lies_beside_its_path() {
    let bench = Bench::new().await;
    let running = bench.start();
    put(&*bench.inbox, "drop/m/a b/한.json", "[1]").await;
    let job = id(&bench, "drop/m/a b/한.json").await;
    assert_eq!(code(&bench.ended(job).await), "succeeded");
    running.stop().await.unwrap();
    assert_eq!(mirrors(&bench).await, ["mirror/m/a b/한.json.result.json"]);
    assert_eq!(bench.text("mirror/m/a b/한.json.result.json").await.unwrap(), "[1]");
    assert_eq!(bench.ledger.ticket(job).await.unwrap().unwrap().tenant.as_str(), "default");
}

#[tokio::test(start_paused = true)]
async fn its_metadata_are_parameters() {
    for (value, expected) in [("true", "succeeded"), ("perhaps", "invalid_params")] {
        let bench = Bench::new().await;
        let metadata = [("millpond-all".to_owned(), value.to_owned())].into();
        let options = PutOptions { metadata, ..PutOptions::default() };
        let etag = bench.inbox.put("drop/m/x", Bytes::from_static(b"[1]"), options).await.unwrap();
        assert_eq!(process(&bench, "drop/m/x", Some(etag)).await, Verdict::Done);
        assert_eq!(code(&bench.ended(id(&bench, "drop/m/x").await).await), expected);
        if expected == "succeeded" {
            assert_eq!(bench.text("mirror/m/x.result.json").await.unwrap(), "[[1],true]");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_no_model_takes_fail_and_say_so() {
    let bench = Bench::new().await;
    let long = format!("drop/m/{}", "x".repeat(1005));
    let cases = [
        ("drop/nope/x", "unknown_model", Some("mirror/nope/x.error.json")),
        ("drop/No Name/x", "unknown_model", Some("mirror/No Name/x.error.json")),
        ("drop/x.json", "no_model", Some("mirror/x.json.error.json")),
        (&long, "key_too_long", None),
    ];
    for (key, expected, mirror) in cases {
        put(&*bench.inbox, key, "[1]").await;
        assert_eq!(process(&bench, key, None).await, Verdict::Done, "{key}");
        assert_eq!(code(&bench.ended(id(&bench, key).await).await), expected);
        if let Some(mirror) = mirror {
            assert!(bench.text(mirror).await.unwrap().contains(expected));
        }
    }
    assert_eq!(mirrors(&bench).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_overwritten_version_is_skipped_and_a_deleted_one_acknowledged() {
    let bench = Bench::new().await;
    let old = put(&*bench.inbox, "drop/m/x", "[1]").await;
    let skipped = id(&bench, "drop/m/x").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let new = put(&*bench.inbox, "drop/m/x", "[2]").await;
    assert_eq!(process(&bench, "drop/m/x", Some(old)).await, Verdict::Done);
    assert_eq!(bench.pool.runs(), 0, "the newer one has an event of its own");
    assert!(bench.ledger.ticket(skipped).await.unwrap().is_none());
    assert_eq!(process(&bench, "drop/m/x", Some(new)).await, Verdict::Done);
    assert_eq!(bench.text("mirror/m/x.result.json").await.unwrap(), "[2]");
    assert_eq!(bench.pool.runs(), 1);
    bench.inbox.delete("drop/m/x").await.unwrap();
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_repeats_the_mirror() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    bench.outbox.delete("mirror/m/x.result.json").await.unwrap();
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    assert_eq!(bench.text("mirror/m/x.result.json").await.unwrap(), "[1]");
    assert_eq!(bench.pool.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_s_mirror_stands() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    let first_job = id(&bench, "drop/m/x").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    tokio::time::advance(Duration::from_secs(2)).await;
    // The newer one fails: its error takes the place of the older one's result.
    put(&*bench.inbox, "drop/m/x", "").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.error.json"]);
    // A late redelivery of the older one's own message finds the newer one there, and leaves it.
    assert_eq!(bench.run_once(first_job, None).await, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.error.json"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_hits_a_newer_version_s_mirror_is_made_good() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    tokio::time::advance(Duration::from_secs(2)).await;
    // The second version succeeds, and is about to delete the first one's error when the third one fails in its turn.
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    let (open, gate) = oneshot::channel();
    *bench.outbox.delete_gate.lock().unwrap() = Some(gate);
    let third = async {
        while bench.outbox.delete_gate.lock().unwrap().is_some() {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        put(&*bench.inbox, "drop/m/x", "").await;
        assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
        assert_eq!(mirrors(&bench).await, ["mirror/m/x.error.json"]);
        open.send(()).unwrap();
    };
    let (second, ()) = tokio::join!(process(&bench, "drop/m/x", None), third);
    assert_eq!(second, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.error.json"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_at_an_older_version_left_when_it_died_is_taken_away() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "").await;
    let older = bench.inbox.head("drop/m/x").await.unwrap().etag;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    let left = bench.outbox.get("mirror/m/x.error.json", GetOptions::default()).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.result.json"]);
    // As if the older version's attempt had written it only now, and died before it could see the newer one.
    let options = PutOptions { metadata: left.meta.metadata, ..PutOptions::default() };
    bench.outbox.put("mirror/m/x.error.json", left.body, options).await.unwrap();
    assert_eq!(process(&bench, "drop/m/x", Some(older)).await, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.result.json"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_versions_of_one_second_the_later_one_s_mirror_stands() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    let first_job = id(&bench, "drop/m/x").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    put(&*bench.inbox, "drop/m/x", "[2]").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    assert_eq!(bench.run_once(first_job, None).await, Verdict::Done);
    assert_eq!(bench.text("mirror/m/x.result.json").await.unwrap(), "[2]");
}

/// The later version's own job has ended without a mirror, and a retry of it wrote one.
#[tokio::test(start_paused = true)]
async fn the_mirror_of_a_retry_stands_beside_a_version_of_the_same_second() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x", "[1]").await;
    let earlier = id(&bench, "drop/m/x").await;
    let begun = bench.dropped_ticket("drop/m/x", earlier).await;
    put(&*bench.inbox, "drop/m/x", "[2]").await;
    let retried = bench.dropped_ticket("drop/m/x", JobId::from_random([9; 16])).await;
    assert_eq!(begun.created_at, retried.created_at, "of one second");
    bench.ledger.end(id(&bench, "drop/m/x").await, Ending::Cancelled).await.unwrap();
    assert_eq!(bench.run_once(retried.job, None).await, Verdict::Done);

    assert_eq!(bench.run_once(begun.job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(earlier).await), "input_replaced");
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.result.json"]);
    assert_eq!(bench.text("mirror/m/x.result.json").await.unwrap(), "[2]");
}

#[tokio::test(start_paused = true)]
async fn another_file_s_mirror_of_a_similar_name_is_left_alone() {
    let bench = Bench::new().await;
    put(&*bench.inbox, "drop/m/x.result.y", "[1]").await;
    assert_eq!(process(&bench, "drop/m/x.result.y", None).await, Verdict::Done);
    put(&*bench.inbox, "drop/m/x", "").await;
    assert_eq!(process(&bench, "drop/m/x", None).await, Verdict::Done);
    assert_eq!(mirrors(&bench).await, ["mirror/m/x.error.json", "mirror/m/x.result.y.result.json"]);
}
