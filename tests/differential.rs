//! The local cloud beside moto, another stand-in for AWS that other people wrote: both are played the same random calls, and
//! every answer is compared. `README.md` beside this file says how to read a failure.

mod support;

use std::time::Duration;

use local_cloud::{Config, LocalCloud};
use support::{Installed, PATIENCE, bare, cache, log_of, present, root};

const DEFAULT_SEEDS: u32 = 12;
/// What a seed's 150 calls may take on a machine that is busy. On an idle one it is a second.
const PATIENCE_A_SEED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_local_cloud_answers_as_moto_does() {
    let environment = cache().join("moto");
    let python = environment.join("bin/python");
    if !present("moto", Installed::InCi, &[&python, &environment.join("installed")]) {
        return;
    }
    let seeds = std::env::var("MILLPOND_DIFFERENTIAL_SEEDS").map_or(DEFAULT_SEEDS, |seeds| {
        seeds.parse().unwrap_or_else(|error| panic!("MILLPOND_DIFFERENTIAL_SEEDS is {seeds:?}: {error}"))
    });
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path().join("cloud"), "local", "local-secret");
    let cloud = LocalCloud::start(config).await.unwrap();
    let mut command = bare(&python);
    command
        .arg(root().join("tests/differential/run.py"))
        .args(["--seeds", &seeds.to_string()])
        .args(["--s3-endpoint", &cloud.s3_endpoint()])
        .args(["--sqs-endpoint", &cloud.sqs_endpoint()]);
    // A failure takes a minute more, to find the shortest sequence of calls that shows it.
    let log = log_of(&mut command, PATIENCE + seeds * PATIENCE_A_SEED);
    assert!(log.contains("no unexplained difference"), "{log}");
    cloud.shutdown().await;
}
