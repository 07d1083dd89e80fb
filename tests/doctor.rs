//! `millpond doctor` finds nothing on our template nor on a running `up`, and each planted misconfiguration by its name.

#[path = "doctor/planted.rs"]
mod planted;
mod support;

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use local_cloud::{AbsentKeys, Config, LocalCloud, Stack};
use planted::PLANTED;
use serde_json::{Value, json};
use support::{Up, root};

/// Runs the doctor; its exit code and the lines that it prints.
fn doctor(args: &[&str]) -> (i32, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    let output = command.args(["doctor", "--json"]).args(args).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(err, "", "{args:?}");
    let lines = out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    (output.status.code().unwrap(), lines.collect())
}

fn codes(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["code"].as_str()).collect()
}

fn template() -> String {
    std::fs::read_to_string(root().join("infra/template.yaml")).unwrap()
}

fn with_parameters(template: &Path, parameters: &[&str]) -> (i32, Vec<Value>) {
    let mut args = vec!["--template", template.to_str().unwrap()];
    args.extend(parameters.iter().flat_map(|parameter| ["--parameter", *parameter]));
    doctor(&args)
}

#[test]
fn our_template_has_no_pitfall_whatever_its_parameters() {
    let path = root().join("infra/template.yaml");
    let parameters: [&[&str]; 12] = [
        &[],
        &["ApiKind=function-url"],
        &["HttpApiAuthorization=API_KEYS"],
        &["Models=bucket"],
        &["WorkerProvisionedConcurrency=2"],
        &["WorkerTimeout=60"],
        &["WorkerTimeout=120"],
        &["WorkerTimeout=300"],
        &["WorkerTimeout=600"],
        &["WorkerTimeout=900"],
        &["CorsOrigins=https://a.example,https://b.example"],
        &["ApiKind=function-url", "Models=bucket", "WorkerTimeout=900", "WorkerProvisionedConcurrency=2"],
    ];
    for parameters in parameters {
        assert_eq!(with_parameters(&path, parameters), (0, Vec::new()), "{parameters:?}");
    }
}

#[test]
fn each_planted_misconfiguration_is_named() {
    let (dir, whole) = (tempfile::tempdir().unwrap(), template());
    let path = dir.path().join("template.yaml");
    for (edits, parameters, expected) in PLANTED {
        let mut text = whole.clone();
        for (from, to) in *edits {
            assert!(text.contains(from), "the template has no {from:?} any more");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(&path, text).unwrap();
        let (code, lines) = with_parameters(&path, parameters);
        assert_eq!(codes(&lines), *expected, "{edits:?} {parameters:?}: {lines:#?}");
        assert_eq!(code, 1, "{edits:?}");
        for line in lines.iter().filter(|line| line["kind"] == "finding") {
            assert!(
                ["found", "breaks", "mend"]
                    .iter()
                    .all(|part| line[*part].as_str().is_some_and(|text| !text.is_empty()))
            );
        }
    }
}

/// The same in plain CloudFormation: functions, mappings and aliases of their own, literal names and ARNs, managed policies.
#[test]
fn plain_cloudformation_is_read_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("template.yaml");
    let plain = std::fs::read_to_string(root().join("tests/fixtures/plain_stack.yaml")).unwrap();
    let look = |edits: &[(&str, &str)]| {
        let text = edits.iter().fold(plain.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from:?}");
            text.replacen(from, to, 1)
        });
        std::fs::write(&path, text).unwrap();
        with_parameters(&path, &[])
    };
    let (code, lines) = look(&[]);
    assert_eq!((code, codes(&lines)), (0, Vec::new()), "{lines:?}");
    let planted: [(&[(&str, &str)], &str); 9] = [
        (&[("FunctionName: !Ref Warm", "FunctionName: !Ref Worker")], "provisioned-concurrency-unused"),
        (&[("MaximumConcurrency: 2", "MaximumConcurrency: 1")], "concurrency-low"),
        (&[("the-*", "the-*/*")], "no-list-bucket"),
        (&[("Action: lambda:InvokeFunction,", "Action: lambda:GetFunction,")], "function-url-permissions"),
        (&[("          MILLPOND_KEYS: s3://keys/keys.json\n", "")], "function-url-open"),
        (
            &[
                ("MILLPOND_KEYS: s3://keys/keys.json", "X: y"),
                ("AuthType: NONE", "AuthType: AWS_IAM"),
                ("{ Authorizer: mine }", "{}"),
            ],
            "http-api-open",
        ),
        (&[("Timeout: 10", "Timeout: 40")], "api-timeout"),
        (
            &[(
                "BucketName: the-outbox",
                "BucketName: the-outbox\n      PublicAccessBlockConfiguration: { BlockPublicAcls: true }",
            )],
            "public-access",
        ),
        (&[("VisibilityTimeout: 720\n", "VisibilityTimeout: 900\n")], "told-visibility"),
    ];
    for (edits, expected) in planted {
        let (code, lines) = look(edits);
        let found = codes(&lines);
        assert!(code == 1 && !found.is_empty() && found.iter().all(|code| *code == expected), "{edits:?}: {lines:#?}");
    }
}

/// Advice does not count for the exit code, and what is not known is said and not guessed.
#[test]
fn advice_is_no_fault_and_the_unknown_is_said() {
    let (dir, whole) = (tempfile::tempdir().unwrap(), template());
    let path = dir.path().join("template.yaml");
    let edited = |edits: &[(&str, &str)]| {
        let text = edits.iter().fold(whole.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from:?}");
            text.replace(from, to)
        });
        std::fs::write(&path, text).unwrap();
        with_parameters(&path, &[])
    };
    let (code, lines) = edited(&[("SSEAlgorithm: AES256", "SSEAlgorithm: aws:kms")]);
    assert_eq!((code, codes(&lines)), (0, vec!["bucket-key", "bucket-key"]));
    let (code, lines) = edited(&[(", ExpirationInDays: 30", "")]);
    assert_eq!((code, codes(&lines)), (0, vec!["lifecycle-none"]));

    let unknown = [("MessageRetentionPeriod: 345600", "MessageRetentionPeriod: !ImportValue days")];
    let (code, lines) = edited(&unknown);
    assert_eq!((code, codes(&lines).len(), lines.len()), (0, 0, 1), "{lines:?}");
    assert!(lines[0]["what"].as_str().unwrap().starts_with("MessageRetentionPeriod of JobQueue"), "{lines:?}");
    let (code, lines) =
        edited(&[("Prefix: jobs/, ExpirationInDays: 30", "Prefix: jobs/, ExpirationInDays: !ImportValue days")]);
    assert_eq!((code, codes(&lines).len(), lines.len()), (0, 0, 1), "{lines:?}");
    assert!(lines[0]["what"].as_str().unwrap().starts_with("the lifecycle rules of Outbox"), "{lines:?}");
    let (code, lines) = edited(&[("Role: !GetAtt SweepRole.Arn", "Role: arn:aws:iam::1234:role/sweep")]);
    assert_eq!((code, codes(&lines).len()), (0, 0));
    assert!(lines[0]["what"].as_str().unwrap().starts_with("what Sweep may do"), "{lines:?}");

    // `reviews` may take 600 s, more than a function of 120 s.
    let (template, models) = (root().join("infra/template.yaml"), root().join("models"));
    let (code, lines) = doctor(&["--template", template.to_str().unwrap(), "--models", models.to_str().unwrap()]);
    assert!(code == 0 && !lines.is_empty() && codes(&lines).iter().all(|code| *code == "model-limits"), "{lines:?}");
}

/// Sends a request that is signed, since no crate but `cloud-aws` names the SDK. It has to succeed.
async fn signed(
    up: &Up,
    service: &'static str,
    method: reqwest::Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = Credentials::new(up.text("access_key"), up.text("secret_key"), None, None, "test").into();
    #[expect(clippy::disallowed_methods, reason = "signatures are judged by the machine's clock")]
    let time = SystemTime::now();
    let builder = v4::SigningParams::builder().identity(&identity).region(up.text("region")).name(service);
    let parameters = builder.time(time).settings(settings).build().unwrap().into();
    let signable = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new(method.as_str(), url, headers.iter().copied(), signable).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut request = up.http.request(method, url).body(body.to_owned());
    for (name, value) in headers.iter().copied().chain(instructions.headers()) {
        request = request.header(name, value);
    }
    let (status, answer) = support::answer(request).await;
    assert!((200..300).contains(&status), "{url}: {status} {answer}");
}

async fn set_queue_attribute(up: &Up, queue: &str, name: &str, value: &str) {
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AmazonSQS.SetQueueAttributes")];
    let body = json!({"QueueUrl": up.text(queue), "Attributes": {name: value}}).to_string();
    signed(up, "sqs", reqwest::Method::POST, &format!("{}/", up.text("sqs")), &headers, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_up_has_no_pitfall_and_what_is_done_to_it_is_named() {
    let data = tempfile::tempdir().unwrap();
    let up = Up::start(data.path()).await;
    let endpoints = data.path().join("endpoints.json");
    let look = |more: &[&str]| doctor(&[&["--endpoints", endpoints.to_str().unwrap()], more].concat());

    let (code, lines) = look(&["--probe"]);
    assert_eq!((code, codes(&lines).len()), (0, 0), "{lines:?}");
    let said: Vec<_> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert!(said.iter().any(|what| what.starts_with("functions, their roles")), "{said:?}");
    let left = up.aws().await.bucket(up.text("outbox"));
    let left = cloud::ObjectStore::list(&left, "doctor/", None, 10).await.unwrap();
    assert!(left.objects.is_empty(), "the probe deletes what it wrote");

    // It hides messages for 30 s, since its workers renew that.
    assert_eq!(codes(&look(&["--function-timeout", "5"]).1), [""; 0]);
    let (code, lines) = look(&["--function-timeout", "6"]);
    assert_eq!((code, codes(&lines)), (1, vec!["visibility-short"]));

    let s3 = |bucket: &str, part: &str| format!("{}/{}?{part}", up.text("s3"), up.text(bucket));
    let none = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>";
    signed(&up, "s3", reqwest::Method::PUT, &s3("inbox", "notification"), &[], none).await;
    assert_eq!(codes(&look(&[]).1), ["no-events", "no-events"], "uploads/ and drop/");
    signed(&up, "s3", reqwest::Method::DELETE, &s3("outbox", "cors"), &[], "").await;
    assert_eq!(codes(&look(&[]).1), ["no-events", "no-events", "outbox-cors"]);
    set_queue_attribute(&up, "dead_letter_queue_url", "MessageRetentionPeriod", "345600").await;
    let all = ["dead-letter-retention", "no-events", "no-events", "outbox-cors"];
    assert_eq!(codes(&look(&[]).1), all);

    // The settings may stand in the command instead; the dead-letter queue is found by the redrive policy.
    let by_flags = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["doctor", "--json", "--s3-url", up.text("s3"), "--sqs-url", up.text("sqs")]).args(more);
        command.args(["--inbox", up.text("inbox"), "--outbox", up.text("outbox"), "--queue-url", up.text("queue_url")]);
        command.env("AWS_REGION", up.text("region")).env("AWS_ACCESS_KEY_ID", up.text("access_key"));
        let output = command.env("AWS_SECRET_ACCESS_KEY", up.text("secret_key")).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    assert_eq!(codes(&by_flags(&[])), all);
    let lines = by_flags(&["--dead-letter-queue-url", up.text("queue_url")]);
    assert_eq!(codes(&lines), ["dead-letter-queue-other", "no-events", "no-events", "outbox-cors"]);

    set_queue_attribute(&up, "queue_url", "RedrivePolicy", "").await;
    assert_eq!(codes(&look(&[]).1), ["no-dead-letter-queue", "no-events", "no-events", "outbox-cors"]);
    set_queue_attribute(&up, "queue_url", "MessageRetentionPeriod", "3600").await;
    let policy = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]});
    set_queue_attribute(&up, "queue_url", "Policy", &policy.to_string()).await;
    let (_, lines) = look(&[]);
    let found =
        ["retention-short", "no-dead-letter-queue", "queue-policy-open", "no-events", "no-events", "outbox-cors"];
    assert_eq!(codes(&lines), found);
}

/// As S3 answers whoever may not list a bucket.
#[tokio::test(flavor = "multi_thread")]
async fn absent_keys_that_are_answered_403_are_found() {
    let data = tempfile::tempdir().unwrap();
    let config = Config {
        absent_keys: AbsentKeys::Forbidden,
        ..Config::new(data.path().join("cloud"), "AKIDLOCAL", "a secret")
    };
    let (region, stack) = (config.region.clone(), Stack::default());
    let cloud = LocalCloud::start(config).await.unwrap();
    cloud.provision(&stack).await.unwrap();
    let endpoints = json!({
        "api": "", "s3": cloud.s3_endpoint(), "sqs": cloud.sqs_endpoint(), "region": region, "access_key": "AKIDLOCAL",
        "secret_key": "a secret", "inbox": stack.inbox, "outbox": stack.outbox, "queue_url": cloud.queue_url(&stack.queue),
        "dead_letter_queue_url": cloud.queue_url(&stack.dead_letter_queue),
    });
    let path = data.path().join("endpoints.json");
    std::fs::write(&path, endpoints.to_string()).unwrap();
    let (code, lines) = doctor(&["--endpoints", path.to_str().unwrap()]);
    assert_eq!((code, codes(&lines)), (1, vec!["no-list-bucket", "no-list-bucket"]), "{lines:?}");
    cloud.shutdown().await;
}
