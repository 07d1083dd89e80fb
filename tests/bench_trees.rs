//! `millpond bench trees`, briefly: what it prints, and that every engine answers as it should. The libraries that others wrote come from
//! `tests/install-clients`; without them, they are left out.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Installed, libraries, present, root};

fn bench(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond")).args(["bench", "trees"]).args(args).current_dir(dir).output().unwrap()
}

/// A shared library that a Python package has, if it is installed.
fn library(package: &str, path: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(libraries().join("lib")).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("site-packages").join(path)).find(|path| path.is_file());
    let expected = found.unwrap_or_else(|| libraries().join(path));
    present(package, Installed::InCi, &[&expected]).then_some(expected)
}

#[test]
fn engines_answer_alike_and_each_line_has_its_figures() {
    let xgboost = library("XGBoost", "xgboost/lib/libxgboost.so");
    let lightgbm = library("LightGBM", "lightgbm/lib/lib_lightgbm.so");
    let mut args = vec!["--json", "--rows", "1,64", "--seconds", "0.01", "--cases", "wine,missing20,classes10"];
    let mut engines = vec!["millpond", "gbdt"];
    for (flag, library, adds) in [
        ("--xgboost", &xgboost, ["xgboost"].as_slice()),
        ("--lightgbm", &lightgbm, ["millpond-lightgbm", "lightgbm"].as_slice()),
    ] {
        if let Some(library) = library {
            args.extend([flag, library.to_str().unwrap()]);
            engines.extend(adds);
        }
    }
    let output = bench(&args, &root());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(err.contains("onnxruntime is left out"), "{err}");
    assert_eq!(err.contains("xgboost is left out"), xgboost.is_none(), "{err}");

    let mut lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for case in ["wine", "missing20", "classes10"] {
        for rows in [1, 64] {
            for engine in &engines {
                let line = lines.next().unwrap();
                assert_eq!(
                    (&line["case"], &line["rows"], &line["engine"]),
                    (&case.into(), &rows.into(), &(*engine).into())
                );
                assert!(line["ns_per_row"].as_f64().unwrap() > 0.0, "{line}");
                assert!(line["ratio"].as_f64().unwrap() > 0.0, "{line}");
                assert_eq!(line["equal"], true, "{line}");
                let theirs = if engine.contains("lightgbm") {
                    "lightgbm"
                } else {
                    xgboost.as_ref().map_or("gbdt", |_| "xgboost")
                };
                assert_eq!(line["against"], theirs, "{line}");
            }
        }
        for form in ["json", "ubj"] {
            for engine in engines.iter().filter(|engine| ["millpond", "xgboost"].contains(engine)) {
                let line = lines.next().unwrap();
                assert_eq!(
                    (&line["case"], &line["load"], &line["engine"]),
                    (&case.into(), &form.into(), &(*engine).into())
                );
                assert!(line["ns"].as_u64().unwrap() > 0 && line["bytes"].as_u64().unwrap() > 10_000, "{line}");
            }
        }
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn what_cannot_be_measured_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.so"), "no library").unwrap();
    for (args, code, says) in [
        (["--xgboost", "absent.so"], 2, ["cannot load XGBoost from absent.so", "xgboost/lib/libxgboost.so"]),
        (["--lightgbm", "text.so"], 2, ["cannot load LightGBM from text.so", "lightgbm/lib/lib_lightgbm.so"]),
        (["--cases", "wine"], 1, ["cannot read the model of the case wine", "--models DIR"]),
        (["--cases", "tall"], 2, ["invalid value 'tall'", "classes10"]),
        (["--rows", "0"], 2, ["invalid value '0'", "1..=10000000"]),
    ] {
        let output = bench(&args, dir.path());
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        says.iter().for_each(|words| assert!(err.contains(words), "{args:?}: {err}"));
    }
}
