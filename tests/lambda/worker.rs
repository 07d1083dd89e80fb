//! The worker function: batches of messages, and what becomes of their jobs.

use std::slice;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::events::Message;
use crate::mapping::failures;
use crate::world::{Dropped, Setting, World, poison, slow, wine};

/// Invokes a worker with these bodies; the ids of those that must come back, which are their places.
async fn invoke(world: &World, worker: &Emulator, bodies: &[Value]) -> Vec<usize> {
    let messages: Vec<_> =
        bodies.iter().enumerate().map(|(at, body)| Message::new(&at.to_string(), text(body))).collect();
    let answer = worker.invoke(&world.setting.samples.batch("JobQueue", &messages)).await;
    let failed = failures(&answer).unwrap_or_else(|| panic!("no answer: {answer}\n{}", worker.log()));
    failed.iter().map(|id| id.parse().expect("a place")).collect()
}

/// A body as it lies on the queue; a text is no JSON there.
fn text(body: &Value) -> String {
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

/// One file from end to end, one that replaces it, and one with a large answer.
pub async fn one_job(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let worker = world.function("Worker").await;
    let path = "a b+c/한글.json";
    let broken = world.drop_file("wine-quality", path, "{").await;
    assert_eq!(invoke(&world, &worker, &[broken.event]).await, [0; 0]);
    let error = format!("mirror/wine-quality/{path}.error.json");
    assert_eq!(world.document(&error).await["code"], "malformed_json");

    // S3's times are whole seconds, and the mirror goes by them.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let good = world.drop_file("wine-quality", path, wine().to_string()).await;
    assert_eq!(invoke(&world, &worker, &[good.event]).await, [0; 0]);
    let expected = crate::installed::root().join("samples/wine-quality/expected.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(expected).expect("the answer")).expect("JSON");
    assert_eq!(world.document(&format!("mirror/wine-quality/{path}.result.json")).await, expected);
    assert_eq!(world.document(&error).await, Value::Null, "the first version's error is gone");

    let large = world.drop_file("wine-quality", "large.json", many_wines(5000)).await;
    assert_eq!(invoke(&world, &worker, &[large.event]).await, [0; 0]);
    let mirror = world.document("mirror/wine-quality/large.json.result.json").await;
    assert_eq!(mirror.as_array().map(Vec::len), Some(5000));
    world.end();
}

/// So many rows that their answer is no longer inline.
pub fn many_wines(rows: usize) -> String {
    let wines = wine();
    let wines = wines.as_array().expect("rows");
    json!((0..rows).map(|row| wines[row % wines.len()].clone()).collect::<Vec<_>>()).to_string()
}

/// Malformed, foreign, poisonous and good ones in one batch: exactly those that name no job come back.
pub async fn batch_with_failures(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let worker = world.function("Worker").await;
    let good = world.drop_file("wine-quality", "good.json", wine().to_string()).await;
    let panics = world.drop_file("panic", "x.json", poison().to_string()).await;
    let unknown = world.drop_file("no-such-model", "x.json", "{}").await;
    let other = world.drop_file("moons", "x.json", json!({"data1": 0.5, "data2": -0.2}).to_string()).await;
    let foreign = world.setting.samples.s3_put(world.inbox.bucket(), "elsewhere/x.json", "e", 1);
    let elsewhere = world.setting.samples.s3_put("another-bucket", "drop/moons/x.json", "e", 1);
    let gone = world.drop_file("moons", "gone.json", "{}").await;
    world.inbox.delete("drop/moons/gone.json").await.expect("a delete");
    let bodies = [
        good.event.clone(),
        json!("nonsense"),
        panics.event.clone(),
        foreign,
        unknown.event.clone(),
        elsewhere,
        other.event.clone(),
        gone.event,
    ];
    let failed = invoke(&world, &worker, &bodies).await;
    let mut ends = Vec::new();
    for file in [&good, &panics, &unknown, &other] {
        ends.push(world.end_of(file.job).await);
    }
    assert_eq!(ends, ["succeeded", "failed: model_failed", "failed: unknown_model", "succeeded"]);
    assert_eq!(failed, [1, 3, 5]);
    let log = worker.log();
    assert!(log.contains("the engine panicked"), "{log}");

    // A panic ends nothing but its job.
    let next = world.drop_file("wine-quality", "next.json", wine().to_string()).await;
    assert_eq!(invoke(&world, &worker, &[next.event]).await, [0; 0]);
    assert_eq!(world.end_of(next.job).await, "succeeded");
    assert_eq!(worker.log().matches("INIT START").count(), 1, "{}", worker.log());
    world.end();
}

/// S3's test message, and events that come by SNS and by EventBridge.
pub async fn envelopes(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let worker = world.function("Worker").await;
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": world.inbox.bucket(), "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e"});
    let (sns, bridge) = (
        world.drop_file("wine-quality", "by sns.json", wine().to_string()).await,
        world.drop_file("wine-quality", "by eventbridge.json", wine().to_string()).await,
    );
    // https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    let by_sns = json!({"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:inbox", "Subject": "Amazon S3 Notification",
        "Message": sns.event.to_string(), "Timestamp": "2012-05-02T00:54:06.655Z", "SignatureVersion": "1"});
    let object = &bridge.event["Records"][0]["s3"]["object"];
    // Its keys are not encoded. https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    let by_bridge = json!({"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
        "source": "aws.s3", "account": "000000000000", "time": "2021-11-12T00:00:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:s3:::{}", world.inbox.bucket())],
        "detail": {"version": "0", "bucket": {"name": world.inbox.bucket()}, "reason": "PutObject",
            "object": {"key": "drop/wine-quality/by eventbridge.json", "size": object["size"], "etag": object["eTag"],
                "sequencer": "617f08299329d189"}}});
    assert_eq!(invoke(&world, &worker, &[test, by_sns, by_bridge]).await, [0; 0]);
    for file in [sns, bridge] {
        assert_eq!(world.end_of(file.job).await, "succeeded", "{}", file.event);
    }
    world.end();
}

/// A model that does not stop: its job fails before the function's timeout, and the next invocation has a process of its own.
pub async fn timeout(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let timeout = Duration::from_secs(14);
    let worker = world.function_within("Worker", timeout).await;
    let end = async |file: Dropped| {
        // On a busy machine it may come too late in its invocation to be begun; then it comes in another.
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(invoke(&world, &worker, slice::from_ref(&file.event)).await, [0; 0]);
            assert!(began.elapsed() < timeout, "{:?}", began.elapsed());
            let end = world.end_of(file.job).await;
            if end != "open" {
                return end;
            }
        }
        panic!("it is never begun\n{}", worker.log());
    };
    assert_eq!(end(world.drop_file("slow", "x.json", slow().to_string()).await).await, "failed: timed_out");
    assert_eq!(end(world.drop_file("wine-quality", "x.json", wine().to_string()).await).await, "succeeded");
    let log = worker.log();
    assert!(log.contains("the process ends, and Lambda starts another"), "{log}");
    world.end();
}

/// A process that hangs as a whole, its own clock included: Lambda kills it at the function's timeout, and the message comes again, to a
/// process of its own.
pub async fn killed_at_the_timeout(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let worker = world.function_within("Worker", Duration::from_secs(16)).await;
    let first = world.drop_file("wine-quality", "first.json", wine().to_string()).await;
    assert_eq!(invoke(&world, &worker, &[first.event]).await, [0; 0]);
    worker.signal_function("STOP");
    let file = world.drop_file("wine-quality", "x.json", wine().to_string()).await;
    let message = Message::new("0", file.event.to_string());
    let answer = worker.invoke(&world.setting.samples.batch("JobQueue", &[message])).await;
    assert_eq!(failures(&answer), None, "{answer}");
    assert!(answer.to_string().contains("Task timed out after 16.00 seconds"), "{answer}");
    assert_eq!(world.end_of(file.job).await, "open");
    // On a busy machine, a new process may come to it too late in its invocation.
    let begun = async || {
        assert_eq!(invoke(&world, &worker, slice::from_ref(&file.event)).await, [0; 0]);
        world.end_of(file.job).await == "succeeded"
    };
    world.until("the job is done", begun).await;
    world.end();
}

/// A job for which the invocation has no time left gets a message of its own.
pub async fn no_time_left(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let worker = world.function_within("Worker", Duration::from_secs(10)).await;
    let file = world.drop_file("wine-quality", "x.json", wine().to_string()).await;
    let event = world.jobs.receive(10, Duration::ZERO, None).await.expect("a receive");
    assert_eq!(event.len(), 1, "the file's own event");
    // A machine so busy that the answer is late is not what this is about.
    let acknowledged = async || invoke(&world, &worker, slice::from_ref(&file.event)).await.is_empty();
    world.until("it is acknowledged", acknowledged).await;
    assert_eq!(world.end_of(file.job).await, "open");
    let messages = world.jobs.receive(10, Duration::ZERO, None).await.expect("a receive");
    assert!(messages.iter().any(|message| message.body.contains(&file.job.to_string())), "{messages:?}");
    world.end();
}
