//! A client of the HTTP API, as the commands need it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use job::{JobId, State};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::io::ReaderStream;

use crate::config::ApiConfig;
use crate::failure;

/// How long one long poll may take, in seconds; the server answers earlier when the job is done.
const WAIT_SECONDS: u64 = 20;
/// An answer is due by then at the latest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between polls of a job that is not done, beside what the server asks for.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Talks to one API.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    config: std::sync::Arc<ApiConfig>,
}

/// A job as the API shows it. `whole` is the very text, for `--json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Where it is.
    pub state: State,
    /// The model that answers.
    pub model: String,
    /// That model's version.
    pub version: Option<String>,
    /// How far the current attempt is.
    pub progress: Option<Progress>,
    /// Why it failed, or why its last attempt did.
    pub error: Option<ProblemBody>,
    /// Where to put the input.
    pub upload: Option<Upload>,
    /// The answer or where it is.
    pub result: Option<ResultBody>,
    /// The whole body.
    #[serde(skip)]
    pub whole: Value,
}

/// How far an attempt is.
#[derive(Debug, Clone, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, where that is known.
    pub total: Option<u64>,
}

/// What a job's or a request's error says.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{detail} ({code})")]
pub struct ProblemBody {
    /// The stable name.
    pub code: String,
    /// The sentence.
    pub detail: String,
}

/// A presigned request.
#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
}

/// A result's value or place.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ResultBody {
    /// An object of its own.
    Object {
        /// Presigned.
        url: String,
        /// Media type.
        content_type: String,
        /// Bytes.
        size_bytes: u64,
        /// Their SHA-256, in hexadecimal.
        sha256: String,
    },
    /// In the job itself.
    Value {
        /// The answer.
        value: Value,
    },
}

#[derive(Serialize)]
struct NewUpload<'a> {
    model: &'a str,
    upload: FileDescription<'a>,
    params: &'a RawValue,
}

#[derive(Serialize)]
struct FileDescription<'a> {
    filename: &'a str,
    content_type: &'a str,
    size_bytes: u64,
}

#[derive(Serialize)]
struct NewInline<'a> {
    model: &'a str,
    input: &'a RawValue,
    params: &'a RawValue,
}

impl Client {
    /// A client of this API.
    pub fn new(config: ApiConfig) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot set up an HTTP client")?;
        Ok(Self { http, config: std::sync::Arc::new(config) })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.config.endpoint));
        match &self.config.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.timeout(ANSWER_TIMEOUT).send().await.map_err(|error| {
            let endpoint = &self.config.endpoint;
            let hint = failure::hint(
                format!("no API answers at {endpoint}"),
                "start one with `millpond up`, or name yours with --endpoint",
            );
            anyhow::Error::new(error.without_url()).context(hint)
        })?;
        if response.status().is_client_error() || response.status().is_server_error() {
            return Err(problem(response).await);
        }
        Ok(response)
    }

    async fn job(&self, request: RequestBuilder) -> anyhow::Result<Job> {
        let body = self.send(request).await?.bytes().await.context("the API's answer broke off")?;
        let whole: Value = serde_json::from_slice(&body).context("the API's answer is not JSON")?;
        let job: Job = serde_json::from_slice(&body).context("the API's answer is not a job")?;
        Ok(Job { whole, ..job })
    }

    /// Creates a job whose input will be uploaded.
    pub async fn create_upload(
        &self,
        model: &str,
        filename: &str,
        content_type: &str,
        size_bytes: u64,
        params: &RawValue,
    ) -> anyhow::Result<Job> {
        let upload = FileDescription { filename, content_type, size_bytes };
        self.job(self.request(Method::POST, "/jobs").json(&NewUpload { model, upload, params })).await
    }

    /// Creates a job with its input in the request.
    pub async fn create_inline(&self, model: &str, input: &RawValue, params: &RawValue) -> anyhow::Result<Job> {
        self.job(self.request(Method::POST, "/jobs").json(&NewInline { model, input, params })).await
    }

    /// Uploads a file as the API said.
    pub async fn upload(&self, upload: &Upload, path: &Path, bar: &ProgressBar) -> anyhow::Result<()> {
        let file = tokio::fs::File::open(path).await.with_context(|| format!("cannot read {}", path.display()))?;
        let size = file.metadata().await.with_context(|| format!("cannot read {}", path.display()))?.len();
        bar.set_length(size);
        let body = reqwest::Body::wrap_stream(ReaderStream::new(bar.wrap_async_read(file)));
        let method: Method = upload.method.parse().context("the API named no method for the upload")?;
        let mut request = self.http.request(method, &upload.url).header("content-length", size).body(body);
        for (name, value) in &upload.headers {
            request = request.header(name, value);
        }
        let response = request
            .send()
            .await
            .map_err(|error| error.without_url())
            .context("the upload did not reach the storage")?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
            anyhow::bail!("the storage refused the upload: {status} {}", code.unwrap_or_default());
        }
        Ok(())
    }

    /// The job as it is now.
    pub async fn get(&self, id: JobId) -> anyhow::Result<Job> {
        self.job(self.request(Method::GET, &format!("/jobs/{id}"))).await
    }

    /// The job once it has ended, for `timeout` at most; then the job as it is. `seen` is called with each answer.
    pub async fn wait(&self, id: JobId, timeout: Option<Duration>, mut seen: impl FnMut(&Job)) -> anyhow::Result<Job> {
        let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let mut failures = 0;
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
            let wait = left.map_or(WAIT_SECONDS, |left| left.as_secs().min(WAIT_SECONDS));
            match self.job(self.request(Method::GET, &format!("/jobs/{id}?wait={wait}"))).await {
                Ok(job) => {
                    failures = 0;
                    seen(&job);
                    if job.state.is_terminal() || left.is_some_and(|left| left.is_zero()) {
                        return Ok(job);
                    }
                    // A server that does not hold the line is not asked again at once.
                    tokio::time::sleep(RETRY_PAUSE.min(left.unwrap_or(RETRY_PAUSE)) / 10).await;
                }
                // The job goes on while the API restarts; a refusal is final.
                Err(error) if error.downcast_ref::<Refused>().is_some() || failures == 10 => return Err(error),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Cancels a job.
    pub async fn cancel(&self, id: JobId) -> anyhow::Result<Job> {
        self.job(self.request(Method::DELETE, &format!("/jobs/{id}"))).await
    }

    /// Makes a new job over the same input.
    pub async fn retry(&self, id: JobId) -> anyhow::Result<Job> {
        self.job(self.request(Method::POST, &format!("/jobs/{id}/retry"))).await
    }

    /// The bytes of a large result.
    pub async fn download(&self, url: &str, to: &Path) -> anyhow::Result<u64> {
        let response = self.http.get(url).send().await.map_err(|error| error.without_url());
        let mut response = response.context("the result did not arrive")?;
        anyhow::ensure!(response.status() == StatusCode::OK, "the storage refused the result: {}", response.status());
        let mut file = tokio::fs::File::create(to).await.with_context(|| format!("cannot write {}", to.display()))?;
        let mut written = 0;
        while let Some(chunk) =
            response.chunk().await.map_err(|error| error.without_url()).context("the result broke off")?
        {
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk).await.context("cannot write the result")?;
            written += chunk.len() as u64;
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await.context("cannot write the result")?;
        Ok(written)
    }
}

/// The API's refusal of a request.
#[derive(Debug, thiserror::Error)]
#[error("the API refused: {0}")]
pub struct Refused(ProblemBody);

async fn problem(response: Response) -> anyhow::Error {
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<ProblemBody>(&body) {
        Ok(problem) if status.is_client_error() => Refused(problem).into(),
        Ok(problem) => anyhow::anyhow!("the API failed: {problem}"),
        Err(_) => anyhow::anyhow!("the API answered {status}"),
    }
}
