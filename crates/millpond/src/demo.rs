//! `millpond demo`: one uploaded, one inline and one dropped job for each sample, through the whole pipeline.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use cloud::{GetOptions, PutOptions, StoreError};
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use job::layout::{MirrorKeys, drop_key};
use job::{JobId, Sha256};
use ledger::Ledger;
use local_cloud::AbsentKeys;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::client::{Client, ResultBody};
use crate::config::ApiConfig;
use crate::local::{Local, LocalConfig, any_port};
use crate::terminal;

/// Arguments of `millpond demo`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// The folder of sample inputs and their expected answers
    #[arg(long, value_name = "DIR", default_value = "samples")]
    samples: PathBuf,
    /// The folder that pictures are written to
    #[arg(long, value_name = "DIR", default_value = "millpond-demo")]
    output: PathBuf,
}

/// A model, an input of its and the answer that it must give: JSON, or a picture that it must come near.
struct Sample {
    model: &'static str,
    input: &'static str,
    expected: &'static str,
    /// How far each number of the answer may be off: 0 for trees, whose answers are the same bits everywhere.
    /// Of a picture, the mean difference of its samples, which are from 0 to 255.
    tolerance: f64,
}

const fn sample(model: &'static str, input: &'static str, expected: &'static str, tolerance: f64) -> Sample {
    Sample { model, input, expected, tolerance }
}

const SAMPLES: &[Sample] = &[
    sample("wine-quality", "wine-quality/wines.json", "wine-quality/expected.json", 0.0),
    sample("moons", "moons/point.json", "moons/expected.json", 0.0),
    sample("names", "names/russian.json", "names/expected.json", 0.0),
    // Of a net ONNX Runtime's numbers, of text features scikit-learn's.
    sample("reviews", "reviews/reviews.json", "reviews/expected.json", 1e-5),
    sample("reviews", "reviews/fast.json", "reviews/expected_fast.json", 1e-6),
    // ONNX Runtime's drawing of the pixels that Pillow decodes; decoders of JPEG differ a little.
    sample("line-art", "line-art/grace-hopper.jpg", "line-art/expected.png", 1.0),
];

/// A model's answer.
enum Answer {
    Json(Value),
    Picture(Bytes),
}

/// The ways into the pipeline.
#[derive(Debug, Clone, Copy)]
enum Way {
    Uploaded,
    Inline,
    Dropped,
}

const WAYS: [(Way, &str); 3] = [(Way::Uploaded, "uploaded"), (Way::Inline, "inline"), (Way::Dropped, "dropped")];

impl Sample {
    fn is_picture(&self) -> bool {
        self.expected.ends_with(".png")
    }

    /// The ways that its input can take: what is no JSON cannot come inline.
    fn ways(&self) -> impl Iterator<Item = (Way, &'static str)> {
        WAYS.into_iter().filter(|(way, _)| !(self.is_picture() && matches!(way, Way::Inline)))
    }
}

/// No job of the demo takes longer, not even in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// `millpond demo`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::logging::start_brief();
    let data = tempfile::tempdir().context("cannot create a temporary directory")?;
    eprintln!("starting S3, SQS, API and workers on free ports of 127.0.0.1");
    let local = Local::start(LocalConfig {
        data: data.path().to_owned(),
        models: args.models.display().to_string(),
        models_s3_url: None,
        model_cache_bytes: None,
        listen: any_port(),
        s3_listen: any_port(),
        sqs_listen: any_port(),
        keys: None,
        cors_origins: Vec::new(),
        workers: 2,
        chaos: None,
        absent_keys: AbsentKeys::NotFound,
    })
    .await?;
    let demo = Demo {
        client: Client::new(ApiConfig { endpoint: local.endpoints.api.clone(), api_key: None })?,
        ledger: local.ledger.clone(),
        samples: args.samples,
        output: args.output,
    };
    let outcome = tokio::select! {
        outcome = demo.all() => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    local.stop().await?;
    let (table, wrong) = outcome?;
    println!("{table}");
    for sample in SAMPLES.iter().filter(|sample| sample.is_picture()) {
        println!("\nthe answer of {} is {}", sample.model, demo.picture_path(sample).display());
    }
    if wrong > 0 {
        anyhow::bail!("{wrong} of the answers are not the expected ones");
    }
    println!("\nevery answer is the expected one");
    Ok(ExitCode::SUCCESS)
}

struct Demo {
    client: Client,
    ledger: Ledger,
    samples: PathBuf,
    output: PathBuf,
}

/// How long each stage took.
struct Stages {
    accept: Option<Duration>,
    upload: Option<Duration>,
    total: Duration,
}

impl Demo {
    /// Runs everything; the table of results, and how many of them are wrong.
    async fn all(&self) -> anyhow::Result<(Table, usize)> {
        let header =
            ["model", "way in", "answer", "", "accept", "upload", "queue", "model", "store", "notice", "total"];
        let mut table = terminal::table(header);
        for column in 4..=10 {
            table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
        }
        let mut wrong = 0;
        for sample in SAMPLES {
            for (way, name) in sample.ways() {
                let bar =
                    ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {prefix} {msg}")?);
                bar.set_prefix(format!("{} ({name})", sample.model));
                bar.enable_steady_tick(Duration::from_millis(80));
                let started = self.ledger.clock.now();
                let (job, answer, stages) = tokio::time::timeout(PATIENCE, self.one(sample, way, &bar))
                    .await
                    .with_context(|| format!("the {name} job of {} did not end", sample.model))??;
                bar.finish_and_clear();
                let (shown, fault) = self.judge(sample, &answer)?;
                let right = fault.is_none();
                wrong += usize::from(!right);
                eprintln!("{} {} ({name}) {}", if right { "✓" } else { "✗" }, sample.model, job);
                let outcome = self.ledger.outcome(job).await?.context("a finished job has an outcome")?;
                let model = outcome.infer_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0)).unwrap_or_default();
                let ran = outcome.started_at.map(|at| outcome.at.duration_since(at).unsigned_abs()).unwrap_or_default();
                let store = ran.saturating_sub(model);
                // The rest is from the input's arrival until a worker began, and from the outcome until the client saw it.
                let before = stages.accept.unwrap_or_default() + stages.upload.unwrap_or_default();
                let rest = stages.total.saturating_sub(before + ran);
                let waited = outcome.started_at.map(|at| at.duration_since(started).unsigned_abs());
                let queue = waited.unwrap_or_default().saturating_sub(before).min(rest);
                table.add_row([
                    sample.model.to_owned(),
                    name.to_owned(),
                    shown,
                    fault.map_or_else(|| "✓".to_owned(), |fault| format!("✗ {fault}")),
                    ms(stages.accept),
                    ms(stages.upload),
                    ms(Some(queue)),
                    ms(Some(model)),
                    ms(Some(store)),
                    ms(Some(rest - queue)),
                    ms(Some(stages.total)),
                ]);
            }
        }
        Ok((table, wrong))
    }

    async fn one(&self, sample: &Sample, way: Way, bar: &ProgressBar) -> anyhow::Result<(JobId, Answer, Stages)> {
        let path = self.samples.join(sample.input);
        let input = self.read(sample.input)?;
        let none = RawValue::from_string("{}".to_owned())?;
        let start = Instant::now();
        match way {
            Way::Uploaded => {
                bar.set_message("asks for a job");
                let filename = path.file_name().and_then(|name| name.to_str()).context("a sample's name is UTF-8")?;
                let size = input.len() as u64;
                let content_type = crate::submit::content_type_of(&path);
                let job = self.client.create_upload(sample.model, filename, content_type, size, &none).await?;
                let accept = start.elapsed();
                bar.set_message("uploads");
                let upload = job.upload.as_ref().context("the API named no place for the upload")?;
                self.client.upload(upload, &path, &ProgressBar::hidden()).await?;
                let upload = Some(start.elapsed() - accept);
                let answer = self.finish(sample, job.id, bar).await?;
                Ok((job.id, answer, Stages { accept: Some(accept), upload, total: start.elapsed() }))
            }
            Way::Inline => {
                bar.set_message("sends the input");
                let input = RawValue::from_string(String::from_utf8(input)?)?;
                let job = self.client.create_inline(sample.model, &input, &none).await?;
                let accept = start.elapsed();
                let answer = self.finish(sample, job.id, bar).await?;
                Ok((job.id, answer, Stages { accept: Some(accept), upload: None, total: start.elapsed() }))
            }
            Way::Dropped => {
                bar.set_message("drops the file");
                let name = path.file_name().and_then(|name| name.to_str()).context("a sample's name is UTF-8")?;
                let relative = format!("a folder/{name}");
                let key = drop_key(&sample.model.parse()?, &relative);
                self.ledger.inbox.put(&key, Bytes::from(input), PutOptions::default()).await?;
                let upload = Some(start.elapsed());
                let meta = self.ledger.inbox.head(&key).await?;
                let id = JobId::for_dropped_file(self.ledger.inbox.bucket(), &key, &meta.etag, meta.last_modified);
                let extension = if sample.is_picture() { "png" } else { "json" };
                let mirror = MirrorKeys::new(sample.model, &relative, extension).result;
                bar.set_message("waits for the answer to appear");
                let answer = self.appears(&mirror).await?;
                let answer = if sample.is_picture() {
                    Answer::Picture(answer)
                } else {
                    Answer::Json(serde_json::from_slice(&answer)?)
                };
                Ok((id, answer, Stages { accept: None, upload, total: start.elapsed() }))
            }
        }
    }

    async fn finish(&self, sample: &Sample, id: JobId, bar: &ProgressBar) -> anyhow::Result<Answer> {
        let job = self.client.wait(id, None, |job| bar.set_message(job.state.as_str())).await?;
        match (&job.result, &job.error) {
            (Some(ResultBody::Value { value }), _) => Ok(Answer::Json(value.clone())),
            (Some(ResultBody::Object { url, sha256, .. }), _) => {
                bar.set_message("fetches the answer");
                let path = self.picture_path(sample);
                let cannot = || format!("cannot write to {}", self.output.display());
                std::fs::create_dir_all(&self.output).with_context(cannot)?;
                self.client.download(url, &path).await?;
                let picture = Bytes::from(std::fs::read(&path).with_context(cannot)?);
                anyhow::ensure!(Sha256::of(&picture).to_string() == *sha256, "the answer does not match its SHA-256");
                Ok(Answer::Picture(picture))
            }
            (None, Some(error)) => anyhow::bail!("the job {}: {error}", job.state),
            (None, None) => anyhow::bail!("the job is {}", job.state),
        }
    }

    /// Where the uploaded sample's picture is written.
    fn picture_path(&self, sample: &Sample) -> PathBuf {
        self.output.join(format!("{}.png", sample.model))
    }

    /// The answer in a few words, and what is wrong with it.
    fn judge(&self, sample: &Sample, answer: &Answer) -> anyhow::Result<(String, Option<String>)> {
        let expected = self.read(sample.expected)?;
        match answer {
            Answer::Json(answer) => {
                let expected: Value =
                    serde_json::from_slice(&expected).with_context(|| format!("{} is not JSON", sample.expected))?;
                let right = infer::draft::within(answer, &expected, sample.tolerance);
                let fault = (!right).then(|| format!("expected {}", shorten(&expected.to_string())));
                Ok((shorten(&answer.to_string()), fault))
            }
            Answer::Picture(picture) => {
                let difference = infer::picture_difference(picture, &expected).map_err(anyhow::Error::msg)?;
                let fault = (difference > sample.tolerance)
                    .then(|| format!("its samples are {difference:.1} of 255 off in the mean"));
                Ok((format!("a picture of {} bytes", picture.len()), fault))
            }
        }
    }

    /// The object's body once it is there.
    async fn appears(&self, key: &str) -> anyhow::Result<Bytes> {
        loop {
            match self.ledger.outbox.get(key, GetOptions::default()).await {
                Ok(object) => return Ok(object.body),
                Err(StoreError::NotFound) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.samples.join(name);
        std::fs::read(&path).map_err(|error| {
            let message = format!("cannot read the sample {}", path.display());
            let hint = "run the demo in the repository's root, or name the folder with --samples";
            anyhow::Error::new(error).context(crate::failure::hint(message, hint))
        })
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn ms(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.1} ms", duration.as_secs_f64() * 1000.0))
}
