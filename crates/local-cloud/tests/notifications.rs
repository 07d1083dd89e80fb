//! Notifications: what may be configured, and what an event tells.

mod common;

use common::{Answer, Client, event_keys, start};
use serde_json::{Value, json};

const BUCKET: &str = "/millpond-outbox";

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{queue}")
}

fn rule(id: &str, queue: &str, event: &str, filters: &[(&str, &str)]) -> String {
    let filters: String = filters
        .iter()
        .map(|(name, value)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"))
        .collect();
    format!(
        "<QueueConfiguration><Id>{id}</Id><Queue>{queue}</Queue><Event>{event}</Event>\
         <Filter><S3Key>{filters}</S3Key></Filter></QueueConfiguration>"
    )
}

async fn configure(client: &Client, rules: &[String]) -> Answer {
    let body = format!("<NotificationConfiguration>{}</NotificationConfiguration>", rules.concat());
    client.s3("PUT", &format!("{BUCKET}?notification"), &[], body.as_bytes()).await
}

async fn put(client: &Client, key: &str) {
    client.s3("PUT", &format!("{BUCKET}/{key}"), &[], b"x").await.expect(200);
}

#[tokio::test]
async fn a_configured_queue_hears_of_it_and_then_of_what_matches() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("events", json!({})).await;
    let both = [("prefix", "in/"), ("suffix", ".png")];
    let jpg = [("Prefix", "in/"), ("Suffix", ".jpg")];
    let rules = [
        rule("png", &arn("events"), "s3:ObjectCreated:*", &both),
        rule("jpg", &arn("events"), "s3:ObjectCreated:Put", &jpg),
        rule("gone", &arn("events"), "s3:ObjectRemoved:*", &both),
    ];
    configure(client, &rules).await.expect(200);
    let tests = client.drain(&queue).await;
    let [test] = tests.as_slice() else { panic!("one queue, one test: {tests:?}") };
    let test: Value = serde_json::from_str(test).expect("JSON");
    assert_eq!((&test["Event"], &test["Bucket"]), (&json!("s3:TestEvent"), &json!("millpond-outbox")));
    assert_eq!(test["Service"], "Amazon S3");
    assert!(test["Time"].is_string() && test["RequestId"].is_string() && test["HostId"].is_string());

    for key in ["in/a.png", "in/a.jpg", "in/a.gif", "out/a.png", "in/png"] {
        put(client, key).await;
    }
    let copy = [("x-amz-copy-source", "/millpond-outbox/in/a.jpg")];
    client.s3("PUT", &format!("{BUCKET}/in/b.jpg"), &copy, b"").await.expect(200);
    client.s3("PUT", &format!("{BUCKET}/in/b.png"), &copy, b"").await.expect(200);
    client.s3("DELETE", &format!("{BUCKET}/in/a.png"), &[], b"").await.expect(204);
    // Nothing was there, so nothing is told.
    client.s3("DELETE", &format!("{BUCKET}/in/a.png"), &[], b"").await.expect(204);
    client.s3("DELETE", &format!("{BUCKET}/in/a.jpg"), &[], b"").await.expect(204);
    let heard = client.drain(&queue).await;
    assert_eq!(event_keys(&heard), ["in/a.jpg", "in/a.png", "in/a.png", "in/b.png"]);

    let shown = client.s3("GET", &format!("{BUCKET}?notification"), &[], b"").await.expect(200).text();
    for part in ["<Id>png</Id>", "<Event>s3:ObjectCreated:Put</Event>", "<Value>.jpg</Value>", &arn("events")] {
        assert!(shown.contains(part), "{part} is missing: {shown}");
    }
    configure(client, &[]).await.expect(200);
    put(client, "in/c.png").await;
    assert!(client.drain(&queue).await.is_empty());
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn what_s3_refuses_to_configure_changes_nothing() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("events", json!({})).await;
    let events = arn("events");
    let created = "s3:ObjectCreated:*";
    configure(client, &[rule("kept", &events, created, &[("prefix", "in/")])]).await.expect(200);
    client.drain(&queue).await;
    for rules in [
        vec![rule("a", &arn("missing"), created, &[])],
        vec![rule("a", "arn:aws:sqs:us-east-1:000000000000", created, &[])],
        vec![rule("a", "arn:aws:sns:us-east-1:000000000000:events", created, &[])],
        vec![rule("a", &events, "s3:ObjectCreated:Dance", &[])],
        vec![rule("a", &events, created, &[("infix", "x")])],
        vec![rule("a", &events, created, &[("prefix", "x"), ("prefix", "y")])],
        vec![rule("a", &events, created, &[("prefix", "x")]), rule("a", &events, created, &[("prefix", "y")])],
        vec![rule("a", &events, created, &[]), rule("b", &events, "s3:ObjectCreated:Put", &[])],
        vec![
            rule("a", &events, created, &[("prefix", "in/")]),
            rule("b", &events, "s3:ObjectCreated:Copy", &[("prefix", "in/2026/"), ("suffix", ".png")]),
        ],
    ] {
        configure(client, &rules).await.expect_code(400, "InvalidArgument");
    }
    assert!(client.drain(&queue).await.is_empty(), "no test event");
    put(client, "in/x").await;
    assert_eq!(event_keys(&client.drain(&queue).await), ["in/x"]);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn an_event_tells_what_s3s_own_does() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("events", json!({})).await;
    let rules = [
        rule("new", &arn("events"), "s3:ObjectCreated:*", &[]),
        rule("gone", &arn("events"), "s3:ObjectRemoved:*", &[]),
    ];
    configure(client, &rules).await.expect(200);
    client.drain(&queue).await;
    let path = format!("{BUCKET}/a%20b+c/%ED%95%9C.txt");
    let answered = client.s3("PUT", &path, &[], b"123").await.expect(200);
    client.s3("DELETE", &path, &[], b"").await.expect(204);
    let bodies = client.drain(&queue).await;
    let mut records: Vec<Value> = bodies
        .iter()
        .map(|body| {
            let event: Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(event["Records"].as_array().map(Vec::len), Some(1));
            event["Records"][0].clone()
        })
        .collect();
    let sequencers: Vec<String> =
        records.iter().map(|record| record["s3"]["object"]["sequencer"].as_str().expect("text").to_owned()).collect();
    assert!(sequencers[0] < sequencers[1], "{sequencers:?}");
    assert!(sequencers.iter().all(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit())), "{sequencers:?}");
    let time: jiff::Timestamp = records[0]["eventTime"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    assert_eq!(records[0]["eventTime"], format!("{time:.3}"), "milliseconds, in UTC");
    let id = &answered.headers["x-amz-request-id"];
    assert_eq!(records[0]["responseElements"]["x-amz-request-id"], id.to_str().expect("text"));
    for record in &mut records {
        for volatile in ["eventTime", "responseElements"] {
            record[volatile] = Value::Null;
        }
        record["s3"]["object"]["sequencer"] = Value::Null;
    }
    let bucket = json!({
        "name": "millpond-outbox",
        "ownerIdentity": {"principalId": "MILLPONDLOCAL"},
        "arn": "arn:aws:s3:::millpond-outbox",
    });
    // No version: the bucket has none.
    let put = json!({
        "key": "a+b%2Bc/%ED%95%9C.txt", "size": 3, "eTag": "202cb962ac59075b964b07152d234b70", "sequencer": null,
    });
    let gone = json!({"key": "a+b%2Bc/%ED%95%9C.txt", "sequencer": null});
    let record = |name: &str, id: &str, object: Value| {
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": null,
            "eventName": name,
            "userIdentity": {"principalId": "MILLPONDLOCAL"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": null,
            "s3": {"s3SchemaVersion": "1.0", "configurationId": id, "bucket": bucket, "object": object},
        })
    };
    assert_eq!(records, [record("ObjectCreated:Put", "new", put), record("ObjectRemoved:Delete", "gone", gone)]);
    running.cloud.shutdown().await;
}
