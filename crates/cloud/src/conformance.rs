//! The contracts of [`ObjectStore`](crate::ObjectStore) and [`Queue`](crate::Queue) as suites that every
//! implementation runs.
//!
//! A suite takes a function that makes something fresh for each case, and returns what failed, by the case's name:
//!
//! ```
//! # use std::sync::Arc;
//! # use cloud::{SystemClock, conformance, memory::MemoryObjectStore};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let failures = conformance::object_store(conformance::Pace::AtOnce, async || {
//!     let store = MemoryObjectStore::new("bucket", Arc::new(SystemClock));
//!     conformance::Bucket { store: Arc::new(store), prefix: String::new() }
//! })
//! .await;
//! conformance::assert_none(&failures);
//! # });
//! ```
//!
//! What must happen is waited for with a bound, never by a fixed sleep; only what must *not* happen is given a time to
//! happen in.

mod keys;
mod object_store;
mod queue;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;

pub use object_store::{Bucket, object_store};
pub use queue::{QueuePair, queue};

/// A case that takes longer than this hangs.
const CASE_LIMIT: Duration = Duration::from_secs(180);

/// How the cases of a suite follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All at once, when each gets a bucket or a queue of its own.
    AtOnce,
    /// One by one, when they share one.
    OneByOne,
}

/// A case that an implementation does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The case's name.
    pub case: &'static str,
    /// What was seen in place of what the contract says.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.why)
    }
}

/// Panics with the list of failures, if there are any.
#[track_caller]
pub fn assert_none(failures: &[Failure]) {
    let lines: Vec<String> = failures.iter().map(|failure| format!("  {failure}\n")).collect();
    assert!(failures.is_empty(), "the contract is broken:\n{}", lines.concat());
}

/// What a case found: nothing, or the first thing that was not as it should be.
type Verdict = Result<(), String>;

/// A case's name, and the case.
type Case<T> = (&'static str, fn(T) -> Pin<Box<dyn Future<Output = Verdict> + Send>>);

/// Lists async functions as cases under their own names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |subject| Box::pin($case(subject)))),*] };
}

/// Ends the case with a message unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

use {cases, ensure};

/// Adds what was being done to an error that should not have come.
trait Expect<T> {
    fn expect_to(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::error::Error> Expect<T> for Result<T, E> {
    fn expect_to(self, what: &str) -> Result<T, String> {
        self.map_err(|error| {
            let mut why = format!("could not {what}: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                why.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            why
        })
    }
}

async fn run<T: Send + 'static>(cases: &'static [Case<T>], pace: Pace, make: impl AsyncFn() -> T) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut running = JoinSet::new();
    for (name, case) in cases {
        let subject = make().await;
        running.spawn(async move {
            let verdict = tokio::spawn(tokio::time::timeout(CASE_LIMIT, case(subject))).await;
            let why = match verdict {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(why))) => Some(why),
                Ok(Err(_)) => Some(format!("it did not end within {CASE_LIMIT:?}")),
                Err(panic) => Some(format!("it panicked: {panic}")),
            };
            why.map(|why| Failure { case: name, why })
        });
        if pace == Pace::OneByOne {
            collect(&mut running, &mut failures).await;
        }
    }
    collect(&mut running, &mut failures).await;
    // In the suite's order, whichever ended first.
    failures.sort_by_key(|failure| cases.iter().position(|(name, _)| *name == failure.case));
    failures
}

async fn collect(running: &mut JoinSet<Option<Failure>>, failures: &mut Vec<Failure>) {
    while let Some(ended) = running.join_next().await {
        failures.extend(ended.expect("the inner task caught the case's panic"));
    }
}
