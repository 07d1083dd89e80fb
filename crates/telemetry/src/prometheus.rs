//! Workers' metrics for Prometheus.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use job::Code;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use worker::{Ended, Event, Observer, SweepReport, Verdict};

/// Upper bounds in seconds: a model of trees answers in a millisecond, a large picture in a minute, a backlog in hours.
const BUCKETS: [f64; 14] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// Counts what the workers of this process report. Clones count together.
#[derive(Debug, Clone)]
pub struct Prometheus {
    messages: Family<Verdicts, Counter>,
    in_flight: Family<Model, Gauge<i64, AtomicI64>>,
    ended: Family<Endings, Counter>,
    failed: Family<Failures, Counter>,
    queue: Histograms,
    run: Histograms,
    model: Histograms,
    loads: Histograms,
    given_up: Counter,
    sweeps: Counter,
    repairs: Family<Repairs, Counter>,
    sweep_faults: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdicts {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endings {
    model: String,
    state: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failures {
    model: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Repairs {
    kind: &'static str,
}

type Histograms = Family<Model, Histogram, fn() -> Histogram>;

impl Default for Prometheus {
    fn default() -> Self {
        Self::new()
    }
}

impl Prometheus {
    /// All counts are zero.
    pub fn new() -> Self {
        let histograms = || Histograms::new_with_constructor(|| Histogram::new(BUCKETS));
        Self {
            messages: Family::default(),
            in_flight: Family::default(),
            ended: Family::default(),
            failed: Family::default(),
            queue: histograms(),
            run: histograms(),
            model: histograms(),
            loads: histograms(),
            given_up: Counter::default(),
            sweeps: Counter::default(),
            repairs: Family::default(),
            sweep_faults: Counter::default(),
        }
    }

    /// Has `registry`, whose prefix is `millpond`, show them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("messages", "Messages handled, by what became of them", self.messages.clone());
        registry.register("jobs_in_flight", "Attempts under way", self.in_flight.clone());
        registry.register("jobs_ended", "Jobs that workers, dead letters and sweeps ended", self.ended.clone());
        registry.register("attempts_failed", "Failed attempts whose jobs are tried again", self.failed.clone());
        registry.register(
            "job_queue_seconds",
            "From the arrival of a job's input to its first attempt",
            self.queue.clone(),
        );
        registry.register(
            "job_run_seconds",
            "The attempts that ended jobs, from their begin to the outcome",
            self.run.clone(),
        );
        registry.register("job_model_seconds", "The model's call alone", self.model.clone());
        registry.register("model_load_seconds", "Loading of models, their files' way included", self.loads.clone());
        registry.register("dead_letters", "Messages that were given up and recorded", self.given_up.clone());
        registry.register("sweeps", "Sweeps", self.sweeps.clone());
        registry.register("sweep_repairs", "What sweeps found lost, and mended", self.repairs.clone());
        registry.register("sweep_faults", "What sweeps could not look at", self.sweep_faults.clone());
    }

    /// All of them as OpenMetrics text, for a process that has no others.
    pub fn encode(&self) -> String {
        let mut registry = Registry::with_prefix("millpond");
        self.register(&mut registry);
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("a string can be written to");
        out
    }

    fn count_end(&self, ended: &Ended<'_>) {
        let model = Model { model: ended.model.to_owned() };
        let observe = |family: &Histograms, time: Option<Duration>| {
            if let Some(time) = time {
                family.get_or_create(&model).observe(time.as_secs_f64());
            }
        };
        observe(&self.queue, ended.waited);
        observe(&self.run, ended.ran);
        observe(&self.model, ended.inferred);
        let (state, code) = (ended.state.to_string(), ended.code.map_or("", Code::as_str));
        self.ended.get_or_create(&Endings { model: model.model.clone(), state, code }).inc();
    }

    fn count_sweep(&self, report: &SweepReport) {
        self.sweeps.inc();
        self.sweep_faults.inc_by(report.faults);
        for (kind, count) in [("expired", report.expired), ("silent", report.silent), ("dropped", report.dropped)] {
            self.repairs.get_or_create(&Repairs { kind }).inc_by(count);
        }
    }
}

impl Observer for Prometheus {
    fn observe(&self, event: &Event<'_>) {
        let of = |model: &str| Model { model: model.to_owned() };
        match event {
            Event::Message(verdict) => {
                let verdict = match verdict {
                    Verdict::Done => "done",
                    Verdict::RetryAfter(_) => "retry",
                    Verdict::Reject => "reject",
                };
                self.messages.get_or_create(&Verdicts { verdict }).inc();
            }
            Event::Begun { model } => {
                self.in_flight.get_or_create(&of(model)).inc();
            }
            Event::Over { model } => {
                self.in_flight.get_or_create(&of(model)).dec();
            }
            Event::Failed { model, code } => {
                self.failed.get_or_create(&Failures { model: (*model).to_owned(), code: code.as_str() }).inc();
            }
            Event::Ended(ended) => self.count_end(ended),
            Event::Loaded { model, took } => self.loads.get_or_create(&of(model)).observe(took.as_secs_f64()),
            Event::GivenUp => {
                self.given_up.inc();
            }
            Event::Swept(report) => self.count_sweep(report),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use job::State;

    #[test]
    fn events_are_counted() {
        let metrics = Prometheus::new();
        let (model, code) = ("moons", Code::TimedOut);
        let second = Some(Duration::from_secs(1));
        let succeeded =
            Ended { model, state: State::Succeeded, code: None, waited: second, ran: second, inferred: second };
        let report = SweepReport { open: 9, expired: 1, silent: 2, dropped: 3, faults: 4 };
        for event in [
            Event::Message(Verdict::Done),
            Event::Message(Verdict::RetryAfter(Duration::ZERO)),
            Event::Message(Verdict::Reject),
            Event::Begun { model },
            Event::Begun { model },
            Event::Over { model },
            Event::Failed { model, code },
            Event::Ended(succeeded),
            Event::Ended(Ended { state: State::Failed, code: Some(code), waited: None, inferred: None, ..succeeded }),
            Event::Loaded { model, took: Duration::from_millis(3) },
            Event::GivenUp,
            Event::Swept(report),
        ] {
            metrics.observe(&event);
        }
        let text = metrics.encode();
        for line in [
            r#"millpond_messages_total{verdict="done"} 1"#,
            r#"millpond_messages_total{verdict="retry"} 1"#,
            r#"millpond_messages_total{verdict="reject"} 1"#,
            r#"millpond_jobs_in_flight{model="moons"} 1"#,
            r#"millpond_attempts_failed_total{model="moons",code="timed_out"} 1"#,
            r#"millpond_jobs_ended_total{model="moons",state="succeeded",code=""} 1"#,
            r#"millpond_jobs_ended_total{model="moons",state="failed",code="timed_out"} 1"#,
            r#"millpond_job_queue_seconds_count{model="moons"} 1"#,
            r#"millpond_job_run_seconds_count{model="moons"} 2"#,
            r#"millpond_job_run_seconds_sum{model="moons"} 2.0"#,
            r#"millpond_job_model_seconds_count{model="moons"} 1"#,
            r#"millpond_model_load_seconds_bucket{le="0.005",model="moons"} 1"#,
            "millpond_dead_letters_total 1",
            "millpond_sweeps_total 1",
            r#"millpond_sweep_repairs_total{kind="silent"} 2"#,
            "millpond_sweep_faults_total 4",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
