//! The local cloud under clients that other people wrote. Each makes its round trip in a script of its own, beside this file in
//! `clients/`, against a local cloud of its own; a browser does what pages do, against `millpond up`.
//!
//! `README.md` beside this file says how to install them. A client that is not there is skipped, and says so.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use local_cloud::{Config, LocalCloud};
use support::{Installed, PATIENCE, Up, bare, cache, log_of, present, root, wines_expected};
use tokio::task::JoinSet;

/// A program of the machine's own. One that is nowhere has a path that does not exist.
fn on_path(name: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| name.into())
}

/// The keys that every client must be able to use.
fn keys() -> Vec<String> {
    // In five parts, none longer than a file's name may be: some clients copy files.
    let longest = format!("{}{}", format!("{}/", "k".repeat(203)).repeat(4), "k".repeat(208));
    assert_eq!(longest.len(), 1024);
    let keys = ["a", "a/b", "a b+c%/한글.txt", "../x", "//y/", ".hidden"];
    keys.into_iter().map(str::to_owned).chain([longest]).collect()
}

/// Runs a script that must end well and with the line `done`.
fn run(command: &mut Command) {
    let log = log_of(command, PATIENCE);
    assert!(log.ends_with("done\n"), "{log}");
}

/// Runs a client's script against a local cloud that is only its own, so that it may expect to be alone.
async fn round_trip(command: impl FnOnce(&Path) -> Command) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path().join("cloud"), "local", "local-secret");
    let cloud = LocalCloud::start(config).await.unwrap();
    let mut command = command(&root().join("tests/clients"));
    // Under the names by which AWS's own clients know them.
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local-secret")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_S3", cloud.s3_endpoint())
        .env("AWS_ENDPOINT_URL_SQS", cloud.sqs_endpoint())
        .env("KEYS", keys().join("\n"));
    run(&mut command);
    cloud.shutdown().await;
}

/// A script in Python, run by the virtual environment of that name.
async fn python(client: &str, installed: Installed, environment: &str, script: &str) {
    let python = cache().join(environment).join("bin/python");
    if present(client, installed, &[&python, &cache().join(environment).join("installed")]) {
        round_trip(|scripts| {
            let mut command = bare(&python);
            command.arg(scripts.join(script));
            command
        })
        .await;
    }
}

/// A script in JavaScript, run by Node with the npm packages of that name.
async fn node(client: &str, installed: Installed, packages: &str, script: &str) {
    let (node, packages) = (on_path("node"), cache().join(packages));
    if present(client, installed, &[&node, &packages.join("installed")]) {
        round_trip(|scripts| {
            let mut command = bare(&node);
            command.arg(scripts.join(script)).env("PACKAGES", &packages);
            command
        })
        .await;
    }
}

/// A script in Bash that is told where the program is, with further arguments.
async fn bash(client: &str, installed: Installed, program: &Path, script: &str, arguments: &[&Path]) {
    if present(client, installed, &[program]) {
        round_trip(|scripts| {
            let mut command = bare("bash");
            command.arg(scripts.join(script)).arg(program).args(arguments);
            command
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_makes_its_round_trip() {
    python("boto3", Installed::InCi, "clients", "boto3_round_trip.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_makes_its_round_trip() {
    let programs = cache().join("clients/bin");
    let python = programs.join("python");
    bash("the AWS CLI", Installed::InCi, &programs.join("aws"), "aws_cli.sh", &[&python]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_consumer_makes_its_round_trip() {
    node("sqs-consumer", Installed::InCi, "sqs-consumer", "sqs_consumer.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_makes_its_round_trip() {
    bash("rclone", Installed::WithAll, &cache().join("rclone/bin/rclone"), "rclone.sh", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_makes_its_round_trip() {
    bash("s3cmd", Installed::WithAll, &cache().join("s3cmd/bin/s3cmd"), "s3cmd.sh", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_py_makes_its_round_trip() {
    python("minio-py", Installed::WithAll, "minio", "minio_round_trip.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdk_makes_its_round_trip() {
    node("the AWS SDK for JavaScript", Installed::WithAll, "aws-sdk-js", "js_sdk.mjs").await;
}

/// Serves the page at an origin of its own.
async fn serve_page(servers: &mut JoinSet<std::io::Result<()>>) -> String {
    let page = std::fs::read_to_string(root().join("tests/clients/page.html")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    servers.spawn(axum::serve(listener, Router::new().route("/", get(|| async { Html(page) }))).into_future());
    origin
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_uploads_and_reads_the_result() {
    let (node, chromium, packages) = (on_path("node"), on_path("chromium"), cache().join("browser"));
    if !present("a browser", Installed::WithAll, &[&node, &chromium, &packages.join("installed")]) {
        return;
    }
    let mut servers = JoinSet::new();
    let (origin, elsewhere) = (serve_page(&mut servers).await, serve_page(&mut servers).await);
    let data = tempfile::tempdir().unwrap();
    let up = Up::start_with(data.path(), &root().join("models"), &["--cors-origin", &origin]).await;
    let mut command = bare(&node);
    command
        .arg(root().join("tests/clients/browser.mjs"))
        .arg(chromium)
        .args([&origin, &elsewhere, up.text("api")])
        .arg(root().join("samples/wine-quality/wines.json"))
        .env("PACKAGES", packages)
        .env("EXPECTED", wines_expected().to_string());
    run(&mut command);
}
