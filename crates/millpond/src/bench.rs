//! `millpond bench`: how fast it is, side by side with its peers in one run.

mod start;

use std::process::ExitCode;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// From process start to a first answer of wine-quality, model load included, beside Python with XGBoost
    Start(start::Args),
}

/// `millpond bench ...`
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Start(args) => start::run(&args),
    }
}
