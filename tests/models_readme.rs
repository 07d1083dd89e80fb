//! Every command of `models/README.md`, run as it stands there, and its answers beside the training library's.
//!
//! Python and its libraries train the models: `tests/install-clients` installs them, or `MILLPOND_PYTHON` names a Python that has
//! them. Without either, nothing is run, and the test says so.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{libraries, root};

/// A fenced block: its language, what stands after that, and the lines.
struct Block {
    language: String,
    needs: Option<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    page.split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (first, text) = block.split_once('\n').expect("a block has a first line");
            let (language, needs) = first.split_once(' ').map_or((first, None), |(a, b)| (a, Some(b.to_owned())));
            Block { language: language.to_owned(), needs, text: text.to_owned() }
        })
        .collect()
}

fn python() -> Option<PathBuf> {
    let named = std::env::var_os("MILLPOND_PYTHON").map(PathBuf::from);
    Some(named.unwrap_or_else(|| libraries().join("bin/python"))).filter(|python| python.is_file())
}

/// Runs it in the folder; what it prints.
fn output(command: &mut Command, folder: &Path, text: &str) -> String {
    let output = command.current_dir(folder).stdin(Stdio::null()).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{out}\n{err}");
    out.into_owned()
}

/// The JSON of its last line.
fn answer(out: &str) -> Value {
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Equal but for numbers that are at most `tolerance` apart, which there must be one of.
fn assert_close(a: &Value, b: &Value, tolerance: f64) {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            assert!((x - y).abs() <= tolerance, "{x} is not {y}");
        }
        (Value::Array(x), Value::Array(y)) => {
            assert_eq!(x.len(), y.len(), "{a} is not {b}");
            x.iter().zip(y).for_each(|(x, y)| assert_close(x, y, tolerance));
        }
        (Value::Object(x), Value::Object(y)) => {
            assert_eq!(x.len(), y.len(), "{a} is not {b}");
            x.iter().for_each(|(key, x)| assert_close(x, &y[key], tolerance));
        }
        _ => assert_eq!(a, b),
    }
}

#[test]
fn its_commands_work_and_answer_as_the_libraries_do() {
    let Some(python) = python() else {
        println!("skipped: no Python with the training libraries; bash tests/install-clients installs them");
        return;
    };
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(here.path().join("models")).unwrap();
    let train = root().join("models/train");
    assert!(Command::new("cp").arg("-r").arg(train).arg(here.path().join("models")).status().unwrap().success());
    let page = std::fs::read_to_string(root().join("models/README.md")).unwrap();
    let has = |library: &str| {
        let import = Command::new(&python).args(["-c", &format!("import {library}")]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };

    let (mut expected, mut compared, mut skipping) = (None, 0, false);
    for block in blocks(&page) {
        match block.language.as_str() {
            "python" => {
                skipping = block.needs.as_deref().is_some_and(|library| !has(library));
                if skipping {
                    println!("skipped: a model that needs {}", block.needs.unwrap_or_default());
                    continue;
                }
                expected = Some(answer(&output(
                    Command::new(&python).args(["-c", &block.text]).env("OMP_NUM_THREADS", "1"),
                    here.path(),
                    &block.text,
                )));
            }
            "sh" if skipping => {}
            "sh" => {
                let script = block.text.replace("millpond ", concat!(env!("CARGO_BIN_EXE_millpond"), " "));
                let out = output(Command::new("bash").args(["-euo", "pipefail", "-c", &script]), here.path(), &script);
                let expected = expected.take().expect("a library's answer before it");
                assert_close(&answer(&out), &expected, 1e-5);
                compared += 1;
            }
            other => panic!("a block of {other:?}"),
        }
    }
    assert!(compared >= 3, "{compared} answers compared");
}
