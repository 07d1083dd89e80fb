//! Metrics for CloudWatch, which reads them out of a function's log lines: the embedded metric format.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Each set of dimensions with other values is a metric of its own, and billed. So counts are by model, state and code, which
//! are few; times are by model alone.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloud::Clock;
use job::Code;
use serde_json::{Map, Value, json};
use worker::{Ended, Event, Observer, SweepReport};

const NAMESPACE: &str = "Millpond";
/// CloudWatch takes no dimension whose value is empty.
const NONE: &str = "none";

/// Writes a line for whatever is worth a metric.
pub struct Emf {
    /// The function's name, by which the stacks of an account are told apart.
    function: String,
    clock: Arc<dyn Clock>,
    out: Mutex<Box<dyn Write + Send>>,
}

/// One metric's value.
#[derive(Debug, Clone, Copy)]
struct Metric {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

impl Metric {
    fn count(name: &'static str, count: u64) -> Self {
        Self { name, unit: "Count", value: count as f64 }
    }

    fn time(name: &'static str, time: Duration) -> Self {
        Self { name, unit: "Milliseconds", value: time.as_secs_f64() * 1000.0 }
    }
}

/// Metrics that share their dimensions.
struct Group<'a> {
    /// Besides the function, which all have.
    dimensions: &'a [&'static str],
    metrics: Vec<Metric>,
}

impl Emf {
    /// Writes to standard output, which Lambda sends to the log.
    pub fn to_stdout(function: String, clock: Arc<dyn Clock>) -> Self {
        Self::to(function, clock, Box::new(std::io::stdout()))
    }

    fn to(function: String, clock: Arc<dyn Clock>, out: Box<dyn Write + Send>) -> Self {
        Self { function, clock, out: Mutex::new(out) }
    }

    /// Says that this process is a new one, which took so long to be ready for work. Once a process.
    pub fn cold_start(&self, took: Duration) {
        let metrics = vec![Metric::count("ColdStarts", 1), Metric::time("InitTime", took)];
        self.write(&[], &[Group { dimensions: &[], metrics }]);
    }

    fn ended(&self, ended: &Ended<'_>) {
        let state = ended.state.to_string();
        let values = [("Model", ended.model), ("State", &state), ("Code", ended.code.map_or(NONE, Code::as_str))];
        let times = [("QueueTime", ended.waited), ("RunTime", ended.ran), ("ModelTime", ended.inferred)];
        let times = times.into_iter().filter_map(|(name, time)| Some(Metric::time(name, time?))).collect();
        self.write(
            &values,
            &[
                Group { dimensions: &["Model", "State", "Code"], metrics: vec![Metric::count("Jobs", 1)] },
                Group { dimensions: &["Model"], metrics: times },
            ],
        );
    }

    fn swept(&self, report: &SweepReport) {
        let repairs = report.expired + report.silent + report.dropped;
        let metrics = vec![
            Metric::count("OpenJobs", report.open),
            Metric::count("SweepRepairs", repairs),
            Metric::count("SweepFaults", report.faults),
        ];
        self.write(&[], &[Group { dimensions: &[], metrics }]);
    }

    /// One line: the values of all dimensions and metrics, and under `_aws` what CloudWatch is to make of them.
    fn write(&self, values: &[(&str, &str)], groups: &[Group<'_>]) {
        let mut line = Map::new();
        let directives: Vec<Value> = groups
            .iter()
            .filter(|group| !group.metrics.is_empty())
            .map(|group| {
                let dimensions: Vec<&str> = [&["Function"], group.dimensions].concat();
                let metrics = group.metrics.iter().map(|metric| json!({"Name": metric.name, "Unit": metric.unit}));
                let metrics: Vec<Value> = metrics.collect();
                json!({"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics})
            })
            .collect();
        let at = self.clock.now().as_millisecond();
        line.insert("_aws".to_owned(), json!({"Timestamp": at, "CloudWatchMetrics": directives}));
        line.insert("Function".to_owned(), json!(self.function));
        line.extend(values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        let metrics = groups.iter().flat_map(|group| &group.metrics);
        line.extend(metrics.map(|metric| (metric.name.to_owned(), json!(metric.value))));
        let text = format!("{}\n", Value::Object(line));
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // In one write, so that no other line gets in between. One that is lost is one count less.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Observer for Emf {
    fn observe(&self, event: &Event<'_>) {
        let of_model = |model: &str, metric| {
            self.write(&[("Model", model)], &[Group { dimensions: &["Model"], metrics: vec![metric] }]);
        };
        match event {
            Event::Ended(ended) => self.ended(ended),
            Event::Failed { model, code } => self.write(
                &[("Model", model), ("Code", code.as_str())],
                &[Group { dimensions: &["Model", "Code"], metrics: vec![Metric::count("FailedAttempts", 1)] }],
            ),
            Event::Loaded { model, took } => of_model(model, Metric::time("ModelLoadTime", *took)),
            Event::GivenUp => {
                let metrics = vec![Metric::count("DeadLetters", 1)];
                self.write(&[], &[Group { dimensions: &[], metrics }]);
            }
            Event::Swept(report) => self.swept(report),
            // SQS and Lambda have metrics of their own for these.
            Event::Message(_) | Event::Begun { .. } | Event::Over { .. } => {}
        }
    }
}

impl fmt::Debug for Emf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emf").field("function", &self.function).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "emf_tests.rs"]
mod tests;
