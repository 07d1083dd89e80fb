//! The simulation itself, and what it is worth: it finds what is planted, sees all that can happen, and repeats itself.

use std::collections::BTreeMap;

use clap::ValueEnum;
use sim::{Bug, run};

/// As many as take some ten seconds in a debug build; `cargo run -p sim --release -- --seeds 100000` runs more.
const SEEDS: u64 = 200;

#[test]
fn no_history_breaks_a_promise() {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = run(seed, None, false);
        assert_eq!(report.violation, None, "seed {seed}; see it with `cargo run -p sim -- --seed {seed} --trace`");
        report.ends.into_iter().for_each(|(end, jobs)| *ends.entry(end).or_default() += jobs);
    }
    // What never happens is not tested.
    for end in [
        "succeeded",
        "cancelled",
        "expired upload_expired",
        "failed digest_mismatch",
        "failed input_gone",
        "failed input_replaced",
        "failed invalid_input",
        "failed model_failed",
        "failed model_panicked",
        "failed no_model",
        "failed storage_unavailable",
        "failed timed_out",
        "failed unknown_model",
        "failed worker_lost",
        "given up",
    ] {
        assert!(ends.contains_key(end), "no job ended as {end}: {ends:?}");
    }
}

#[test]
fn each_planted_bug_is_found() {
    for bug in Bug::value_variants() {
        let found = (0..1000).find_map(|seed| run(seed, Some(*bug), false).violation);
        let violation = found.unwrap_or_else(|| panic!("{bug:?} was not found within 1,000 seeds"));
        assert_eq!(violation.invariant, bug.breaks(), "{bug:?} was taken for another: {}", violation.what);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let once = run(seed, None, true).history;
        let again = std::thread::spawn(move || run(seed, None, true).history).join().expect("it does not panic");
        assert!(once.lines().count() > 100);
        assert!(once == again, "seed {seed} gave two histories");
    }
    assert_ne!(run(0, None, true).history, run(1, None, true).history);
}

#[test]
fn the_command_shows_the_history_of_the_first_failing_seed() {
    let sim = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, shown) = sim(&["--seeds", "20", "--plant", "ignored-cancel"]);
    assert_eq!(code, Some(1), "{shown}");
    let seed = shown.lines().find_map(|line| line.strip_suffix(" --trace")?.rsplit(' ').next()?.parse::<u64>().ok());
    let violation = run(seed.expect("it names the seed"), Some(Bug::IgnoredCancel), true).violation.expect("it fails");
    assert!(shown.contains(&format!("breaks {}: {}", violation.invariant, violation.what)), "{shown}");
    assert!(shown.contains("DELETE /jobs/"), "{shown}");

    let (code, shown) = sim(&["--seed", "0", "--trace"]);
    assert_eq!((code, shown.contains("POST /jobs")), (Some(0), true), "{shown}");
}
