//! What Millpond needs to be there: two buckets, or three with a model registry, two queues, and the wiring between them.

use std::time::Duration;

use crate::events::{self, NotificationRule, Notifications};
use crate::store::{CorsRule, QUEUE_NAME_MAX_CHARS, QueueAttributes, RedrivePolicy, Store, StoreError};

/// The resources of one Millpond, with the settings that its design gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The bucket that clients write to.
    pub inbox: String,
    /// The bucket that the service writes to.
    pub outbox: String,
    /// The bucket of a model registry, if there is to be one.
    pub models: Option<String>,
    /// The queue that the inbox's events go to.
    pub queue: String,
    /// The queue of messages that were received too often.
    pub dead_letter_queue: String,
    /// How long a received message stays hidden.
    pub visibility_timeout: Duration,
    /// After so many receives a message goes to the dead-letter queue.
    pub max_receive_count: u32,
    /// How long the queue keeps a message.
    pub retention: Duration,
    /// How long the dead-letter queue keeps one, counted from when it was first sent.
    pub dead_letter_retention: Duration,
    /// The key prefixes of the inbox whose events go to the queue.
    pub notification_prefixes: Vec<String>,
}

impl Default for Stack {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            inbox: "millpond-inbox".into(),
            outbox: "millpond-outbox".into(),
            models: None,
            queue: "millpond-jobs".into(),
            dead_letter_queue: "millpond-dead-letters".into(),
            visibility_timeout: Duration::from_secs(720),
            max_receive_count: 10,
            retention: Duration::from_secs(4 * DAY),
            dead_letter_retention: Duration::from_secs(14 * DAY),
            notification_prefixes: vec!["uploads/".into(), "drop/".into()],
        }
    }
}

/// Why a stack could not be provisioned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A bucket or queue has a name that AWS would refuse.
    #[error("invalid name {0:?}")]
    InvalidName(String),
    /// A duration or count is outside what SQS allows.
    #[error("invalid value for {0}")]
    InvalidSetting(&'static str),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(String),
}

impl From<StoreError> for ProvisionError {
    fn from(error: StoreError) -> Self {
        Self::Store(crate::chain(&error))
    }
}

/// From 1 minute to 14 days, as SQS sets it.
const RETENTION_S: std::ops::RangeInclusive<u64> = 60..=1_209_600;
const VISIBILITY_MAX_S: u64 = 43_200;

pub(crate) async fn provision(store: &Store, region: &str, stack: &Stack) -> Result<(), ProvisionError> {
    for bucket in [&stack.inbox, &stack.outbox].into_iter().chain(&stack.models) {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(ProvisionError::InvalidName(bucket.clone()));
        }
    }
    for queue in [&stack.queue, &stack.dead_letter_queue] {
        if !valid_queue_name(queue) {
            return Err(ProvisionError::InvalidName(queue.clone()));
        }
    }
    let retention = |duration: Duration, name| {
        let seconds = Some(duration.as_secs()).filter(|seconds| RETENTION_S.contains(seconds));
        seconds.and_then(|seconds| i64::try_from(seconds).ok()).ok_or(ProvisionError::InvalidSetting(name))
    };
    let visibility_timeout_s = Some(stack.visibility_timeout.as_secs())
        .filter(|seconds| *seconds <= VISIBILITY_MAX_S)
        .and_then(|seconds| i64::try_from(seconds).ok())
        .ok_or(ProvisionError::InvalidSetting("visibility_timeout"))?;
    if !(1..=1000).contains(&stack.max_receive_count) {
        return Err(ProvisionError::InvalidSetting("max_receive_count"));
    }

    for bucket in [&stack.inbox, &stack.outbox].into_iter().chain(&stack.models) {
        match store.create_bucket(bucket.clone()).await {
            Ok(()) | Err(StoreError::BucketExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for bucket in [&stack.inbox, &stack.outbox] {
        store.set_cors(bucket.clone(), vec![browser_rule()]).await?;
    }
    let dead_letters = QueueAttributes {
        visibility_timeout_s,
        retention_s: retention(stack.dead_letter_retention, "dead_letter_retention")?,
        ..QueueAttributes::default()
    };
    store.ensure_queue(stack.dead_letter_queue.clone(), dead_letters).await?;
    let jobs = QueueAttributes {
        visibility_timeout_s,
        retention_s: retention(stack.retention, "retention")?,
        redrive: Some(RedrivePolicy {
            dead_letter_arn: events::queue_arn(region, &stack.dead_letter_queue),
            max_receive_count: stack.max_receive_count,
        }),
        ..QueueAttributes::default()
    };
    store.ensure_queue(stack.queue.clone(), jobs).await?;
    let rules = stack
        .notification_prefixes
        .iter()
        .map(|prefix| NotificationRule {
            id: format!("millpond {}", prefix.trim_end_matches('/')),
            queue_arn: events::queue_arn(region, &stack.queue),
            events: vec!["s3:ObjectCreated:*".into()],
            prefix: Some(prefix.clone()),
            suffix: None,
        })
        .collect();
    store.set_notifications(stack.inbox.clone(), Notifications { rules }, false, String::new()).await?;
    Ok(())
}

/// Names of standard queues: up to 80 letters, digits, hyphens and underscores.
pub(crate) fn valid_queue_name(name: &str) -> bool {
    (1..=QUEUE_NAME_MAX_CHARS).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What a browser needs to upload by a presigned URL and to read what comes of it.
fn browser_rule() -> CorsRule {
    CorsRule {
        id: Some("browsers".into()),
        origins: vec!["*".into()],
        methods: ["GET", "HEAD", "PUT"].map(String::from).into(),
        headers: ["content-type", "if-none-match", "x-amz-checksum-sha256"].map(String::from).into(),
        expose: vec!["ETag".into()],
        max_age_seconds: Some(3600),
    }
}
