//! The sweep: what nobody else finds.

use std::collections::BTreeMap;
use std::time::Duration;

use cloud::PutOptions;
use job::{JobId, Sha256, Ticket};
use serde_json::{Value, json};

use crate::world::{Setting, World, wine};

const HOUR: Duration = Duration::from_secs(3600);

pub async fn case(setting: Setting) {
    // All that is dropped here was dropped an hour ago.
    let world = World::start_with(&setting, &[], HOUR, |stack| stack.notification_prefixes.clear()).await;
    let sweep = world.function("Sweep").await;
    let unseen = world.drop_file("wine-quality", "unseen.json", wine().to_string()).await;
    let key = "drop/wine-quality/expired.json";
    let expired = world.drop_file("wine-quality", "expired.json", wine().to_string()).await;
    let meta = world.inbox.head(key).await.expect("the file");
    let ledger = world.ledger();
    let dropped = json!({"drop": {"key": key, "path": "expired.json", "etag": meta.etag, "size_bytes": meta.size_bytes,
        "content_type": null, "last_modified": meta.last_modified}});
    ledger.accept(&ticket(expired.job, &dropped, "2020-01-02T00:00:00Z")).await.expect("a ticket");
    // What an earlier version left.
    let metadata = BTreeMap::from([
        ("millpond-source-key-sha256".to_owned(), Sha256::of(key.as_bytes()).to_string()),
        ("millpond-source-modified".to_owned(), "2020-01-01T00:00:00Z".to_owned()),
    ]);
    let options = || PutOptions { metadata: metadata.clone(), ..PutOptions::default() };
    for kind in ["result", "error"] {
        let mirror = format!("mirror/wine-quality/expired.json.{kind}.json");
        world.outbox.put(&mirror, "[]".into(), options()).await.expect("a mirror");
    }
    let waiting = JobId::from_random([7; 16]);
    let upload = json!({"upload": {"key": job::layout::upload_key(waiting, "x.json"), "filename": "x.json",
        "content_type": "application/json", "size_bytes": 1, "sha256": null, "etag": null}});
    ledger.accept(&ticket(waiting, &upload, "2100-01-01T00:00:00Z")).await.expect("a ticket");

    let report = sweep.invoke(&json!({"detail-type": "Scheduled Event", "source": "aws.events"})).await;
    assert_eq!(report, json!({"open": 2, "expired": 1, "silent": 0, "dropped": 1, "faults": 0}), "{}", sweep.log());
    assert_eq!(world.end_of(expired.job).await, "expired: queue_expired");
    assert_eq!(world.document("mirror/wine-quality/expired.json.error.json").await["code"], "queue_expired");
    assert_eq!(world.document("mirror/wine-quality/expired.json.result.json").await, Value::Null);
    let messages = world.jobs.receive(10, Duration::ZERO, None).await.expect("a receive");
    let bodies: Vec<_> = messages.into_iter().map(|message| message.body).collect();
    assert!(matches!(&bodies[..], [body] if body.contains("unseen.json")), "{bodies:?}");
    assert_eq!(world.end_of(unseen.job).await, "open");
    world.end();
}

/// A job's record, with these deadlines.
fn ticket(job: JobId, input: &Value, deadline: &str) -> Ticket {
    let text = json!({"v": 1, "job": job, "tenant": "default", "model": "wine-quality", "version": null, "model_digest": null,
        "params": {}, "input": input, "limits": {"max_input_bytes": 1 << 20, "max_seconds": 10},
        "created_at": "2020-01-01T00:00:00Z", "upload_deadline": deadline, "queue_deadline": deadline,
        "retained_until": "2100-01-01T00:00:00Z"});
    serde_json::from_str(&text.to_string()).expect("a ticket")
}
