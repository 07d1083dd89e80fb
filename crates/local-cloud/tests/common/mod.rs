//! A local cloud for one test, and a client that signs by hand.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::future::Future;
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
use local_cloud::{Config, LocalCloud, Stack};
use serde_json::{Value, json};
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
}

impl Client {
    pub fn new(s3: &str, sqs: &str) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { http, s3: s3.into(), sqs: sqs.into(), secret: SECRET.into() }
    }

    pub async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a valid request");
        let answered = tokio::time::timeout(PATIENCE + PATIENCE, self.http.request(request)).await;
        let (parts, body) = answered.expect("answers in time").expect("answers").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn sign(&self, request: &Signing<'_>) -> aws_sigv4::http_request::SigningInstructions {
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
            (Some(body), _) => SignableBody::Bytes(body),
            (None, Some(_)) => SignableBody::UnsignedPayload,
            (None, None) => SignableBody::StreamingUnsignedPayloadTrailer,
        };
        let headers = request.headers.iter().copied();
        let signable = SignableRequest::new(request.method, request.url, headers, body).expect("signable");
        sign(signable, &parameters).expect("signs").into_parts().0
    }

    /// A signed S3 request; `path` is as it goes over the wire, query included.
    pub async fn s3(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.s3_at(machine_time(), method, path, headers, body).await
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
            body: None,
            time: machine_time(),
            expires: None,
        };
        let instructions = self.sign(&signing);
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(instructions.headers());
        self.send(method, &url, &all, body).await
    }

    pub async fn s3_at(
        &self,
        time: SystemTime,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let url = format!("{}{path}", self.s3);
        let signing = Signing {
            service: "s3",
            region: REGION,
            method,
            url: &url,
            headers,
            body: Some(body),
            time,
            expires: None,
        };
        let instructions = self.sign(&signing);
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(instructions.headers());
        self.send(method, &url, &all, body).await
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
            body: None,
            time: presigning.time,
            expires: Some(presigning.expires),
        };
        let instructions = self.sign(&signing);
        let mut request = Request::builder().uri(&url).body(()).expect("a valid URL");
        instructions.apply_to_request_http1x(&mut request);
        request.uri().to_string()
    }

    pub async fn sqs(&self, action: &str, input: Value) -> Answer {
        self.sqs_at(machine_time(), REGION, action, input).await
    }

    pub async fn sqs_at(&self, time: SystemTime, region: &str, action: &str, input: Value) -> Answer {
        let (url, body) = (format!("{}/", self.sqs), input.to_string());
        let target = format!("AmazonSQS.{action}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let signing = Signing {
            service: "sqs",
            region,
            method: "POST",
            url: &url,
            headers: &headers,
            body: Some(body.as_bytes()),
            time,
            expires: None,
        };
        let instructions = self.sign(&signing);
        let mut all = headers.to_vec();
        all.extend(instructions.headers());
        self.send("POST", &url, &all, body.as_bytes()).await
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

struct Signing<'a> {
    service: &'a str,
    region: &'a str,
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Option<&'a [u8]>,
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
