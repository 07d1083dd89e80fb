//! J7: what is a client's or a secret stays out of all output. Real processes at their most talkative, jobs of every kind that
//! fails, and then a search through all that they have printed and answered.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cloud::{ObjectStore, PutOptions, Queue};
use serde_json::{Value, json};
use support::{PATIENCE, Up, answer, id, root, wines};

/// What clients send, in every place that takes something of theirs.
const PAYLOAD: &str = "marker-payload-5f1c";
const FILENAME: &str = "marker-filename-91b2";
const PARAM: &str = "marker-param-55c0";
const MESSAGE: &str = "marker-message-e07d";
const DROPPED: &str = "marker-dropped-2a44";
const MARKERS: [&str; 5] = [PAYLOAD, FILENAME, PARAM, MESSAGE, DROPPED];
/// A key that nobody has.
const WRONG_KEY: &str = "mp_deadbeef_0123456789abcdef0123456789abcdef01234567";

/// One process's or one answer's text.
struct Heard {
    from: String,
    text: String,
}

/// A service with keys, and everything that was heard of it.
struct Scene {
    up: Up,
    // After what shows its log at the end.
    dir: tempfile::TempDir,
    key: String,
    heard: Vec<Heard>,
    /// The signatures of presigned URLs.
    signatures: Vec<String>,
}

const TALKATIVE: (&str, &str) = ("MILLPOND_LOG", "trace");

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys.json");
        let key = support::add_key(&keys);
        assert!(key.starts_with("mp_"), "{key}");
        let args = ["--keys", keys.to_str().unwrap()];
        let up = Up::start_in(&dir.path().join("data"), &root().join("models"), &args, &[TALKATIVE]).await;
        Self { up, dir, key, heard: Vec::new(), signatures: Vec::new() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn worker_log(&self) -> PathBuf {
        self.dir.path().join("worker.log")
    }

    /// Calls the API; what it answers in error is kept.
    async fn call(&mut self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.up.http.request(method.clone(), self.up.api(path)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let (status, answered) = answer(request).await;
        if status >= 400 {
            self.heard.push(Heard { from: format!("{method} {path}"), text: answered.to_string() });
        }
        self.note_signatures(&answered);
        answered
    }

    async fn post(&mut self, body: Value) -> Value {
        self.call(reqwest::Method::POST, "/jobs", Some(body)).await
    }

    fn note_signatures(&mut self, answered: &Value) {
        for url in [&answered["upload"]["url"], &answered["outcome_url"], &answered["result"]["url"]] {
            let signature = url.as_str().and_then(|url| url.split_once("X-Amz-Signature="));
            self.signatures.extend(signature.map(|(_, rest)| rest.split('&').next().unwrap().to_owned()));
        }
    }

    async fn ended(&mut self, job: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.call(reqwest::Method::GET, &format!("/jobs/{}?wait=10", id(job)), None).await;
            if ["succeeded", "failed", "cancelled"].iter().any(|state| seen["state"] == *state) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{seen}");
        }
    }

    /// Announces an upload, makes it, and waits for what comes of it.
    async fn upload(&mut self, model: &str, media_type: &str, params: Value, body: Vec<u8>) -> Value {
        let filename = format!("{FILENAME}.bin");
        let upload = json!({"filename": filename, "content_type": media_type, "size_bytes": body.len()});
        let job = self.post(json!({"model": model, "upload": upload, "params": params})).await;
        assert_eq!(self.up.put(&job, body).await, 200);
        self.ended(&job).await
    }

    /// Runs a command; what it prints is kept.
    fn run(&mut self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(args)
            .current_dir(self.dir.path())
            .env("MILLPOND_ENDPOINT", self.up.text("api"))
            .env("MILLPOND_CONFIG", self.dir.path().join("config.toml"))
            .env("MILLPOND_API_KEY", &self.key)
            .env(TALKATIVE.0, TALKATIVE.1)
            .output()
            .unwrap();
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).join("\n");
        self.heard.push(Heard { from: format!("millpond {}", args.join(" ")), text });
        output
    }

    /// Where a secret was heard: each of `secrets` in what `from` was heard of.
    fn leaks<'a>(&'a self, secrets: &[&str], from: impl Fn(&Heard) -> bool) -> Vec<&'a str> {
        let heard = self.heard.iter().filter(|heard| from(heard));
        let lines = heard.flat_map(|heard| heard.text.lines());
        lines.filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect()
    }
}

/// Waits until somebody has logged such a line: whoever took the message.
async fn logged(scene: &Scene, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    let of_worker = || std::fs::read_to_string(scene.worker_log()).unwrap();
    while !scene.up.log().contains(text) && !of_worker().contains(text) {
        assert!(Instant::now() < deadline, "the log never says {text:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn start_worker(endpoints: &Path, log: &Path) -> std::process::Child {
    let log = std::fs::File::create(log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["worker", "--sweep-every", "1", "--endpoints"])
        .arg(endpoints)
        .arg("--models")
        .arg(root().join("models"))
        .env(TALKATIVE.0, TALKATIVE.1)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

async fn jobs_that_fail_and_some_that_do_not(scene: &mut Scene) {
    // In the request.
    let good = scene.post(json!({"model": "names", "input": {"category": "Russian", "start_letters": "RUS"}})).await;
    assert_eq!(scene.ended(&good).await["state"], "succeeded");
    for refused in [
        json!({"model": "wine-quality", "input": [{"fixed acidity": PAYLOAD}]}),
        json!({"model": PAYLOAD, "input": 1}),
        json!({"model": "names", "input": {"category": PAYLOAD, "start_letters": "RUS"}}),
        json!({"model": "names", "input": {"category": "Russian", "start_letters": "RUS"}, "params": {"seed": PARAM}}),
        json!({"model": "names", "input": {"category": "Russian", "start_letters": "RUS"}, PARAM: 1}),
    ] {
        let answered = scene.post(refused).await;
        assert!(answered["code"].is_string(), "{answered}");
    }
    // By upload: what the API cannot see, the worker refuses.
    let rows = format!(r#"[{{"fixed acidity": "{PAYLOAD}"}}]"#);
    let mut is_quoted = false;
    for (model, media_type, body) in [
        ("wine-quality", "application/json", rows.into_bytes()),
        // A column that the model has not: its refusal quotes it.
        ("wine-quality", "application/json", format!(r#"[{{"{PAYLOAD}": 1}}]"#).into_bytes()),
        ("wine-quality", "application/json", format!("[{{{PAYLOAD}").into_bytes()),
        ("line-art", "image/png", format!("\u{89}PNG {PAYLOAD}").into_bytes()),
        ("names", "application/json", format!(r#"{{"category":"{PAYLOAD}","start_letters":"R"}}"#).into_bytes()),
    ] {
        let ended = scene.upload(model, media_type, json!({}), body).await;
        assert_eq!(ended["state"], "failed", "{model}: {ended}");
        is_quoted |= ended["error"]["detail"].as_str().is_some_and(|detail| detail.contains(PAYLOAD));
    }
    assert!(is_quoted, "what the worker tells the sender has something of the input, which its log must not have");
    let answered = scene.upload("wine-quality", "application/json", json!({}), wines()).await;
    assert_eq!(answered["state"], "succeeded", "{answered}");
    let picture = std::fs::read_dir(root().join("samples/line-art")).unwrap();
    let picture = picture.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "jpg"));
    let drawn = scene.upload("line-art", "image/jpeg", json!({}), std::fs::read(picture.unwrap()).unwrap()).await;
    assert!(drawn["result"]["url"].is_string(), "{drawn}");
    // Of strangers, and of nobody.
    for key in [WRONG_KEY, "", PAYLOAD] {
        let (status, body) = answer(scene.up.http.get(scene.up.api("/jobs/x")).header("x-api-key", key)).await;
        assert_eq!(status, 401, "{body}");
        scene.heard.push(Heard { from: "a wrong key".to_owned(), text: body.to_string() });
    }
    let nobodys = scene.call(reqwest::Method::GET, "/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa", None).await;
    assert_eq!(nobodys["code"], "job_not_found");

    // Past the API.
    let aws = scene.up.aws().await;
    let inbox = aws.bucket(scene.up.text("inbox"));
    for key in [format!("drop/wine-quality/{DROPPED}.json"), format!("drop/{DROPPED}"), format!("drop/{DROPPED}/a")] {
        inbox.put(&key, PAYLOAD.into(), PutOptions::default()).await.unwrap();
    }
    let outbox = aws.bucket(scene.up.text("outbox"));
    let mirror = format!("mirror/wine-quality/{DROPPED}.json.error.json");
    let deadline = Instant::now() + PATIENCE;
    while outbox.head(&mirror).await.is_err() {
        assert!(Instant::now() < deadline, "the dropped file is not refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let poison = format!(r#"{{"millpond":1,"run":{{"job":"{MESSAGE}"}}}}"#);
    aws.queue(scene.up.text("queue_url")).send(&poison, None, Duration::ZERO).await.unwrap();
    logged(scene, "a message names no job").await;
    aws.queue(scene.up.text("dead_letter_queue_url")).send(&poison, None, Duration::ZERO).await.unwrap();
    logged(scene, "message given up").await;
}

fn commands(scene: &mut Scene) {
    let endpoints = scene.data().join("endpoints.json").display().to_string();
    std::fs::write(scene.dir.path().join("bad.json"), format!("[{PAYLOAD}")).unwrap();
    std::fs::write(scene.dir.path().join("good.json"), wines()).unwrap();
    std::fs::write(scene.dir.path().join("config.toml"), "").unwrap();
    let submitted = scene.run(&["submit", "good.json", "--model", "wine-quality"]);
    let job = String::from_utf8(submitted.stdout).unwrap().trim().to_owned();
    assert_eq!(job.len(), 26, "{job}{}", String::from_utf8_lossy(&submitted.stderr));
    assert!(scene.run(&["wait", &job]).status.success());
    assert!(scene.run(&["status", &job]).status.success());
    assert!(!scene.run(&["cancel", &job]).status.success());
    assert!(scene.run(&["retry", &job]).status.success());
    assert!(!scene.run(&["submit", "bad.json", "--model", "wine-quality", "--wait"]).status.success());
    let models = root().join("models").display().to_string();
    assert!(scene.run(&["models", "list", "--models", &models]).status.success());
    assert!(scene.run(&["keys", "list", "--keys", "keys.json"]).status.success());
    assert!(scene.run(&["sweep", "--endpoints", &endpoints]).status.success());
    assert!(scene.run(&["dead-letters", "list", "--endpoints", &endpoints]).status.success());
}

/// J7
#[tokio::test(flavor = "multi_thread")]
async fn j7_no_secret_and_nothing_of_a_client_s_is_printed() {
    let mut scene = Scene::new().await;
    let worker_log = scene.worker_log();
    let mut worker = start_worker(&scene.data().join("endpoints.json"), &worker_log);
    jobs_that_fail_and_some_that_do_not(&mut scene).await;
    commands(&mut scene);
    assert!(support::terminate(&mut worker).success());
    assert!(scene.up.terminate().success());
    scene.heard.push(Heard { from: "worker".to_owned(), text: std::fs::read_to_string(worker_log).unwrap() });
    scene.heard.push(Heard { from: "up".to_owned(), text: scene.up.log() });

    // It was heard at all, at its most talkative, and of the failures.
    for said in
        [r#""level":"DEBUG""#, "the input does not fit the model", "There is no such model.", "message given up"]
    {
        assert!(!scene.leaks(&[said], |_| true).is_empty(), "nobody says {said}");
    }
    assert!(scene.signatures.len() > 10, "{:?}", scene.signatures);

    let mut secrets = vec![scene.key.as_str(), WRONG_KEY, scene.up.text("secret_key"), "arn:", "X-Amz-Signature="];
    secrets.extend(scene.signatures.iter().map(String::as_str));
    assert_eq!(scene.leaks(&secrets, |_| true), Vec::<&str>::new());
    // A refusal quotes what it refuses, but to nobody else than who sent it.
    let to_the_sender =
        |heard: &Heard| heard.from == "POST /jobs" || heard.from.starts_with("millpond submit bad.json");
    assert_eq!(scene.leaks(&MARKERS, |heard| !to_the_sender(heard)), Vec::<&str>::new());
    // Where the data lies says `up` to who started it, before any line of its log. No line does.
    let data = scene.data().display().to_string();
    let told: Vec<&str> = scene.leaks(&[&data], |heard| !heard.from.starts_with("millpond "));
    assert!(told.iter().all(|line| !line.starts_with('{')) && told.len() <= 2, "{told:#?}");
}
