//! A model that does not stop: its job fails, whoever runs it is replaced, and nobody else notices.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Up, id, root, wines, wines_expected};

/// A net that computes far beyond its limit of one second, in one call that can't be interrupted.
fn publish_slow(models: &Path) {
    let net = std::fs::read(root().join("tests/fixtures/slow.onnx")).expect("the net");
    let folder = models.join("slow/1");
    std::fs::create_dir_all(&folder).expect("a folder");
    let tensor = r#"[{ name = "NAME", datatype = "FP32", shape = [1] }]"#;
    let manifest = format!(
        r#"format = 1
name = "slow"
version = "1"
title = "A model that does not stop"
engine = {{ format = "onnx", file = "slow.onnx" }}
input = {{ kind = "tensors", inputs = {} }}
output = {{ kind = "tensors", outputs = {} }}
limits = {{ max_seconds = 1 }}
[files]
"slow.onnx" = "{}"
"#,
        tensor.replace("NAME", "x"),
        tensor.replace("NAME", "y"),
        job::Sha256::of(&net),
    );
    std::fs::write(folder.join("model.toml"), manifest).expect("written");
    std::fs::write(folder.join("slow.onnx"), net).expect("written");
}

fn models(folder: &Path) -> std::path::PathBuf {
    let models = folder.join("models");
    publish_slow(&models);
    std::fs::create_dir_all(models.join("wine-quality")).expect("a folder");
    std::os::unix::fs::symlink(root().join("models/wine-quality/1"), models.join("wine-quality/1")).expect("a link");
    models
}

async fn submit_slow(up: &Up) -> String {
    let x = json!({"name": "x", "shape": [1], "datatype": "FP32", "data": [0.001]});
    let (status, job) = up.post(json!({"model": "slow", "input": {"inputs": [x]}}).to_string()).await;
    assert_eq!(status, 202, "{job}");
    id(&job).to_owned()
}

async fn wine_is_answered(up: &Up) {
    let input: Value = serde_json::from_slice(&wines()).expect("JSON");
    let (status, job) = up.post(json!({"model": "wine-quality", "input": input}).to_string()).await;
    assert_eq!(status, 202, "{job}");
    let job = up.ended(id(&job)).await;
    assert_eq!(job["result"]["value"], wines_expected(), "{job}");
}

async fn fails(up: &Up, slow: &str) {
    let job = up.ended(slow).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("timed_out")), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start_with(&folder.path().join("data"), &models(folder.path()), &["--workers", "2"]).await;
    let slow = submit_slow(&up).await;
    wine_is_answered(&up).await;
    fails(&up, &slow).await;
    // More often than there are threads.
    for _ in 0..2 {
        fails(&up, &submit_slow(&up).await).await;
        wine_is_answered(&up).await;
    }
    let log = up.log();
    assert_eq!(log.matches("other threads take over").count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_process_ends_so_that_it_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, models) = (folder.path().join("data"), models(folder.path()));
    let up = Up::start_with(&data, &models, &["--workers", "0"]).await;
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["worker", "--workers", "2", "--endpoints"]).arg(data.join("endpoints.json"));
        command.arg("--models").arg(&models).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
        command.spawn().expect("a worker")
    };
    let mut worker = start();
    let slow = submit_slow(&up).await;
    wine_is_answered(&up).await;
    fails(&up, &slow).await;
    assert_eq!(support::end(&mut worker).code(), Some(1));

    let mut next = start();
    wine_is_answered(&up).await;
    assert!(support::terminate(&mut next).success());
}
