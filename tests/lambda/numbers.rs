//! The template's numbers beside those of the code, and beside each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, header};
use cloud::{ObjectStore, OsEntropy, PresignPut, SystemClock};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use lambda_runtime::tower::ServiceExt;
use ledger::Ledger;
use local_cloud::Stack;
use registry::Registry;
use serde_json::{Value, json};

use crate::installed::root;
use crate::template::{REGION, Template, number, text, texts};
use crate::world::FUNCTIONS;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What an HTTP API waits. <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const HTTP_API: Duration = Duration::from_secs(30);

fn template(parameters: &[(&str, &str)]) -> Template {
    Template::new(parameters, "http://sqs")
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs(number(value))
}

#[test]
fn timeouts_and_the_queues_fit_each_other() {
    for timeout in ["60", "120", "300", "600", "900"] {
        let template = template(&[("WorkerTimeout", timeout)]);
        let worker = template.function("Worker");
        let variables = &worker["Environment"]["Variables"];
        assert_eq!(text(&worker["Timeout"]), timeout);
        assert_eq!(text(&variables["MILLPOND_FUNCTION_TIMEOUT_SECONDS"]), timeout);
        let mapping = &worker["Events"]["Jobs"]["Properties"];
        assert_eq!(mapping["BatchSize"], variables["MILLPOND_BATCH_SIZE"]);
        let visibility = seconds(&template.properties("JobQueue")["VisibilityTimeout"]);
        // https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        let window = seconds(&mapping["MaximumBatchingWindowInSeconds"]);
        assert_eq!(visibility, seconds(&worker["Timeout"]) * 6 + window, "at {timeout}");
        for function in FUNCTIONS {
            let told = &template.function(function)["Environment"]["Variables"]["MILLPOND_VISIBILITY_TIMEOUT_SECONDS"];
            assert_eq!(seconds(told), visibility, "{function} at {timeout}");
        }
    }
    let template = template(&[]);
    let (jobs, dead) = (template.properties("JobQueue"), template.properties("DeadLetterQueue"));
    assert!(seconds(&dead["VisibilityTimeout"]) >= seconds(&template.function("DeadLetters")["Timeout"]) * 6);
    assert!(
        number(&template.function("Worker")["Events"]["Jobs"]["Properties"]["ScalingConfig"]["MaximumConcurrency"])
            >= 2
    );
    // The laptop's are the same.
    let stack = Stack::default();
    assert_eq!(seconds(&jobs["VisibilityTimeout"]), stack.visibility_timeout);
    assert_eq!(seconds(&jobs["MessageRetentionPeriod"]), stack.retention);
    assert_eq!(seconds(&dead["MessageRetentionPeriod"]), stack.dead_letter_retention);
    assert_eq!(number(&jobs["RedrivePolicy"]["maxReceiveCount"]), u64::from(stack.max_receive_count));
    // A message's age counts from its first sending.
    assert!(seconds(&dead["MessageRetentionPeriod"]) > seconds(&jobs["MessageRetentionPeriod"]));
}

#[test]
fn the_codes_defaults_are_the_templates() {
    let template = template(&[]);
    let (worker, api) = (worker::Settings::default(), api::Settings::default());
    let jobs = template.properties("JobQueue");
    assert_eq!(seconds(&jobs["VisibilityTimeout"]), worker.visibility_timeout);
    // Each failed attempt is a receive, and so are some that never began.
    assert!(number(&jobs["RedrivePolicy"]["maxReceiveCount"]) > u64::from(worker.max_attempts));
    for queue_deadline in [worker.queue_deadline, api.queue_deadline] {
        assert!(queue_deadline < seconds(&jobs["MessageRetentionPeriod"]));
    }
    let function = seconds(&template.function("Api")["Timeout"]);
    assert!(function < HTTP_API);
    assert!(api.max_prefer_wait < function);
}

#[test]
fn what_belongs_to_a_job_lives_as_long_as_it() {
    let template = template(&[]);
    let mut lives = Vec::new();
    for (bucket, prefixes) in [("Inbox", &["uploads/"][..]), ("Outbox", &["jobs/", "results/"])] {
        let properties = template.properties(bucket);
        let rules = properties["LifecycleConfiguration"]["Rules"].as_array().expect("rules");
        let expiring: Vec<_> = rules.iter().filter(|rule| rule.get("ExpirationInDays").is_some()).collect();
        assert_eq!(expiring.iter().map(|rule| text(&rule["Prefix"])).collect::<Vec<_>>(), prefixes, "of {bucket}");
        lives.extend(expiring.iter().map(|rule| DAY * u32::try_from(number(&rule["ExpirationInDays"])).expect("days")));
    }
    for retention in [worker::Settings::default().retention, api::Settings::default().retention] {
        assert!(lives.iter().all(|life| *life == retention), "{lives:?}");
    }
    // Above what SQS keeps a message at most.
    let longest = seconds(&template.properties("DeadLetterQueue")["MessageRetentionPeriod"]);
    assert!(lives.iter().all(|life| *life > longest));
}

#[tokio::test]
async fn browsers_may_send_what_a_presigned_upload_asks_for() {
    let inbox = template(&[]).properties("Inbox");
    let rule = &inbox["CorsConfiguration"]["CorsRules"][0];
    let put = PresignPut {
        size_bytes: 1,
        content_type: "application/json".into(),
        sha256: Some(job::Sha256::of(b"x")),
        expires_in: Duration::from_secs(900),
    };
    let signed = ledger().await.inbox.presign_put("uploads/x", put).await.expect("a URL");
    assert_eq!(rule["AllowedMethods"], json!([signed.method]));
    let sent: BTreeSet<_> = signed.headers.keys().map(|name| name.to_lowercase()).collect();
    assert_eq!(sent, texts(&rule["AllowedHeaders"]).into_iter().collect());

    let outbox = template(&[]).properties("Outbox");
    let rule = &outbox["CorsConfiguration"]["CorsRules"][0];
    let signed = ledger().await.outbox.presign_get("results/x", Duration::from_secs(900), None).await.expect("a URL");
    assert!(texts(&rule["AllowedMethods"]).contains(&signed.method) && signed.headers.is_empty(), "{signed:?}");
}

/// A function URL answers preflights itself, so it must say what the router says.
#[tokio::test]
async fn a_function_url_allows_what_the_router_does() {
    let registry = Registry::directory(root().join("models"));
    let router = api::router(api::Api::new(ledger().await, Arc::new(registry), api::Settings::default()));
    let ask = async |method: &str| {
        let request = Request::builder().method(method).uri("/healthz").header(header::ORIGIN, "https://example.com");
        let request =
            request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST").body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("an answer")
    };
    let (preflight, plain) = (ask("OPTIONS").await, ask("GET").await);
    let listed = |response: &Response<Body>, name| -> BTreeSet<String> {
        let value = response.headers()[name].to_str().expect("a text");
        value.split(',').map(|name| name.trim().to_lowercase()).collect()
    };
    let cors = template(&[("ApiKind", "function-url")]).properties("FunctionUrl")["Cors"].clone();
    let stated =
        |name: &str| -> BTreeSet<String> { texts(&cors[name]).iter().map(|name| name.to_lowercase()).collect() };
    assert_eq!(listed(&preflight, header::ACCESS_CONTROL_ALLOW_METHODS), stated("AllowMethods"));
    assert_eq!(listed(&plain, header::ACCESS_CONTROL_EXPOSE_HEADERS), stated("ExposeHeaders"));
    assert_eq!(preflight.headers()[header::ACCESS_CONTROL_MAX_AGE], text(&cors["MaxAge"]));
    // Signatures bring headers of their own, and take the place of keys.
    let mut expected = listed(&preflight, header::ACCESS_CONTROL_ALLOW_HEADERS);
    assert!(expected.remove("x-api-key"));
    expected.extend(["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"].map(str::to_owned));
    assert_eq!(stated("AllowHeaders"), expected);
    // An HTTP API's own would take the router's place. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    assert_eq!(template(&[]).properties("HttpApi").get("CorsConfiguration"), None);
}

/// Over buckets and a queue that nothing here calls.
async fn ledger() -> Ledger {
    let credentials = StaticCredentials { access_key: "AKIAEXAMPLE".into(), secret_key: "secret".into() };
    let aws = Aws::connect(&Endpoint {
        region: Some(REGION.into()),
        s3_url: Some("http://127.0.0.1:9".into()),
        sqs_url: Some("http://127.0.0.1:9".into()),
        credentials: Some(credentials),
        force_path_style: true,
    })
    .await;
    let bucket = |name: &str| -> Arc<dyn ObjectStore> { Arc::new(aws.bucket(name)) };
    Ledger::new(
        bucket("in"),
        bucket("out"),
        Arc::new(aws.queue("http://q")),
        Arc::new(SystemClock),
        Arc::new(OsEntropy),
    )
}
