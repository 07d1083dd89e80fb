//! What is logged, and how.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::env;

/// Logs to standard error: `default` unless [`env::LOG`] says otherwise; as JSON lines where nobody watches.
pub fn start(default: &str) {
    // The S3 protocol layer logs every absent object and every failed condition as an error; both are everyday here.
    let filter = EnvFilter::try_from_env(env::LOG).unwrap_or_else(|_| EnvFilter::new(format!("{default},s3s=off")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (in a test) keeps the first.
    let _ = if std::io::stderr().is_terminal() {
        builder.compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
