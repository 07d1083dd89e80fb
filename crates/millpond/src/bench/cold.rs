//! `millpond bench cold`: how long a job waits for a function that isn't running yet.

mod emulator;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::absolute;
use super::function::{self, Function, WORKER_MIB};
use super::python::Python;
use super::samples::{self, Sample};
use crate::terminal;

/// Arguments of `millpond bench cold`.
#[derive(clap::Args)]
pub struct Args {
    /// The functions' binary: target/release/bootstrap, or what `make -C infra build` leaves
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// AWS's Runtime Interface Emulator, to start it under as well; the Python package aws-sam-cli has it, as samcli/local/rapid/aws-lambda-rie-x86_64
    #[arg(long, value_name = "FILE")]
    emulator: Option<PathBuf>,
    /// A Python with pandas, xgboost-cpu, scikit-learn, torch, safetensors, onnxruntime, tokenizers and Pillow, or some of them, to measure beside
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// How often each starts, in turn, after once that isn't counted
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Which models; all five if left out
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = samples::NAMES)]
    only: Vec<String>,
    /// The folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// The folder of inputs to ask Python's handlers about, once each, so that they are known to answer
    #[arg(long, value_name = "DIR", default_value = "samples")]
    samples: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// The binary by itself, until it asks for an event.
    Bare,
    /// The binary under the emulator, from the first event to its answer.
    Emulator,
    /// A Python handler by itself.
    Python,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bootstrap",
            Self::Emulator => "emulator",
            Self::Python => "python",
        }
    }
}

/// What was measured of one model on one engine.
struct Cell {
    sample: &'static Sample,
    engine: Engine,
    times: Vec<Duration>,
    peaks: Vec<u64>,
}

/// `millpond bench cold`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir().context("cannot make a folder for the handlers")?;
    let models = absolute(&args.models)?;
    let python = args.python.as_deref().map(|program| Python::prepare(program, folder.path())).transpose()?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let chosen = || samples::chosen(&args.only);
    let mut cells = Vec::new();
    for sample in chosen() {
        let has_python = python.as_ref().is_some_and(|python| python.command(sample.model, &models).is_some());
        let engines = [
            Some(Engine::Bare),
            args.emulator.as_ref().map(|_| Engine::Emulator),
            has_python.then_some(Engine::Python),
        ];
        let cell = |engine| Cell { sample, engine, times: Vec::new(), peaks: Vec::new() };
        cells.extend(engines.into_iter().flatten().map(cell));
    }
    let bar = ProgressBar::new(u64::from(args.rounds + 1) * cells.len() as u64);
    for round in 0..=args.rounds {
        for cell in &mut cells {
            let log = folder.path().join("log");
            let model = cell.sample.model;
            let mut bootstrap = function::bootstrap(&args.bootstrap, "worker", WORKER_MIB, &models);
            bootstrap.env("MILLPOND_PRELOAD", model);
            let (took, peak) = match (cell.engine, &args.emulator, &python) {
                (Engine::Emulator, Some(emulator), _) => {
                    (emulator::first_answer(emulator, &bootstrap, &http).await?, None)
                }
                (Engine::Python, _, Some(python)) => {
                    let command = python.command(model, &models).context("the handler is gone")?;
                    let (mut function, took) = Function::start(command, &log).await?;
                    let peak = function.peak_bytes();
                    if round == 0 {
                        answers(&mut function, cell.sample, &args.samples).await?;
                    }
                    (took, peak)
                }
                _ => started(bootstrap, &log).await?,
            };
            if round > 0 {
                cell.times.push(took);
                cell.peaks.extend(peak);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let missing = python.map(|python| python.missing).unwrap_or_default();
    for (model, modules) in missing.iter().filter(|(model, _)| chosen().any(|sample| sample.model == *model)) {
        eprintln!("no Python handler for {model}: it takes {modules}");
    }
    print(&cells, args.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn started(command: Command, log: &Path) -> anyhow::Result<(Duration, Option<u64>)> {
    let (function, took) = Function::start(command, log).await?;
    Ok((took, function.peak_bytes()))
}

/// Asks a Python handler for what Millpond answers, and fails if it answers anything else.
async fn answers(function: &mut Function, sample: &Sample, folder: &Path) -> anyhow::Result<()> {
    let path = absolute(&folder.join(sample.input))?;
    let (answer, _) = function.invoke(json!({ "path": path })).await?;
    let expected = folder.join(sample.expected);
    // Drawings may differ by a grey level, so that they are there must do.
    let Some(expected) = expected.extension().filter(|extension| *extension == "json").map(|_| &expected) else {
        anyhow::ensure!(answer.as_str().is_some_and(|text| text.len() > 1000), "Python draws nothing: {answer}");
        return Ok(());
    };
    let text = std::fs::read(expected).with_context(|| format!("cannot read {}", expected.display()))?;
    let expected = serde_json::from_slice(&text)?;
    anyhow::ensure!(is_close(&answer, &expected), "Python answers {answer}, not {expected}");
    Ok(())
}

/// Whether both are the same but for the last digits of numbers.
fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_close(a, b)))
        }
        _ => a == b,
    }
}

fn print(cells: &[Cell], json: bool) -> anyhow::Result<()> {
    let of = |model: &str, engine| cells.iter().find(|cell| cell.sample.model == model && cell.engine == engine);
    let mut table = terminal::table(["start", "bootstrap", "memory", "emulator", "Python", "memory", "ratio"]);
    for bare in cells.iter().filter(|cell| cell.engine == Engine::Bare) {
        let model = bare.sample.model;
        let (emulated, python) = (of(model, Engine::Emulator), of(model, Engine::Python));
        let ratio = python.map(|python| python.ms() / bare.ms());
        if json {
            for cell in [Some(bare), emulated, python].into_iter().flatten() {
                let mut line = json!({"case": "cold", "model": model, "engine": cell.engine.name(), "ms": cell.ms()});
                line["peak_bytes"] = json!(cell.peak());
                line["ratio"] = json!(ratio.filter(|_| cell.engine == Engine::Python));
                println!("{line}");
            }
            continue;
        }
        let time = |cell: Option<&Cell>| cell.map_or_else(String::new, |cell| format!("{:.1} ms", cell.ms()));
        let memory = |cell: Option<&Cell>| {
            cell.and_then(Cell::peak).map_or_else(String::new, |bytes| format!("{} MiB", bytes >> 20))
        };
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.0}"));
        table.add_row([
            model.to_owned(),
            time(Some(bare)),
            memory(Some(bare)),
            time(emulated),
            time(python),
            memory(python),
            ratio,
        ]);
    }
    if !json {
        for column in 1..=6 {
            table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
        }
        println!("{}", table.trim_fmt());
    }
    Ok(())
}

impl Cell {
    /// The median.
    fn ms(&self) -> f64 {
        super::ms(super::median(self.times.clone()))
    }

    fn peak(&self) -> Option<u64> {
        self.peaks.iter().copied().max()
    }
}
