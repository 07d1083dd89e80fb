//! Runs `millpond up` as its users do, as a process of its own, and talks to it over HTTP.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod installed;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloud_aws::{Aws, Endpoint, StaticCredentials};
use serde_json::{Value, json};

pub use installed::*;

/// The sample's text.
pub fn wines() -> Vec<u8> {
    std::fs::read(root().join("samples/wine-quality/wines.json")).expect("the sample")
}

/// The sample's answer.
pub fn wines_expected() -> Value {
    let text = std::fs::read(root().join("samples/wine-quality/expected.json")).expect("the answer");
    serde_json::from_slice(&text).expect("the answer is JSON")
}

/// A running `millpond up`, killed when it is dropped.
pub struct Up {
    child: Child,
    /// `endpoints.json`.
    pub endpoints: Value,
    /// The client that talks to it.
    pub http: reqwest::Client,
    data: PathBuf,
}

impl Up {
    /// Starts one on free ports and waits until it is ready.
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, &root().join("models"), &[]).await
    }

    /// Starts one with these models and further arguments.
    pub async fn start_with(data: &Path, models: &Path, args: &[&str]) -> Self {
        Self::start_in(data, models, args, &[]).await
    }

    /// Starts one with these models, further arguments and environment variables.
    pub async fn start_in(data: &Path, models: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        // A crashed predecessor's addresses would be taken for this one's.
        let _ = std::fs::remove_file(data.join("endpoints.json"));
        std::fs::create_dir_all(data).expect("a data directory");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(["up", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--sqs-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(data)
            .arg("--models")
            .arg(models)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("millpond starts");
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("an HTTP client");
        let mut up = Self { child, endpoints: Value::Null, http, data: data.to_owned() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read(data.join("endpoints.json")) {
                up.endpoints = serde_json::from_slice(&text).expect("endpoints.json is JSON");
                if up.http.get(up.api("/readyz")).send().await.is_ok_and(|r| r.status().is_success()) {
                    return up;
                }
            }
            if let Some(status) = up.child.try_wait().expect("a child") {
                panic!("millpond up ended with {status}:\n{}", up.log());
            }
            assert!(Instant::now() < deadline, "millpond up is not ready:\n{}", up.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it printed and logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("log")).unwrap_or_default()
    }

    /// The most memory that it ever had resident, in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// A URL of the API.
    pub fn api(&self, path: &str) -> String {
        format!("{}{path}", self.text("api"))
    }

    /// Its S3 and SQS, past the API.
    pub async fn aws(&self) -> Aws {
        aws(&self.endpoints).await
    }

    /// A field of `endpoints.json`.
    pub fn text(&self, field: &str) -> &str {
        self.endpoints[field].as_str().expect("a text")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and its end.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        terminate(&mut self.child)
    }

    /// Posts to `/jobs`; the status and the body.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(self.api("/jobs")).header("content-type", "application/json").body(body);
        answer(request).await
    }

    /// Reads a path of the API; the status and the body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(self.api(path))).await
    }

    /// Makes a job for an upload of `size` bytes.
    pub async fn create_upload(&self, model: &str, size: usize) -> Value {
        let upload = json!({"filename": "wines.json", "content_type": "application/json", "size_bytes": size});
        let (status, job) = self.post(json!({"model": model, "upload": upload}).to_string()).await;
        assert_eq!(status, 201, "{job}");
        job
    }

    /// Puts `body` where the job wants it; the storage's status.
    pub async fn put(&self, job: &Value, body: Vec<u8>) -> u16 {
        let upload = &job["upload"];
        assert_eq!(upload["method"], "PUT");
        let mut request = self.http.put(upload["url"].as_str().expect("a URL")).body(body);
        for (name, value) in upload["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("a text"));
        }
        request.send().await.expect("an answer").status().as_u16()
    }

    /// The job once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, job) = self.get(&format!("/jobs/{id}?wait=10")).await;
            // A dropped file's job exists once its first attempt has begun.
            if status != 404 {
                assert_eq!(status, 200, "{job}");
                if ["succeeded", "failed", "cancelled", "expired"].iter().any(|state| job["state"] == *state) {
                    return job;
                }
            }
            assert!(Instant::now() < deadline, "job {id} does not end: {job}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- millpond's log\n{}", self.log());
        }
    }
}

/// S3 and SQS where this `endpoints.json` has them.
pub async fn aws(endpoints: &Value) -> Aws {
    let text = |field: &str| endpoints[field].as_str().expect("a text").to_owned();
    Aws::connect(&Endpoint {
        region: Some(text("region")),
        s3_url: Some(text("s3")),
        sqs_url: Some(text("sqs")),
        credentials: Some(StaticCredentials { access_key: text("access_key"), secret_key: text("secret_key") }),
        force_path_style: true,
    })
    .await
}

/// Makes an API key of the service's own tenant, which may read the metrics.
pub fn add_key(keys: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["keys", "add", "--tenant", "default", "--keys"])
        .arg(keys)
        .output()
        .expect("millpond runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

/// SIGTERM, and the process's end.
pub fn terminate(child: &mut Child) -> std::process::ExitStatus {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    end(child)
}

/// The process's end, which is to come by itself.
pub fn end(child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request; the status and the JSON body.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}

/// The id of a job.
pub fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap_or_else(|| panic!("no id in {job}"))
}
