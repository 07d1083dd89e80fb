//! `millpond up --chaos`: messages come twice, late and out of order, and every job still ends once, with its answer.

mod support;

use std::time::{Duration, Instant};

use cloud::{ObjectStore, PutOptions, Queue};
use cloud_aws::Aws;
use job::JobId;
use serde_json::{Value, json};
use support::{PATIENCE, Up, id, root, wines, wines_expected};

const JOBS_OF_A_KIND: usize = 20;

/// A job for a file that is dropped into the inbox.
async fn drop_file(up: &Up, aws: &Aws, number: usize) -> String {
    let inbox = up.text("inbox");
    let key = format!("drop/wine-quality/{number}.json");
    let bucket = aws.bucket(inbox);
    bucket.put(&key, wines().into(), PutOptions::default()).await.expect("dropped");
    let dropped = bucket.head(&key).await.expect("there");
    JobId::for_dropped_file(inbox, &key, &dropped.etag, dropped.last_modified).to_string()
}

/// Waits until the queue shows nothing any more: no copy that was late, and none that a worker gave back.
async fn drained(up: &Up, aws: &Aws) {
    let queue = aws.queue(up.text("queue_url"));
    let deadline = Instant::now() + PATIENCE;
    // For longer than a copy may be late.
    let mut empty_since = Instant::now();
    while empty_since.elapsed() < Duration::from_millis(1500) {
        assert!(Instant::now() < deadline, "the queue is not drained:\n{}", up.log());
        if !queue.receive(10, Duration::ZERO, Some(Duration::ZERO)).await.expect("received").is_empty() {
            empty_since = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The commit record itself, with who wrote it and when.
async fn outcome(up: &Up, job: &Value) -> Value {
    let url = job["outcome_url"].as_str().expect("a URL");
    up.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
}

/// J1 and J2, however badly messages are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn j1_j2_under_chaos() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let chaos = ["--chaos", "seed=7,duplicate=0.5,delay=0.5,delay_max=1,reorder=0.5"];
    let up = Up::start_with(data.path(), &root().join("models"), &chaos).await;
    let aws = up.aws().await;
    let input: Value = serde_json::from_slice(&wines()).expect("JSON");
    let mut ids = Vec::new();
    for number in 0..JOBS_OF_A_KIND {
        let job = up.create_upload("wine-quality", wines().len()).await;
        assert_eq!(up.put(&job, wines()).await, 200);
        ids.push(id(&job).to_owned());
        let (status, job) = up.post(json!({"model": "wine-quality", "input": input}).to_string()).await;
        assert_eq!(status, 202, "{job}");
        ids.push(id(&job).to_owned());
        ids.push(drop_file(&up, &aws, number).await);
    }
    let mut outcomes = Vec::new();
    for id in &ids {
        let job = up.ended(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["value"], wines_expected());
        outcomes.push(outcome(&up, &job).await);
    }

    drained(&up, &aws).await;
    for (id, seen) in ids.iter().zip(&outcomes) {
        let job = up.ended(id).await;
        assert_eq!(outcome(&up, &job).await, *seen, "nothing overwrites an outcome");
    }
    let log = up.log();
    assert!(log.contains("chaos is on") && log.contains("seed=7,duplicate=0.5"), "{log}");
    // Each outcome is written once, though some 30 of the 60 messages came twice.
    let ended = log.matches("\"message\":\"job ended\"").count();
    assert_eq!(ended, ids.len(), "{log}");
}
