//! What SQS asks of queues and messages, and how it refuses the rest.

mod common;

use std::collections::BTreeSet;

use common::{Answer, Client, start, start_with_clock};
use serde_json::{Map, Value, json};

#[track_caller]
fn refused(answer: Answer, code: &str) {
    let answer = answer.expect(400);
    assert_eq!(answer.json()["__type"], format!("com.amazonaws.sqs#{code}"));
}

async fn send(client: &Client, queue: &str, more: Value) -> Answer {
    let mut input = json!({"QueueUrl": queue, "MessageBody": "body"});
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    client.sqs("SendMessage", input).await
}

async fn attributes(client: &Client, queue: &str, names: &[&str]) -> Answer {
    client.sqs("GetQueueAttributes", json!({"QueueUrl": queue, "AttributeNames": names})).await
}

#[tokio::test]
async fn message_attributes_are_named_typed_and_counted() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let text = json!({"DataType": "String", "StringValue": "x"});
    let many = |count: usize| (0..count).map(|n| (format!("n{n}"), text.clone())).collect::<Map<_, _>>();
    send(client, &queue, json!({"MessageAttributes": many(10)})).await.expect(200);
    refused(send(client, &queue, json!({"MessageAttributes": many(11)})).await, "InvalidParameterValue");
    for good in [
        json!({"DataType": "String.label", "StringValue": "x"}),
        json!({"DataType": "Number.byte", "StringValue": "-1.5e3"}),
        json!({"DataType": "Binary.png", "BinaryValue": "AP8="}),
    ] {
        send(client, &queue, json!({"MessageAttributes": {"a": good}})).await.expect(200);
    }
    for bad in [
        json!({"DataType": "Colour", "StringValue": "red"}),
        json!({"DataType": "", "StringValue": "x"}),
        json!({"DataType": "String", "StringValue": ""}),
        json!({"DataType": "String"}),
        json!({"DataType": "String", "StringValue": "\u{1}"}),
        json!({"DataType": "String", "BinaryValue": "AP8="}),
        json!({"DataType": "String", "StringValue": "x", "BinaryValue": "AP8="}),
        json!({"DataType": "Number", "StringValue": "one"}),
        json!({"DataType": "Number", "StringValue": "inf"}),
        json!({"DataType": "Binary", "BinaryValue": "not base64"}),
        json!({"DataType": format!("String.{}", "x".repeat(250)), "StringValue": "x"}),
    ] {
        refused(send(client, &queue, json!({"MessageAttributes": {"a": bad}})).await, "InvalidParameterValue");
    }
    for name in ["", "a b", ".a", "a.", "a..b", "AWS.trace", "amazon.x", &"n".repeat(257)] {
        refused(send(client, &queue, json!({"MessageAttributes": {name: text}})).await, "InvalidParameterValue");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn of_system_attributes_only_the_trace_header_can_be_sent() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let trace = json!({"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"});
    for (name, value) in [
        ("AWSTraceHeader", json!({"DataType": "Number", "StringValue": "1"})),
        ("AWSTraceHeader", json!({"DataType": "String", "StringValue": ""})),
        ("AWSTraceHeader", json!({"DataType": "String", "BinaryValue": "AP8="})),
        ("SenderId", trace.clone()),
    ] {
        let input = json!({"MessageSystemAttributes": {name: value}});
        refused(send(client, &queue, input).await, "InvalidParameterValue");
    }
    // It counts neither as one of the ten nor against the size.
    let body = "x".repeat(1 << 20);
    let input = json!({"MessageBody": body, "MessageSystemAttributes": {"AWSTraceHeader": trace}});
    let sent = send(client, &queue, input).await.expect(200).json();
    assert!(sent["MD5OfMessageSystemAttributes"].is_string());
    let received = client.receive(&queue, json!({})).await;
    assert_eq!(received[0]["Attributes"]["AWSTraceHeader"], trace["StringValue"]);
    assert!(received[0].get("MessageAttributes").is_none());
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_group_is_named_in_at_most_128_visible_characters() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let all: String = ('!'..='~').collect();
    for group in [all, "g".repeat(128)] {
        send(client, &queue, json!({"MessageGroupId": group})).await.expect(200);
        assert_eq!(client.receive(&queue, json!({})).await[0]["Attributes"]["MessageGroupId"], group);
    }
    for group in [String::new(), "g".repeat(129), "a b".into(), "\u{e9}".into()] {
        refused(send(client, &queue, json!({"MessageGroupId": group})).await, "InvalidParameterValue");
    }
    // Standard queues know no deduplication.
    refused(send(client, &queue, json!({"MessageDeduplicationId": "x"})).await, "InvalidParameterValue");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_message_and_a_batch_have_up_to_1_mib() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let attribute = json!({"a": {"DataType": "String", "StringValue": "xyz"}});
    let body = |bytes: usize| "x".repeat(bytes);
    let with_attribute = |bytes: usize| json!({"MessageBody": body(bytes), "MessageAttributes": attribute});
    let rest = (1 << 20) - "aStringxyz".len();
    send(client, &queue, with_attribute(rest)).await.expect(200);
    refused(send(client, &queue, with_attribute(rest + 1)).await, "InvalidParameterValue");

    let entry = |id: &str, body: String| json!({"Id": id, "MessageBody": body});
    let batch = |queue: &str, entries: [Value; 2]| {
        client.sqs("SendMessageBatch", json!({"QueueUrl": queue, "Entries": entries}))
    };
    let half = 1 << 19;
    batch(&queue, [entry("a", body(half)), entry("b", body(half))]).await.expect(200);
    refused(batch(&queue, [entry("a", body(half)), entry("b", body(half + 1))]).await, "BatchRequestTooLong");
    // Even if one of them would be refused alone.
    refused(batch(&queue, [entry("a", "x".into()), entry("b", body(1 << 20))]).await, "BatchRequestTooLong");

    let small = client.queue("small", json!({"MaximumMessageSize": "1024"})).await;
    let answer = batch(&small, [entry("a", body(1024)), entry("b", body(1025))]).await.expect(200).json();
    assert_eq!(answer["Successful"][0]["Id"], "a");
    assert_eq!(
        (&answer["Failed"][0]["Id"], &answer["Failed"][0]["Code"]),
        (&json!("b"), &json!("InvalidParameterValue"))
    );
    assert_eq!(answer["Failed"][0]["SenderFault"], true);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn the_attributes_of_a_queue_have_ranges() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let set = |name: &str, value: String| {
        client.sqs("SetQueueAttributes", json!({"QueueUrl": queue, "Attributes": {name: value}}))
    };
    for (name, default, lowest, highest) in [
        ("VisibilityTimeout", 30, 0, 43_200),
        ("DelaySeconds", 0, 0, 900),
        ("MaximumMessageSize", 1_048_576, 1024, 1_048_576),
        ("MessageRetentionPeriod", 345_600, 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 0, 20),
    ] {
        let now = attributes(client, &queue, &["All"]).await.expect(200).json();
        assert_eq!(now["Attributes"][name], default.to_string(), "{name}");
        for good in [lowest, highest] {
            set(name, good.to_string()).await.expect(200);
            let now = attributes(client, &queue, &[name]).await.expect(200).json();
            assert_eq!(now["Attributes"], json!({name: good.to_string()}));
        }
        for bad in [(lowest - 1).to_string(), (highest + 1).to_string(), "many".into(), String::new()] {
            refused(set(name, bad).await, "InvalidAttributeValue");
        }
    }
    for policy in [
        "nonsense".to_owned(),
        json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:missing", "maxReceiveCount": 1}).to_string(),
        json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:q", "maxReceiveCount": 0}).to_string(),
        json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:q", "maxReceiveCount": 1001}).to_string(),
    ] {
        // Not what other attributes get, but what SQS answers here.
        refused(set("RedrivePolicy", policy).await, "InvalidParameterValue");
    }
    refused(set("Colour", "red".into()).await, "InvalidAttributeName");
    refused(attributes(client, &queue, &["Colour"]).await, "InvalidAttributeName");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_queue_is_created_once() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"VisibilityTimeout": "5", "DelaySeconds": "1"})).await;
    for same in [json!({}), json!({"VisibilityTimeout": "5"}), json!({"VisibilityTimeout": "5", "DelaySeconds": "1"})] {
        assert_eq!(client.queue("q", same).await, queue);
    }
    let other = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "6"}});
    let answer = client.sqs("CreateQueue", other).await;
    assert_eq!(answer.headers["x-amzn-query-error"], "QueueAlreadyExists;Sender");
    refused(answer, "QueueNameExists");
    for name in ["", "a b", "a.b", &"q".repeat(81)] {
        refused(client.sqs("CreateQueue", json!({"QueueName": name})).await, "InvalidParameterValue");
    }
    client.queue(&"q".repeat(80), json!({})).await;
    client.sqs("DeleteQueue", json!({"QueueUrl": queue})).await.expect(200);
    refused(client.sqs("DeleteQueue", json!({"QueueUrl": queue})).await, "QueueDoesNotExist");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn queues_are_listed_in_pages() {
    let running = start().await;
    let client = &running.client;
    let mut all = BTreeSet::new();
    for n in 0..5 {
        all.insert(client.queue(&format!("list-{n}"), json!({})).await);
    }
    let (mut listed, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({"QueueNamePrefix": "list-", "MaxResults": 2, "NextToken": token});
        let page = client.sqs("ListQueues", input).await.expect(200).json();
        let urls = page["QueueUrls"].as_array().expect("a list");
        assert!(urls.len() <= 2);
        listed.extend(urls.iter().map(|url| url.as_str().expect("text").to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((listed.len(), listed.into_iter().collect()), (5, all));
    for bad in [0, 1001] {
        refused(client.sqs("ListQueues", json!({"MaxResults": bad})).await, "InvalidParameterValue");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn messages_are_counted_and_their_times_told() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"VisibilityTimeout": "60"})).await;
    for _ in 0..3 {
        client.send_message(&queue, "now").await;
    }
    send(client, &queue, json!({"MessageBody": "later", "DelaySeconds": 600})).await.expect(200);
    clock.advance(2);
    let received = client.receive(&queue, json!({"MaxNumberOfMessages": 2})).await;
    let shown = &received[0]["Attributes"];
    assert_eq!(shown["SenderId"], "000000000000");
    assert_eq!((&shown["SentTimestamp"], &shown["ApproximateReceiveCount"]), (&json!("1800000000000"), &json!("1")));
    assert_eq!(shown["ApproximateFirstReceiveTimestamp"], "1800000002000");
    let counts = || async {
        let answer = attributes(client, &queue, &["All"]).await.expect(200).json();
        ["", "NotVisible", "Delayed"].map(|kind| {
            let count = &answer["Attributes"][format!("ApproximateNumberOfMessages{kind}")];
            count.as_str().and_then(|count| count.parse::<u32>().ok()).expect("a count")
        })
    };
    assert_eq!(counts().await, [1, 2, 1]);
    client
        .sqs("DeleteMessage", json!({"QueueUrl": queue, "ReceiptHandle": received[0]["ReceiptHandle"]}))
        .await
        .expect(200);
    assert_eq!(counts().await, [1, 1, 1]);
    clock.advance(60);
    assert_eq!(counts().await, [2, 0, 1]);
    let again = client.receive(&queue, json!({})).await;
    let second =
        again.iter().find(|message| message["Attributes"]["ApproximateReceiveCount"] == "2").expect("came back");
    assert_eq!(second["Attributes"]["ApproximateFirstReceiveTimestamp"], "1800000002000");
    client.sqs("PurgeQueue", json!({"QueueUrl": queue})).await.expect(200);
    assert_eq!(counts().await, [0, 0, 0]);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn visibility_is_changed_in_batches_too() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"VisibilityTimeout": "30"})).await;
    for body in ["a", "b", "c"] {
        client.send_message(&queue, body).await;
    }
    let taken = client.receive(&queue, json!({})).await;
    let entry = |n: usize, seconds: i64| json!({"Id": n.to_string(), "ReceiptHandle": taken[n]["ReceiptHandle"], "VisibilityTimeout": seconds});
    let entries = json!([entry(0, 0), entry(1, 100), entry(2, 43_201), {"Id": "x", "ReceiptHandle": "junk", "VisibilityTimeout": 0}]);
    let input = json!({"QueueUrl": queue, "Entries": entries});
    let answer = client.sqs("ChangeMessageVisibilityBatch", input).await.expect(200).json();
    assert_eq!(answer["Successful"], json!([{"Id": "0"}, {"Id": "1"}]));
    let codes: Vec<&str> =
        answer["Failed"].as_array().expect("a list").iter().filter_map(|entry| entry["Code"].as_str()).collect();
    assert_eq!(codes, ["InvalidParameterValue", "ReceiptHandleIsInvalid"]);
    assert_eq!(client.drain(&queue).await, ["a"]);
    clock.advance(30);
    assert_eq!(client.drain(&queue).await, ["c"]);
    clock.advance(70);
    assert_eq!(client.drain(&queue).await, ["b"]);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn only_dead_letters_can_be_moved() {
    let running = start().await;
    let client = &running.client;
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    client.queue("dead", json!({})).await;
    let policy = json!({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": "3"}).to_string();
    client.queue("q", json!({"RedrivePolicy": policy})).await;
    let start = |input: Value| client.sqs("StartMessageMoveTask", input);
    refused(start(json!({"SourceArn": arn("q")})).await, "InvalidParameterValue");
    refused(start(json!({"SourceArn": arn("missing")})).await, "ResourceNotFoundException");
    let nowhere = json!({"SourceArn": arn("dead"), "DestinationArn": arn("missing")});
    refused(start(nowhere).await, "ResourceNotFoundException");
    let task = start(json!({"SourceArn": arn("dead"), "DestinationArn": arn("q")})).await.expect(200).json();
    let cancelled = client.sqs("CancelMessageMoveTask", json!({"TaskHandle": task["TaskHandle"]})).await;
    refused(cancelled, "ResourceNotFoundException");
    let listed = client.sqs("ListMessageMoveTasks", json!({"SourceArn": arn("dead")})).await.expect(200).json();
    assert_eq!(listed["Results"][0]["Status"], "COMPLETED");
    assert_eq!(listed["Results"].as_array().map(Vec::len), Some(1), "what was refused is no task");
    running.cloud.shutdown().await;
}
