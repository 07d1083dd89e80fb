//! What people see: tables, bars, jobs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use job::State;

use crate::client::{Client, Job, ResultBody};

/// An empty table in columns, without lines, as all commands print theirs.
pub fn table<T: Into<comfy_table::Row>>(header: T) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    table
}

/// A bar that shows bytes on their way. Hidden where standard error is no terminal.
pub fn upload_bar(filename: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = ProgressBar::new(0).with_style(style.expect("a valid template"));
    bar.set_message(format!("uploading {filename}"));
    bar
}

/// A spinner that shows where a job is.
pub fn job_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Shows a job's state on its bar.
pub fn show_state(bar: &ProgressBar, job: &Job) {
    let id = job.id;
    let text = match (&job.progress, &job.error) {
        (Some(progress), _) if progress.total.is_some_and(|total| total > 0) => {
            format!("{id} {}: {} of {}", job.state, progress.done, progress.total.unwrap_or_default())
        }
        (_, Some(error)) if !job.state.is_terminal() => format!("{id} {}; last attempt: {error}", job.state),
        _ => format!("{id} {}", job.state),
    };
    bar.set_message(text);
}

/// Prints a job: its whole body for machines, a line or two for people.
pub fn print_job(job: &Job, json: bool) {
    if json {
        println!("{}", job.whole);
        return;
    }
    let version = job.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    println!("{}  {}  {}{version}", job.id, job.state, job.model);
    if let Some(error) = &job.error {
        println!("{error}");
    }
}

/// Prints a finished job's result, or saves it; an error if it has none.
pub async fn print_result(client: &Client, job: &Job, output: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", job.whole);
    }
    match (&job.result, job.state) {
        (Some(ResultBody::Value { value }), _) => match output {
            Some(path) => {
                tokio::fs::write(&path, value.to_string())
                    .await
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            None if !json => println!("{value}"),
            None => {}
        },
        (Some(ResultBody::Object { url, content_type, size_bytes, .. }), _) => match output {
            Some(path) => {
                client.download(url, &path).await?;
            }
            None if !json => {
                println!("{size_bytes} bytes of {content_type}; save them with --output FILE, or from\n{url}")
            }
            None => {}
        },
        (None, State::Succeeded) => anyhow::bail!("the job succeeded, but the API shows no result"),
        (None, state) => match &job.error {
            Some(error) => anyhow::bail!("the job {state}: {error}"),
            None => anyhow::bail!("the job is {state}"),
        },
    }
    Ok(())
}
