//! What an operator sees of a running service: log lines that a trace joins, and metrics.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cloud::{ObjectStore, PutOptions};
use serde_json::{Value, json};
use support::{PATIENCE, Up, answer, id, root, wines};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The log's lines that are about this trace: what each says, and which job and attempt it is about.
fn traced(log: &str, trace: &str) -> Vec<(String, Value, Value)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = lines.filter(|line| line["span"]["trace_id"] == trace);
    ours.map(|line| {
        let said = line["message"].as_str().expect("a line says something").to_owned();
        (said, line["span"]["job"].clone(), line["span"]["attempt"].clone())
    })
    .collect()
}

async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>, what: &str) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_joins_the_lines_of_api_and_worker() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let post = |body: Value, traceparent: String| {
        let request = up.http.post(up.api("/jobs")).header("content-type", "application/json").body(body.to_string());
        answer(request.header("traceparent", traceparent))
    };
    // An upload, whose message is the storage's and knows nothing of traces.
    let upload = json!({"filename": "wines.json", "content_type": "application/json", "size_bytes": wines().len()});
    let body = json!({"model": "wine-quality", "upload": upload});
    let (status, job) = post(body, format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert_eq!(status, 201, "{job}");
    assert_eq!(up.put(&job, wines()).await, 200);
    up.ended(id(&job)).await;

    let lines = eventually(
        async || Some(traced(&up.log(), TRACE)).filter(|lines| lines.iter().any(|(said, ..)| said == "job ended")),
        "the worker's line",
    )
    .await;
    assert!(lines.iter().any(|(said, _, attempt)| said == "job accepted" && attempt.is_null()), "{lines:?}");
    assert!(lines.iter().any(|(said, _, attempt)| said == "job ended" && attempt.is_string()), "{lines:?}");
    assert!(lines.iter().all(|(_, job_id, _)| *job_id == id(&job)), "{lines:?}");

    // What is no traceparent is ignored, and the job has a trace of its own.
    let bad = "00-11111111111111111111111111111111-0000000000000000-01".to_owned();
    let (status, job) = post(json!({"model": "moons", "input": {"data1": 0.5, "data2": -0.2}}), bad).await;
    assert_eq!(status, 202, "{job}");
    up.ended(id(&job)).await;
    let log = up.log();
    assert!(!log.contains("11111111111111111111111111111111"));
    let accepted = log.lines().find(|line| line.contains("job accepted") && line.contains(id(&job))).expect("a line");
    let accepted: Value = serde_json::from_str(accepted).unwrap();
    let own = accepted["span"]["trace_id"].as_str().expect("a trace");
    let lines =
        eventually(async || Some(traced(&up.log(), own)).filter(|lines| lines.len() > 1), "a second line").await;
    assert!(lines.iter().all(|(_, job_id, _)| *job_id == id(&job)), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_workers_do() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let (_, good) = up.post(json!({"model": "moons", "input": {"data1": 0.5, "data2": -0.2}}).to_string()).await;
    up.ended(id(&good)).await;
    let bad = json!({"filename": "a.json", "content_type": "application/json", "size_bytes": 2});
    let (_, bad) = up.post(json!({"model": "moons", "upload": bad}).to_string()).await;
    assert_eq!(up.put(&bad, b"[{".to_vec()).await, 200);
    assert_eq!(up.ended(id(&bad)).await["state"], "failed");
    // Whoever drops files can name folders as they like, but makes no series by that.
    let inbox = up.aws().await.bucket(up.text("inbox"));
    for folder in ["no-such-model", "nor-this-one"] {
        inbox.put(&format!("drop/{folder}/a.json"), "{}".into(), PutOptions::default()).await.unwrap();
    }

    let wanted = [
        r#"millpond_jobs_accepted_total{model="moons",input="inline"} 1"#,
        r#"millpond_jobs_ended_total{model="moons",state="succeeded",code=""} 1"#,
        r#"millpond_jobs_ended_total{model="moons",state="failed",code="malformed_json"} 1"#,
        r#"millpond_jobs_ended_total{model="unknown",state="failed",code="unknown_model"} 2"#,
        r#"millpond_job_queue_seconds_count{model="moons"} 2"#,
        r#"millpond_job_run_seconds_count{model="moons"} 2"#,
        r#"millpond_job_model_seconds_count{model="moons"} 1"#,
        r#"millpond_model_load_seconds_count{model="moons"} 1"#,
        r#"millpond_jobs_in_flight{model="moons"} 0"#,
        r#"millpond_messages_total{verdict="done"} 4"#,
    ];
    let deadline = Instant::now() + PATIENCE;
    let last = loop {
        let text = up.http.get(up.api("/metrics")).send().await.unwrap().text().await.unwrap();
        let Some(missing) = wanted.iter().find(|wanted| !text.lines().any(|line| line == **wanted)) else { break text };
        assert!(Instant::now() < deadline, "{missing} is not in\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!last.contains("no-such-model") && !last.contains("nor-this-one"), "{last}");
    // One document, each family once.
    assert_eq!(last.matches("# EOF").count(), 1);
    assert_eq!(last.matches("# TYPE millpond_messages ").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shows_its_metrics_where_it_is_told_to() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start_with(data.path(), &root().join("models"), &["--workers", "0"]).await;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["worker", "--metrics-listen", "0", "--log-format", "json", "--endpoints"])
        .arg(data.path().join("endpoints.json"))
        .arg("--models")
        .arg(root().join("models"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line: Value = serde_json::from_str(&line.ok()?).ok()?;
        (line["message"] == "metrics are served").then(|| line["address"].as_str().unwrap().to_owned())
    });
    let address = address.expect("the worker says where");
    // It would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert_eq!(answer(up.http.get(format!("http://{address}/healthz"))).await, (200, json!({"status": "ok"})));

    let (_, job) = up.post(json!({"model": "moons", "input": {"data1": 0.5, "data2": -0.2}}).to_string()).await;
    up.ended(id(&job)).await;
    let wanted = r#"millpond_jobs_ended_total{model="moons",state="succeeded",code=""} 1"#;
    eventually(
        async || {
            let response = up.http.get(format!("http://{address}/metrics")).send().await.ok()?;
            assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
            response.text().await.ok()?.contains(wanted).then_some(())
        },
        "the worker's metrics",
    )
    .await;
    assert!(support::terminate(&mut worker).success());
}
