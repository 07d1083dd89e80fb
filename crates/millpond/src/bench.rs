//! `millpond bench`: how fast it is, side by side with its peers in one run.

mod cloud;
mod start;

use std::process::ExitCode;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// From process start to a first answer of wine-quality, model load included, beside Python with XGBoost
    Start(start::Args),
    /// The local S3 and SQS, beside moto's and what the disk allows
    Cloud(cloud::Args),
}

/// `millpond bench ...`
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Start(args) => start::run(&args),
        Command::Cloud(args) => cloud::run(args).await,
    }
}
