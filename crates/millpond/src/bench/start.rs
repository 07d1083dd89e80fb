//! `millpond bench start`: what somebody waits for who starts a process to ask one question.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{median, ms};
use crate::failure;
use crate::terminal;

/// Arguments of `millpond bench start`.
#[derive(clap::Args)]
pub struct Args {
    /// A Python that has xgboost (or xgboost-cpu) and pandas
    #[arg(long, value_name = "FILE")]
    python: PathBuf,
    /// How often each starts, one after the other in turn
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// The wines to ask about
    #[arg(long, value_name = "FILE", default_value = "samples/wine-quality/wines.json")]
    input: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The shortest way from a file of wines to their qualities. The wheel's frames want columns in the model's order.
const PYTHON: &str = "\
import sys, xgboost, pandas
model = xgboost.Booster(model_file=sys.argv[1])
wines = pandas.read_json(sys.argv[2])[model.feature_names]
print(model.predict(xgboost.DMatrix(wines)).astype(float).tolist())
";

/// `millpond bench start`
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = args.models.join("wine-quality/1/model.ubj");
    let this = std::env::current_exe().context("this program has no path")?;
    let ours = || {
        let mut command = Command::new(&this);
        command.args(["models", "run", "wine-quality@1"]).arg(&args.input).arg("--models").arg(&args.models);
        command
    };
    let python = || {
        let mut command = Command::new(&args.python);
        command.args(["-c", PYTHON]).arg(&model).arg(&args.input);
        command
    };

    // One of each first: what is measured is a start from the page cache, for both.
    let (expected, _) = timed(python(), &args.python)?;
    let (got, _) = timed(ours(), &this)?;
    anyhow::ensure!(got == expected, "millpond answers {got}, Python {expected}");
    let bar = ProgressBar::new(args.runs.into());
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        for (times, command, program) in
            [(&mut times.0, ours(), this.as_path()), (&mut times.1, python(), args.python.as_path())]
        {
            let (answer, took) = timed(command, program)?;
            anyhow::ensure!(answer == expected, "{} answers {answer}, not {expected}", program.display());
            times.push(took);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (ours, python) = (median(times.0), median(times.1));
    let ratio = python.as_secs_f64() / ours.as_secs_f64();
    if args.json {
        for (engine, took) in [("millpond", ours), ("python", python)] {
            println!("{}", json!({"case": "start", "engine": engine, "ms": ms(took), "equal": true}));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = terminal::table(["process start to first answer", "median", "ratio"]);
    table.add_row(["millpond", &format!("{:.1} ms", ms(ours)), "1"]);
    table.add_row(["Python, XGBoost, pandas", &format!("{:.1} ms", ms(python)), &format!("{ratio:.0}")]);
    for column in [1, 2] {
        table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
    }
    println!("{}", table.trim_fmt());
    Ok(ExitCode::SUCCESS)
}

/// What the command prints, and how long it runs.
fn timed(mut command: Command, program: &Path) -> anyhow::Result<(Value, Duration)> {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", program.display()))?;
    let took = start.elapsed();
    if !output.status.success() {
        let message = format!("{} failed:\n{}", program.display(), String::from_utf8_lossy(&output.stderr).trim_end());
        return Err(
            failure::hint(message, "the Python needs xgboost-cpu and pandas: models/train/requirements.txt").into()
        );
    }
    let answer =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{} prints no JSON", program.display()))?;
    Ok((answer, took))
}
