//! `millpond`: the whole service on one machine, and the commands to use one anywhere.

mod api_command;
mod bench;
mod client;
mod config;
mod demo;
mod doctor;
mod env;
mod failure;
mod jobs;
mod key_commands;
mod local;
mod logging;
mod metrics_server;
mod models;
mod operate;
mod place;
mod service;
mod service_place;
mod submit;
mod terminal;
mod up;
mod worker_command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Asynchronous, queue-driven inference: drop an input in a bucket, get the model's answer when it is ready.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Start here:
  millpond demo                                    watch real jobs go through the whole pipeline
  millpond up                                      the same, kept running on http://127.0.0.1:8080
  millpond submit wines.json --model wine-quality --wait

Exit codes: 0 it worked, 1 it failed, 2 it was called wrongly."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Run nets on ONNX Runtime, from this shared library, instead of rten
    #[cfg(feature = "onnxruntime")]
    #[arg(long, global = true, env = env::ONNX_RUNTIME, value_name = "FILE", hide_env_values = true)]
    onnx_runtime: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole pipeline once on this machine, with real inputs, and show what comes out
    Demo(demo::Args),
    /// Run the whole service on this machine: API, S3, SQS and workers
    Up(up::Args),
    /// Serve the API alone, over any S3 and SQS, until stopped
    Api(api_command::Args),
    /// Run jobs from an SQS queue, until stopped
    Worker(worker_command::Args),
    /// Submit a file as a job
    Submit(submit::Args),
    /// Show a job
    Status(jobs::StatusArgs),
    /// Wait for a job to end, and show its result
    Wait(jobs::WaitArgs),
    /// Cancel a job
    Cancel(jobs::JobArgs),
    /// Run a job that has ended again, over the same input
    Retry(jobs::JobArgs),
    /// List, check, add, run and push models
    #[command(subcommand)]
    Models(models::Command),
    /// Add, list and revoke API keys
    #[command(subcommand)]
    Keys(key_commands::Command),
    /// Look for lost messages and passed deadlines once, and mend them
    Sweep(operate::SweepArgs),
    /// List, show and send again what was given up
    #[command(subcommand)]
    DeadLetters(operate::DeadLetters),
    /// Check a template, or what runs, for pitfalls that break jobs
    Doctor(doctor::Args),
    /// Measure it beside its peers, in one run
    #[command(subcommand)]
    Bench(bench::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "onnxruntime")]
    if let Some(library) = &cli.onnx_runtime
        && let Err(error) = infer::onnx::use_onnx_runtime(library)
    {
        return failure::report(&anyhow::Error::new(error));
    }
    let command = cli.command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    match runtime.block_on(run(command)) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Up(args) => up::run(args).await,
        Command::Api(args) => api_command::run(args).await,
        Command::Worker(args) => worker_command::run(args).await,
        Command::Submit(args) => submit::run(args).await,
        Command::Status(args) => jobs::status(args).await,
        Command::Wait(args) => jobs::wait(args).await,
        Command::Cancel(args) => jobs::cancel(args).await,
        Command::Retry(args) => jobs::retry(args).await,
        Command::Models(command) => models::run(command).await,
        Command::Keys(command) => key_commands::run(command).await,
        Command::Sweep(args) => operate::sweep(args).await,
        Command::DeadLetters(command) => operate::dead_letters(command).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Bench(command) => bench::run(command).await,
    }
}
