//! An S3 and SQS to measure, and a client that costs little beside it: it signs as the SDKs do, and checks no more than the status.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use reqwest::Method;
use serde_json::{Value, json};

use crate::failure;

pub const KEY: &str = "bench";
pub const SECRET: &str = "bench-secret";
const REGION: &str = "us-east-1";
const BUCKET: &str = "millpond-bench";
const TIMEOUT: Duration = Duration::from_secs(60);

/// One that is measured.
pub struct Peer {
    pub name: &'static str,
    http: reqwest::Client,
    s3: String,
    sqs: String,
    queue: String,
}

impl Peer {
    pub fn new(name: &'static str, s3: String, sqs: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { name, http, s3, sqs, queue: String::new() })
    }

    /// Makes the bucket and the queue.
    pub async fn prepare(&mut self) -> anyhow::Result<()> {
        self.s3(Method::PUT, &format!("/{BUCKET}"), &[], &[]).await?;
        let created = self.sqs("CreateQueue", json!({"QueueName": BUCKET})).await?;
        created["QueueUrl"].as_str().context("no queue URL")?.clone_into(&mut self.queue);
        Ok(())
    }

    pub async fn put(&self, key: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<()> {
        self.s3(Method::PUT, &format!("/{BUCKET}/{key}"), headers, body).await?;
        Ok(())
    }

    /// Its length.
    pub async fn get(&self, key: &str) -> anyhow::Result<usize> {
        Ok(self.s3(Method::GET, &format!("/{BUCKET}/{key}"), &[], &[]).await?.bytes().await?.len())
    }

    pub async fn send(&self, body: &str) -> anyhow::Result<()> {
        self.sqs("SendMessage", json!({"QueueUrl": self.queue, "MessageBody": body})).await?;
        Ok(())
    }

    /// Whether there was one.
    pub async fn receive_and_delete(&self) -> anyhow::Result<bool> {
        let received = self.sqs("ReceiveMessage", json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 1})).await?;
        let Some(receipt) = received["Messages"][0]["ReceiptHandle"].as_str() else { return Ok(false) };
        self.sqs("DeleteMessage", json!({"QueueUrl": self.queue, "ReceiptHandle": receipt})).await?;
        Ok(true)
    }

    async fn s3(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<reqwest::Response> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        self.call("s3", settings, method, &format!("{}{path}", self.s3), headers, body).await
    }

    async fn sqs(&self, action: &str, input: Value) -> anyhow::Result<Value> {
        let target = format!("AmazonSQS.{action}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let (url, body) = (format!("{}/", self.sqs), input.to_string());
        let answer =
            self.call("sqs", SigningSettings::default(), Method::POST, &url, &headers, body.as_bytes()).await?;
        // DeleteMessage answers nothing.
        Ok(serde_json::from_slice(&answer.bytes().await?).unwrap_or_default())
    }

    async fn call(
        &self,
        service: &'static str,
        settings: SigningSettings,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<reqwest::Response> {
        let identity = Credentials::new(KEY, SECRET, None, None, "bench").into();
        #[expect(clippy::disallowed_methods, reason = "signatures are judged by the machine's clock")]
        let time = SystemTime::now();
        let builder = v4::SigningParams::builder().identity(&identity).region(REGION).name(service);
        let parameters = builder.time(time).settings(settings).build()?.into();
        let signable = SignableRequest::new(method.as_str(), url, headers.iter().copied(), SignableBody::Bytes(body))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let mut request = self.http.request(method, url).body(body.to_vec());
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if !status.is_success() {
            anyhow::bail!("it answers {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(answer)
    }
}

/// A moto server, killed when it is dropped.
pub struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts one and waits until it answers.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| {
            let message = format!("cannot run {}: {error}", program.display());
            failure::hint(message, "`pip install 'moto[server]'` brings moto_server")
        })?;
        let mut moto = Self { child, port };
        let deadline = Instant::now() + TIMEOUT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = moto.child.try_wait()? {
                anyhow::bail!("{} ended with {status}", program.display());
            }
            anyhow::ensure!(Instant::now() < deadline, "{} does not listen", program.display());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(moto)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
