//! Every command of the README, run as it stands there.

mod support;

use std::process::Command;

use support::{Up, program, root};

/// The `sh` blocks of the README, in order.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_commands_work() {
    let here = tempfile::tempdir().unwrap();
    for folder in ["models", "samples"] {
        let copied = Command::new("cp").arg("-r").arg(root().join(folder)).arg(here.path()).status().unwrap();
        assert!(copied.success());
    }
    std::fs::copy(root().join("models/wine-quality/1/model.ubj"), here.path().join("my-model.ubj")).unwrap();
    let up = Up::start_with(&here.path().join("millpond-data"), &here.path().join("models"), &[]).await;
    let aws = program("aws");

    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let mut ran = 0;
    let mut keyed: Option<(String, Up)> = None;
    for block in blocks() {
        if block.contains("-- demo") {
            for line in block.lines() {
                assert!(ci.lines().any(|step| step.starts_with(line)), "CI does not run `{line}`");
            }
            continue;
        }
        // This process runs it already, on other ports.
        if block.trim() == "cargo run --release -- up" || (block.contains("aws s3") && aws.is_none()) {
            continue;
        }
        // What it makes is for a server of its own, and for the block that follows.
        if let Some(line) = block.lines().find(|line| line.contains("keys add")) {
            let script =
                format!("{line}\necho \"$key\"").replace("cargo run --release --", env!("CARGO_BIN_EXE_millpond"));
            let output = Command::new("bash").args(["-euc", &script]).current_dir(here.path()).output().unwrap();
            let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            let (data, models, keys) = ("keyed-data", "models", "keys.json");
            let [data, models, keys] = [data, models, keys].map(|name| here.path().join(name));
            keyed = Some((key, Up::start_with(&data, &models, &["--keys", keys.to_str().unwrap()]).await));
            continue;
        }
        let (key, up) = match &keyed {
            Some((key, up)) if block.contains("$key") => (key.as_str(), up),
            _ => ("", &up),
        };
        let script = block
            .replace("cargo run --release --", env!("CARGO_BIN_EXE_millpond"))
            .replace("http://127.0.0.1:8080", up.text("api"))
            .replace("http://127.0.0.1:8081", up.text("s3"));
        let path = std::env::join_paths(
            aws.iter()
                .map(|aws| aws.parent().unwrap().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(here.path())
            .env("PATH", path.unwrap())
            .env("MILLPOND_ENDPOINT", up.text("api"))
            .env("key", key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{out}\n{err}\n{}", up.log());
        if !block.contains("models add") {
            let expected = support::wines_expected();
            assert!(out.contains(&expected[0].to_string()), "no answer from:\n{script}\n{out}\n{err}");
        }
        ran += 1;
    }
    assert!(ran >= 4, "{ran} blocks ran");

    // What was added is served, without a restart, and answers as the model that it was made from.
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while up.get("/models/my-model").await.0 != 200 {
        assert!(std::time::Instant::now() < deadline, "my-model is not served");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let input: serde_json::Value = serde_json::from_slice(&support::wines()).unwrap();
    let (status, job) = up.post(serde_json::json!({"model": "my-model", "input": input}).to_string()).await;
    assert_eq!(status, 202, "{job}");
    assert_eq!(up.ended(support::id(&job)).await["result"]["value"], support::wines_expected());
}
