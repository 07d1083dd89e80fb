//! The dead-letter handler: messages that were given up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::Message;
use crate::mapping::failures;
use crate::worker::many_wines;
use crate::world::{Setting, World, wine};

pub async fn case(setting: Setting) {
    let world = World::start(&setting, &[]).await;
    let (worker, handler) = (world.function("Worker").await, world.function("DeadLetters").await);
    let samples = &world.setting.samples;
    let batch = |queue: &str, bodies: &[&Value]| {
        let messages = bodies.iter().enumerate().map(|(at, body)| {
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            Message::new(&format!("message-{at}"), body)
        });
        samples.batch(queue, &messages.collect::<Vec<_>>())
    };
    let settled = Some([].into());

    // Answered, but its worker died before it wrote the mirror.
    let large = world.drop_file("wine-quality", "large.json", many_wines(5000)).await;
    let first = world.drop_file("wine-quality", "twice.json", wine().to_string()).await;
    let answer = worker.invoke(&batch("JobQueue", &[&large.event, &first.event])).await;
    assert_eq!(failures(&answer), settled, "{answer}");
    let mirror = "mirror/wine-quality/large.json.result.json";
    world.outbox.delete(mirror).await.expect("a delete");
    // A second version, which kills its workers.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = world.drop_file("wine-quality", "twice.json", "[]").await;
    let nonsense = json!("nonsense");
    let gone = world.drop_file("wine-quality", "gone.json", "[]").await;
    world.inbox.delete("drop/wine-quality/gone.json").await.expect("a delete");
    let bodies = [&large.event, &second.event, &nonsense, &gone.event];
    let answer = handler.invoke(&batch("DeadLetterQueue", &bodies)).await;
    assert_eq!(failures(&answer), settled, "{answer}");

    let rows = world.document(mirror).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(5000));
    assert_eq!(world.end_of(second.job).await, "failed: worker_lost");
    assert_eq!(world.document("mirror/wine-quality/twice.json.error.json").await["code"], "worker_lost");
    assert_eq!(world.document("mirror/wine-quality/twice.json.result.json").await, Value::Null);
    assert_eq!(world.document("dead/message-0.json").await, Value::Null, "nothing was left to say");
    assert_eq!(world.document("dead/message-1.json").await["job"], json!(second.job));
    assert_eq!(world.document("dead/message-2.json").await["body"], "nonsense");
    // What the alarm counts.
    let log = handler.log();
    assert_eq!(log.matches("message given up").count(), 2, "{log}");
    world.end();
}
