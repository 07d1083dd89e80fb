//! `millpond bench`: how fast it is, side by side with its peers in one run.

mod cloud;
mod start;
mod trees;

use std::process::ExitCode;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// From process start to a first answer of wine-quality, model load included, beside Python with XGBoost
    Start(start::Args),
    /// The local S3 and SQS, beside moto's and what the disk allows
    Cloud(cloud::Args),
    /// Decision trees, beside the crate gbdt, XGBoost, LightGBM and ONNX Runtime
    Trees(trees::Args),
}

/// `millpond bench ...`
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Start(args) => start::run(&args),
        Command::Cloud(args) => cloud::run(args).await,
        Command::Trees(args) => trees::run(&args),
    }
}

/// Seconds as an argument.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.01 to 600 seconds".to_owned()) }
}
