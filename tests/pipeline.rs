//! The pipeline from outside: `millpond up` as a process, clients over HTTP, and what they see.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use support::{Up, answer, id, program, wines, wines_expected};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let job = up.create_upload("wine-quality", wines().len()).await;
    assert_eq!(job["state"], "awaiting_upload");
    let (status, body) = up.get(&format!("/jobs/{}/result", id(&job))).await;
    assert_eq!((status, &body["code"]), (409, &json!("no_result_yet")));

    assert_eq!(up.put(&job, wines()).await, 200);
    let ended = up.ended(id(&job)).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["result"]["value"], wines_expected());
    let (status, result) = up.get(&format!("/jobs/{}/result", id(&job))).await;
    assert_eq!((status, result), (200, wines_expected()));

    // A crowd can poll the storage instead.
    let outcome = up.http.get(ended["outcome_url"].as_str().unwrap()).send().await.unwrap();
    let outcome: Value = outcome.json().await.unwrap();
    assert_eq!(outcome["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_is_good_for_one_upload_only() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let job = up.create_upload("wine-quality", wines().len()).await;

    let larger = [wines(), b" ".to_vec()].concat();
    assert_eq!(up.put(&job, larger).await, 403, "a larger body");
    let mut other_type = job.clone();
    other_type["upload"]["headers"]["content-type"] = json!("text/plain");
    assert_eq!(up.put(&other_type, wines()).await, 403, "another content type");
    let mut other_key = job.clone();
    let url = job["upload"]["url"].as_str().unwrap().replace("wines.json", "other.json");
    other_key["upload"]["url"] = json!(url);
    assert_eq!(up.put(&other_key, wines()).await, 403, "another key");

    assert_eq!(up.put(&job, wines()).await, 200);
    assert_eq!(up.put(&job, wines()).await, 412, "a second time");
    assert_eq!(up.ended(id(&job)).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_alone_does_it() {
    let Some(curl) = program("curl") else { return };
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let sample = support::root().join("samples/wine-quality/wines.json");
    let run = |args: &[&str]| {
        let output =
            Command::new(&curl).args(["--silent", "--show-error", "--fail-with-body"]).args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let upload = json!({"filename": "wines.json", "content_type": "application/json", "size_bytes": wines().len()});
    let body = json!({"model": "wine-quality", "upload": upload}).to_string();
    let job: Value =
        serde_json::from_str(&run(&[&up.api("/jobs"), "-H", "content-type: application/json", "-d", &body])).unwrap();

    let url = job["upload"]["url"].as_str().unwrap();
    let mut put = vec!["-X".to_owned(), job["upload"]["method"].as_str().unwrap().to_owned(), url.to_owned()];
    for (name, value) in job["upload"]["headers"].as_object().unwrap() {
        put.extend(["-H".to_owned(), format!("{name}: {}", value.as_str().unwrap())]);
    }
    put.extend(["--data-binary".to_owned(), format!("@{}", sample.display())]);
    run(&put.iter().map(String::as_str).collect::<Vec<_>>());

    let job: Value = serde_json::from_str(&run(&[&up.api(&format!("/jobs/{}?wait=20", id(&job)))])).unwrap();
    assert_eq!(job["state"], "succeeded", "{job}");
    let result: Value = serde_json::from_str(&run(&[&up.api(&format!("/jobs/{}/result", id(&job)))])).unwrap();
    assert_eq!(result, wines_expected());
}

/// The id as DESIGN lets a client compute it, from what a HEAD says; on purpose without the service's own code.
fn dropped_id(bucket: &str, key: &str, etag: &str, last_modified: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("millpond drop 1\n{bucket}\n{etag}\n{last_modified}\n{key}"));
    data_encoding::BASE32_NOPAD.encode(&digest[..16]).to_lowercase()
}

/// Runs the AWS CLI against `up`.
fn aws(program: &std::path::Path, up: &Up, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(["--endpoint-url", up.text("s3"), "--output", "json"])
        .args(args)
        .env("AWS_ACCESS_KEY_ID", up.text("access_key"))
        .env("AWS_SECRET_ACCESS_KEY", up.text("secret_key"))
        .env("AWS_REGION", up.text("region"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert!(output.status.success(), "aws {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_drops_a_file() {
    let Some(cli) = program("aws") else { return };
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let sample = support::root().join("samples/wine-quality/wines.json");
    let key = "drop/wine-quality/a b+c/한글.json";
    aws(&cli, &up, &["s3", "cp", sample.to_str().unwrap(), &format!("s3://{}/{key}", up.text("inbox"))]);
    let head: Value =
        serde_json::from_str(&aws(&cli, &up, &["s3api", "head-object", "--bucket", up.text("inbox"), "--key", key]))
            .unwrap();
    // Its version 1 shows the HTTP date as it is; a client of any SDK has it as a time.
    let modified = jiff::fmt::rfc2822::parse(head["LastModified"].as_str().unwrap()).unwrap().timestamp().to_string();
    let etag = head["ETag"].as_str().unwrap().trim_matches('"');
    let job = up.ended(&dropped_id(up.text("inbox"), key, etag, &modified)).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["result"]["value"], wines_expected());

    let mirror = "mirror/wine-quality/a b+c/한글.json.result.json";
    let copy = data.path().join("copy.json");
    eventually(|| {
        let listed =
            aws(&cli, &up, &["s3api", "list-objects-v2", "--bucket", up.text("outbox"), "--prefix", "mirror/"]);
        listed.contains("result.json")
    });
    aws(&cli, &up, &["s3", "cp", &format!("s3://{}/{mirror}", up.text("outbox")), copy.to_str().unwrap()]);
    let answer: Value = serde_json::from_slice(&std::fs::read(copy).unwrap()).unwrap();
    assert_eq!(answer, wines_expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_files_at_once() {
    let Some(cli) = program("aws") else { return };
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..100 {
        std::fs::write(folder.path().join(format!("{number} wines.json")), wines()).unwrap();
        expected.insert(format!("mirror/wine-quality/batch/{number} wines.json.result.json"));
    }
    // A spoiled file beside them spoils only itself.
    std::fs::write(folder.path().join("spoiled.json"), "[{").unwrap();
    expected.insert("mirror/wine-quality/batch/spoiled.json.error.json".to_owned());
    let to = format!("s3://{}/drop/wine-quality/batch/", up.text("inbox"));
    aws(&cli, &up, &["s3", "cp", "--recursive", folder.path().to_str().unwrap(), &to]);
    eventually(|| {
        let listed =
            aws(&cli, &up, &["s3api", "list-objects-v2", "--bucket", up.text("outbox"), "--prefix", "mirror/"]);
        let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
        let keys = listed["Contents"].as_array().into_iter().flatten();
        keys.filter_map(|object| object["Key"].as_str()).map(str::to_owned).collect::<BTreeSet<_>>() == expected
    });
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it never held");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// J1 and J2 across `kill -9`: some of 200 jobs are done by then, some are running, most wait; all end, each once.
#[tokio::test(flavor = "multi_thread")]
async fn j1_j2_killed_in_the_middle_of_200_jobs() {
    let data = tempfile::tempdir().unwrap();
    let models = support::root().join("models");
    let idle = ["--workers", "0"];
    let mut up = Up::start_with(data.path(), &models, &idle).await;
    let mut ids = Vec::new();
    let input: Value = serde_json::from_slice(&wines()).unwrap();
    for number in 0..200 {
        if number % 2 == 0 {
            let (status, job) = up.post(json!({"model": "wine-quality", "input": input}).to_string()).await;
            assert_eq!(status, 202, "{job}");
            ids.push(id(&job).to_owned());
        } else {
            let job = up.create_upload("wine-quality", wines().len()).await;
            assert_eq!(up.put(&job, wines()).await, 200);
            ids.push(id(&job).to_owned());
        }
    }
    up.kill();
    drop(up);

    let mut up = Up::start(data.path()).await;
    // SQS promises no order, but the local one is about first come, first served.
    up.ended(&ids[10]).await;
    up.kill();
    drop(up);

    let mut up = Up::start_with(data.path(), &models, &idle).await;
    let mut before = Vec::new();
    for id in &ids {
        let (status, job) = up.get(&format!("/jobs/{id}")).await;
        assert_eq!(status, 200, "an accepted job is there: {job}");
        if job["state"] == "succeeded" {
            before.push((id.clone(), outcome(&up, &job).await));
        }
    }
    assert!((1..200).contains(&before.len()), "{} of 200 had ended: that is not the middle", before.len());
    up.kill();
    drop(up);

    let up = Up::start(data.path()).await;
    for id in &ids {
        let job = up.ended(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["value"], wines_expected());
    }
    // Each once: who had ended was not run again.
    for (id, seen) in before {
        let job = up.ended(&id).await;
        assert_eq!(outcome(&up, &job).await, seen);
    }
}

/// The commit record itself, with who wrote it and when.
async fn outcome(up: &Up, job: &Value) -> Value {
    up.http.get(job["outcome_url"].as_str().unwrap()).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_jobs_finish() {
    let data = tempfile::tempdir().unwrap();
    let mut up = Up::start(data.path()).await;
    let input: Value = serde_json::from_slice(&wines()).unwrap();
    let (_, job) = up.post(json!({"model": "wine-quality", "input": input}).to_string()).await;
    assert!(up.terminate().success(), "{}", up.log());
    drop(up);
    let up = Up::start(data.path()).await;
    assert_eq!(up.ended(id(&job)).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_process_runs_jobs_beside_up() {
    let data = tempfile::tempdir().unwrap();
    let models = support::root().join("models");
    let up = Up::start_with(data.path(), &models, &["--workers", "0"]).await;
    let input: Value = serde_json::from_slice(&wines()).unwrap();
    let (_, job) = up.post(json!({"model": "wine-quality", "input": input}).to_string()).await;
    assert_eq!(job["state"], "queued");
    let mut worker = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["worker", "--endpoints"])
        .arg(data.path().join("endpoints.json"))
        .arg("--models")
        .arg(models)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(up.ended(id(&job)).await["result"]["value"], wines_expected());
    assert!(support::terminate(&mut worker).success());
}

/// Bad requests: each a clear error at once, with a stable code, and nothing else suffers.
#[tokio::test(flavor = "multi_thread")]
async fn j5_bad_requests_are_refused_at_once() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let row = serde_json::from_slice::<Value>(&wines()).unwrap()[0].clone();
    let inline = |input: &str| format!(r#"{{"model":"wine-quality","input":{input}}}"#);
    let changed = |column: &str, value: Value| {
        let mut row = row.clone();
        row[column] = value;
        inline(&json!([row]).to_string())
    };
    let mut lacking = row.clone();
    lacking.as_object_mut().unwrap().remove("pH");
    let upload = |field: &str, value: Value| {
        let mut upload = json!({"filename": "wines.json", "content_type": "application/json", "size_bytes": 10});
        upload[field] = value;
        json!({"model": "wine-quality", "upload": upload}).to_string()
    };
    let text = row.to_string();
    let twice = inline(&format!("[{}]", text.replacen('{', r#"{"pH":3.0,"#, 1)));
    let both = format!(r#"{{"model":"wine-quality","input":[{text}],"upload":{{"filename":"a","size_bytes":1}}}}"#);

    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("malformed JSON", inline("[{"), 400, "malformed_json"),
        ("no JSON at all", "hello".to_owned(), 400, "malformed_json"),
        ("the bare token NaN", inline(r#"[{"pH":NaN}]"#), 400, "malformed_json"),
        ("a column twice", twice, 422, "invalid_input"),
        ("10,000 levels of nesting", inline(&("[".repeat(10_000) + &"]".repeat(10_000))), 400, "malformed_json"),
        ("a missing column", inline(&json!([lacking]).to_string()), 422, "invalid_input"),
        ("a string for a number", changed("pH", json!("3")), 422, "invalid_input"),
        ("a column too many", changed("vintage", json!(1999)), 422, "invalid_input"),
        ("an empty array", inline("[]"), 422, "empty_input"),
        ("both input and upload", both, 400, "invalid_request"),
        ("neither", r#"{"model":"wine-quality"}"#.to_owned(), 400, "invalid_request"),
        ("an unknown field", r#"{"model":"wine-quality","inputs":[]}"#.to_owned(), 400, "invalid_request"),
        ("a field twice", r#"{"model":"a","model":"b","input":1}"#.to_owned(), 400, "invalid_request"),
        ("an unknown model", r#"{"model":"nobody","input":[]}"#.to_owned(), 404, "unknown_model"),
        ("an impossible model", r#"{"model":"../etc","input":[]}"#.to_owned(), 404, "unknown_model"),
        (
            "an unknown parameter",
            format!(r#"{{"model":"wine-quality","input":[{text}],"params":{{"x":1}}}}"#),
            422,
            "invalid_params",
        ),
        ("a negative size", upload("size_bytes", json!(-1)), 400, "invalid_request"),
        ("a size over the model's limit", upload("size_bytes", json!(1u64 << 40)), 413, "too_large"),
        ("an empty upload", upload("size_bytes", json!(0)), 422, "empty_input"),
        ("a filename with a slash", upload("filename", json!("a/b")), 422, "invalid_filename"),
        ("a filename with a control character", upload("filename", json!("a\nb")), 422, "invalid_filename"),
        ("a filename of 300 letters", upload("filename", json!("a".repeat(300))), 422, "invalid_filename"),
        ("a malformed sha256", upload("sha256", json!("abc")), 422, "invalid_sha256"),
        ("an input over 1 MiB", inline(&format!("[{}]", [text.as_str(); 6000].join(","))), 413, "use_upload"),
    ];
    for (what, body, status, code) in cases {
        let (got, problem) = up.post(body).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{what}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
    }
    for path in ["/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa", "/jobs/nonsense", "/jobs/..%2F..%2Fetc"] {
        let (status, problem) = up.get(path).await;
        assert_eq!((status, &problem["code"]), (404, &json!("job_not_found")), "{path}");
    }
    let (status, job) = up.post(inline(&format!("[{text}]"))).await;
    assert_eq!(status, 202);
    assert_eq!(up.ended(id(&job)).await["state"], "succeeded");
}

/// Bad inputs that only the worker can know: each job fails with its code, and the good ones beside them succeed.
#[tokio::test(flavor = "multi_thread")]
async fn j5_bad_inputs_fail_alone() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("malformed", b"[{".to_vec(), "malformed_json"),
        ("NaN", br#"[{"pH":NaN}]"#.to_vec(), "malformed_json"),
        ("not UTF-8", b"[{\"\xff\":1}]".to_vec(), "malformed_json"),
        ("deep", "[{\"pH\":".repeat(10_000).into_bytes(), "invalid_input"),
        ("a missing column", b"[{}]".to_vec(), "invalid_input"),
        ("no rows", b"[]".to_vec(), "empty_input"),
        ("blank", b"  ".to_vec(), "empty_input"),
    ];
    let mut jobs = Vec::new();
    for (what, body, code) in cases {
        let bad = up.create_upload("wine-quality", body.len()).await;
        assert_eq!(up.put(&bad, body).await, 200, "{what}");
        let good = up.create_upload("wine-quality", wines().len()).await;
        assert_eq!(up.put(&good, wines()).await, 200);
        jobs.push((what, code, bad, good));
    }
    for (what, code, bad, good) in jobs {
        let bad = up.ended(id(&bad)).await;
        assert_eq!((&bad["state"], &bad["error"]["code"]), (&json!("failed"), &json!(code)), "{what}: {bad}");
        assert_eq!(up.ended(id(&good)).await["state"], "succeeded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_job() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let body =
        json!({"model": "wine-quality", "input": serde_json::from_slice::<Value>(&wines()).unwrap()}).to_string();
    let request = |body: String| {
        let request = up.http.post(up.api("/jobs")).header("content-type", "application/json");
        answer(request.header("idempotency-key", "once").body(body))
    };
    let (_, first) = request(body.clone()).await;
    let (_, second) = request(body.clone()).await;
    assert_eq!(id(&first), id(&second));
    let (status, problem) = request(body.replace("6.6", "6.7")).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(up.ended(id(&first)).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_and_retried() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let job = up.create_upload("wine-quality", wines().len()).await;
    let url = up.api(&format!("/jobs/{}", id(&job)));
    let (status, cancelled) = answer(up.http.delete(&url)).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")));
    let (status, problem) = answer(up.http.delete(&url)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_finished")));
    let (status, problem) = answer(up.http.post(format!("{url}/retry"))).await;
    assert_eq!((status, &problem["code"]), (410, &json!("input_gone")), "nothing was ever uploaded");
    // The upload still arrives; its job stays cancelled, and can be run again.
    assert_eq!(up.put(&job, wines()).await, 200);
    let (status, again) = answer(up.http.post(format!("{url}/retry"))).await;
    assert_eq!(status, 202, "{again}");
    assert_eq!(again["retry_of"], job["id"]);
    assert_eq!(up.ended(id(&again)).await["result"]["value"], wines_expected());
    assert_eq!(up.ended(id(&job)).await["state"], "cancelled");
}
