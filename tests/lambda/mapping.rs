//! A stand-in for Lambda's event source mapping: it receives messages, invokes functions with batches of them, and deletes what
//! their answers do not name. <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloud::Queue;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::events::{Message, Samples};
use crate::installed::PATIENCE;
use crate::template::{number, text};
use crate::world::{Setting, World, poison, wine};

/// What messages come from and go to.
pub struct Mapping<'a> {
    samples: &'a Samples,
    queue: Arc<dyn Queue>,
    /// Its name in the template.
    name: String,
    batch_size: usize,
    window: Duration,
    /// Each takes one batch at a time.
    functions: &'a [Emulator],
    stop: AtomicBool,
}

/// SQS's largest receive.
const MAX_RECEIVE: usize = 10;
/// Between two looks at whether to go on.
const POLL: Duration = Duration::from_millis(200);

impl<'a> Mapping<'a> {
    /// As the template has it for this function, `event` being its name there.
    pub async fn new(world: &'a World, function: &str, event: &str, functions: &'a [Emulator]) -> Self {
        let properties = &world.template.function(function)["Events"][event]["Properties"];
        let arn = text(&properties["Queue"]);
        let name = arn.rsplit('-').next().expect("a name").to_owned();
        assert_eq!(properties["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        let window = properties.get("MaximumBatchingWindowInSeconds").map_or(0, number);
        Self {
            samples: &world.setting.samples,
            queue: world.queue_of(function, &name).await,
            name,
            batch_size: number(&properties["BatchSize"]).try_into().expect("a size"),
            window: Duration::from_secs(window),
            functions,
            stop: AtomicBool::new(false),
        }
    }

    /// Works until it is stopped.
    pub async fn run(&self) {
        join_all(self.functions.iter().map(async |function| {
            while !self.stop.load(Ordering::Relaxed) {
                self.round(function).await;
            }
        }))
        .await;
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// One batch, if there is any message.
    pub async fn round(&self, function: &Emulator) {
        let mut batch = Vec::new();
        let mut deadline = Instant::now() + POLL;
        while batch.len() < self.batch_size {
            let max = (self.batch_size - batch.len()).min(MAX_RECEIVE);
            let received = self.queue.receive(max, Duration::ZERO, None).await.expect("a receive");
            if batch.is_empty() && !received.is_empty() {
                deadline = Instant::now() + self.window;
            }
            let came = !received.is_empty();
            batch.extend(received);
            if Instant::now() >= deadline {
                break;
            }
            if !came {
                tokio::time::sleep(POLL / 4).await;
            }
        }
        if batch.is_empty() {
            return;
        }
        let messages: Vec<_> = batch
            .iter()
            .map(|message| Message {
                id: message.id.0.clone(),
                receipt: message.receipt.0.clone(),
                body: message.body.clone(),
                receive_count: message.receive_count,
            })
            .collect();
        let answer = function.invoke(&self.samples.batch(&self.name, &messages)).await;
        // One that ended without an answer leaves the whole batch to the visibility timeout.
        let Some(failed) = failures(&answer) else { return };
        let known = failed.iter().all(|id| messages.iter().any(|message| message.id == *id));
        assert!(known, "this stands for the whole batch: {answer}");
        for message in batch.iter().filter(|message| !failed.contains(&message.id.0)) {
            self.queue.delete(&message.receipt).await.expect("a delete");
        }
    }
}

/// What an answer names; none if it is no answer of a function that reports failures.
pub fn failures(answer: &Value) -> Option<BTreeSet<String>> {
    let failures = answer["batchItemFailures"].as_array()?.iter();
    Some(failures.map(|failure| failure["itemIdentifier"].as_str().expect("an id").to_owned()).collect())
}

/// Three dozen files of two models and some that no model survives, through two workers of which one is killed on the way.
pub async fn case(setting: Setting) {
    let world = World::start_with(&setting, &[], Duration::ZERO, |stack| {
        // What a killed worker held comes back while one waits.
        stack.visibility_timeout = Duration::from_secs(15);
        stack.max_receive_count = 3;
    })
    .await;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let wines = wine().as_array().expect("rows").clone();
    for n in 0..16 {
        let row = json!([wines[n % wines.len()]]).to_string();
        good.push(world.drop_file("wine-quality", &format!("{n} of 16.json"), row).await);
        let point = json!({"data1": f64::from(n as u32) / 16.0, "data2": -0.2}).to_string();
        good.push(world.drop_file("moons", &format!("{n}+.json"), point).await);
    }
    for n in 0..2 {
        bad.push((world.drop_file("panic", &format!("{n}.json"), poison().to_string()).await, "failed: model_failed"));
        bad.push((world.drop_file("moons", &format!("broken {n}.json"), "{").await, "failed: malformed_json"));
    }
    world.jobs.send("nonsense", None, Duration::ZERO).await.expect("a message");

    let workers = [world.function("Worker").await, world.function("Worker").await];
    let handlers = [world.function("DeadLetters").await];
    let jobs = Mapping::new(&world, "Worker", "Jobs", &workers).await;
    let dead = Mapping::new(&world, "DeadLetters", "Messages", &handlers).await;
    let ended = async || {
        let ends =
            join_all(good.iter().chain(bad.iter().map(|(file, _)| file)).map(|file| world.end_of(file.job))).await;
        ends.iter().filter(|end| *end != "open").count()
    };
    let watch = async {
        world.until("a worker is busy", async || ended().await >= 4 && workers[0].is_busy()).await;
        workers[0].signal_function("KILL");
        world.until("all jobs have ended", async || ended().await == good.len() + bad.len()).await;
        let dead_letters = async || !world.outbox.list("dead/", None, 10).await.expect("a list").objects.is_empty();
        world.until("the message that names no job is given up", dead_letters).await;
        jobs.stop();
        dead.stop();
    };
    let all = async { tokio::join!(jobs.run(), dead.run(), watch) };
    tokio::time::timeout(PATIENCE, all).await.expect("it ends in time");

    let log = workers[0].log();
    assert!(log.contains("exited: signal: killed"), "{log}");
    for file in &good {
        assert_eq!(world.end_of(file.job).await, "succeeded", "{}", file.event);
    }
    for (file, code) in &bad {
        assert_eq!(world.end_of(file.job).await, *code, "{}", file.event);
    }
    let given_up = world.outbox.list("dead/", None, 10).await.expect("a list").objects;
    assert_eq!(given_up.len(), 1, "{given_up:?}");
    assert_eq!(world.document(&given_up[0].key).await["body"], "nonsense");
    world.end();
}
