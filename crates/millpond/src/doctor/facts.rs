//! What the checks look at, whether it was read from a template or from what runs. What is not known is `None`, and the checks
//! that need it are left out.

use std::collections::BTreeMap;

use cloud_aws::inspect::{CorsRule, LifecycleRule, Notifications};

use super::policy::{Statement, matches};

/// A Millpond, as far as it is known.
#[derive(Default)]
pub struct Facts {
    /// What clients write to.
    pub inbox: Bucket,
    /// What the service writes to.
    pub outbox: Bucket,
    /// The job queue.
    pub queue: Queue,
    /// Where the job queue's redrive policy leads.
    pub dead_letter_queue: Option<Queue>,
    /// None where functions cannot be seen.
    pub functions: Option<Vec<Function>>,
    /// Ways in to the API's function.
    pub doors: Vec<Door>,
    /// The longest that a batch may take, where no function is known.
    pub function_timeout_s: Option<u64>,
    /// Whether S3 keeps the conditions of writes, where that was tried: what it let through.
    pub broken_conditions: Option<Vec<&'static str>>,
    /// What does not fit of the models' limits, in words.
    pub model_limits: Vec<String>,
    /// What could not be looked at, and why.
    pub not_looked_at: Vec<String>,
}

/// A bucket.
#[derive(Default)]
pub struct Bucket {
    /// What people know it by.
    pub title: String,
    /// How ARNs and settings spell its name: literally, or as a template's `<Inbox>`.
    pub names: Vec<String>,
    /// Its logical id in a template.
    pub id: Option<String>,
    /// The resources that a template makes before it.
    pub depends_on: Vec<String>,
    /// Where its events go.
    pub notifications: Option<Notifications>,
    /// What browsers may do.
    pub cors: Option<Vec<CorsRule>>,
    /// What is deleted, and when.
    pub lifecycle: Option<Vec<LifecycleRule>>,
    /// Whether public access is blocked in all four ways.
    pub public_access_blocked: Option<bool>,
    /// The KMS key that encrypts objects, if one does.
    pub kms_key: Option<Option<String>>,
    /// Whether these credentials are told what is absent.
    pub tells_absent: Option<bool>,
}

/// A queue.
#[derive(Default)]
pub struct Queue {
    /// What people know it by.
    pub title: String,
    /// Its ARN, literally or as a template's `<JobQueue.Arn>`.
    pub arn: String,
    /// How long a received message stays hidden, in seconds.
    pub visibility_s: Option<u64>,
    /// How long a message is kept, in seconds.
    pub retention_s: Option<u64>,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
    /// What encrypts messages.
    pub encryption: Option<Encryption>,
    /// Who may send to it.
    pub policy: Option<Policy>,
}

/// Where messages go that were received too often.
pub struct Redrive {
    /// The dead-letter queue.
    pub target_arn: String,
    /// After so many receives.
    pub max_receive_count: Option<u64>,
}

/// What encrypts messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing.
    Off,
    /// SQS's own keys.
    Sqs,
    /// A KMS key, and whether its policy lets S3 use it, where that is known.
    Kms { key: String, admits_s3: Option<bool> },
}

/// A queue's policy.
#[derive(Default)]
pub struct Policy {
    /// Its logical ids in a template.
    pub ids: Vec<String>,
    /// What it allows.
    pub statements: Vec<Statement>,
}

/// A function.
#[derive(Default)]
pub struct Function {
    /// What people know it by.
    pub title: String,
    /// `worker`, `dead-letters`, `sweep` or `api`.
    pub role: String,
    /// How long a call may take, in seconds.
    pub timeout_s: Option<u64>,
    /// Its memory in MiB.
    pub memory_mib: Option<u64>,
    /// What it is told.
    pub environment: BTreeMap<String, String>,
    /// What it may do; none if its role is not spelled out.
    pub statements: Option<Vec<Statement>>,
    /// Whether it has reserved concurrency.
    pub reserved: bool,
    /// Whether it has provisioned concurrency.
    pub provisioned: bool,
    /// The queues that it is called for.
    pub mappings: Vec<Mapping>,
}

/// From a queue to a function.
#[derive(Default)]
pub struct Mapping {
    /// What people know it by.
    pub title: String,
    /// The queue.
    pub queue_arn: String,
    /// How many messages a call has at most.
    pub batch_size: Option<u64>,
    /// How long a batch may be waited for, in seconds.
    pub window_s: Option<u64>,
    /// Whether single messages may fail.
    pub partial_responses: bool,
    /// How many calls there are at once.
    pub maximum_concurrency: Option<u64>,
    /// Whether it has a number at all, known or not.
    pub has_maximum_concurrency: bool,
    /// Whether it has pollers of its own.
    pub provisioned_pollers: bool,
    /// Whether it calls a version or an alias, and not just the newest code.
    pub calls_version: bool,
}

/// A way in to the API's function.
pub struct Door {
    /// What people know it by.
    pub title: String,
    /// What it is.
    pub kind: DoorKind,
    /// Whether callers have to be authorised to pass; none if that is not known.
    pub authorised: Option<bool>,
    /// Whether the function asks for API keys.
    pub asks_for_keys: bool,
}

/// What it is.
#[derive(PartialEq, Eq)]
pub enum DoorKind {
    /// An HTTP API, and whether it answers CORS by itself.
    HttpApi { cors: bool },
    /// A function URL, and the policies that let use it without letting call the function.
    Url { half_permissions: Vec<String> },
}

impl Bucket {
    /// Whether an ARN is this bucket's.
    pub fn is_arn(&self, arn: &str) -> bool {
        self.names.iter().any(|name| arn_matches(arn, name) && !arn.contains(['*', '?']))
    }

    /// Whether a resource of a policy covers the bucket itself.
    pub fn is_covered_by(&self, resource: &str) -> bool {
        resource == "*" || self.names.iter().any(|name| arn_matches(resource, name))
    }
}

/// `<Inbox.Arn>` for the name `<Inbox>`, or `arn:aws:s3:::inbox` for `inbox`.
fn arn_matches(pattern: &str, name: &str) -> bool {
    let symbol = name.strip_suffix('>').map(|open| format!("{open}.Arn>"));
    let pattern_of_name = pattern.split_once(":s3:::").map(|(_, name)| name);
    symbol.as_deref() == Some(pattern) || pattern_of_name.is_some_and(|pattern| matches(pattern, name))
}

impl Facts {
    /// The functions of a role.
    pub fn functions_of(&self, role: &str) -> impl Iterator<Item = &Function> {
        self.functions.iter().flatten().filter(move |function| function.role == role)
    }

    /// Functions with each of their mappings and the queue behind it, if that is one of the two.
    pub fn mappings(&self) -> impl Iterator<Item = (&Function, &Mapping, &Queue)> {
        let queue_of = |mapping: &Mapping| {
            let mut queues = [Some(&self.queue), self.dead_letter_queue.as_ref()].into_iter().flatten();
            queues.find(|queue| queue.arn == mapping.queue_arn)
        };
        let all = self.functions.iter().flatten();
        all.flat_map(move |function| {
            function.mappings.iter().filter_map(move |mapping| Some((function, mapping, queue_of(mapping)?)))
        })
    }
}
