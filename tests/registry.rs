//! A model registry from outside: versions are pushed, picked up, refused and rolled back under a running `millpond up`.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{ObjectStore, PutOptions};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use serde_json::{Value, json};
use support::{Up, id, root};

/// Within which a running service has to take a new version.
const PICK_UP: Duration = Duration::from_secs(5);

/// Version `number` of the names model: like the first, but for names of at most so many letters.
fn write_version(models: &Path, number: &str, letters: usize) {
    let (from, to) = (root().join("models/names/1"), models.join("names").join(number));
    std::fs::create_dir_all(&to).unwrap();
    let manifest = std::fs::read_to_string(from.join("model.toml")).unwrap();
    // Without the golden examples, whose answers are longer.
    let (head, rest) = manifest.split_once("[[golden]]").unwrap();
    let (_, files) = rest.split_once("[files]").unwrap();
    let manifest = format!("{head}[files]{files}")
        .replacen("version = \"1\"", &format!("version = {number:?}"), 1)
        .replacen("default = 20", &format!("default = {letters}"), 1);
    std::fs::write(to.join("model.toml"), manifest).unwrap();
    std::fs::copy(from.join("model.safetensors"), to.join("model.safetensors")).unwrap();
}

fn input() -> Value {
    json!({"category": "Russian", "start_letters": "RUS"})
}

/// What the model answers if its names have at most so many letters.
fn answer_of(letters: usize) -> Value {
    let whole: Vec<String> =
        serde_json::from_slice(&std::fs::read(root().join("samples/names/expected.json")).unwrap()).unwrap();
    whole.iter().map(|name| name.chars().take(letters).collect::<String>()).collect()
}

fn millpond(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond")).args(args).output().unwrap()
}

fn succeeds(args: &[&str]) -> String {
    let output = millpond(args);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// The version that a job made now gets, and its answer.
async fn run(up: &Up) -> (String, Value) {
    let (status, job) = up.post(json!({"model": "names", "input": input()}).to_string()).await;
    assert_eq!(status, 202, "{job}");
    let ended = up.ended(id(&job)).await;
    assert_eq!(ended["state"], "succeeded", "{ended}\n{}", up.log());
    assert_eq!(ended["version"], job["version"]);
    (ended["version"].as_str().unwrap().to_owned(), ended["result"]["value"].clone())
}

/// Until the API says so; how long that took.
async fn until(up: &Up, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        let (status, list) = up.get("/models").await;
        if status == 200 && holds(&list) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < support::PATIENCE, "{what}: {list}\n{}", up.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_served(up: &Up, version: &str) {
    let serves = |list: &Value| list["models"].as_array().unwrap().iter().any(|model| model["version"] == version);
    let took = until(up, &format!("version {version} is served"), serves).await;
    assert!(took <= PICK_UP, "version {version} was served after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_pushed_to_a_bucket_under_a_running_service() {
    let (data, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (number, letters) in [("1", 20), ("2", 3), ("3", 4)] {
        write_version(models.path(), number, letters);
    }
    // The bucket is made; there is nothing in it yet.
    let up = Up::start_with(data.path(), Path::new("s3://registry/models"), &[]).await;
    let endpoints = data.path().join("endpoints.json");
    let there = ["--endpoints", endpoints.to_str().unwrap(), "--to", "s3://registry/models"];
    let from = ["--models", models.path().to_str().unwrap()];
    let push = |args: &[&str]| succeeds(&[&["models", "push"], args, &from, &there].concat());

    push(&["names@1"]);
    until_served(&up, "1").await;
    assert_eq!(run(&up).await, ("1".to_owned(), answer_of(20)));

    // A job is accepted before the push and gets its input after it; others keep coming all the while.
    let text = input().to_string().into_bytes();
    let early = up.create_upload("names", text.len()).await;
    let pushed = AtomicBool::new(false);
    let (stream, ()) = tokio::join!(
        async {
            let mut seen = Vec::new();
            while !pushed.load(Ordering::SeqCst) {
                seen.push(run(&up).await);
            }
            seen
        },
        async {
            let report = tokio::task::block_in_place(|| push(&["names@2", "--json"]));
            let report: Value = serde_json::from_str(&report).unwrap();
            assert_eq!((&report[0]["serves"], &report[0]["served_before"]), (&json!("2"), &json!("1")), "{report}");
            until_served(&up, "2").await;
            pushed.store(true, Ordering::SeqCst);
        }
    );
    assert!(!stream.is_empty());
    for (version, answer) in &stream {
        assert_eq!(*answer, answer_of(if version == "1" { 20 } else { 3 }), "by version {version}");
    }
    assert!(stream.iter().map(|(version, _)| version).is_sorted(), "{stream:?}");
    assert_eq!(run(&up).await, ("2".to_owned(), answer_of(3)));
    assert_eq!(up.put(&early, text).await, 200);
    let early = up.ended(id(&early)).await;
    assert_eq!((&early["version"], &early["result"]["value"]), (&json!("1"), &answer_of(20)), "{early}");

    // A version that somebody has copied by hand, damaged on the way.
    let store = bucket(&up, "registry").await;
    let put = async |file: &str, bytes: Vec<u8>| {
        let key = format!("models/names/{file}");
        store.put(&key, Bytes::from(bytes), PutOptions::default()).await.unwrap();
    };
    let read = |file: &str| std::fs::read(models.path().join("names/3").join(file)).unwrap();
    let whole = read("model.safetensors");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    put("3/model.toml", read("model.toml")).await;
    put("3/model.safetensors", damaged).await;
    put("current", b"3\n".to_vec()).await;
    until(&up, "version 3 is refused", |list| list["broken"][0]["version"] == "3").await;
    let (_, list) = up.get("/models").await;
    let reason = "model names version 3: file model.safetensors does not match the SHA-256 in model.toml";
    assert_eq!(list["broken"], json!([{"name": "names", "version": "3", "reason": reason}]));
    for _ in 0..3 {
        assert_eq!(run(&up).await, ("2".to_owned(), answer_of(3)));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(up.log().matches(reason).count(), 1, "{}", up.log());
    // Nobody pushes over it; what is there has to be looked at.
    let refused = millpond(&[&["models", "push", "names@3"], &from[..], &there].concat());
    let refused = (refused.status.code(), String::from_utf8_lossy(&refused.stderr).into_owned());
    assert!(refused.0 == Some(1) && refused.1.contains("with another model.safetensors"), "{refused:?}");

    put("3/model.safetensors", whole).await;
    until_served(&up, "3").await;
    assert_eq!(run(&up).await, ("3".to_owned(), answer_of(4)));

    let back = ["models", "alias", "names", "1", "--models", "s3://registry/models", there[0], there[1]];
    assert_eq!(succeeds(&back), "names serves 1; before, it served 3\n");
    until_served(&up, "1").await;
    assert_eq!(run(&up).await, ("1".to_owned(), answer_of(20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_pushed_to_a_folder_under_a_running_service() {
    let (data, models, served) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_version(served.path(), "1", 20);
    write_version(models.path(), "2", 3);
    let up = Up::start_with(data.path(), served.path(), &[]).await;
    assert_eq!(run(&up).await, ("1".to_owned(), answer_of(20)));
    let (from, to) = (models.path().to_str().unwrap(), served.path().to_str().unwrap());
    succeeds(&["models", "push", "--models", from, "--to", to, "--no-alias"]);
    tokio::time::sleep(PICK_UP / 2).await;
    assert_eq!(run(&up).await.0, "1", "uploaded, and no more");
    succeeds(&["models", "push", "--models", from, "--to", to]);
    until_served(&up, "2").await;
    assert_eq!(run(&up).await, ("2".to_owned(), answer_of(3)));
}

/// A bucket of the local cloud.
async fn bucket(up: &Up, name: &str) -> impl ObjectStore {
    let (access_key, secret_key) = (up.text("access_key").to_owned(), up.text("secret_key").to_owned());
    let endpoint = Endpoint {
        region: Some(up.text("region").to_owned()),
        s3_url: Some(up.text("s3").to_owned()),
        credentials: Some(StaticCredentials { access_key, secret_key }),
        force_path_style: true,
        ..Endpoint::default()
    };
    Aws::connect(&endpoint).await.bucket(name)
}
