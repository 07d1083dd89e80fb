//! The pitfalls. Each check is a function of the facts and finds nothing where it knows nothing; its findings' codes are stable.

mod buckets;
mod functions;
mod queues;
mod ways_in;

use serde::Serialize;

use super::facts::Facts;

/// Something that is wrong, or could be better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What it breaks.
    pub breaks: String,
    /// What to do.
    pub mend: String,
    /// Where the rule comes from, if not from Millpond itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something breaks: now, or when something goes wrong.
    Fault,
    /// Nothing breaks. It does not count for the exit code.
    Advice,
}

impl Finding {
    fn fault(code: &'static str, found: impl Into<String>, breaks: impl Into<String>, mend: impl Into<String>) -> Self {
        let (found, breaks, mend) = (found.into(), breaks.into(), mend.into());
        Self { code, severity: Severity::Fault, found, breaks, mend, source: None }
    }

    fn advice(
        code: &'static str,
        found: impl Into<String>,
        breaks: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Advice, ..Self::fault(code, found, breaks, mend) }
    }

    fn see(self, source: &'static str) -> Self {
        Self { source: Some(source), ..self }
    }
}

/// In the order in which they are shown.
const CHECKS: &[fn(&Facts) -> Vec<Finding>] = &[
    queues::fifo,
    queues::visibility,
    queues::retention,
    queues::dead_letters,
    queues::receive_count,
    queues::encryption,
    queues::policy,
    queues::policy_before_bucket,
    buckets::one_bucket,
    buckets::events,
    buckets::outbox_events,
    buckets::cors,
    buckets::lifecycle,
    buckets::mirror,
    buckets::public_access,
    buckets::keys,
    buckets::absent,
    buckets::conditions,
    functions::places,
    functions::partial_responses,
    functions::dead_letter_handler,
    functions::list_bucket,
    functions::concurrency,
    functions::provisioned,
    functions::told,
    functions::model_limits,
    ways_in::open,
    ways_in::url_permissions,
    ways_in::cors,
    ways_in::timeout,
];

/// All that is found.
pub fn all(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(facts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_an_s3_ignores_are_a_fault() {
        let facts = Facts { broken_conditions: Some(vec!["If-Match: another ETag"]), ..Facts::default() };
        let findings = conditions_of(&facts);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].severity == Severity::Fault && findings[0].found.contains("If-Match: another ETag"));
        let kept = Facts { broken_conditions: Some(Vec::new()), ..Facts::default() };
        assert!(conditions_of(&kept).is_empty() && conditions_of(&Facts::default()).is_empty());
    }

    fn conditions_of(facts: &Facts) -> Vec<Finding> {
        all(facts).into_iter().filter(|finding| finding.code == "conditions-ignored").collect()
    }
}
