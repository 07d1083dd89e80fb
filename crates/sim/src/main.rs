//! `sim`: runs seeds until one breaks a promise.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use sim::{Bug, Report};

/// Simulates Millpond's API, workers, dead-letter handler and sweep over a faulty cloud, one history a seed, and checks the
/// invariants J1 to J7 on each.
#[derive(Parser)]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Run this seed alone
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Print the seed's history, whether or not it is a good one
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plant a bug, which is to be found
    #[arg(long, value_name = "BUG")]
    plant: Option<Bug>,
    /// How many seeds run side by side
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let failing = match args.seed {
        Some(seed) => {
            let report = sim::run(seed, args.plant, args.trace);
            if args.trace {
                print!("{}", report.history);
            }
            println!("seed {seed}: {:?} of virtual time", report.virtual_time);
            report.violation.is_some().then_some((seed, report))
        }
        None => search(&args),
    };
    let Some((seed, report)) = failing else { return ExitCode::SUCCESS };
    if !args.trace {
        print!("{}", sim::run(seed, args.plant, true).history);
    }
    let violation = report.violation.expect("it failed");
    println!("seed {seed} breaks {}: {}", violation.invariant, violation.what);
    println!("see it again with --seed {seed} --trace");
    ExitCode::FAILURE
}

/// Runs the seeds until one fails, and tells how fast it goes. Of several that fail, the lowest.
fn search(args: &Args) -> Option<(u64, Report)> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let failing: Mutex<Option<(u64, Report)>> = Mutex::default();
    let begun = Instant::now();
    let told = Mutex::new(begun);
    let ends: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let rate = |done: u64| done as f64 / begun.elapsed().as_secs_f64();
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= args.seeds {
                        return;
                    }
                    let seed = args.first + nth;
                    let report = sim::run(seed, args.plant, false);
                    if report.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                        let mut failing = failing.lock().expect("no panic while it is held");
                        if failing.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *failing = Some((seed, report.clone()));
                        }
                    }
                    let mut ends = ends.lock().expect("no panic while it is held");
                    report.ends.iter().for_each(|(end, jobs)| *ends.entry(end.clone()).or_default() += jobs);
                    drop(ends);
                    let mut told = told.lock().expect("no panic while it is held");
                    if told.elapsed() > Duration::from_secs(10) {
                        *told = Instant::now();
                        eprintln!("{} seeds, {:.0} a second", nth + 1, rate(nth + 1));
                    }
                }
            });
        }
    });
    let failing = failing.into_inner().expect("no panic while it is held");
    if failing.is_none() {
        println!("{} seeds passed, {:.0} a second", args.seeds, rate(args.seeds));
        for (end, jobs) in ends.into_inner().expect("no panic while it is held") {
            println!("{jobs:>10} {end}");
        }
    }
    failing
}
