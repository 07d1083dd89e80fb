//! Pitfalls of the functions, their mappings, and what they are told and may do.

use super::Finding;
use crate::doctor::facts::{Bucket, Facts, Function};
use crate::env;

const ERRORS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html";
const SCALING: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html";
const PROVISIONED: &str = "https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html";
const ABSENT: &str = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html";

/// What functions take for the visibility timeout, and for the batch size, if they are told nothing.
const TOLD_BY_DEFAULT: [(&str, u64); 2] = [(env::VISIBILITY_TIMEOUT_SECONDS, 720), (env::BATCH_SIZE, 10)];

fn all(facts: &Facts) -> impl Iterator<Item = &Function> {
    facts.functions.iter().flatten()
}

/// Whether all work on the same buckets and queue.
pub(super) fn places(facts: &Facts) -> Vec<Finding> {
    let differing = |name: &&&str| {
        let mut told = all(facts).map(|function| function.environment.get(**name));
        let first = told.next();
        told.any(|other| Some(other) != first)
    };
    let finding = |name: &&str| {
        Finding::fault(
            "functions-disagree",
            format!("not all functions are told the same {name}"),
            "one part writes where the other does not look: jobs stay without an outcome, or are not found",
            format!("tell all of them the same, by Globals.Function.Environment.Variables.{name}"),
        )
    };
    [env::INBOX, env::OUTBOX, env::QUEUE_URL].iter().filter(differing).map(finding).collect()
}

pub(super) fn partial_responses(facts: &Facts) -> Vec<Finding> {
    let without = facts.mappings().filter(|(_, mapping, _)| !mapping.partial_responses);
    let finding = |title: &str| {
        Finding::fault(
            "no-partial-responses",
            format!("{title} does not report single failures of a batch"),
            "Lambda takes the function's answer for success and deletes every message, also those that have to come back: their jobs \
             wait until the sweep repeats them",
            format!("set FunctionResponseTypes of {title} to [ReportBatchItemFailures]"),
        )
        .see(ERRORS)
    };
    without.map(|(_, mapping, _)| finding(&mapping.title)).collect()
}

pub(super) fn dead_letter_handler(facts: &Facts) -> Vec<Finding> {
    let (Some(dead_letters), Some(_)) = (&facts.dead_letter_queue, &facts.functions) else { return Vec::new() };
    let handled =
        facts.mappings().any(|(function, _, queue)| function.role == "dead-letters" && queue.arn == dead_letters.arn);
    if handled {
        return Vec::new();
    }
    vec![Finding::fault(
        "dead-letters-unhandled",
        format!("no function with MILLPOND_ROLE=dead-letters takes the messages of {}", dead_letters.title),
        "jobs whose messages are given up stay without an outcome",
        format!("map {} to such a function, or let `millpond worker` run with its URL", dead_letters.title),
    )]
}

/// Whether each function is told what is absent.
pub(super) fn list_bucket(facts: &Facts) -> Vec<Finding> {
    let pairs = all(facts).flat_map(|function| [(function, &facts.inbox), (function, &facts.outbox)]);
    pairs.filter_map(|(function, bucket)| may_list(function, bucket)).collect()
}

fn may_list(function: &Function, bucket: &Bucket) -> Option<Finding> {
    let statements = function.statements.as_ref()?;
    let mut listing = statements.iter().filter(|statement| {
        statement.allows("s3:ListBucket") && statement.resources.iter().any(|resource| bucket.is_covered_by(resource))
    });
    let breaks = "S3 answers its GET and HEAD of an absent key 403 instead of 404, which reads as missing permission: jobs \
                  fail that have only just begun, and a presigned outcome_url answers 403 until the outcome is there";
    let (function, bucket) = (&function.title, &bucket.title);
    let finding = match listing.clone().next() {
        None => Finding::fault(
            "no-list-bucket",
            format!("the role of {function} may not do s3:ListBucket on {bucket}"),
            breaks,
            "allow it, on the bucket's ARN and without a condition on s3:prefix",
        ),
        Some(_) if listing.any(|statement| statement.condition("s3:prefix").is_none()) => return None,
        Some(_) => Finding::fault(
            "list-bucket-prefix",
            format!("the role of {function} may do s3:ListBucket on {bucket} only under a condition on s3:prefix"),
            format!("a GET or HEAD has no prefix and does not meet it. So {breaks}"),
            "take the condition away",
        ),
    };
    Some(finding.see(ABSENT))
}

pub(super) fn concurrency(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (function, mapping, _) in facts.mappings() {
        let (name, title) = (&function.title, &mapping.title);
        let set = format!("set ScalingConfig.MaximumConcurrency of {title}, to 2 or more");
        let finding = match (mapping.has_maximum_concurrency, mapping.maximum_concurrency) {
            (true, _) if mapping.provisioned_pollers => Finding::fault(
                "provisioned-pollers",
                format!("{title} has both MaximumConcurrency and ProvisionedPollerConfig"),
                "Lambda refuses the mapping, and the deployment fails",
                format!("take one of them away from {title}"),
            ),
            (true, Some(..2)) => Finding::fault(
                "concurrency-low",
                format!("MaximumConcurrency of {title} is below 2"),
                "Lambda refuses the mapping, and the deployment fails",
                set,
            ),
            (true, _) => continue,
            (false, _) if mapping.provisioned_pollers => continue,
            (false, _) if function.reserved => Finding::fault(
                "reserved-concurrency",
                format!("{name} is held back by reserved concurrency alone"),
                "batches beyond it have been received when they are throttled; each counts towards maxReceiveCount, and jobs end as dead \
                 letters that nobody has tried",
                set,
            ),
            (false, _) => Finding::fault(
                "no-maximum-concurrency",
                format!("{title} has no MaximumConcurrency"),
                "a backlog takes all of the account's concurrency: other functions, the API too, are throttled, and throttled batches \
                 count towards maxReceiveCount",
                set,
            ),
        };
        findings.push(finding.see(SCALING));
    }
    findings
}

pub(super) fn provisioned(facts: &Facts) -> Vec<Finding> {
    let unused = facts.mappings().filter(|(function, mapping, _)| function.provisioned && !mapping.calls_version);
    let finding = |(function, mapping): (&Function, &str)| {
        Finding::fault(
            "provisioned-concurrency-unused",
            format!(
                "{} has provisioned concurrency, and {mapping} calls its newest code, not the alias",
                function.title
            ),
            "warm environments belong to a version: they are billed, and messages go to cold ones",
            format!("map the alias: with SAM, set AutoPublishAlias of {}", function.title),
        )
        .see(PROVISIONED)
    };
    unused.map(|(function, mapping, _)| finding((function, &mapping.title))).collect()
}

/// Whether the numbers that functions are told are the real ones.
pub(super) fn told(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compare = |code, function: &Function, name: &'static str, real: Option<u64>, of: &str, breaks: &str| {
        let by_default = TOLD_BY_DEFAULT.iter().find(|(other, _)| *other == name).map(|(_, number)| *number);
        let told = function.environment.get(name);
        let (Some(real), Some(number)) = (real, told.map_or(by_default, |text| text.parse().ok())) else { return };
        if number != real {
            let unset = if told.is_none() { ", by default" } else { "" };
            findings.push(Finding::fault(
                code,
                format!("{} takes {number} for {of}{unset}, which is {real}", function.title),
                breaks,
                format!("set {name} of {} to {real}", function.title),
            ));
        }
    };
    for function in all(facts) {
        let queue = format!("VisibilityTimeout of {}", facts.queue.title);
        let early = "attempts that still run are taken for lost, or lost ones are waited for too long";
        compare("told-visibility", function, env::VISIBILITY_TIMEOUT_SECONDS, facts.queue.visibility_s, &queue, early);
    }
    for function in facts.functions_of("worker") {
        let unfit = "models whose limits do not fit are not told of at start, or fitting ones are";
        let timeout = format!("Timeout of {}", function.title);
        if function.environment.contains_key(env::FUNCTION_TIMEOUT_SECONDS) {
            compare("told-timeout", function, env::FUNCTION_TIMEOUT_SECONDS, function.timeout_s, &timeout, unfit);
        }
        for mapping in function.mappings.iter().filter(|mapping| mapping.queue_arn == facts.queue.arn) {
            let batch = format!("BatchSize of {}", mapping.title);
            compare("told-batch-size", function, env::BATCH_SIZE, mapping.batch_size, &batch, unfit);
        }
    }
    findings
}

/// Nothing is lost: what does not fit is stopped, or comes back in another batch. So it is advice.
pub(super) fn model_limits(facts: &Facts) -> Vec<Finding> {
    let finding = |limit: &String| {
        Finding::advice(
            "model-limits",
            limit.clone(),
            "long jobs are stopped, or wait for another batch",
            "lower limits.max_seconds of the model or the batch size, or raise the function's timeout or memory",
        )
    };
    facts.model_limits.iter().map(finding).collect()
}
