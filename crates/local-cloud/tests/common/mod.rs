//! A local cloud for one test, and a client that signs by hand.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use local_cloud::{Config, LocalCloud, Stack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const REGION: &str = "us-east-1";
pub const KEY: &str = "local";
pub const SECRET: &str = "local-secret";
/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::disallowed_methods, reason = "signatures are judged by the machine's clock")]
pub fn machine_time() -> SystemTime {
    SystemTime::now()
}

pub fn config(directory: &TempDir) -> Config {
    Config::new(directory.path().join("data"), KEY, SECRET)
}

/// The default stack, running in a directory of its own.
pub struct Running {
    pub cloud: LocalCloud,
    pub client: Client,
    pub directory: TempDir,
    pub stack: Stack,
}

pub async fn start() -> Running {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = config(&directory);
    start_with(directory, running, Stack::default()).await
}

pub async fn start_with(directory: TempDir, config: Config, stack: Stack) -> Running {
    let cloud = LocalCloud::start(config).await.expect("starts");
    cloud.provision(&stack).await.expect("provisions");
    let client = Client::new(&cloud.s3_endpoint(), &cloud.sqs_endpoint());
    Running { cloud, client, directory, stack }
}

/// A clock that a test moves.
#[derive(Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

pub async fn start_with_clock() -> (Running, Hands) {
    start_with_clock_and(|_| {}).await
}

/// With a configuration that `change` has changed.
pub async fn start_with_clock_and(change: impl FnOnce(&mut Config)) -> (Running, Hands) {
    let hands = Hands(Arc::new(AtomicI64::new(1_800_000_000_000)));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(&directory);
    let reading = hands.clone();
    config.clock =
        Arc::new(move || Timestamp::from_millisecond(reading.0.load(Ordering::SeqCst)).expect("a time in range"));
    change(&mut config);
    (start_with(directory, config, Stack::default()).await, hands)
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Fails unless the status is `status`; the answer's text tells why.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    #[track_caller]
    pub fn expect_code(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let found = answer.text().contains(&format!("<Code>{code}</Code>"));
        assert!(found, "wanted {code}: {}", answer.text());
        answer
    }

    pub fn etag(&self) -> String {
        self.headers["etag"].to_str().expect("text").to_owned()
    }
}

#[derive(Clone)]
pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    pub s3: String,
    pub sqs: String,
    pub secret: String,
    pub region: String,
}

impl Client {
    pub fn new(s3: &str, sqs: &str) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { http, s3: s3.into(), sqs: sqs.into(), secret: SECRET.into(), region: REGION.into() }
    }

    pub async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, url, headers, body).await.expect("answers")
    }

    /// Fails if the connection breaks before the whole answer has come.
    pub async fn try_send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a valid request");
        let answered = async {
            let (parts, body) = self.http.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        tokio::time::timeout(PATIENCE + PATIENCE, answered).await.expect("answers in time")
    }

    /// What to add to the request, and the signature.
    fn sign(&self, request: &Signing<'_>) -> (aws_sigv4::http_request::SigningInstructions, String) {
        let mut settings = SigningSettings::default();
        if request.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if let Some(expires) = request.expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        }
        let identity = Credentials::new(KEY, self.secret.as_str(), None, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(request.region)
            .name(request.service)
            .time(request.time)
            .settings(settings)
            .build()
            .expect("complete parameters")
            .into();
        let body = match (request.body, request.expires) {
            (Payload::Bytes(body), _) => SignableBody::Bytes(body),
            (Payload::SignedChunks, _) => SignableBody::StreamingSignedPayloadTrailer,
            (Payload::Unsigned, Some(_)) => SignableBody::UnsignedPayload,
            (Payload::Unsigned, None) => SignableBody::StreamingUnsignedPayloadTrailer,
        };
        let headers = request.headers.iter().copied();
        let signable = SignableRequest::new(request.method, request.url, headers, body).expect("signable");
        sign(signable, &parameters).expect("signs").into_parts()
    }

    /// A signed S3 request; `path` is as it goes over the wire, query included.
    pub async fn s3(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.s3_at(machine_time(), method, path, headers, body).await
    }

    /// As `s3`, but fails if the connection breaks before the whole answer has come.
    pub async fn try_s3(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        self.try_s3_at(machine_time(), method, path, headers, body).await
    }

    /// A signed request whose body is `aws-chunked` with a trailer, unsigned, as SDKs send it.
    pub async fn s3_chunked(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.s3);
        let signing = Signing {
            service: "s3",
            region: REGION,
            method,
            url: &url,
            headers,
            body: Payload::Unsigned,
            time: machine_time(),
            expires: None,
        };
        let (instructions, _) = self.sign(&signing);
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(instructions.headers());
        self.send(method, &url, &all, body).await
    }

    /// Puts `body` as one `aws-chunked` chunk that is signed, with a signed trailer, as SDKs do over plain HTTP. `change` may
    /// change what was signed.
    pub async fn s3_signed_chunks(
        &self,
        path: &str,
        body: &[u8],
        trailer: &[(&str, &str)],
        change: impl FnOnce(String) -> String,
    ) -> Answer {
        let (url, time, length) = (format!("{}{path}", self.s3), machine_time(), body.len().to_string());
        let names: Vec<&str> = trailer.iter().map(|(name, _)| *name).collect();
        let names = names.join(",");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", length.as_str()),
            ("x-amz-trailer", names.as_str()),
        ];
        let signing = Signing {
            service: "s3",
            region: REGION,
            method: "PUT",
            url: &url,
            headers: &headers,
            body: Payload::SignedChunks,
            time,
            expires: None,
        };
        let (instructions, seed) = self.sign(&signing);
        // <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
        let date = instructions.headers().find(|(name, _)| *name == "x-amz-date").expect("signed").1.to_owned();
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let next = |kind: &str, before: &str, of: String| {
            let key = v4::generate_signing_key(&self.secret, time, REGION, "s3");
            let signed = format!("AWS4-HMAC-SHA256-{kind}\n{date}\n{scope}\n{before}\n{of}");
            v4::calculate_signature(key, signed.as_bytes())
        };
        let chunk = |bytes: &[u8], before: &str| next("PAYLOAD", before, format!("{}\n{}", digest(b""), digest(bytes)));
        let first = chunk(body, &seed);
        let last = chunk(b"", &first);
        let lines = |end: &str| trailer.iter().map(|(name, value)| format!("{name}:{value}{end}")).collect::<String>();
        let of_trailer = next("TRAILER", &last, digest(lines("\n").as_bytes()));
        let text = format!(
            "{:x};chunk-signature={first}\r\n{}\r\n0;chunk-signature={last}\r\n{}x-amz-trailer-signature:{of_trailer}\r\n\r\n",
            body.len(),
            String::from_utf8_lossy(body),
            lines("\r\n"),
        );
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(instructions.headers());
        self.send("PUT", &url, &all, change(text).as_bytes()).await
    }

    pub async fn s3_at(
        &self,
        time: SystemTime,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_s3_at(time, method, path, headers, body).await.expect("answers")
    }

    async fn try_s3_at(
        &self,
        time: SystemTime,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.s3);
        let signing = Signing {
            service: "s3",
            region: &self.region,
            method,
            url: &url,
            headers,
            body: Payload::Bytes(body),
            time,
            expires: None,
        };
        let (instructions, _) = self.sign(&signing);
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(instructions.headers());
        self.try_send(method, &url, &all, body).await
    }

    /// A presigned URL that signs `headers` as well.
    pub fn presign(&self, method: &str, path: &str, headers: &[(&str, &str)], presigning: Presigning) -> String {
        let url = format!("{}{path}", self.s3);
        let signing = Signing {
            service: "s3",
            region: presigning.region,
            method,
            url: &url,
            headers,
            body: Payload::Unsigned,
            time: presigning.time,
            expires: Some(presigning.expires),
        };
        let (instructions, _) = self.sign(&signing);
        let mut request = Request::builder().uri(&url).body(()).expect("a valid URL");
        instructions.apply_to_request_http1x(&mut request);
        request.uri().to_string()
    }

    pub async fn sqs(&self, action: &str, input: Value) -> Answer {
        self.sqs_at(machine_time(), REGION, action, input).await
    }

    pub async fn sqs_at(&self, time: SystemTime, region: &str, action: &str, input: Value) -> Answer {
        self.try_sqs_at(time, region, action, input).await.expect("answers")
    }

    /// As `sqs`, but fails if the connection breaks before the whole answer has come.
    pub async fn try_sqs(&self, action: &str, input: Value) -> anyhow::Result<Answer> {
        self.try_sqs_at(machine_time(), REGION, action, input).await
    }

    async fn try_sqs_at(&self, time: SystemTime, region: &str, action: &str, input: Value) -> anyhow::Result<Answer> {
        let (url, body) = (format!("{}/", self.sqs), input.to_string());
        let target = format!("AmazonSQS.{action}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let signing = Signing {
            service: "sqs",
            region,
            method: "POST",
            url: &url,
            headers: &headers,
            body: Payload::Bytes(body.as_bytes()),
            time,
            expires: None,
        };
        let (instructions, _) = self.sign(&signing);
        let mut all = headers.to_vec();
        all.extend(instructions.headers());
        self.try_send("POST", &url, &all, body.as_bytes()).await
    }

    /// Creates a queue and returns its URL.
    pub async fn queue(&self, name: &str, attributes: Value) -> String {
        let answer = self.sqs("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        answer.expect(200).json()["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    pub async fn send_message(&self, queue: &str, body: &str) {
        self.sqs("SendMessage", json!({"QueueUrl": queue, "MessageBody": body})).await.expect(200);
    }

    /// Receives up to ten messages with all their attributes; `more` adds to the request.
    pub async fn receive(&self, queue: &str, more: Value) -> Vec<Value> {
        let mut input = json!({
            "QueueUrl": queue,
            "MaxNumberOfMessages": 10,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        let answer = self.sqs("ReceiveMessage", input).await.expect(200);
        answer.json()["Messages"].as_array().cloned().unwrap_or_default()
    }

    /// Receives and deletes until the queue has nothing visible left; returns the bodies.
    pub async fn drain(&self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let messages = self.receive(queue, json!({"VisibilityTimeout": 600})).await;
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let handle = &message["ReceiptHandle"];
                self.sqs("DeleteMessage", json!({"QueueUrl": queue, "ReceiptHandle": handle})).await.expect(200);
                bodies.push(message["Body"].as_str().expect("text").to_owned());
            }
        }
    }
}

/// How a body is signed for.
#[derive(Clone, Copy)]
enum Payload<'a> {
    /// By its digest.
    Bytes(&'a [u8]),
    /// Chunk by chunk, and its trailer.
    SignedChunks,
    Unsigned,
}

struct Signing<'a> {
    service: &'a str,
    region: &'a str,
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Payload<'a>,
    time: SystemTime,
    expires: Option<Duration>,
}

#[derive(Clone, Copy)]
pub struct Presigning {
    pub time: SystemTime,
    pub expires: Duration,
    pub region: &'static str,
}

impl Default for Presigning {
    fn default() -> Self {
        Self { time: machine_time(), expires: Duration::from_secs(900), region: REGION }
    }
}

/// The object keys of event messages, in order.
pub fn event_keys(bodies: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = bodies
        .iter()
        .filter_map(|body| {
            let event: Value = serde_json::from_str(body).ok()?;
            Some(event["Records"][0]["s3"]["object"]["key"].as_str()?.to_owned())
        })
        .collect();
    keys.sort();
    keys
}

/// Asks again and again until the answer is `Some`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it happens in time")
}
