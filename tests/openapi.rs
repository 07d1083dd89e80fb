//! The HTTP API against its own OpenAPI document, by schemathesis: calls made from the document, right ones and wrong ones, in
//! sequences too; every answer must be one that the document has, and none a fault of the server. `openapi/schemathesis.toml`
//! says what is left out.

mod support;

use support::{Installed, PATIENCE, Up, bare, cache, log_of, present, root};

/// The same calls every time, and how many of each kind at most for one operation.
const SEED: &str = "17";
const EXAMPLES: &str = "40";

/// Checks the service, with these further arguments; false if schemathesis is not installed.
async fn conforms(up: &[&str], arguments: &[&str]) {
    let environment = cache().join("schemathesis");
    let schemathesis = environment.join("bin/st");
    if !present("schemathesis", Installed::InCi, &[&schemathesis, &environment.join("installed")]) {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let up = Up::start_with(data.path(), &root().join("models"), up).await;
    let mut command = bare(&schemathesis);
    command
        .arg("--config-file")
        .arg(root().join("tests/openapi/schemathesis.toml"))
        .args(["run", &up.api("/openapi.json"), "--seed", SEED, "--max-examples", EXAMPLES])
        .args(arguments)
        .env("SCHEMATHESIS_HOOKS", root().join("tests/openapi/hooks.py"));
    let log = log_of(&mut command, PATIENCE);
    assert!(log.contains(" generated, "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_document_says() {
    conforms(&[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_with_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    let key = support::add_key(&keys);
    let header = format!("Authorization: Bearer {key}");
    conforms(&["--keys", keys.to_str().unwrap()], &["--header", &header]).await;
}
