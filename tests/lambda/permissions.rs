//! IAM policies beside the calls that are really made.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::template::{Template, texts};

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub action: String,
    pub resource: String,
}

/// What each function did, by its name in the template.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<BTreeSet<(String, Call)>>>);

impl Record {
    pub fn add(&self, function: &str, call: Call) {
        self.0.lock().expect("no panic").insert((function.to_owned(), call));
    }

    fn of(&self, function: &str) -> Vec<Call> {
        let calls = self.0.lock().expect("no panic");
        calls.iter().filter(|(by, _)| by == function).map(|(_, call)| call.clone()).collect()
    }
}

/// What a role may do: one action on one pattern of resources each.
#[derive(Debug, Clone)]
pub struct Policy(Vec<Call>);

impl Policy {
    /// Of a function's role.
    pub fn of(template: &Template, function: &str) -> Self {
        let role = template.properties(&format!("{function}Role"));
        assert_eq!(role.get("ManagedPolicyArns"), None, "{function}'s role is what stands in the template");
        let statements = role["Policies"].as_array().expect("policies").iter();
        let statements =
            statements.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().expect("statements"));
        Self(statements.flat_map(permissions).collect())
    }

    pub fn allows(&self, call: &Call) -> bool {
        self.0.iter().any(|permission| permits(permission, call))
    }
}

fn permissions(statement: &Value) -> Vec<Call> {
    assert_eq!(statement["Effect"], "Allow", "{statement}");
    for unread in ["Condition", "NotAction", "NotResource"] {
        assert_eq!(statement.get(unread), None, "{statement}");
    }
    let resources = texts(&statement["Resource"]);
    let pairs = texts(&statement["Action"]).into_iter().flat_map(|action| {
        let resources = resources.clone().into_iter();
        resources.map(move |resource| Call { action: action.clone(), resource })
    });
    pairs.collect()
}

fn permits(permission: &Call, call: &Call) -> bool {
    permission.action == call.action && matches(&permission.resource, &call.resource)
}

/// Whether a resource matches a pattern of IAM's, in which `*` is any text.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
fn matches(pattern: &str, resource: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == resource,
        Some((start, rest)) => {
            let Some(after) = resource.strip_prefix(start) else { return false };
            (0..=after.len()).any(|at| after.is_char_boundary(at) && matches(rest, &after[at..]))
        }
    }
}

/// Permissions that no case uses, and why the roles have them all the same.
const UNUSED: [(&str, &str, &str, &str); 3] = [
    ("*", "sqs:GetQueueAttributes", "*", "the event source mapping asks for them, by the function's role"),
    ("*", "logs:*", "*", "Lambda itself writes the log, by the function's role"),
    (
        "Sweep",
        "s3:GetObject",
        "*-outbox-*/results/*",
        "a mirror that it finds overtaken by a newer version, whose answer is large, is written anew from that answer",
    ),
];

/// Fails for each permission that nothing has used.
pub fn all_are_used(record: &Record, template: &Template, functions: &[&str]) {
    let mut unused = Vec::new();
    let mut excused = BTreeSet::new();
    for function in functions {
        let calls = record.of(function);
        for permission in Policy::of(template, function).0 {
            if calls.iter().any(|call| permits(&permission, call)) {
                continue;
            }
            let excuse = UNUSED.iter().position(|(by, action, resource, _)| {
                matches(by, function) && matches(action, &permission.action) && matches(resource, &permission.resource)
            });
            match excuse {
                Some(excuse) => drop(excused.insert(excuse)),
                None => unused.push(format!("{function} {} {}", permission.action, permission.resource)),
            }
        }
    }
    assert!(unused.is_empty(), "allowed, but never used:\n{}", unused.join("\n"));
    assert_eq!(excused.len(), UNUSED.len(), "an entry of UNUSED stands for nothing: {excused:?}");
}

#[test]
fn patterns_match_as_iam_has_it() {
    assert!(matches("arn:aws:s3:::out/jobs/*/ticket.json", "arn:aws:s3:::out/jobs/a/ticket.json"));
    assert!(!matches("arn:aws:s3:::out/jobs/*/ticket.json", "arn:aws:s3:::out/jobs/a/outcome.json"));
    assert!(!matches("arn:aws:s3:::out", "arn:aws:s3:::out/jobs/a"));
    assert!(matches("arn:aws:s3:::out/*", "arn:aws:s3:::out/한글"));
    assert!(!matches("arn:aws:s3:::in/drop/*", "arn:aws:s3:::in/dropped/a"));
}
