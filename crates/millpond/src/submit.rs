//! `millpond submit`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::config::ApiArgs;
use crate::failure;
use crate::terminal;

/// Arguments of `millpond submit`.
#[derive(clap::Args)]
pub struct Args {
    /// The input
    file: PathBuf,
    /// The model that answers
    #[arg(long, short)]
    model: String,
    /// A parameter of the model, as often as needed; a value that is JSON is taken as such
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The input's media type [default: by the file's extension]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Wait for the job to end, and print its result
    #[arg(long, short)]
    wait: bool,
    /// Wait, and save the result to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

/// `millpond submit`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = &args.file;
    let meta = tokio::fs::metadata(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    if !meta.is_file() {
        return Err(failure::usage(format!("{} is not a file", path.display()), "name one input file").into());
    }
    let params = params(&args.params)?;
    let filename = path.file_name().and_then(|name| name.to_str());
    let filename = filename.context("the file's name is not UTF-8")?.to_owned();
    let content_type = args.content_type.clone().unwrap_or_else(|| content_type_of(path).to_owned());

    let client = Client::new(args.api.resolve()?)?;
    let job = client.create_upload(&args.model, &filename, &content_type, meta.len(), &params).await?;
    let upload = job.upload.as_ref().context("the API named no place for the upload")?;
    let bar = terminal::upload_bar(&filename);
    let uploaded = client.upload(upload, path, &bar).await;
    bar.finish_and_clear();
    if let Err(error) = uploaded {
        // Nobody will ever upload to it; failing that, it expires by itself.
        let _ = client.cancel(job.id).await;
        return Err(error);
    }
    if !args.wait && args.output.is_none() {
        if args.json {
            println!("{}", job.whole);
        } else {
            println!("{}", job.id);
            eprintln!("uploaded; `millpond wait {}` waits for its result", job.id);
        }
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("job {}", job.id);
    let bar = terminal::job_bar();
    let job = client.wait(job.id, None, |job| terminal::show_state(&bar, job)).await;
    bar.finish_and_clear();
    terminal::print_result(&client, &job?, args.output, args.json).await?;
    Ok(ExitCode::SUCCESS)
}

/// The parameters of `--param`, as a JSON object.
pub fn params(pairs: &[String]) -> anyhow::Result<Box<RawValue>> {
    let mut params = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(failure::usage(format!("--param {pair:?} has no `=`"), "write --param name=value").into());
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        params.insert(name.to_owned(), value);
    }
    Ok(serde_json::value::to_raw_value(&params)?)
}

/// The media types of what models take; S3's own default for anything else.
pub fn content_type_of(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "csv" => "text/csv",
        "txt" => "text/plain",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        _ => "application/octet-stream",
    }
}
