//! Messages: visibility, receipts, long polls, redrive, retention, and what SQS refuses.

mod common;

use std::time::Duration;

use common::{Client, eventually, machine_time, start, start_with_clock};
use serde_json::{Value, json};
use tokio::time::Instant;

async fn change_visibility(client: &Client, queue: &str, handle: &Value, seconds: i64) -> common::Answer {
    let input = json!({"QueueUrl": queue, "ReceiptHandle": handle, "VisibilityTimeout": seconds});
    client.sqs("ChangeMessageVisibility", input).await
}

async fn delete(client: &Client, queue: &str, handle: &Value) -> common::Answer {
    client.sqs("DeleteMessage", json!({"QueueUrl": queue, "ReceiptHandle": handle})).await
}

#[tokio::test]
async fn a_received_message_is_hidden_until_its_timeout_and_then_has_a_new_receipt() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"VisibilityTimeout": "30"})).await;
    client.send_message(&queue, "one").await;
    let first = client.receive(&queue, json!({})).await;
    assert_eq!((first.len(), &first[0]["Attributes"]["ApproximateReceiveCount"]), (1, &json!("1")));
    clock.advance(29);
    assert!(client.receive(&queue, json!({})).await.is_empty());
    clock.advance(1);
    let second = client.receive(&queue, json!({})).await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(second[0]["MessageId"], first[0]["MessageId"]);
    let (stale, fresh) = (&first[0]["ReceiptHandle"], &second[0]["ReceiptHandle"]);
    assert_ne!(stale, fresh);
    change_visibility(client, &queue, stale, 60).await.expect(400);
    // Answered as a success, as SQS does, and without effect.
    delete(client, &queue, stale).await.expect(200);
    change_visibility(client, &queue, fresh, 0).await.expect(200);
    let third = client.receive(&queue, json!({"VisibilityTimeout": 5})).await;
    assert_eq!(third[0]["Body"], "one");
    let handle = &third[0]["ReceiptHandle"];
    change_visibility(client, &queue, handle, 43_200).await.expect(200);
    clock.advance(1);
    change_visibility(client, &queue, handle, 43_200).await.expect(400);
    change_visibility(client, &queue, handle, 43_201).await.expect(400);
    change_visibility(client, &queue, handle, 1).await.expect(200);
    clock.advance(1);
    let not_in_flight = change_visibility(client, &queue, handle, 5).await.expect(400);
    assert!(not_in_flight.text().contains("MessageNotInflight"));
    // The newest receipt deletes, even past its timeout.
    delete(client, &queue, handle).await.expect(200);
    delete(client, &queue, handle).await.expect(200);
    assert!(client.receive(&queue, json!({})).await.is_empty());
    delete(client, &queue, &json!("no handle")).await.expect(400);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letters_and_back() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let dead = client.queue("dead", json!({"MessageRetentionPeriod": "1000"})).await;
    let (dead_arn, policy) = dead_letters();
    let queue = client.queue("q", json!({"VisibilityTimeout": "10", "RedrivePolicy": policy})).await;
    client.send_message(&queue, "poison").await;
    for _ in 0..2 {
        assert_eq!(client.receive(&queue, json!({})).await.len(), 1);
        clock.advance(10);
    }
    assert!(client.receive(&dead, json!({})).await.is_empty());
    assert!(client.receive(&queue, json!({})).await.is_empty());
    let letters = client.receive(&dead, json!({"VisibilityTimeout": 0})).await;
    assert_eq!(letters[0]["Body"], "poison");
    assert_eq!(letters[0]["Attributes"]["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:000000000000:q");
    let sources = client.sqs("ListDeadLetterSourceQueues", json!({"QueueUrl": dead})).await.expect(200);
    assert_eq!(sources.json()["queueUrls"], json!([queue]));
    client.sqs("StartMessageMoveTask", json!({"SourceArn": dead_arn})).await.expect(200);
    let moved = client.sqs("ListMessageMoveTasks", json!({"SourceArn": dead_arn})).await.expect(200);
    assert_eq!(moved.json()["Results"][0]["ApproximateNumberOfMessagesMoved"], 1);
    let back = client.receive(&queue, json!({})).await;
    assert_eq!(back[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(back[0]["Attributes"].get("DeadLetterQueueSourceArn").is_none());
    running.cloud.shutdown().await;
}

fn dead_letters() -> (String, String) {
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead".to_owned();
    let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": 2}).to_string();
    (arn, policy)
}

#[tokio::test]
async fn retention_counts_from_the_first_enqueue_in_the_dead_letter_queue_too() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let dead = client.queue("dead", json!({"MessageRetentionPeriod": "100"})).await;
    let (_, policy) = dead_letters();
    let queue = client.queue("q", json!({"MessageRetentionPeriod": "60", "RedrivePolicy": policy})).await;
    client.send_message(&queue, "moved").await;
    clock.advance(20);
    for _ in 0..2 {
        assert_eq!(client.receive(&queue, json!({"VisibilityTimeout": 0})).await.len(), 1);
    }
    client.send_message(&queue, "left").await;
    let left = client.receive(&queue, json!({"VisibilityTimeout": 0})).await;
    assert_eq!((left.len(), &left[0]["Body"]), (1, &json!("left")));
    clock.advance(59);
    assert_eq!(client.receive(&queue, json!({"VisibilityTimeout": 0})).await[0]["Body"], "left");
    clock.advance(1);
    assert!(client.receive(&queue, json!({})).await.is_empty(), "60 s have passed since it was sent");
    clock.advance(19);
    assert_eq!(client.receive(&dead, json!({"VisibilityTimeout": 0})).await[0]["Body"], "moved");
    clock.advance(1);
    assert!(client.receive(&dead, json!({})).await.is_empty(), "100 s have passed since it was sent");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn delays_hold_messages_back() {
    let (running, clock) = start_with_clock().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"DelaySeconds": "5"})).await;
    client.send_message(&queue, "by the queue").await;
    let own = json!({"QueueUrl": queue, "MessageBody": "by itself", "DelaySeconds": 0});
    client.sqs("SendMessage", own).await.expect(200);
    let asked = json!({"QueueUrl": queue, "AttributeNames": ["All"]});
    let counts = client.sqs("GetQueueAttributes", asked).await.expect(200).json();
    assert_eq!(counts["Attributes"]["ApproximateNumberOfMessagesDelayed"], "1");
    assert_eq!(client.drain(&queue).await, ["by itself"]);
    clock.advance(5);
    assert_eq!(client.drain(&queue).await, ["by the queue"]);
    running.cloud.shutdown().await;
}

/// The machine is shared, so a wake-up may come late by this much, but never early.
const LATENESS: Duration = Duration::from_millis(900);

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_comes_or_comes_back() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({"VisibilityTimeout": "1"})).await;
    let waiting = tokio::spawn({
        let (client, queue) = (client.clone(), queue.clone());
        async move { (client.receive(&queue, json!({"WaitTimeSeconds": 20})).await, Instant::now()) }
    });
    let sent = Instant::now();
    client.send_message(&queue, "new").await;
    let (messages, woken) = waiting.await.expect("no panic");
    assert_eq!(messages[0]["Body"], "new");
    assert!(woken - sent < LATENESS, "{:?}", woken - sent);

    let again = client.receive(&queue, json!({"WaitTimeSeconds": 20})).await;
    let elapsed = woken.elapsed();
    assert_eq!(again[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert!(elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(1) + LATENESS, "{elapsed:?}");

    // Giving a message back wakes at once, too.
    let waiting = tokio::spawn({
        let (client, queue) = (client.clone(), queue.clone());
        async move { client.receive(&queue, json!({"WaitTimeSeconds": 20})).await }
    });
    let given_back = Instant::now();
    change_visibility(client, &queue, &again[0]["ReceiptHandle"], 0).await.expect(200);
    assert_eq!(waiting.await.expect("no panic").len(), 1);
    assert!(given_back.elapsed() < LATENESS);

    client.sqs("PurgeQueue", json!({"QueueUrl": queue})).await.expect(200);
    let began = Instant::now();
    assert!(client.receive(&queue, json!({"WaitTimeSeconds": 1})).await.is_empty());
    assert!(began.elapsed() >= Duration::from_secs(1));
    running.cloud.shutdown().await;
}

/// The quickest of several wake-ups tells how precise they are; the others may have waited for a processor.
#[tokio::test]
async fn a_long_poll_wakes_to_the_millisecond() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let (mut of_delays, mut of_timeouts, mut of_messages) = (Vec::new(), Vec::new(), Vec::new());
    let second = Duration::from_secs(1);
    for _ in 0..4 {
        let delayed = json!({"QueueUrl": queue, "MessageBody": "x", "DelaySeconds": 1});
        let sent = Instant::now();
        client.sqs("SendMessage", delayed).await.expect(200);
        let answered = Instant::now();
        let wait = json!({"WaitTimeSeconds": 20, "VisibilityTimeout": 1});
        assert_eq!(client.receive(&queue, wait.clone()).await.len(), 1);
        assert!(sent.elapsed() >= second - Duration::from_millis(1), "{:?}", sent.elapsed());
        of_delays.push(answered.elapsed().saturating_sub(second));
        let received = Instant::now();
        let again = client.receive(&queue, wait).await;
        of_timeouts.push(received.elapsed().saturating_sub(second));
        delete(client, &queue, &again[0]["ReceiptHandle"]).await.expect(200);
    }
    for _ in 0..10 {
        let waiting = tokio::spawn({
            let (client, queue) = (client.clone(), queue.clone());
            async move { client.receive(&queue, json!({"WaitTimeSeconds": 20})).await }
        });
        // So that the poll is asleep when the message comes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = Instant::now();
        client.send_message(&queue, "x").await;
        assert_eq!(waiting.await.expect("no panic").len(), 1);
        of_messages.push(sent.elapsed());
    }
    for (what, wake_ups) in [("delays", of_delays), ("timeouts", of_timeouts), ("messages", of_messages)] {
        println!("{what}: {wake_ups:?}");
        let quickest = wake_ups.iter().min().expect("some");
        assert!(*quickest < Duration::from_millis(20), "{what}: {wake_ups:?}");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_that_hung_up_takes_nothing() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    for round in 0..8 {
        let waiting = tokio::spawn({
            // Its own connections, which end with it.
            let (client, queue) = (Client::new(&client.s3, &client.sqs), queue.clone());
            async move { client.receive(&queue, json!({"WaitTimeSeconds": 20})).await }
        });
        // Hangs up before, while and after the request is read.
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        waiting.abort();
        assert!(waiting.await.expect_err("cancelled").is_cancelled());
        // The server learns of it from its socket; other requests go round the same loop meanwhile.
        for _ in 0..3 {
            client.sqs("ListQueues", json!({})).await.expect(200);
        }
        client.send_message(&queue, "for those who are still here").await;
        let received = client.receive(&queue, json!({"WaitTimeSeconds": 2})).await;
        assert_eq!(received.len(), 1, "round {round}");
        assert_eq!(received[0]["Attributes"]["ApproximateReceiveCount"], "1");
        delete(client, &queue, &received[0]["ReceiptHandle"]).await.expect(200);
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn shutting_down_ends_long_polls() {
    let running = start().await;
    let client = running.client.clone();
    let queue = client.queue("q", json!({})).await;
    let waiting = tokio::spawn(async move { client.receive(&queue, json!({"WaitTimeSeconds": 20})).await });
    eventually(|| async { (!waiting.is_finished()).then_some(()) }).await;
    let began = Instant::now();
    running.cloud.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    // Answered empty, or refused because it had not connected yet.
    if let Ok(messages) = waiting.await {
        assert!(messages.is_empty());
    }
}

#[tokio::test]
async fn competing_receivers_each_get_messages_of_their_own() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    for batch in 0..10 {
        let entry = |n: u32| json!({"Id": n.to_string(), "MessageBody": format!("{batch}-{n}")});
        let entries: Vec<Value> = (0..10).map(entry).collect();
        let sent = client.sqs("SendMessageBatch", json!({"QueueUrl": queue, "Entries": entries})).await;
        assert_eq!(sent.expect(200).json()["Successful"].as_array().map(Vec::len), Some(10));
    }
    let mut receivers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (client, queue) = (client.clone(), queue.clone());
        receivers.spawn(async move { client.drain(&queue).await });
    }
    let mut bodies: Vec<String> = receivers.join_all().await.into_iter().flatten().collect();
    bodies.sort();
    assert_eq!(bodies.len(), 100);
    bodies.dedup();
    assert_eq!(bodies.len(), 100);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn batches_fail_whole_or_entry_by_entry() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let entry = |id: &str, body: &str| json!({"Id": id, "MessageBody": body});
    let send =
        |entries: Vec<Value>| client.sqs("SendMessageBatch", json!({"QueueUrl": queue.clone(), "Entries": entries}));
    let big = "x".repeat(600_000);
    for (entries, code) in [
        (Vec::new(), "EmptyBatchRequest"),
        ((0..11).map(|n| entry(&n.to_string(), "x")).collect(), "TooManyEntriesInBatchRequest"),
        (vec![entry("a", "x"), entry("a", "y")], "BatchEntryIdsNotDistinct"),
        (vec![entry("a b", "x")], "InvalidBatchEntryId"),
        (vec![entry("a", &big), entry("b", &big)], "BatchRequestTooLong"),
    ] {
        let answer = send(entries).await.expect(400);
        assert_eq!(answer.json()["__type"], format!("com.amazonaws.sqs#{code}"));
        let older = format!("AWS.SimpleQueueService.{code};Sender");
        assert_eq!(answer.headers["x-amzn-query-error"], older.as_str());
    }
    let late = json!({"Id": "late", "MessageBody": "x", "DelaySeconds": 901});
    let answer = send(vec![entry("good", "x"), entry("bad", "\u{1}"), late]).await.expect(200).json();
    assert_eq!(answer["Successful"][0]["Id"], "good");
    assert_eq!(answer["Failed"][0]["Code"], "InvalidMessageContents");
    assert_eq!(answer["Failed"][1]["Code"], "InvalidParameterValue");
    let handles = client.receive(&queue, json!({})).await;
    let entries = json!([
        {"Id": "1", "ReceiptHandle": handles[0]["ReceiptHandle"]},
        {"Id": "2", "ReceiptHandle": "junk"},
    ]);
    let answer = client.sqs("DeleteMessageBatch", json!({"QueueUrl": queue, "Entries": entries})).await;
    let answer = answer.expect(200).json();
    assert_eq!(answer["Successful"], json!([{"Id": "1"}]));
    assert_eq!(answer["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn what_sqs_refuses_is_refused() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let missing = format!("{}/000000000000/missing", client.sqs);
    for (action, input, code) in [
        ("SendMessage", json!({"QueueUrl": queue, "MessageBody": ""}), "MissingParameter"),
        ("SendMessage", json!({"QueueUrl": queue, "MessageBody": "x".repeat(1_048_577)}), "InvalidParameterValue"),
        ("SendMessage", json!({"QueueUrl": missing, "MessageBody": "x"}), "QueueDoesNotExist"),
        ("ReceiveMessage", json!({"QueueUrl": queue, "MaxNumberOfMessages": 11}), "InvalidParameterValue"),
        ("ReceiveMessage", json!({"QueueUrl": queue, "WaitTimeSeconds": 21}), "InvalidParameterValue"),
        ("GetQueueUrl", json!({"QueueName": "missing"}), "QueueDoesNotExist"),
        ("CreateQueue", json!({"QueueName": "a.fifo"}), "UnsupportedOperation"),
        ("CreateQueue", json!({"QueueName": "q", "Attributes": {"DelaySeconds": "1"}}), "QueueNameExists"),
        ("CreateQueue", json!({"QueueName": "r", "Attributes": {"DelaySeconds": "901"}}), "InvalidAttributeValue"),
        ("CreateQueue", json!({"QueueName": "r", "Attributes": {"Colour": "red"}}), "InvalidAttributeName"),
        ("Dance", json!({}), "UnknownOperationException"),
        ("SendMessage", json!({"MessageBody": "x"}), "SerializationException"),
    ] {
        let answer = client.sqs(action, input).await.expect(400);
        assert_eq!(answer.json()["__type"], format!("com.amazonaws.sqs#{code}"), "{action}");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn unsigned_and_badly_signed_requests_are_refused() {
    let running = start().await;
    let client = &running.client;
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AmazonSQS.ListQueues")];
    let url = format!("{}/", client.sqs);
    let answer = client.send("POST", &url, &headers, b"{}").await.expect(403);
    assert!(answer.text().contains("MissingAuthenticationToken"));
    let mut stranger = client.clone();
    stranger.secret = "guessed".into();
    let answer = stranger.sqs("ListQueues", json!({})).await.expect(403);
    assert!(answer.text().contains("InvalidSignature"));
    let now = machine_time();
    client.sqs_at(now, "eu-west-1", "ListQueues", json!({})).await.expect(403);
    for (minutes, wanted) in [(14, 200), (16, 403)] {
        let skew = Duration::from_secs(minutes * 60);
        client.sqs_at(now - skew, common::REGION, "ListQueues", json!({})).await.expect(wanted);
        client.sqs_at(now + skew, common::REGION, "ListQueues", json!({})).await.expect(wanted);
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn attributes_come_back_with_their_digest() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let input = json!({
        "QueueUrl": queue,
        "MessageBody": "body",
        "MessageGroupId": "tenant-a",
        "MessageAttributes": {
            "number": {"DataType": "Number", "StringValue": "1"},
            "binary": {"DataType": "Binary", "BinaryValue": "AP8="},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    });
    let sent = client.sqs("SendMessage", input.clone()).await.expect(200).json();
    assert_eq!(sent["MD5OfMessageBody"], "841a2d689ad86bd1611447453c22c6fc");
    let received = client.receive(&queue, json!({"MessageAttributeNames": ["num.*"]})).await;
    assert_eq!(received[0]["MessageAttributes"], json!({"number": input["MessageAttributes"]["number"]}));
    assert_eq!(received[0]["Attributes"]["MessageGroupId"], "tenant-a");
    assert_eq!(received[0]["Attributes"]["AWSTraceHeader"], "Root=1");
    client.sqs("SendMessage", input).await.expect(200);
    let received = client.receive(&queue, json!({})).await;
    assert_eq!(received[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    running.cloud.shutdown().await;
}
