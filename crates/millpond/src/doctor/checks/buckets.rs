//! Pitfalls of the two buckets.

use cloud_aws::inspect::LifecycleRule;

use super::Finding;
use crate::doctor::facts::{Bucket, Facts};
use crate::doctor::policy::matches;

const CORS: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html";
const EVENTS: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html";
const PUBLIC: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html";
const ABSENT: &str = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html";
const CONDITIONS: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html";
const KMS: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html";

/// All that makes an object.
const CREATED: [&str; 4] = [
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
];
/// A message and its dead letter may be older than a job by as much as SQS keeps messages, 14 days.
const MIN_DAYS: u32 = 15;

pub(super) fn one_bucket(facts: &Facts) -> Vec<Finding> {
    if !facts.inbox.names.iter().any(|name| facts.outbox.names.contains(name)) {
        return Vec::new();
    }
    vec![Finding::fault(
        "one-bucket",
        format!("{} is inbox and outbox at once", facts.inbox.title),
        "what the service writes can become events that feed it, and whoever may upload may write outcomes",
        "make two buckets",
    )]
}

pub(super) fn events(facts: &Facts) -> Vec<Finding> {
    let (inbox, queue) = (&facts.inbox, &facts.queue);
    let Some(notifications) = &inbox.notifications else { return Vec::new() };
    // Through SNS or EventBridge they may come as well, which cannot be seen from here.
    if notifications.elsewhere {
        return Vec::new();
    }
    let told = |prefix: &str, event: &str| {
        notifications.queues.iter().any(|to| {
            let whole = prefix.starts_with(&to.prefix) && to.suffix.is_empty();
            whole && to.queue_arn == queue.arn && to.events.iter().any(|pattern| matches(pattern, event))
        })
    };
    let finding = |prefix: &str| {
        Finding::fault(
            "no-events",
            format!("{} does not tell {} of all that is written to {prefix}", inbox.title, queue.title),
            format!(
                "jobs of {prefix} start only when the sweep finds them, an hour late, or once somebody asks for them"
            ),
            format!(
                "let {} send s3:ObjectCreated:* with the prefix {prefix} to {}, without a suffix",
                inbox.title, queue.title
            ),
        )
        .see(EVENTS)
    };
    let missing = |prefix: &&str| !CREATED.iter().all(|event| told(prefix, event));
    [job::layout::UPLOADS, job::layout::DROP]
        .iter()
        .filter(|prefix| missing(prefix))
        .map(|prefix| finding(prefix))
        .collect()
}

pub(super) fn outbox_events(facts: &Facts) -> Vec<Finding> {
    let (outbox, queue) = (&facts.outbox, &facts.queue);
    let to_queue = outbox.notifications.iter().flat_map(|all| &all.queues).any(|to| to.queue_arn == queue.arn);
    if !to_queue {
        return Vec::new();
    }
    vec![Finding::fault(
        "outbox-feeds-queue",
        format!("{} sends events to {}", outbox.title, queue.title),
        "each record that a job writes becomes a message, which no job is named by: all of them end as dead letters",
        format!("take the notification of {} away", outbox.title),
    )]
}

pub(super) fn cors(facts: &Facts) -> Vec<Finding> {
    let upload = ["content-type", "if-none-match", "x-amz-checksum-sha256"];
    let inbox = cors_of(&facts.inbox, "inbox-cors", &["PUT"], &upload, "pages cannot upload by presigned URLs");
    let poll = "pages cannot read results by presigned URLs, or not ask whether an outcome has changed";
    let outbox = cors_of(&facts.outbox, "outbox-cors", &["GET", "HEAD"], &["if-none-match"], poll);
    inbox.into_iter().chain(outbox).collect()
}

fn cors_of(
    bucket: &Bucket,
    code: &'static str,
    methods: &[&str],
    headers: &[&str],
    breaks: &'static str,
) -> Option<Finding> {
    let rules = bucket.cors.as_ref()?;
    let has = |list: &[String], wanted: &str| {
        list.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &wanted.to_ascii_lowercase()))
    };
    let mut missing = Vec::new();
    for method in methods {
        // One rule has to admit a request as a whole.
        let lacks = rules.iter().filter(|rule| has(&rule.methods, method)).map(|rule| {
            let refused = headers.iter().filter(|header| !has(&rule.headers, header));
            let mut lacks: Vec<_> = refused.map(|header| format!("header {header} with {method}")).collect();
            if !has(&rule.exposed, "etag") {
                lacks.push(format!("reading ETag after {method}"));
            }
            lacks
        });
        missing.extend(lacks.min_by_key(Vec::len).unwrap_or_else(|| vec![format!("method {method}")]));
    }
    if missing.is_empty() {
        return None;
    }
    let (title, methods, headers) = (&bucket.title, methods.join(", "), headers.join(", "));
    let finding = Finding::fault(
        code,
        format!("the CORS rules of {title} do not admit: {}", missing.join("; ")),
        breaks,
        format!("give {title} a CORS rule with the methods {methods}, the headers {headers}, and ETag exposed"),
    );
    Some(finding.see(CORS))
}

/// After how many days something of a prefix is deleted, at the earliest; none if never.
fn days(rules: &[LifecycleRule], prefix: &str) -> Option<u32> {
    let touching = rules.iter().filter(|rule| prefix.starts_with(&rule.prefix) || rule.prefix.starts_with(prefix));
    touching.map(|rule| rule.days).min()
}

pub(super) fn lifecycle(facts: &Facts) -> Vec<Finding> {
    let (Some(inbox), Some(outbox)) = (&facts.inbox.lifecycle, &facts.outbox.lifecycle) else { return Vec::new() };
    let kept = [
        (job::layout::JOBS, days(outbox, job::layout::JOBS)),
        ("results/", days(outbox, "results/")),
        (job::layout::UPLOADS, days(inbox, job::layout::UPLOADS)),
    ];
    let mend = format!(
        "delete jobs/ and results/ of {} and uploads/ of {} after equally many days, 15 or more; 30 as jobs are kept",
        facts.outbox.title, facts.inbox.title
    );
    let shown = |days: Option<u32>| days.map_or_else(|| "never".to_owned(), |days| format!("after {days} days"));
    let short = kept.iter().find_map(|(prefix, days)| Some((prefix, days.filter(|days| *days < MIN_DAYS)?)));
    if let Some((prefix, days)) = short {
        return vec![Finding::fault(
            "lifecycle-short",
            format!("{prefix} is deleted after {days} days"),
            "a message can come back 14 days later, and without its job's records it would be run again, or not found",
            mend,
        )];
    }
    if kept.iter().all(|(_, days)| days.is_none()) {
        return vec![Finding::advice(
            "lifecycle-none",
            "nothing is ever deleted",
            "nothing breaks, but records, results and uploads pile up, and are billed",
            mend,
        )];
    }
    if kept.iter().all(|(_, days)| *days == kept[0].1) {
        return Vec::new();
    }
    let each = kept.map(|(prefix, days)| format!("{prefix} {}", shown(days))).join(", ");
    vec![Finding::fault(
        "lifecycle-uneven",
        format!("what belongs to a job is not deleted together: {each}"),
        "outcomes name results that are gone, or a retry has no input, or what nobody can find any more is billed",
        mend,
    )]
}

pub(super) fn mirror(facts: &Facts) -> Vec<Finding> {
    let days = facts.outbox.lifecycle.as_ref().and_then(|rules| days(rules, "mirror/"));
    let finding = |days| {
        Finding::fault(
            "mirror-expires",
            format!("a lifecycle rule of {} deletes mirror/ after {days} days", facts.outbox.title),
            "the answers to dropped files, which stay, disappear without a word",
            "narrow the rule to jobs/ and results/, by its prefix",
        )
    };
    days.map(finding).into_iter().collect()
}

fn both(facts: &Facts) -> [&Bucket; 2] {
    [&facts.inbox, &facts.outbox]
}

pub(super) fn public_access(facts: &Facts) -> Vec<Finding> {
    let open = both(facts).into_iter().filter(|bucket| bucket.public_access_blocked == Some(false));
    let finding = |bucket: &Bucket| {
        Finding::fault(
            "public-access",
            format!("{} does not block public access in all four ways", bucket.title),
            "a policy or ACL, set by mistake, lets anyone read all inputs and results, or write them",
            format!("set all four of PublicAccessBlockConfiguration of {}", bucket.title),
        )
        .see(PUBLIC)
    };
    open.map(finding).collect()
}

pub(super) fn keys(facts: &Facts) -> Vec<Finding> {
    let finding = |bucket: &Bucket| {
        let key = bucket.kms_key.as_ref()?.as_ref()?;
        let advice = Finding::advice(
            "bucket-key",
            format!("{} is encrypted by {key}", bucket.title),
            "a role without kms:Decrypt and kms:GenerateDataKey is refused, and so is who holds a URL that it signed",
            format!("give each role of Millpond both on that key, or encrypt {} by AES256", bucket.title),
        );
        Some(advice.see(KMS))
    };
    both(facts).into_iter().filter_map(finding).collect()
}

/// Of what runs: asked for an absent key.
pub(super) fn absent(facts: &Facts) -> Vec<Finding> {
    let untold = both(facts).into_iter().filter(|bucket| bucket.tells_absent == Some(false));
    let finding = |bucket: &Bucket| {
        Finding::fault(
            "no-list-bucket",
            format!("{} answers these credentials 403 for an absent key, not 404", bucket.title),
            "whoever has the same permissions takes what is absent for forbidden: jobs are not found, and outcomes never written",
            format!("allow s3:ListBucket on {}, without a condition on s3:prefix; and s3:GetObject on its keys", bucket.title),
        )
        .see(ABSENT)
    };
    untold.map(finding).collect()
}

/// Of what runs: tried by `--probe`.
pub(super) fn conditions(facts: &Facts) -> Vec<Finding> {
    let broken = facts.broken_conditions.iter().flatten();
    let finding = |condition: &&str| {
        Finding::fault(
            "conditions-ignored",
            format!("{} was written although its condition, {condition}, was not met", facts.outbox.title),
            "two workers can both commit an outcome of one job, and the later one replaces the first (J1)",
            "use an S3 that honours If-None-Match and If-Match: Amazon's, or MinIO from RELEASE.2025-09-07T16-13-09Z on",
        )
        .see(CONDITIONS)
    };
    broken.map(finding).collect()
}
