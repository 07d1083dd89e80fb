//! `millpond status`, `wait`, `cancel` and `retry`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use job::JobId;

use crate::client::Client;
use crate::config::ApiArgs;
use crate::failure;
use crate::terminal;

/// A job and how to reach it.
#[derive(clap::Args)]
pub struct JobArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    api: ApiArgs,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond status`.
pub type StatusArgs = JobArgs;

/// Arguments of `millpond wait`.
#[derive(clap::Args)]
pub struct WaitArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Save the result to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Give up after so many seconds (the job goes on)
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl JobArgs {
    fn open(self) -> anyhow::Result<(Client, JobId, bool)> {
        let id = self.job.parse().map_err(|error| {
            failure::usage(format!("{:?} is {error}", self.job), "`millpond submit` prints the id of the job it makes")
        })?;
        Ok((Client::new(self.api.resolve()?)?, id, self.json))
    }
}

/// `millpond status`
pub async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let (client, id, json) = args.open()?;
    terminal::print_job(&client.get(id).await?, json);
    Ok(ExitCode::SUCCESS)
}

/// `millpond wait`
pub async fn wait(args: WaitArgs) -> anyhow::Result<ExitCode> {
    let (client, id, json) = args.job.open()?;
    let bar = terminal::job_bar();
    let timeout = args.timeout.map(Duration::from_secs);
    let job = client.wait(id, timeout, |job| terminal::show_state(&bar, job)).await;
    bar.finish_and_clear();
    let job = job?;
    if !job.state.is_terminal() {
        let state = job.state;
        return Err(
            failure::hint(format!("the job is still {state}"), format!("it goes on; `millpond wait {id}`")).into()
        );
    }
    terminal::print_result(&client, &job, args.output, json).await?;
    Ok(ExitCode::SUCCESS)
}

/// `millpond cancel`
pub async fn cancel(args: JobArgs) -> anyhow::Result<ExitCode> {
    let (client, id, json) = args.open()?;
    terminal::print_job(&client.cancel(id).await?, json);
    Ok(ExitCode::SUCCESS)
}

/// `millpond retry`
pub async fn retry(args: JobArgs) -> anyhow::Result<ExitCode> {
    let (client, id, json) = args.open()?;
    terminal::print_job(&client.retry(id).await?, json);
    Ok(ExitCode::SUCCESS)
}
