//! With the chaos switch on, messages come as SQS may bring them: twice, late, out of order, and the same way again by the
//! same seed.

mod common;

use std::collections::BTreeMap;

use common::{Client, Hands, Running, start_with_clock_and};
use serde_json::{Value, json};

async fn start_in(chaos: &str) -> (Running, Hands) {
    let chaos = chaos.parse().expect("well formed");
    start_with_clock_and(|config| config.chaos = Some(chaos)).await
}

/// Sends messages `0`, `1`, ... to a queue of its own.
async fn send(client: &Client, messages: usize) -> String {
    let queue = client.queue("q", json!({})).await;
    for first in (0..messages).step_by(10) {
        let entry = |n: usize| json!({"Id": n.to_string(), "MessageBody": n.to_string()});
        let entries: Vec<Value> = (first..first + 10).map(entry).collect();
        client.sqs("SendMessageBatch", json!({"QueueUrl": queue, "Entries": entries})).await.expect(200);
    }
    queue
}

/// Receives all that is visible, and leaves it in flight.
async fn receive_all(client: &Client, queue: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let messages = client.receive(queue, json!({"VisibilityTimeout": 43_200})).await;
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

fn bodies(messages: &[Value]) -> Vec<usize> {
    let body = |message: &Value| message["Body"].as_str().and_then(|body| body.parse().ok()).expect("a number");
    messages.iter().map(body).collect()
}

async fn delete(client: &Client, queue: &str, message: &Value) {
    let input = json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]});
    client.sqs("DeleteMessage", input).await.expect(200);
}

#[tokio::test]
async fn a_duplicate_is_the_same_message_with_receipts_of_its_own() {
    let (running, clock) = start_in("duplicate=1").await;
    let client = &running.client;
    let queue = send(client, 10).await;
    let mut by_id: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in receive_all(client, &queue).await {
        by_id.entry(message["MessageId"].to_string()).or_default().push(message);
    }
    assert_eq!(by_id.len(), 10);
    for copies in by_id.values() {
        let [one, other] = copies.as_slice() else { panic!("not two: {copies:?}") };
        assert_eq!((&one["Body"], &one["MD5OfBody"]), (&other["Body"], &other["MD5OfBody"]));
        assert_eq!(one["Attributes"], other["Attributes"], "sent once, and each copy received once");
        assert_ne!(one["ReceiptHandle"], other["ReceiptHandle"]);
        delete(client, &queue, one).await;
    }
    clock.advance(43_200);
    let left = receive_all(client, &queue).await;
    assert_eq!(left.len(), 10, "deleting one copy leaves the other");
    for message in &left {
        assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "2");
        delete(client, &queue, message).await;
    }
    clock.advance(43_200);
    assert!(receive_all(client, &queue).await.is_empty());
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn events_are_messages_like_others() {
    let (running, clock) = start_in("duplicate=1,delay=1,delay_max=60").await;
    let client = &running.client;
    let queue = running.cloud.queue_url(&running.stack.queue);
    client.s3("PUT", "/millpond-inbox/uploads/j/x", &[], b"1").await.expect(200);
    assert!(receive_all(client, &queue).await.is_empty());
    clock.advance(60);
    let copies = receive_all(client, &queue).await;
    assert_eq!((copies.len(), &copies[0]["Body"]), (2, &copies[1]["Body"]));
    running.cloud.shutdown().await;
}

/// When each copy of each message becomes visible, in seconds after it was sent.
async fn arrivals(chaos: &str) -> Vec<(i64, usize)> {
    let (running, clock) = start_in(chaos).await;
    let queue = send(&running.client, 200).await;
    let mut arrivals = Vec::new();
    for second in 0..=10 {
        let messages = receive_all(&running.client, &queue).await;
        arrivals.extend(bodies(&messages).into_iter().map(|body| (second, body)));
        clock.advance(1);
    }
    running.cloud.shutdown().await;
    arrivals
}

#[tokio::test]
async fn some_come_late_and_by_the_same_seed_the_same_ones() {
    let first = arrivals("seed=1,delay=0.5,delay_max=10,duplicate=0.2").await;
    let at_once = first.iter().filter(|(second, _)| *second == 0).count();
    assert!((90..150).contains(&at_once), "{at_once} of some 240 come at once");
    for second in 1..=10 {
        assert!(first.iter().any(|(when, _)| *when == second), "nothing comes after {second} s");
    }
    let mut each: Vec<usize> = first.iter().map(|(_, body)| *body).collect();
    assert!((220..260).contains(&each.len()), "{} came of 200 with one in five twice", each.len());
    each.sort_unstable();
    each.dedup();
    assert_eq!(each, (0..200).collect::<Vec<_>>(), "none is lost");
    assert_eq!(arrivals("seed=1,delay=0.5,delay_max=10,duplicate=0.2").await, first);
    assert_ne!(arrivals("seed=2,delay=0.5,delay_max=10,duplicate=0.2").await, first);
}

async fn order(chaos: &str) -> Vec<usize> {
    let (running, _clock) = start_in(chaos).await;
    let queue = send(&running.client, 100).await;
    let order = bodies(&receive_all(&running.client, &queue).await);
    running.cloud.shutdown().await;
    order
}

#[tokio::test]
async fn some_come_out_of_order_and_by_the_same_seed_in_the_same_one() {
    let in_order: Vec<usize> = (0..100).collect();
    assert_eq!(order("seed=1,duplicate=0").await, in_order);
    let first = order("seed=1,reorder=0.3").await;
    let from_the_front = (0..100).filter(|n| first[*n..].iter().all(|later| *later >= first[*n])).count();
    assert!((55..85).contains(&from_the_front), "{from_the_front} of 100 come from the front: {first:?}");
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, in_order, "each comes once");
    assert_eq!(order("seed=1,reorder=0.3").await, first);
    assert_ne!(order("seed=2,reorder=0.3").await, first);
}

#[tokio::test]
async fn moves_to_the_dead_letters_and_back_are_neither_doubled_nor_late() {
    let (running, clock) = start_in("duplicate=1,delay=1,delay_max=60,reorder=1").await;
    let client = &running.client;
    let dead = client.queue("dead", json!({})).await;
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead";
    let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": 1}).to_string();
    let queue = client.queue("q", json!({"RedrivePolicy": policy})).await;
    client.send_message(&queue, "0").await;
    clock.advance(60);
    let now = json!({"VisibilityTimeout": 0});
    assert_eq!(client.receive(&queue, now.clone()).await.len(), 2, "the message and its copy");
    assert!(client.receive(&queue, now.clone()).await.is_empty());
    assert_eq!(client.receive(&dead, now.clone()).await.len(), 2, "as many as there were");
    client.sqs("StartMessageMoveTask", json!({"SourceArn": arn})).await.expect(200);
    assert_eq!(client.receive(&queue, now.clone()).await.len(), 2);
    assert!(client.receive(&dead, now).await.is_empty());
    running.cloud.shutdown().await;
}
