//! `millpond models run`: one answer on this machine, without a service.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use infer::{Control, RunError};
use job::Version;
use registry::{Published, Registry};

use super::{RegistryArgs, parse_name};
use crate::{failure, submit, terminal};

/// Arguments of `millpond models run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// The model, or NAME@VERSION
    name: String,
    /// The input; `-` reads it from standard input
    file: PathBuf,
    /// A parameter of the model, as often as needed; a value that is JSON is taken as such
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Save the answer to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// `millpond models run`
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let registry = args.registry.open().await?;
    let published = find(&registry, &args.name).await?;
    let params = submit::params(&args.params)?;
    let params = published.manifest.read_params(params.get()).map_err(|error| failure::usage(error.to_string(), ""))?;
    let input = read(&args.file)?;
    let files = registry.files(&published).await?;

    let control = Arc::new(Control::default());
    let call = {
        let control = control.clone();
        tokio::task::spawn_blocking(move || {
            let model = infer::load(&published.manifest, &files)?;
            Ok::<_, anyhow::Error>(model.run(&input, &params, &control))
        })
    };
    let bar = terminal::job_bar();
    let answer = watched(call, &control, &bar).await;
    bar.finish_and_clear();
    let answer = match answer? {
        Err(RunError::Cancelled) => anyhow::bail!("interrupted"),
        answer => answer?,
    };

    let mut out = std::io::stdout();
    match args.output {
        Some(path) => {
            std::fs::write(&path, &answer.body).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None if answer.content_type != "application/json" && out.is_terminal() => {
            let message = format!("the answer is {} bytes of {}", answer.body.len(), answer.content_type);
            let hint = format!("save them with --output answer.{}", answer.extension);
            return Err(failure::usage(message, hint).into());
        }
        None => {
            out.write_all(&answer.body).context("cannot write to standard output")?;
            if answer.content_type == "application/json" {
                writeln!(out).context("cannot write to standard output")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The call's answer; meanwhile the bar shows how far it is, and Ctrl-C cancels it.
async fn watched<T: Send + 'static>(
    mut call: tokio::task::JoinHandle<anyhow::Result<T>>,
    control: &Control,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<T> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            done = &mut call => return done.context("the model panicked")?,
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| control.cancel())?,
            _ = ticks.tick() => {
                if let (done, total @ 1..) = control.progress() {
                    bar.set_message(format!("{done} of {total}"));
                }
            }
        }
    }
}

async fn find(registry: &Registry, wanted: &str) -> anyhow::Result<Arc<Published>> {
    let (name, version) = match wanted.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (wanted, None),
    };
    let name = parse_name(name)?;
    let found = match version {
        Some(version) => {
            let version = version.parse::<Version>();
            let version = version.map_err(|error| failure::usage(format!("the version is {error}"), ""))?;
            registry.version(&name, &version).await?
        }
        None => registry.resolve(&name).await?,
    };
    found.ok_or_else(|| {
        failure::hint(format!("there is no model {wanted}"), "`millpond models list` shows what there is").into()
    })
}

fn read(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).context("cannot read standard input")?;
    Ok(input)
}
