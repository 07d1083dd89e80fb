//! `kill -9` of the local cloud, the API and the workers, over and over, while jobs of many kinds are submitted: every job ends
//! once, with its answer, and soon after the last restart (J1, J2, J3).
//!
//! `KILLS_JOBS=5000 KILLS=100 cargo test -p millpond --test kills -- --nocapture` is the long run.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud::{GetOptions, ObjectStore, StoreError};
use cloud_aws::AwsObjectStore;
use futures::{StreamExt, stream};
use job::JobId;
use serde_json::{Value, json};
use support::root;

/// How many clients there are. Each waits for its job before it submits another, as a client does: what would be under test
/// else is how fast a backlog goes.
const CLIENTS: usize = 48;
/// `up`'s visibility timeout: when the messages of a killed worker come back.
const VISIBILITY: Duration = Duration::from_secs(30);
/// For any job: one that a kill hits over and over waits for as many visibility timeouts.
const LONGEST: Duration = Duration::from_secs(300);
/// For a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(60);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// A process of ours that is started again when it was killed.
struct Part {
    args: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Part {
    fn start(folder: &Path, name: &str, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let log = folder.join(name);
        let child = spawn(&args, &log);
        Self { args, log, child }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    fn restart(&mut self) {
        self.child = spawn(&self.args, &self.log);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(args: &[String], log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    command.spawn().expect("millpond starts")
}

/// The whole service as four processes on addresses that stay.
struct Service {
    parts: Mutex<Vec<Part>>,
    api: String,
    http: reqwest::Client,
    inbox: AwsObjectStore,
    outbox: AwsObjectStore,
}

impl Service {
    async fn start(folder: &Path) -> Self {
        let address = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").to_string()
        };
        let (unused, api, s3, sqs) = (address(), address(), address(), address());
        let data = folder.join("data");
        let (data, models) = (data.to_str().expect("a path"), root().join("models"));
        let models = models.to_str().expect("a path");
        let endpoints = format!("{data}/endpoints.json");
        let cloud = ["up", "--workers", "0", "--data", data, "--models", models];
        let listen = ["--listen", &unused, "--s3-listen", &s3, "--sqs-listen", &sqs];
        let mut parts = vec![Part::start(folder, "cloud.log", &[&cloud[..], &listen[..]].concat())];
        while !Path::new(&endpoints).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let place = ["--endpoints", &endpoints, "--models", models];
        parts.push(Part::start(folder, "api.log", &[&["api", "--listen", &api][..], &place[..]].concat()));
        for name in ["worker-1.log", "worker-2.log"] {
            parts.push(Part::start(folder, name, &[&["worker", "--workers", "2"][..], &place[..]].concat()));
        }
        let at: Value = serde_json::from_slice(&std::fs::read(&endpoints).expect("endpoints")).expect("JSON");
        let text = |name: &str| at[name].as_str().expect("a text").to_owned();
        let aws = support::aws(&at).await;
        Self {
            parts: Mutex::new(parts),
            api: format!("http://{api}"),
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client"),
            inbox: aws.bucket(text("inbox")),
            outbox: aws.bucket(text("outbox")),
        }
    }

    /// Kills one part or another at random moments, and starts it again, all the while that jobs are submitted. How often
    /// each was, and when the last one started again.
    async fn kill(&self, kills: usize, submitted: &AtomicUsize, jobs: usize) -> ([usize; 4], Instant) {
        let (mut dice, mut killed) = (Dice(7), [0; 4]);
        for kill in 0..kills {
            while submitted.load(Ordering::Relaxed) * kills < jobs * kill {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(dice.roll(1000))).await;
            let which = dice.roll(4) as usize;
            self.parts.lock().unwrap()[which].kill();
            killed[which] += 1;
            tokio::time::sleep(Duration::from_millis(dice.roll(300))).await;
            self.parts.lock().unwrap()[which].restart();
        }
        (killed, Instant::now())
    }

    /// What the API answers at last, however often it is asked in vain.
    async fn ask(&self, request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder) -> (u16, Value) {
        loop {
            if let Ok(response) = request(&self.http).send().await {
                let status = response.status().as_u16();
                if let (true, Ok(body)) = (status < 500 && status != 429, response.json().await) {
                    return (status, body);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn submit(&self, number: usize, body: Value) -> Value {
        let url = format!("{}/jobs", self.api);
        // The key is what makes it right to ask again.
        let request = |http: &reqwest::Client| http.post(&url).header("idempotency-key", number).json(&body);
        let (status, job) = self.ask(request).await;
        assert!([200, 201, 202].contains(&status), "{status} {job}");
        job
    }

    async fn put(&self, job: &Value, body: &[u8]) {
        let upload = &job["upload"];
        loop {
            let mut request = self.http.put(upload["url"].as_str().expect("a URL")).body(body.to_vec());
            for (name, value) in upload["headers"].as_object().expect("headers") {
                request = request.header(name, value.as_str().expect("a text"));
            }
            match request.send().await.map(|response| response.status().as_u16()) {
                // 412: it was there after all.
                Ok(200 | 412) => return,
                Ok(status) if status < 500 => panic!("an upload is answered {status}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn upload(&self, number: usize, model: &str, content_type: &str, body: &[u8]) -> String {
        let upload = json!({"filename": "input", "content_type": content_type, "size_bytes": body.len()});
        let job = self.submit(number, json!({"model": model, "upload": upload})).await;
        // A repeated request may find the job after its upload, which then was done by an earlier try of this very client.
        if job["upload"].is_object() {
            self.put(&job, body).await;
        }
        id(&job)
    }

    async fn drop_file(&self, number: usize, body: Vec<u8>) -> String {
        let key = format!("drop/wine-quality/{number}.json");
        let written = async || match self.inbox.put(&key, body.clone().into(), cloud::PutOptions::json_once()).await {
            Ok(_) | Err(StoreError::PreconditionFailed) => self.inbox.head(&key).await.ok(),
            Err(_) => None,
        };
        loop {
            if let Some(meta) = written().await {
                return JobId::for_dropped_file(self.inbox.bucket(), &key, &meta.etag, meta.last_modified).to_string();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The job once it has ended.
    async fn ended(&self, id: &str) -> Value {
        let asked = Instant::now();
        while asked.elapsed() < LONGEST {
            let url = format!("{}/jobs/{id}?wait=5", self.api);
            let (status, job) = self.ask(|http| http.get(&url)).await;
            assert!(status == 200 || status == 404, "{status} {job}");
            if ["succeeded", "failed", "cancelled", "expired"].iter().any(|state| job["state"] == *state) {
                return job;
            }
            if status == 404 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        panic!("job {id} does not end")
    }

    /// Those of the jobs that have no outcome, as a listing shows it.
    async fn pending<'a>(&self, all: &'a [(String, Expected)]) -> Vec<&'a str> {
        let (mut ended, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let listing = self.outbox.list(job::layout::JOBS, after.as_deref(), 1000).await.expect("a listing");
            let ids = listing.objects.iter().filter_map(|object| object.key.strip_suffix("/outcome.json"));
            ended.extend(ids.map(|folder| folder[job::layout::JOBS.len()..].to_owned()));
            after = listing.objects.last().map(|object| object.key.clone());
            if !listing.more {
                return all.iter().map(|(id, _)| id.as_str()).filter(|id| !ended.contains(*id)).collect();
            }
        }
    }

    /// The commit record, as it lies in the bucket.
    async fn outcome(&self, id: &str) -> Vec<u8> {
        let key = job::layout::outcome_key(id.parse().expect("an id"));
        self.outbox.get(&key, GetOptions::default()).await.expect("an outcome").body.to_vec()
    }
}

fn id(job: &Value) -> String {
    support::id(job).to_owned()
}

/// A linear congruential generator: the same kills in each run, as far as the machine is the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What may come of a job.
#[derive(Debug, Clone)]
enum Expected {
    Value(Value),
    /// A picture, which is no JSON: the one that came before anything was killed.
    Drawing,
    Code(&'static str),
    /// Whichever came first.
    CancelledOr(Value),
}

/// What clients send, read once.
struct Samples {
    wines: Vec<Value>,
    qualities: Vec<Value>,
    photo: Vec<u8>,
}

fn sample(path: &str) -> Vec<u8> {
    std::fs::read(root().join("samples").join(path)).expect("a sample")
}

fn json_sample(path: &str) -> Value {
    serde_json::from_slice(&sample(path)).expect("JSON")
}

impl Samples {
    fn read() -> Self {
        let list = |path| json_sample(path).as_array().expect("a list").clone();
        Self {
            wines: list("wine-quality/wines.json"),
            qualities: list("wine-quality/expected.json"),
            photo: sample("line-art/grace-hopper.jpg"),
        }
    }

    /// Some wines, others for each job, and what they are worth.
    fn wines(&self, number: usize) -> (Value, Value) {
        let rows = (0..1 + number % 7).map(|row| (number + row * row) % self.wines.len());
        let pick = |from: &[Value]| Value::Array(rows.clone().map(|row| from[row].clone()).collect());
        (pick(&self.wines), pick(&self.qualities))
    }
}

/// Submits the `number`th job; its id, and what is to come of it.
async fn submit(service: &Service, samples: &Samples, number: usize) -> (String, Expected) {
    let (wines, qualities) = samples.wines(number);
    let inline =
        async |model: &str, input: Value| id(&service.submit(number, json!({"model": model, "input": input})).await);
    if number % 250 == 17 {
        let id = service.upload(number, "line-art", "image/jpeg", &samples.photo).await;
        return (id, Expected::Drawing);
    }
    match number % 8 {
        0 | 1 => (inline("wine-quality", wines).await, Expected::Value(qualities)),
        2 => {
            let body = wines.to_string().into_bytes();
            (service.upload(number, "wine-quality", "application/json", &body).await, Expected::Value(qualities))
        }
        3 => (service.drop_file(number, wines.to_string().into_bytes()).await, Expected::Value(qualities)),
        4 => {
            let (input, answer) = (json_sample("moons/point.json"), json_sample("moons/expected.json"));
            (inline("moons", input).await, Expected::Value(answer))
        }
        5 => {
            let (input, answer) = (json_sample("reviews/fast.json"), json_sample("reviews/expected_fast.json"));
            (inline("reviews", input).await, Expected::Value(answer))
        }
        6 if number % 16 == 6 => {
            let (input, answer) = (json_sample("names/russian.json"), json_sample("names/expected.json"));
            (inline("names", input).await, Expected::Value(answer))
        }
        6 => {
            let body = b"[{\"alcohol\": \"much\"}]";
            (service.upload(number, "wine-quality", "application/json", body).await, Expected::Code("invalid_input"))
        }
        _ => {
            let id = inline("wine-quality", wines).await;
            let url = format!("{}/jobs/{id}", service.api);
            let (status, body) = service.ask(|http| http.delete(&url)).await;
            assert!([200, 409].contains(&status), "{status} {body}");
            (id, Expected::CancelledOr(qualities))
        }
    }
}

fn check(job: &Value, expected: &Expected, drawing: &Value) {
    let (state, value) = (job["state"].as_str().expect("a state"), &job["result"]["value"]);
    let as_expected = match expected {
        Expected::Value(answer) => state == "succeeded" && value == answer,
        Expected::Drawing => state == "succeeded" && job["result"]["sha256"] == *drawing,
        Expected::Code(code) => state == "failed" && job["error"]["code"] == *code,
        Expected::CancelledOr(answer) => state == "cancelled" || (state == "succeeded" && value == answer),
    };
    assert!(as_expected, "expected {expected:?} of {job}");
}

/// J1, J2 and J3 under `kill -9` of everything.
#[tokio::test(flavor = "multi_thread")]
async fn j1_j2_j3_under_kills() {
    let (jobs, kills) = (number("KILLS_JOBS", 240), number("KILLS", 16));
    let folder = tempfile::tempdir().expect("a folder");
    let (service, samples) = (Service::start(folder.path()).await, Samples::read());
    let photo = service.upload(jobs, "line-art", "image/jpeg", &samples.photo).await;
    let drawing = service.ended(&photo).await["result"]["sha256"].take();
    assert!(drawing.is_string());

    let (began, submitted) = (Instant::now(), AtomicUsize::new(0));
    let submit_all = stream::iter(0..jobs)
        .map(async |number| {
            let (id, expected) = submit(&service, &samples, number).await;
            submitted.fetch_add(1, Ordering::Relaxed);
            check(&service.ended(&id).await, &expected, &drawing);
            (id, expected)
        })
        .buffer_unordered(CLIENTS)
        .collect::<Vec<_>>();
    let (all, (killed, restarted)) = tokio::join!(submit_all, service.kill(kills, &submitted, jobs));
    let took = restarted.elapsed();
    assert!(took < VISIBILITY + SLACK, "the last ended {took:?} after the last restart");
    assert_eq!(service.pending(&all).await, [] as [&str; 0]);
    eprintln!(
        "{jobs} jobs, killed {killed:?} times (cloud, API, two workers) in {:.0} s; all had ended {:.1} s after the last restart",
        (restarted - began).as_secs_f64(),
        took.as_secs_f64(),
    );
    let mut outcomes = Vec::new();
    for (id, expected) in &all {
        check(&service.ended(id).await, expected, &drawing);
        outcomes.push(service.outcome(id).await);
    }

    // What is delivered again by then changes nothing.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for ((id, _), before) in all.iter().zip(&outcomes) {
        assert_eq!(service.outcome(id).await, *before, "an outcome is written once");
    }
    let logs = ["cloud.log", "api.log", "worker-1.log", "worker-2.log"]
        .map(|name| std::fs::read_to_string(folder.path().join(name)).expect("a log"))
        .concat();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for line in logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if line["message"] == "job ended" {
            *ends.entry(line["span"]["job"].as_str().expect("a job").to_owned()).or_default() += 1;
        }
    }
    assert!(ends.len() > jobs / 2, "the logs are read: {}", ends.len());
    assert!(ends.values().all(|times| *times == 1), "no two attempts believe that they ended a job: {ends:?}");
    let given_up = service.outbox.list(job::layout::DEAD, None, 10).await.expect("a listing").objects;
    assert!(given_up.is_empty(), "{given_up:?}");
    assert!(!logs.contains("panicked"), "{logs}");
}
