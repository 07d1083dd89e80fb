//! `millpond bench cold` and `bench job`, once each: what they print. Times of a test's build say nothing; requests do.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Installed, present, root, skipped};

/// The functions' binary, which lies beside ours when the whole workspace is tested.
fn bootstrap() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_millpond")).with_file_name("bootstrap");
    present("the functions' binary", Installed::InCi, &[&path]).then_some(path)
}

fn bench(what: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(["bench", what]).args(args).current_dir(root()).output().unwrap()
}

/// The objects that it prints, one a line.
fn lines(output: &Output) -> Vec<Value> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_model_has_a_time_and_a_peak() {
    if !cfg!(target_os = "linux") {
        return skipped("peaks of memory, which Linux tells");
    }
    let Some(bootstrap) = bootstrap() else { return };
    let lines = lines(&bench("cold", &["--bootstrap", bootstrap.to_str().unwrap(), "--rounds", "1", "--json"]));
    let models: Vec<_> = lines.iter().map(|line| line["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["wine-quality", "moons", "names", "reviews", "line-art"]);
    let peak = |at: usize| lines[at]["peak_bytes"].as_u64().unwrap();
    for line in &lines {
        assert_eq!((&line["case"], &line["engine"]), (&"cold".into(), &"bootstrap".into()));
        assert!(line["ms"].as_f64().unwrap() > 0.0, "{line}");
    }
    // The one model of many megabytes was loaded, and in its own start alone.
    assert!(peak(3) > peak(0) + (10 << 20), "{lines:?}");
    assert!(peak(4) < peak(3), "{lines:?}");
}

#[test]
fn a_function_that_does_not_start_says_why() {
    let output = bench("cold", &["--bootstrap", "/bin/false", "--only", "moons"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains("the function ended with exit status: 1"), "{err}");
}

/// What docs/cost.md counts with. Not of line-art, which takes longer than a second in a test's build and then writes its progress.
#[test]
fn a_job_makes_so_many_requests() {
    let Some(bootstrap) = bootstrap() else { return };
    let args = ["--bootstrap", bootstrap.to_str().unwrap(), "--only", "moons", "--rounds", "1", "--json"];
    let counts = |line: &Value| {
        let of = |who: &str| ["s3_writes", "s3_reads", "sqs"].map(|what| line[who][what].as_f64().unwrap());
        let name = |what: &str| line[what].as_str().unwrap().to_owned();
        (name("model"), name("way"), of("front"), of("worker"))
    };
    let counted: Vec<_> = lines(&bench("job", &args)).iter().map(counts).collect();
    let row = |model: &str, way: &str, front, worker| (model.to_owned(), way.to_owned(), front, worker);
    assert_eq!(
        counted,
        [
            row("moons", "upload", [2.0, 2.0, 0.0], [1.0, 4.0, 0.0]),
            row("moons", "inline", [1.0, 2.0, 1.0], [1.0, 3.0, 0.0]),
            row("moons", "drop", [1.0, 1.0, 0.0], [5.0, 11.0, 0.0]),
        ]
    );
}
