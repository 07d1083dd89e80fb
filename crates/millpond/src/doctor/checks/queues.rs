//! Pitfalls of the two queues.

use super::Finding;
use crate::doctor::facts::{Encryption, Facts, Queue};
use crate::doctor::policy::Statement;

const MAPPING: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html";
const DEAD_LETTERS: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html";
const DESTINATIONS: &str =
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html";

/// After so long without progress a job expires.
const QUEUE_DEADLINE_S: u64 = 24 * 3600;
/// Lambda may hold a throttled batch back that many times the function's timeout.
const TIMEOUTS: u64 = 6;

fn both(facts: &Facts) -> impl Iterator<Item = &Queue> {
    [Some(&facts.queue), facts.dead_letter_queue.as_ref()].into_iter().flatten()
}

pub(super) fn fifo(facts: &Facts) -> Vec<Finding> {
    let finding = |queue: &Queue| {
        Finding::fault(
            "fifo-queue",
            format!("{} is a FIFO queue", queue.title),
            "S3 sends no events to FIFO queues, and one message that fails would hold up all that follow",
            format!("make {} a standard queue; Millpond needs no order, and stands repeated messages", queue.title),
        )
        .see(DESTINATIONS)
    };
    both(facts).filter(|queue| queue.fifo).map(finding).collect()
}

pub(super) fn visibility(facts: &Facts) -> Vec<Finding> {
    let finding = |who: &str, timeout_s: u64, window_s: u64, queue: &Queue| {
        let (visibility_s, needed_s) = (queue.visibility_s?, TIMEOUTS * timeout_s + window_s);
        let window = if window_s > 0 { format!(" + {window_s} s of batching window") } else { String::new() };
        (visibility_s < needed_s).then(|| {
            Finding::fault(
                "visibility-short",
                format!("{} hides a message for {visibility_s} s, and {who} may take {timeout_s} s", queue.title),
                "Lambda may hold a throttled batch back, and its messages then come a second time while it still runs: jobs are \
                 worked on twice, and receives are used up",
                format!("set VisibilityTimeout of {} to {needed_s} or more: 6 × {timeout_s} s{window}", queue.title),
            )
            .see(MAPPING)
        })
    };
    let of_mappings = facts.mappings().filter_map(|(function, mapping, queue)| {
        finding(&function.title, function.timeout_s?, mapping.window_s?, queue)
    });
    let given = facts.function_timeout_s.filter(|_| facts.functions.is_none());
    let of_given = given.and_then(|timeout_s| finding("the function", timeout_s, 0, &facts.queue));
    of_mappings.chain(of_given).collect()
}

pub(super) fn retention(facts: &Facts) -> Vec<Finding> {
    let short = facts.queue.retention_s.filter(|retention_s| *retention_s <= QUEUE_DEADLINE_S);
    let finding = |retention_s| {
        Finding::fault(
            "retention-short",
            format!(
                "{} keeps a message for {retention_s} s, and a job may wait for {QUEUE_DEADLINE_S} s",
                facts.queue.title
            ),
            "in a backlog SQS drops messages without a trace, whose jobs then wait until they expire",
            format!("set MessageRetentionPeriod of {} to 345600 (4 days)", facts.queue.title),
        )
    };
    short.map(finding).into_iter().collect()
}

pub(super) fn dead_letters(facts: &Facts) -> Vec<Finding> {
    let queue = &facts.queue;
    let Some(dead_letters) = &facts.dead_letter_queue else {
        // Of a queue of which nothing is known, not even this is.
        if queue.redrive.is_some() || queue.visibility_s.is_none() {
            return Vec::new();
        }
        return vec![
            Finding::fault(
                "no-dead-letter-queue",
                format!("{} has no redrive policy", queue.title),
                "a message that kills its worker comes back until it is too old, and then its job is left without an outcome",
                format!("give {} a RedrivePolicy: another standard queue, and a maxReceiveCount of 10", queue.title),
            )
            .see(DEAD_LETTERS),
        ];
    };
    let target = queue.redrive.as_ref().map_or("", |redrive| redrive.target_arn.as_str());
    // In a template both are the same resource, however it is spelled.
    if facts.functions.is_none() && target != dead_letters.arn {
        return vec![Finding::fault(
            "dead-letter-queue-other",
            format!("{} gives messages up to {target}, not to {}", queue.title, dead_letters.title),
            "nobody ends the jobs whose messages are given up",
            format!("let the RedrivePolicy of {} name {}, or handle the other queue", queue.title, dead_letters.arn),
        )];
    }
    let (Some(retention_s), Some(dead_s)) = (queue.retention_s, dead_letters.retention_s) else { return Vec::new() };
    if dead_s > retention_s {
        return Vec::new();
    }
    vec![
        Finding::fault(
            "dead-letter-retention",
            format!("{} keeps a message for {dead_s} s, and {} for {retention_s} s", dead_letters.title, queue.title),
            "a message's age counts from when it was first sent, so that it can be dropped before its job is ended",
            format!("set MessageRetentionPeriod of {} to 1209600 (14 days)", dead_letters.title),
        )
        .see(DEAD_LETTERS),
    ]
}

pub(super) fn receive_count(facts: &Facts) -> Vec<Finding> {
    let count = facts.queue.redrive.as_ref().and_then(|redrive| redrive.max_receive_count);
    let finding = |count| {
        Finding::fault(
            "receive-count-low",
            format!("{} gives a message up after {count} receives", facts.queue.title),
            "throttled batches count as receives, so that jobs are failed which nobody has tried; and a job may fail three times \
             before it is given up",
            format!("set maxReceiveCount of {} to 10 (AWS asks for 5 or more)", facts.queue.title),
        )
        .see(MAPPING)
    };
    count.filter(|count| *count < 5).map(finding).into_iter().collect()
}

pub(super) fn encryption(facts: &Facts) -> Vec<Finding> {
    let managed = |title: &str| format!("set SqsManagedSseEnabled of {title} and take KmsMasterKeyId away");
    let no_events = "S3 cannot use the key, so no event reaches the queue: setting the notification is refused, or uploads and \
                     drops wait for the sweep";
    let mut findings = Vec::new();
    for queue in both(facts) {
        let title = &queue.title;
        let finding = match &queue.encryption {
            Some(Encryption::Off) => Finding::fault(
                "queue-unencrypted",
                format!("{title} is not encrypted"),
                "messages hold tenants and keys of objects, which lie on SQS's disks as they are",
                format!("set SqsManagedSseEnabled of {title}; it costs nothing"),
            ),
            // S3 sends to the job queue alone.
            Some(Encryption::Kms { key, .. }) if queue.title == facts.queue.title && key.ends_with("alias/aws/sqs") => {
                Finding::fault(
                    "default-sqs-key",
                    format!("{title} is encrypted by {key}, whose policy cannot be changed to admit S3"),
                    no_events,
                    managed(title),
                )
            }
            Some(Encryption::Kms { key, admits_s3: Some(false) }) if queue.title == facts.queue.title => {
                Finding::fault(
                    "key-without-s3",
                    format!("{title} is encrypted by {key}, whose policy does not admit s3.amazonaws.com"),
                    no_events,
                    format!(
                        "let s3.amazonaws.com do kms:GenerateDataKey and kms:Decrypt by the key's policy, or {}",
                        managed(title)
                    ),
                )
            }
            _ => continue,
        };
        findings.push(finding.see(DESTINATIONS));
    }
    findings
}

fn is_for_s3(statement: &&Statement) -> bool {
    statement.is_for("s3.amazonaws.com") && statement.allows("sqs:SendMessage")
}

pub(super) fn policy(facts: &Facts) -> Vec<Finding> {
    let (queue, inbox) = (&facts.queue, &facts.inbox);
    let Some(policy) = &queue.policy else { return Vec::new() };
    let mend = format!(
        "let s3.amazonaws.com do sqs:SendMessage under ArnEquals aws:SourceArn = arn:aws:s3:::{} and StringEquals \
         aws:SourceAccount = your account",
        inbox.names.last().map_or("<inbox>", String::as_str)
    );
    let source_arn = |statement: &Statement| {
        statement.condition("aws:SourceArn").filter(|arn| arn.is_equality()).map(|arn| arn.values.clone())
    };
    let admits_inbox = |statement: &Statement| match source_arn(statement) {
        Some(arns) => arns.iter().any(|arn| inbox.is_covered_by(arn)),
        None => statement.condition("aws:SourceArn").is_none(),
    };
    let statements: Vec<&Statement> = policy.statements.iter().filter(is_for_s3).collect();
    if !statements.iter().any(|statement| admits_inbox(statement)) {
        return vec![
            Finding::fault(
                "queue-policy",
                format!("the policy of {} does not let {} send its events", queue.title, inbox.title),
                "S3 refuses the notification, or uploads and drops wait for the sweep",
                mend,
            )
            .see(DESTINATIONS),
        ];
    }
    let exactly = |statement: &&&Statement| {
        let arn = source_arn(statement).is_some_and(|arns| arns.iter().all(|arn| inbox.is_arn(arn)));
        let account = statement.condition("aws:SourceAccount").filter(|account| account.operator == "StringEquals");
        arn && account.is_some_and(|account| account.values.iter().all(|value| !value.contains(['*', '?'])))
    };
    if statements.iter().all(|statement| exactly(&statement)) {
        return Vec::new();
    }
    vec![
        Finding::fault(
            "queue-policy-open",
            format!("the policy of {} admits S3 for more than {} of this account", queue.title, inbox.title),
            "other buckets can send it events: anyone's, or whoever's gets the bucket's name after it was deleted",
            mend,
        )
        .see(DESTINATIONS),
    ]
}

/// Of templates: what CloudFormation makes first.
pub(super) fn policy_before_bucket(facts: &Facts) -> Vec<Finding> {
    let (inbox, Some(policy)) = (&facts.inbox, &facts.queue.policy) else { return Vec::new() };
    let Some(id) = &inbox.id else { return Vec::new() };
    let to_queue = |arn: &str| arn == facts.queue.arn;
    let notifies = inbox.notifications.iter().flat_map(|all| &all.queues).any(|queue| to_queue(&queue.queue_arn));
    let statements = policy.statements.iter().filter(is_for_s3);
    let values = statements.filter_map(|statement| statement.condition("aws:SourceArn")).flat_map(|arn| &arn.values);
    let refers = values.into_iter().any(|arn| arn.contains(&format!("<{id}>")) || arn.contains(&format!("<{id}.")));
    if !notifies || policy.ids.is_empty() {
        return Vec::new();
    }
    let refused = "S3 refuses a notification whose queue does not take its test message, so the first deployment fails";
    if refers {
        return vec![Finding::fault(
            "queue-policy-circular",
            format!("the policy of {} refers to {id}, and {id} must wait for the policy", facts.queue.title),
            format!("{refused}; with DependsOn it would be a circle"),
            format!(
                "spell the bucket's ARN out in the policy, by !Sub of its BucketName, and give {id} DependsOn: {}",
                policy.ids[0]
            ),
        )];
    }
    if inbox.depends_on.iter().any(|id| policy.ids.contains(id)) {
        return Vec::new();
    }
    vec![Finding::fault(
        "bucket-before-policy",
        format!("{id} does not wait for the policy of {}", facts.queue.title),
        refused,
        format!("give {id} DependsOn: {}", policy.ids[0]),
    )]
}
