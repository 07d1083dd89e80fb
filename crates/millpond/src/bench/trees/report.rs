//! What is printed: tables for people, lines of JSON for machines.

use std::time::Duration;

use anyhow::Context;
use comfy_table::CellAlignment;
use serde_json::json;

use super::cases::Case;
use super::engines::{Millpond, XgBoost};
use super::forest::Forest;
use super::measure::{Figures, Timing};
use super::rows::Rows;
use super::{Args, Libraries};
use crate::terminal;

/// How long a model takes to load.
pub struct Load {
    pub case: Case,
    /// "json" or "ubj"
    pub form: &'static str,
    pub bytes: usize,
    /// By engine.
    pub timings: Vec<(&'static str, Timing)>,
}

/// Prints what comes in: lines at once, tables at the end.
pub struct Report {
    json: bool,
    /// What is to be known of the engines.
    notes: Vec<String>,
    cases: Vec<[String; 5]>,
    cells: Vec<(Case, usize, Vec<Figures>)>,
    loads: Vec<Load>,
    /// How many splits a row passes in the present case.
    splits_per_row: f64,
}

impl Report {
    pub fn new(args: &Args, libraries: &Libraries) -> Self {
        let mut notes = Vec::new();
        if let Some([major, minor, patch]) = libraries.xgboost.as_ref().map(XgBoost::version) {
            notes.push(format!("xgboost is {major}.{minor}.{patch}"));
        }
        let mut missing = |is: bool, engine: &str, how: &str| {
            if is {
                notes.push(format!("{engine} is left out: {how}"));
            }
        };
        missing(
            libraries.xgboost.is_none(),
            "xgboost",
            "--xgboost FILE names its library; answers are compared with gbdt's",
        );
        #[cfg(feature = "onnxruntime")]
        missing(libraries.onnxruntime.is_none(), "onnxruntime", "--onnxruntime FILE names its library");
        #[cfg(not(feature = "onnxruntime"))]
        missing(true, "onnxruntime", "it takes a build with --features onnxruntime, and --onnxruntime FILE");
        missing(libraries.lightgbm.is_none(), "lightgbm", "--lightgbm FILE names its library");
        Self { json: args.json, notes, cases: Vec::new(), cells: Vec::new(), loads: Vec::new(), splits_per_row: 0.0 }
    }

    /// A case begins.
    pub fn case(&mut self, case: Case, forest: &Forest, rows: &Rows) {
        let some: Vec<usize> =
            rows.values.chunks_exact(rows.features).take(1_000).map(|row| forest.visits(row)).collect();
        self.splits_per_row = some.iter().sum::<usize>() as f64 / some.len() as f64;
        let numbers = [forest.trees.len(), forest.depth(), forest.features].map(|number| number.to_string());
        let [trees, depth, features] = numbers;
        self.cases.push([case.name().to_owned(), trees, depth, features, format!("{:.0}", self.splits_per_row)]);
    }

    /// The engines' figures for a case and a number of rows.
    pub fn cell(&mut self, case: Case, rows: usize, figures: Vec<Figures>) {
        if self.json {
            for Figures { engine, ns_per_row, samples, against, equal, difference, ratio } in &figures {
                let line = json!({
                    "case": case.name(), "rows": rows, "engine": engine, "ns_per_row": ns_per_row, "equal": equal,
                    "against": against, "difference": difference, "ratio": ratio, "samples": samples,
                    "splits_per_row": self.splits_per_row,
                });
                println!("{line}");
            }
        }
        self.cells.push((case, rows, figures));
    }

    /// How long a case's model takes to load.
    pub fn load(&mut self, load: Load) {
        if self.json {
            for (engine, timing) in &load.timings {
                let line = json!({
                    "case": load.case.name(), "load": load.form, "engine": engine, "ns": timing.median.as_nanos() as u64,
                    "bytes": load.bytes, "ratio": ratio(&load, timing), "samples": timing.samples,
                });
                println!("{line}");
            }
        }
        self.loads.push(load);
    }

    /// Prints the rest. An error if our own answers differ from what they were compared with.
    pub fn end(self) -> anyhow::Result<()> {
        if self.json {
            self.notes.iter().for_each(|line| eprintln!("{line}"));
        } else {
            self.tables()?;
        }
        for (case, rows, figures) in &self.cells {
            let wrong = figures.iter().find(|figures| !figures.equal && figures.engine.starts_with(Millpond::NAME));
            if let Some(Figures { engine, against, difference, .. }) = wrong {
                let case = case.name();
                anyhow::bail!("{engine} answers {rows} rows of {case} otherwise than {against}, by {difference:.1e}");
            }
        }
        Ok(())
    }

    fn tables(&self) -> anyhow::Result<()> {
        let mut table = terminal::table(["case", "trees", "depth", "features", "splits a row"]);
        self.cases.iter().for_each(|row| {
            table.add_row(row);
        });
        print(table, 1)?;

        let engines: Vec<&str> = self.cells.first().map(|(_, _, figures)| names(figures)).unwrap_or_default();
        let mut table = terminal::table(["ns a row", "rows"].into_iter().chain(engines));
        for (case, rows, figures) in &self.cells {
            let cell = |Figures { ns_per_row, ratio, equal, difference, .. }: &Figures| {
                let differs = if *equal { String::new() } else { format!(" ±{difference:.0e}") };
                format!("{} ({ratio:.1}){differs}", number(*ns_per_row))
            };
            let row = [case.name().to_owned(), rows.to_string()].into_iter().chain(figures.iter().map(cell));
            table.add_row(row);
        }
        println!();
        print(table, 1)?;
        println!(
            "In brackets, how many times as long as millpond; ± the greatest difference where not every bit is equal."
        );

        let engines = self.loads.first().map(|load| load.timings.iter().map(|(engine, _)| *engine).collect::<Vec<_>>());
        let mut table = terminal::table(["load", "form", "bytes"].into_iter().chain(engines.unwrap_or_default()));
        for load in &self.loads {
            let row = [load.case.name().to_owned(), load.form.to_owned(), load.bytes.to_string()];
            let cell = |(_, timing): &(&str, Timing)| format!("{} ({:.1})", ms(timing.median), ratio(load, timing));
            table.add_row(row.into_iter().chain(load.timings.iter().map(cell)));
        }
        println!();
        print(table, 2)?;
        self.notes.iter().for_each(|line| println!("{line}"));
        Ok(())
    }
}

fn names(figures: &[Figures]) -> Vec<&'static str> {
    figures.iter().map(|figures| figures.engine).collect()
}

/// How many times as long as our engine.
fn ratio(load: &Load, timing: &Timing) -> f64 {
    let ours = load.timings.first().map_or(f64::NAN, |(_, ours)| ours.median.as_secs_f64());
    timing.median.as_secs_f64() / ours
}

fn number(ns: f64) -> String {
    if ns < 10.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}

fn ms(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1e3)
}

/// Prints a table whose columns from this one on are numbers.
fn print(mut table: comfy_table::Table, numbers: usize) -> anyhow::Result<()> {
    for column in numbers..table.column_count() {
        table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
    }
    println!("{}", table.trim_fmt());
    Ok(())
}
