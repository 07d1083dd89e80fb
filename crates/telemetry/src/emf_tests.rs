//! What is written is what CloudWatch reads: the specification's rules, in our words.

use super::*;
use std::collections::BTreeSet;

use job::State;
use worker::Verdict;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(1_763_640_000_123).unwrap()
    }
}

/// The lines that `act` has written.
fn lines(act: impl FnOnce(&Emf)) -> Vec<Value> {
    let out = Lines::default();
    act(&Emf::to("worker-1".to_owned(), Arc::new(Noon), Box::new(out.clone())));
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is one JSON object")).collect()
}

/// What breaks the specification, if anything does.
fn fault(line: &Value) -> Option<String> {
    let name_fits = |name: &Value, max| name.as_str().is_some_and(|name| (1..=max).contains(&name.chars().count()));
    let root = line.as_object()?;
    if line.to_string().len() > 1 << 20 {
        return Some("it is larger than a log event".to_owned());
    }
    let aws = &root["_aws"];
    if !aws["Timestamp"].is_u64() {
        return Some("no timestamp".to_owned());
    }
    let Some(directives) = aws["CloudWatchMetrics"].as_array().filter(|directives| !directives.is_empty()) else {
        return Some("no directives".to_owned());
    };
    let mut named = BTreeSet::from(["_aws"]);
    for directive in directives {
        let members: BTreeSet<&str> = directive.as_object()?.keys().map(String::as_str).collect();
        if members != BTreeSet::from(["Dimensions", "Metrics", "Namespace"])
            || !name_fits(&directive["Namespace"], 1024)
        {
            return Some(format!("members {members:?}"));
        }
        for set in directive["Dimensions"].as_array().filter(|sets| !sets.is_empty())? {
            let set = set.as_array().filter(|set| set.len() <= 30)?;
            for dimension in set {
                let value = root.get(dimension.as_str()?);
                if !name_fits(dimension, 250) || !value.is_some_and(|value| name_fits(value, 1024)) {
                    return Some(format!("dimension {dimension} has the value {value:?}"));
                }
                named.insert(dimension.as_str()?);
            }
        }
        let metrics = directive["Metrics"].as_array().filter(|metrics| (1..=100).contains(&metrics.len()));
        for metric in metrics.map_or(&[][..], Vec::as_slice) {
            let value = root.get(metric["Name"].as_str()?);
            if !name_fits(&metric["Name"], 1024) || !value.is_some_and(Value::is_number) {
                return Some(format!("metric {metric} has the value {value:?}"));
            }
            if !["Count", "Milliseconds"].iter().any(|unit| metric["Unit"] == *unit) {
                return Some(format!("the unit of {metric}"));
            }
            named.insert(metric["Name"].as_str()?);
        }
        if metrics.is_none() {
            return Some("no metrics, or too many".to_owned());
        }
    }
    let members: BTreeSet<&str> = root.keys().map(String::as_str).collect();
    (members != named).then(|| format!("members without a use: {members:?}"))
}

fn succeeded() -> Ended<'static> {
    let time = |ms| Some(Duration::from_millis(ms));
    let (waited, ran, inferred) = (time(1500), time(250), time(5));
    Ended { model: "moons", state: State::Succeeded, code: None, waited, ran, inferred }
}

#[test]
fn an_ended_job_is_a_line() {
    let lines = lines(|emf| emf.observe(&Event::Ended(succeeded())));
    let expected = json!([{
        "_aws": {"Timestamp": 1_763_640_000_123_u64, "CloudWatchMetrics": [
            {"Namespace": "Millpond", "Dimensions": [["Function", "Model", "State", "Code"]],
                "Metrics": [{"Name": "Jobs", "Unit": "Count"}]},
            {"Namespace": "Millpond", "Dimensions": [["Function", "Model"]], "Metrics": [
                {"Name": "QueueTime", "Unit": "Milliseconds"}, {"Name": "RunTime", "Unit": "Milliseconds"},
                {"Name": "ModelTime", "Unit": "Milliseconds"}]},
        ]},
        "Function": "worker-1", "Model": "moons", "State": "succeeded", "Code": "none",
        "Jobs": 1.0, "QueueTime": 1500.0, "RunTime": 250.0, "ModelTime": 5.0,
    }]);
    assert_eq!(Value::Array(lines), expected);
}

#[test]
fn every_line_follows_the_specification() {
    let (model, code) = ("moons", Code::TimedOut);
    let lost = Ended { state: State::Failed, code: Some(code), waited: None, ran: None, inferred: None, ..succeeded() };
    let lines = lines(|emf| {
        emf.cold_start(Duration::from_millis(40));
        for event in [
            Event::Ended(succeeded()),
            Event::Ended(lost),
            Event::Failed { model, code },
            Event::Loaded { model, took: Duration::from_millis(3) },
            Event::GivenUp,
            Event::Swept(SweepReport { open: 1, expired: 2, silent: 3, dropped: 4, faults: 5 }),
            Event::Message(Verdict::Done),
            Event::Begun { model },
            Event::Over { model },
        ] {
            emf.observe(&event);
        }
    });
    assert_eq!(lines.len(), 7);
    for line in &lines {
        assert_eq!(fault(line), None, "{line}");
    }
    assert_eq!((&lines[0]["ColdStarts"], &lines[0]["InitTime"]), (&json!(1.0), &json!(40.0)));
    assert_eq!(lines[6]["SweepRepairs"], json!(9.0));
}

#[test]
fn the_rules_find_what_breaks_them() {
    let good = lines(|emf| emf.observe(&Event::Ended(succeeded()))).remove(0);
    let with = |pointer: &str, value: Value| {
        let mut line = good.clone();
        *line.pointer_mut(pointer).unwrap() = value;
        line
    };
    for bad in [
        with("/_aws/Timestamp", json!("noon")),
        with("/_aws/CloudWatchMetrics", json!([])),
        with("/_aws/CloudWatchMetrics/0/Namespace", json!("")),
        with("/_aws/CloudWatchMetrics/0/Metrics", json!([])),
        with("/_aws/CloudWatchMetrics/0/Dimensions/0/0", json!("Absent")),
        with("/_aws/CloudWatchMetrics/1/Metrics/0/Unit", json!("Fortnights")),
        with("/Code", json!("")),
        with("/Jobs", json!("one")),
    ] {
        assert!(fault(&bad).is_some(), "{bad}");
    }
}
