//! Log lines: what is logged, in which form, and what never is.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::str::FromStr;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::scrub::Scrubbed;

/// Our own crates, which log nothing that is a client's.
const OURS: [&str; 14] = [
    "api",
    "bootstrap",
    "bundle",
    "cloud",
    "cloud_aws",
    "infer",
    "job",
    "keys",
    "ledger",
    "local_cloud",
    "millpond",
    "registry",
    "telemetry",
    "worker",
];

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person who watches, in colours if `colours`.
    Text {
        /// Whether a terminal shows it.
        colours: bool,
    },
    /// One JSON object a line, with the time unless somebody else adds it.
    Json {
        /// Whether each line says when.
        time: bool,
    },
}

/// Logs to `writer` what `filter` lets through, and each panic as a line. A second start in a process keeps the first.
///
/// The filter rules over our own crates. Others log warnings at most, whatever it says: below that, HTTP clients and the AWS SDK
/// print bodies, headers and the texts that they sign. (`s3s`, which answers for the local S3, logs nothing: an absent object is
/// an error to it, and everyday life here.)
pub fn start<W>(filter: EnvFilter, form: Form, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let gate = Targets::new()
        .with_targets(OURS.map(|name| (name, LevelFilter::TRACE)))
        .with_targets([("lambda_runtime", Level::INFO)])
        .with_target("s3s", LevelFilter::OFF)
        .with_default(Level::WARN);
    let filtered = tracing_subscriber::registry().with(filter).with(gate);
    let lines = tracing_subscriber::fmt::layer().with_writer(Scrubbed(writer));
    let started = match form {
        Form::Text { colours } => filtered.with(lines.compact().with_ansi(colours)).try_init(),
        // The innermost span has the job, the attempt and the trace; the list of all spans would repeat it.
        Form::Json { time: true } => filtered.with(lines.json().flatten_event(true).with_span_list(false)).try_init(),
        Form::Json { time: false } => {
            filtered.with(lines.json().flatten_event(true).with_span_list(false).without_time()).try_init()
        }
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// What `text` asks for in `tracing_subscriber`'s words, or `default` if it asks for nothing that is understood.
pub fn filter(text: Option<&str>, default: &str) -> EnvFilter {
    let asked = text.filter(|text| !text.is_empty()).and_then(|text| EnvFilter::from_str(text).ok());
    asked.unwrap_or_else(|| EnvFilter::new(default))
}

/// One line where the panic was, in the span of whoever was at work. A text that was made at run time may quote an input, so
/// only one that stands in the source is shown.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(tracing::field::display);
    let said = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("what it said may quote an input");
    // Only if RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    let thread = std::thread::current();
    tracing::error!(at, thread = thread.name(), backtrace, "a panic: {said}");
}
