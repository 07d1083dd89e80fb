//! `millpond bench`: how fast it is, side by side with its peers in one run.

mod cloud;
mod cold;
mod function;
mod job;
mod python;
mod samples;
mod start;
mod trees;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// From process start to a first answer of wine-quality, model load included, beside Python with XGBoost
    Start(start::Args),
    /// From the start of Lambda's worker, its model loaded, to its first request for work, beside Python handlers
    Cold(cold::Args),
    /// The requests that a job makes and the time that its functions take, by model and by the way that its input comes in
    Job(job::Args),
    /// The local S3 and SQS, beside moto's and what the disk allows
    Cloud(cloud::Args),
    /// Decision trees, beside the crate gbdt, XGBoost, LightGBM and ONNX Runtime
    Trees(trees::Args),
}

/// `millpond bench ...`
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Start(args) => start::run(&args),
        Command::Cold(args) => cold::run(args).await,
        Command::Job(args) => job::run(args).await,
        Command::Cloud(args) => cloud::run(args).await,
        Command::Trees(args) => trees::run(&args),
    }
}

/// Seconds as an argument.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.01 to 600 seconds".to_owned()) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// For a process that runs elsewhere.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no {}", path.display()))
}
