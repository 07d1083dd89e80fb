//! `millpond bench trees`: our engine for decision trees beside others, in one process, in turn, on one thread.

mod cases;
mod document;
mod engines;
mod forest;
mod grow;
mod measure;
#[cfg(feature = "onnxruntime")]
mod onnx;
mod report;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use cases::{Case, Model};
#[cfg(feature = "onnxruntime")]
use engines::OnnxRuntime;
use engines::{Blocks, Engine, Gbdt, LightGbm, LightGbmByMillpond, LightGbmModel, Millpond, XgBoost, XgBoostModel};
use measure::{Task, Timing};
use report::{Load, Report};
use rows::Rows;

/// Arguments of `millpond bench trees`.
#[derive(clap::Args)]
#[command(after_help = "\
Engines: millpond; gbdt, the Rust crate; and those whose shared library is given. All run on one thread, \
in turn, on the same rows, which lie ready in the form that each takes; \
of several measurements of each the median counts. `ratio` is how many times as long as millpond an engine takes.

`equal`: whether every bit of every answer is XGBoost's; without --xgboost, gbdt's (`against` says whose). \
ONNX Runtime adds leaves in another order and is not equal; `difference` says by how much. \
LightGBM can't read XGBoost's models: it trains one of the same shape, on rows that the measured model has answered. \
millpond reads that too, as millpond-lightgbm, and these two are compared with each other.

All models but wine-quality are grown by this program, as XGBoost's `hist` method grows them, and written as XGBoost's files.")]
pub struct Args {
    /// XGBoost's shared library: xgboost/lib/libxgboost.so of the Python package xgboost-cpu
    #[arg(long, value_name = "FILE")]
    xgboost: Option<PathBuf>,
    /// LightGBM's shared library: lightgbm/lib/lib_lightgbm.so of the Python package lightgbm
    #[arg(long, value_name = "FILE")]
    lightgbm: Option<PathBuf>,
    /// ONNX Runtime's shared library, for a build with the feature onnxruntime
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// The models to measure, separated by commas; all if absent
    #[arg(long, value_name = "CASES", value_delimiter = ',')]
    cases: Vec<Case>,
    /// How many rows are asked about at once, separated by commas
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "1,64,4096,1000000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rows: Vec<u32>,
    /// About how long each engine is measured for each model and number of rows, in seconds; what takes longer is done once
    #[arg(long, default_value_t = 1.0, value_parser = super::seconds)]
    seconds: f64,
    /// Measure our engine's other layouts too, as on machines with fewer instructions
    #[arg(long)]
    layouts: bool,
    /// The folder of models, for wine-quality
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Different rows are asked about in turn, lest an engine be measured on one row that the processor has learnt by heart: as many blocks as
/// make this many rows, but no more than the second number.
const ROWS_IN_TURN: usize = 16_384;
const BLOCKS_IN_TURN: usize = 1_024;
/// Rows that LightGBM's models are trained on.
const LIGHTGBM_ROWS: usize = 20_000;

/// The shared libraries that were given.
struct Libraries {
    xgboost: Option<XgBoost>,
    lightgbm: Option<LightGbm>,
    #[cfg(feature = "onnxruntime")]
    onnxruntime: Option<OnnxRuntime>,
}

impl Libraries {
    fn open(args: &Args) -> anyhow::Result<Self> {
        #[cfg(not(feature = "onnxruntime"))]
        if args.onnxruntime.is_some() {
            let message = "this build cannot run ONNX Runtime";
            return Err(crate::failure::usage(
                message,
                "cargo run --release --features onnxruntime -- bench trees ...",
            )
            .into());
        }
        Ok(Self {
            xgboost: args.xgboost.as_deref().map(XgBoost::open).transpose()?,
            lightgbm: args.lightgbm.as_deref().map(LightGbm::open).transpose()?,
            #[cfg(feature = "onnxruntime")]
            onnxruntime: args.onnxruntime.as_deref().map(OnnxRuntime::open).transpose()?,
        })
    }

    /// The engines, each with the case's model.
    fn engines(&self, case: Case, model: &Model, layouts: bool) -> anyhow::Result<Vec<Box<dyn Engine>>> {
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        engines.push(Box::new(Millpond::load(&model.ubj)?));
        if layouts {
            for other in Millpond::load_others(&model.ubj)? {
                engines.push(Box::new(other));
            }
        }
        engines.push(Box::new(Gbdt::load(&model.forest)?));
        if let Some(library) = &self.xgboost {
            engines.push(Box::new(XgBoostModel::load(library, &model.ubj)?));
        }
        #[cfg(feature = "onnxruntime")]
        if let Some(library) = &self.onnxruntime {
            engines.push(Box::new(library.load(&model.forest)?));
        }
        if let Some(library) = &self.lightgbm {
            let rows = case.rows(model, LIGHTGBM_ROWS);
            let mut answers = Vec::new();
            infer::xgboost::load(&model.ubj)?.predict(&rows.values, &mut answers, &|| false)?;
            let text = engines::train(library, &model.forest, &rows, &answers)?;
            engines.push(Box::new(LightGbmByMillpond::load(&text)?));
            engines.push(Box::new(LightGbmModel::load(library, &text)?));
        }
        Ok(engines)
    }
}

/// `millpond bench trees`
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let libraries = Libraries::open(args)?;
    let budget = Duration::from_secs_f64(args.seconds);
    let cases = if args.cases.is_empty() { Case::value_variants() } else { &args.cases };
    let in_turn = |rows: usize| rows * (ROWS_IN_TURN / rows).clamp(1, BLOCKS_IN_TURN);
    let sizes: Vec<usize> = args.rows.iter().map(|rows| *rows as usize).collect();

    let mut report = Report::new(args, &libraries);
    // For each case: what makes it ready, the sizes, and loading.
    let bar = ProgressBar::new((cases.len() * (sizes.len() + 2)) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(100));
    for case in cases {
        let name = case.name();
        bar.set_message(format!("{name}: models"));
        let model = case.model(&args.models)?;
        let mut engines = libraries.engines(*case, &model, args.layouts)?;
        let all = case.rows(&model, sizes.iter().map(|rows| in_turn(*rows)).max().unwrap_or(1));
        bar.inc(1);
        report.case(*case, &model.forest, &all);
        for size in &sizes {
            bar.set_message(format!("{name}: {size} rows"));
            let values = all.values[..in_turn(*size) * all.features].to_vec();
            let rows = Rows { features: all.features, values };
            let figures = measure::cell(&mut engines, Blocks { rows: &rows, block_rows: *size }, budget)?;
            bar.suspend(|| report.cell(*case, *size, figures));
            bar.inc(1);
        }
        bar.set_message(format!("{name}: loading"));
        for (form, file) in [("json", &model.json), ("ubj", &model.ubj)] {
            let load = Load { case: *case, form, bytes: file.len(), timings: loads(&libraries, file, budget)? };
            bar.suspend(|| report.load(load));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.end()?;
    Ok(ExitCode::SUCCESS)
}

/// How long our engine and XGBoost take from a file's bytes to a model that is ready.
fn loads(libraries: &Libraries, file: &[u8], budget: Duration) -> anyhow::Result<Vec<(&'static str, Timing)>> {
    let ours = move |file: &[u8]| infer::xgboost::load(file).map(drop).map_err(anyhow::Error::from);
    let mut names = vec![Millpond::NAME];
    let mut tasks = vec![task(file, ours)?];
    if let Some(library) = &libraries.xgboost {
        names.push(XgBoostModel::NAME);
        tasks.push(task(file, |file| library.load(file).map(drop))?);
    }
    Ok(names.into_iter().zip(measure::in_turn(tasks, budget)?).collect())
}

fn task<'a>(file: &'a [u8], load: impl Fn(&[u8]) -> anyhow::Result<()> + 'a) -> anyhow::Result<Task<'a>> {
    let run = move |calls| {
        let start = Instant::now();
        for _ in 0..calls {
            load(file)?;
        }
        Ok(start.elapsed())
    };
    // Once beforehand, which nothing counts.
    Ok(Task { about: run(1)?, run: Box::new(run) })
}
