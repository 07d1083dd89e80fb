//! What the commands log, and how.

use std::io::IsTerminal;

use telemetry::logs::{Form, filter, start};

use crate::env;

/// Arguments of the commands that stay.
#[derive(clap::Args)]
pub struct LogArgs {
    /// How log lines are written, on standard error [default: text on a terminal, otherwise JSON]
    #[arg(long, env = env::LOG_FORMAT, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// `--log-format`
#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

impl LogArgs {
    /// Logs at `default`, unless [`env::LOG`] says otherwise.
    pub fn start(&self, default: &str) {
        let colours = std::io::stderr().is_terminal();
        let form = match self.log_format {
            Some(Format::Text) => Form::Text { colours },
            None if colours => Form::Text { colours },
            Some(Format::Json) | None => Form::Json { time: true },
        };
        start(filter(std::env::var(env::LOG).ok().as_deref(), default), form, std::io::stderr);
    }
}

/// Logs what a command meets that does something once.
pub fn start_brief() {
    LogArgs { log_format: None }.start("warn");
}
