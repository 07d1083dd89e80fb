//! The SDK clients pass the conformance suites: against the local cloud, over HTTP and through pipes within this process, and
//! against real AWS when these are set, each for its own test:
//!
//! - `MILLPOND_TEST_AWS_BUCKET`: a bucket's name; the tests keep to the prefix `millpond-conformance/`.
//! - `MILLPOND_TEST_AWS_QUEUE_URL` and `MILLPOND_TEST_AWS_DEAD_LETTER_QUEUE_URL`: a queue with a visibility timeout of
//!   two seconds and a maximum receive count of four, which moves messages to the other. The tests delete what they
//!   find on both.

mod in_process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cloud::conformance::{self, Bucket, Pace, QueuePair};
use cloud::{
    Entropy, GetOptions, ObjectStore, OsEntropy, PresignPut, PresignedRequest, PutOptions, Queue, QueueError,
    StoreError,
};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use job::id::Sha256;
use local_cloud::{Config, LocalCloud, Stack};
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};

const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_RECEIVE_COUNT: u32 = 4;

/// A local cloud of its own, and a way in.
struct Local {
    cloud: Arc<LocalCloud>,
    aws: Aws,
    stacks: AtomicU32,
    _data: tempfile::TempDir,
}

impl Local {
    async fn start() -> Self {
        let mut local = Self::start_in_process().await;
        local.aws = Aws::connect(&endpoint(&local.cloud)).await;
        local
    }

    /// The same, reached without a port.
    async fn start_in_process() -> Self {
        let data = tempfile::tempdir().unwrap();
        let cloud = LocalCloud::start(Config::new(data.path(), "AKIDLOCAL", "a secret")).await.unwrap();
        let cloud = Arc::new(cloud);
        let aws = Aws::connect_through(&endpoint(&cloud), in_process::Pipes(Arc::clone(&cloud))).await;
        Self { cloud, aws, stacks: AtomicU32::new(0), _data: data }
    }

    async fn fresh_stack(&self) -> Stack {
        let number = self.stacks.fetch_add(1, Ordering::Relaxed);
        let stack = Stack {
            inbox: format!("inbox-{number}"),
            outbox: format!("outbox-{number}"),
            queue: format!("queue-{number}"),
            dead_letter_queue: format!("dead-letters-{number}"),
            visibility_timeout: VISIBILITY_TIMEOUT,
            max_receive_count: MAX_RECEIVE_COUNT,
            ..Stack::default()
        };
        self.cloud.provision(&stack).await.unwrap();
        stack
    }

    async fn bucket(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.aws.bucket(self.fresh_stack().await.outbox))
    }

    fn queue(&self, name: &str) -> Arc<dyn Queue> {
        Arc::new(self.aws.queue(self.cloud.queue_url(name)))
    }
}

fn endpoint(cloud: &LocalCloud) -> Endpoint {
    Endpoint {
        region: Some("us-east-1".to_owned()),
        s3_url: Some(cloud.s3_endpoint()),
        sqs_url: Some(cloud.sqs_endpoint()),
        credentials: Some(StaticCredentials { access_key: "AKIDLOCAL".to_owned(), secret_key: "a secret".to_owned() }),
        force_path_style: true,
    }
}

async fn the_object_store_conforms(local: Local) {
    let failures =
        conformance::object_store(Pace::AtOnce, async || Bucket { store: local.bucket().await, prefix: String::new() })
            .await;
    conformance::assert_none(&failures);
}

async fn the_queue_conforms(local: Local) {
    let failures = conformance::queue(Pace::AtOnce, async || {
        let stack = local.fresh_stack().await;
        QueuePair {
            queue: local.queue(&stack.queue),
            dead_letters: local.queue(&stack.dead_letter_queue),
            visibility_timeout: VISIBILITY_TIMEOUT,
            max_receive_count: MAX_RECEIVE_COUNT,
        }
    })
    .await;
    conformance::assert_none(&failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_object_store_conforms() {
    the_object_store_conforms(Local::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_object_store_conforms_in_process() {
    the_object_store_conforms(Local::start_in_process().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_queue_conforms() {
    the_queue_conforms(Local::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_queue_conforms_in_process() {
    the_queue_conforms(Local::start_in_process().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_requests_hold_on_the_local_cloud() {
    let local = Local::start().await;
    presigned_uploads_are_for_one_body_once(local.bucket().await, "").await;
    presigned_downloads_are_for_one_object(local.bucket().await, "").await;
    presigned_requests_expire(local.bucket().await, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_apart() {
    let local = Local::start().await;
    let Stack { outbox, .. } = local.fresh_stack().await;

    let put = local.aws.bucket("no-such-bucket").put("x", Bytes::new(), PutOptions::default()).await;
    assert!(matches!(put, Err(StoreError::Invalid(_))), "{put:?}");
    let sent = local.queue("no-such-queue").send("x", None, Duration::ZERO).await;
    assert!(matches!(sent, Err(QueueError::Invalid(_))), "{sent:?}");

    let mut intruder = endpoint(&local.cloud);
    intruder.credentials.as_mut().unwrap().secret_key = "a guess".to_owned();
    let intruder = Aws::connect(&intruder).await;
    let got = intruder.bucket(&outbox).get("x", GetOptions::default()).await;
    assert!(matches!(got, Err(StoreError::Denied(_))), "{got:?}");
    let head = intruder.bucket(&outbox).head("x").await;
    assert!(matches!(head, Err(StoreError::Denied(_))), "{head:?}");
    let sent = intruder.queue(local.cloud.queue_url("queue-0")).send("x", None, Duration::ZERO).await;
    assert!(matches!(sent, Err(QueueError::Denied(_))), "{sent:?}");

    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = Endpoint { s3_url: Some(nobody.clone()), sqs_url: Some(nobody), ..endpoint(&local.cloud) };
    let aws = Aws::connect(&endpoint).await;
    let (got, sent) = tokio::join!(async { aws.bucket(&outbox).get("x", GetOptions::default()).await }, async {
        aws.queue("http://127.0.0.1/x").send("x", None, Duration::ZERO).await
    },);
    assert!(matches!(got, Err(StoreError::Unavailable(_))), "{got:?}");
    assert!(matches!(sent, Err(QueueError::Unavailable(_))), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aws_bucket_conforms() {
    let Ok(name) = std::env::var("MILLPOND_TEST_AWS_BUCKET") else {
        println!("skipped: MILLPOND_TEST_AWS_BUCKET names no bucket to test against");
        return;
    };
    let store: Arc<dyn ObjectStore> = Arc::new(Aws::connect(&Endpoint::default()).await.bucket(name));
    let fresh_prefix = || format!("millpond-conformance/{}/", OsEntropy.job_id());
    let failures =
        conformance::object_store(Pace::AtOnce, async || Bucket { store: store.clone(), prefix: fresh_prefix() }).await;
    conformance::assert_none(&failures);
    presigned_uploads_are_for_one_body_once(store.clone(), &fresh_prefix()).await;
    presigned_downloads_are_for_one_object(store.clone(), &fresh_prefix()).await;
    presigned_requests_expire(store, &fresh_prefix()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aws_queue_conforms() {
    let url = |name| std::env::var(name).ok();
    let (Some(queue), Some(dead_letters)) =
        (url("MILLPOND_TEST_AWS_QUEUE_URL"), url("MILLPOND_TEST_AWS_DEAD_LETTER_QUEUE_URL"))
    else {
        println!(
            "skipped: MILLPOND_TEST_AWS_QUEUE_URL and MILLPOND_TEST_AWS_DEAD_LETTER_QUEUE_URL name no queues to test \
             against"
        );
        return;
    };
    let aws = Aws::connect(&Endpoint::default()).await;
    let failures = conformance::queue(Pace::OneByOne, async || QueuePair {
        queue: Arc::new(aws.queue(&queue)),
        dead_letters: Arc::new(aws.queue(&dead_letters)),
        visibility_timeout: VISIBILITY_TIMEOUT,
        max_receive_count: MAX_RECEIVE_COUNT,
    })
    .await;
    conformance::assert_none(&failures);
}

/// A client that knows nothing but the request that it was given.
async fn execute(request: &PresignedRequest, body: Option<&[u8]>) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let mut call = client.request(request.method.parse().unwrap(), &request.url);
    for (name, value) in &request.headers {
        call = call.header(name.parse::<HeaderName>().unwrap(), value);
    }
    if let Some(body) = body {
        // Said out loud, because hyper leaves the header of an empty body out, and this one is signed.
        call = call.header(CONTENT_LENGTH, body.len()).body(body.to_vec());
    }
    call.send().await.unwrap()
}

const BODY: &[u8] = b"what the client promised to send";

fn upload_of_body(expires_in: Duration) -> PresignPut {
    PresignPut {
        size_bytes: BODY.len() as u64,
        content_type: "image/png".to_owned(),
        sha256: Some(Sha256::of(BODY)),
        expires_in,
    }
}

async fn presigned_uploads_are_for_one_body_once(store: Arc<dyn ObjectStore>, prefix: &str) {
    let key = format!("{prefix}uploads/한 글+1.png");
    let good = store.presign_put(&key, upload_of_body(Duration::from_secs(300))).await.unwrap();
    let expected = BTreeMap::from([
        ("content-type".to_owned(), "image/png".to_owned()),
        ("if-none-match".to_owned(), "*".to_owned()),
        ("x-amz-checksum-sha256".to_owned(), good.headers["x-amz-checksum-sha256"].clone()),
    ]);
    assert_eq!(good.headers, expected);
    let signed = "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256";
    assert!(good.url.contains(signed), "{}", good.url);
    assert!(!good.url.contains("crc"), "{}", good.url);

    let with = |name: &str, value: &str| {
        let mut changed = good.clone();
        changed.headers.insert(name.to_owned(), value.to_owned());
        changed
    };
    let mut without_condition = good.clone();
    without_condition.headers.remove("if-none-match");
    let mut without_digest = good.clone();
    without_digest.headers.remove("x-amz-checksum-sha256");
    let other_key = PresignedRequest { url: good.url.replace("1.png", "2.png"), ..good.clone() };
    let longer_life = PresignedRequest { url: good.url.replace("Expires=300", "Expires=900"), ..good.clone() };
    assert_ne!((&other_key.url, &longer_life.url), (&good.url, &good.url));
    let same_length = BODY.to_ascii_uppercase();
    let longer = [BODY, b"."].concat();
    for (what, request, body) in [
        ("a longer body", &good, longer.as_slice()),
        ("a shorter body", &good, &BODY[1..]),
        ("another body", &good, &same_length),
        ("another type", &with("content-type", "text/html"), BODY),
        ("a copy", &with("x-amz-copy-source", "other/key"), BODY),
        ("no condition", &without_condition, BODY),
        ("no digest", &without_digest, BODY),
        ("another key", &other_key, BODY),
        ("a longer life", &longer_life, BODY),
    ] {
        let status = execute(request, Some(body)).await.status();
        assert!(status.is_client_error(), "{what} was answered {status}");
        let head = store.head(&key).await;
        assert!(matches!(head, Err(StoreError::NotFound)), "{what} left {head:?}");
    }

    let uploaded = execute(&good, Some(BODY)).await;
    assert_eq!(uploaded.status(), 200, "{:?}", uploaded.text().await);
    let got = store.get(&key, GetOptions::default()).await.unwrap();
    assert_eq!((got.body.as_ref(), got.meta.content_type.as_deref()), (BODY, Some("image/png")));
    assert_eq!(execute(&good, Some(BODY)).await.status(), 412, "the second time");
    assert_eq!(store.head(&key).await.unwrap().last_modified, got.meta.last_modified);

    let key = format!("{prefix}uploads/empty");
    let empty = PresignPut { size_bytes: 0, sha256: None, ..upload_of_body(Duration::from_secs(300)) };
    let empty = store.presign_put(&key, empty).await.unwrap();
    assert!(execute(&empty, Some(b"not empty")).await.status().is_client_error());
    assert_eq!(execute(&empty, Some(b"")).await.status(), 200);
}

async fn presigned_downloads_are_for_one_object(store: Arc<dyn ObjectStore>, prefix: &str) {
    let key = format!("{prefix}results/1/결과 a+b.png");
    let get = store.presign_get(&key, Duration::from_secs(300), Some("결과 \"1\".png")).await.unwrap();
    assert_eq!(execute(&get, None).await.status(), 404, "nothing is there yet");
    let options = PutOptions { content_type: Some("image/png".to_owned()), ..PutOptions::default() };
    store.put(&key, Bytes::from_static(BODY), options).await.unwrap();

    let got = execute(&get, None).await;
    assert_eq!(got.status(), 200);
    assert_eq!(got.headers()[CONTENT_TYPE], "image/png");
    assert_eq!(got.headers()[CONTENT_DISPOSITION], "attachment; filename*=UTF-8''%EA%B2%B0%EA%B3%BC%20%221%22.png");
    assert_eq!(got.bytes().await.unwrap(), BODY);

    let other = PresignedRequest { url: get.url.replace("results/1", "results/2"), ..get.clone() };
    assert_ne!(other.url, get.url);
    assert_eq!(execute(&other, None).await.status(), 403);
    let put = PresignedRequest { method: "PUT".to_owned(), ..get };
    assert_eq!(execute(&put, Some(b"x")).await.status(), 403);
}

async fn presigned_requests_expire(store: Arc<dyn ObjectStore>, prefix: &str) {
    let key = format!("{prefix}short-lived");
    let put = store.presign_put(&key, upload_of_body(Duration::from_secs(2))).await.unwrap();
    let get = store.presign_get(&key, Duration::from_secs(2), None).await.unwrap();
    let expired = async {
        // Absent and so 404, until the signature is not looked at any more.
        while execute(&get, None).await.status() != 403 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), expired).await.expect("a URL of two seconds expires");
    assert_eq!(execute(&put, Some(BODY)).await.status(), 403);
    assert!(matches!(store.head(&key).await, Err(StoreError::NotFound)));
}
