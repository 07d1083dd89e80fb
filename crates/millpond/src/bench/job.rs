//! `millpond bench job`: the requests that a job makes and the time that its functions take, which is what AWS bills.

mod events;
mod meter;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use cloud::{GetOptions, ObjectStore, PutOptions, Queue};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use local_cloud::{LocalCloud, Stack};
use serde_json::{Value, json};

use super::function::{self, ACCESS_KEY, Function, INBOX, OTHER_MIB, OUTBOX, SECRET_KEY, WORKER_MIB};
use super::python::Python;
use super::samples::{self, Sample};
use super::{absolute, median, ms};
use crate::terminal;
use meter::{Meter, Requests};

/// Arguments of `millpond bench job`.
#[derive(clap::Args)]
pub struct Args {
    /// The functions' binary: target/release/bootstrap, or what `make -C infra build` leaves
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// A Python with pandas, xgboost-cpu, scikit-learn, torch, safetensors, onnxruntime, tokenizers and Pillow, or some of them: how long its handlers take, too, to read the input from a file and answer
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// How long each request to S3 and SQS takes besides, in milliseconds, since here it takes next to nothing
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    latency: u64,
    /// How many jobs are in each of the worker's batches
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    batch: u64,
    /// How many batches are measured, after one that isn't
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Which models; all five if left out
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = samples::NAMES)]
    only: Vec<String>,
    /// The folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// The folder of inputs
    #[arg(long, value_name = "DIR", default_value = "samples")]
    samples: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// How an input comes in, and its result out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `POST /jobs`, a presigned PUT, `GET /jobs/<id>` once the job has ended, and what lies at its result's URL, if it has one.
    Upload,
    /// `POST /jobs` with the input in it, and `GET /jobs/<id>`.
    Inline,
    /// A PUT below `drop/`, and a GET of the mirror.
    Drop,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Inline => "inline",
            Self::Drop => "drop",
        }
    }
}

/// What a job of a batch took.
struct Cost {
    /// The worker, for the batch.
    worker: Duration,
    /// The API, for both calls; zero if it isn't called.
    api: Duration,
    /// Of clients and API, and of the worker, for the batch.
    requests: [Requests; 2],
}

/// Everything that jobs pass through.
struct Service {
    front: Meter,
    back: Meter,
    inbox: Box<dyn ObjectStore>,
    outbox: Box<dyn ObjectStore>,
    /// As the event source mapping reaches it, past the meters.
    queue: Box<dyn Queue>,
    api: Function,
    worker: Function,
    http: reqwest::Client,
    dropped: u64,
    _cloud: LocalCloud,
    _folder: tempfile::TempDir,
}

/// `millpond bench job`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let models = absolute(&args.models)?;
    let mut service = Service::start(&args, &models).await?;
    let chosen: Vec<_> = samples::chosen(&args.only).collect();
    let bar = ProgressBar::new(chosen.len() as u64 * 3 * u64::from(args.rounds + 1));
    let mut lines = Vec::new();
    for sample in &chosen {
        let path = args.samples.join(sample.input);
        let input = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for way in [Way::Upload, Way::Inline, Way::Drop] {
            if way == Way::Inline && sample.content_type != "application/json" {
                continue;
            }
            let mut costs = Vec::new();
            for round in 0..=args.rounds {
                let cost = service.batch(sample, &input, way, args.batch).await?;
                if round > 0 {
                    costs.push(cost);
                }
                bar.inc(1);
            }
            lines.push(line(sample, way, &args, &costs)?);
        }
    }
    if let Some(program) = &args.python {
        let folder = tempfile::tempdir().context("cannot make a folder for the handlers")?;
        let python = Python::prepare(program, folder.path())?;
        for sample in &chosen {
            let Some(command) = python.command(sample.model, &models) else { continue };
            let (mut function, _) = Function::start(command, &folder.path().join("log")).await?;
            let event = json!({ "path": absolute(&args.samples.join(sample.input))? });
            let mut times = Vec::new();
            for _ in 0..=args.rounds {
                times.push(function.invoke(event.clone()).await?.1);
            }
            // The first one comes later than any other.
            let took = ms(median(times.split_off(1)));
            let peak = function.peak_bytes();
            lines.push(
                json!({"case": "job", "model": sample.model, "way": "python", "worker_ms": took, "peak_bytes": peak}),
            );
        }
    }
    bar.finish_and_clear();
    print(&lines, args.json)?;
    Ok(ExitCode::SUCCESS)
}

impl Service {
    async fn start(args: &Args, models: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let config = local_cloud::Config::new(folder.path().join("cloud"), ACCESS_KEY, SECRET_KEY);
        let cloud = LocalCloud::start(config).await?;
        let stack = Stack { inbox: INBOX.into(), outbox: OUTBOX.into(), ..Stack::default() };
        cloud.provision(&stack).await?;
        let latency = Duration::from_millis(args.latency);
        let meter = || Meter::open(cloud.s3_endpoint(), cloud.sqs_endpoint(), latency);
        let (front, back) = (meter().await?, meter().await?);
        let aws = Aws::connect(&Endpoint {
            region: Some("us-east-1".into()),
            s3_url: Some(front.url()),
            sqs_url: Some(cloud.sqs_endpoint()),
            credentials: Some(StaticCredentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() }),
            force_path_style: true,
        })
        .await;
        let queue_url = cloud.queue_url(&stack.queue);
        let start = async |role: &str, memory_mib, meter: &Meter| {
            let mut command = function::bootstrap(&args.bootstrap, role, memory_mib, models);
            command.env("MILLPOND_QUEUE_URL", &queue_url);
            command.env("AWS_ENDPOINT_URL_S3", meter.url()).env("AWS_ENDPOINT_URL_SQS", meter.url());
            Function::start(command, &folder.path().join(role)).await
        };
        let (api, _) = start("api", OTHER_MIB, &front).await?;
        let (worker, _) = start("worker", WORKER_MIB, &back).await?;
        Ok(Self {
            inbox: Box::new(aws.bucket(INBOX)),
            outbox: Box::new(aws.bucket(OUTBOX)),
            queue: Box::new(aws.queue(queue_url)),
            api,
            worker,
            http: reqwest::Client::builder().no_proxy().build()?,
            dropped: 0,
            front,
            back,
            _cloud: cloud,
            _folder: folder,
        })
    }

    /// Brings so many jobs in, has the worker run them at once, and takes their results.
    async fn batch(&mut self, sample: &Sample, input: &[u8], way: Way, jobs: u64) -> anyhow::Result<Cost> {
        self.front.take();
        self.back.take();
        let (mut api, mut places) = (Duration::ZERO, Vec::new());
        for _ in 0..jobs {
            let (place, took) = self.submit(sample, input, way).await?;
            places.push(place);
            api += took;
        }
        let mut messages = Vec::new();
        while messages.len() < places.len() {
            let received = self.queue.receive(places.len() - messages.len(), Duration::from_secs(10), None).await?;
            anyhow::ensure!(!received.is_empty(), "no message came for a job of {}", sample.model);
            messages.extend(received);
        }
        let (answer, worker) = self.worker.invoke(events::batch(&messages)).await?;
        anyhow::ensure!(answer == json!({"batchItemFailures": []}), "the worker answers {answer}");
        for message in &messages {
            self.queue.delete(&message.receipt).await?;
        }
        for place in &places {
            api += self.result(place, way).await?;
        }
        Ok(Cost { worker, api, requests: [self.front.take(), self.back.take()] })
    }

    /// Where the job's result will be, and how long the API took.
    async fn submit(&mut self, sample: &Sample, input: &[u8], way: Way) -> anyhow::Result<(String, Duration)> {
        let mut body = json!({ "model": sample.model });
        match way {
            Way::Drop => {
                self.dropped += 1;
                let path = format!("{}/{}", sample.model, self.dropped);
                let options = PutOptions { content_type: Some(sample.content_type.into()), ..PutOptions::default() };
                self.inbox.put(&format!("drop/{path}"), input.to_vec().into(), options).await?;
                let extension = sample.expected.rsplit('.').next().unwrap_or_default();
                return Ok((format!("mirror/{path}.result.{extension}"), Duration::ZERO));
            }
            Way::Inline => body["input"] = serde_json::from_slice(input)?,
            Way::Upload => {
                body["upload"] =
                    json!({"filename": "input", "content_type": sample.content_type, "size_bytes": input.len()});
            }
        }
        let (made, took) = self.call("POST", "/jobs", &body.to_string()).await?;
        if way == Way::Upload {
            let url = made["upload"]["url"].as_str().with_context(|| format!("no upload in {made}"))?;
            let mut put = self.http.put(url).body(input.to_vec());
            for (name, value) in made["upload"]["headers"].as_object().into_iter().flatten() {
                put = put.header(name, value.as_str().unwrap_or_default());
            }
            put.send().await?.error_for_status()?;
        }
        let id = made["id"].as_str().with_context(|| format!("no job in {made}"))?;
        Ok((format!("/jobs/{id}"), took))
    }

    async fn result(&mut self, place: &str, way: Way) -> anyhow::Result<Duration> {
        if way == Way::Drop {
            self.outbox.get(place, GetOptions::default()).await.with_context(|| format!("nothing at {place}"))?;
            return Ok(Duration::ZERO);
        }
        let (job, took) = self.call("GET", place, "").await?;
        anyhow::ensure!(job["state"] == "succeeded", "a job ended as {job}");
        if let Some(url) = job["result"]["url"].as_str() {
            self.http.get(url).send().await?.error_for_status()?.bytes().await?;
        }
        Ok(took)
    }

    /// Calls the API.
    async fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<(Value, Duration)> {
        let (answer, took) = self.api.invoke(events::http_api(method, path, body)).await?;
        let status = answer["statusCode"].as_u64().unwrap_or_default();
        anyhow::ensure!((200..300).contains(&status), "the API answers {answer}");
        let text = answer["body"].as_str().unwrap_or_default();
        Ok((serde_json::from_str(text).with_context(|| format!("the API answers {text}"))?, took))
    }
}

/// What is printed of a model and a way: by the job, not by the batch.
fn line(sample: &Sample, way: Way, args: &Args, costs: &[Cost]) -> anyhow::Result<Value> {
    let middle = |of: fn(&Cost) -> Duration| ms(median(costs.iter().map(of).collect())) / args.batch as f64;
    let last = costs.last().context("nothing was measured")?;
    let each = |requests: &Requests| requests.json(args.batch);
    Ok(json!({
        "case": "job", "model": sample.model, "way": way.name(), "batch": args.batch, "latency_ms": args.latency,
        "api_ms": middle(|cost| cost.api), "worker_ms": middle(|cost| cost.worker),
        "front": each(&last.requests[0]), "worker": each(&last.requests[1]),
    }))
}

fn print(lines: &[Value], json: bool) -> anyhow::Result<()> {
    if json {
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(());
    }
    let mut table = terminal::table(["job", "", "API", "worker", "S3 writes", "S3 reads", "SQS"]);
    for line in lines {
        let time = |name: &str| line[name].as_f64().map_or_else(String::new, |ms| format!("{ms:.1} ms"));
        let both = |name: &str| match (line["front"][name].as_f64(), line["worker"][name].as_f64()) {
            (Some(front), Some(worker)) => format!("{front} + {worker}"),
            _ => String::new(),
        };
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        table.add_row([
            text("model"),
            text("way"),
            time("api_ms"),
            time("worker_ms"),
            both("s3_writes"),
            both("s3_reads"),
            both("sqs"),
        ]);
    }
    for column in 2..=6 {
        table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
    }
    println!("{}", table.trim_fmt());
    Ok(())
}
