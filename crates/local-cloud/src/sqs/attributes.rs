//! Queue attributes between SQS's strings and the store.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::json;

use super::error::SqsError;
use crate::events;
use crate::store::{Queue, QueueAttributes, RedrivePolicy, Store, StoreError};

/// Kept and given back, without effect here.
const INERT: [&str; 6] = [
    "Policy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "FifoQueue",
];

fn number(name: &'static str, value: &str, range: RangeInclusive<i64>) -> Result<i64, SqsError> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| SqsError::invalid_attribute(name))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedriveJson {
    dead_letter_target_arn: String,
    // Consoles and templates write it as a number or as a string.
    max_receive_count: serde_json::Value,
}

fn redrive(value: &str) -> Result<Option<RedrivePolicy>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    // Not the error that other attributes get, but what SQS answers here.
    let invalid = || SqsError::invalid_value("the value of the parameter RedrivePolicy is invalid");
    let policy: RedriveJson = serde_json::from_str(value).map_err(|_| invalid())?;
    let count = match &policy.max_receive_count {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let max_receive_count = count
        .filter(|count| (1..=1000).contains(count))
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(invalid)?;
    Ok(Some(RedrivePolicy { dead_letter_arn: policy.dead_letter_target_arn, max_receive_count }))
}

/// Applies attributes as they come over the wire.
pub(super) fn apply(to: &mut QueueAttributes, given: &BTreeMap<String, String>) -> Result<(), SqsError> {
    for (name, value) in given {
        match name.as_str() {
            "VisibilityTimeout" => to.visibility_timeout_s = number("VisibilityTimeout", value, 0..=43_200)?,
            "DelaySeconds" => to.delay_s = number("DelaySeconds", value, 0..=900)?,
            "MaximumMessageSize" => {
                let bytes = number("MaximumMessageSize", value, 1024..=1_048_576)?;
                to.message_max_bytes =
                    usize::try_from(bytes).map_err(|_| SqsError::invalid_attribute("MaximumMessageSize"))?;
            }
            "MessageRetentionPeriod" => to.retention_s = number("MessageRetentionPeriod", value, 60..=1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => {
                to.receive_wait_s = number("ReceiveMessageWaitTimeSeconds", value, 0..=20)?;
            }
            "RedrivePolicy" => to.redrive = redrive(value)?,
            "FifoQueue" if value == "true" => {
                return Err(SqsError::unsupported("FIFO queues are not supported: S3 does not notify them"));
            }
            inert if INERT.contains(&inert) => {
                to.inert.insert(name.clone(), value.clone());
            }
            unknown => return Err(SqsError::unknown_attribute(unknown)),
        }
    }
    Ok(())
}

/// What a client may ask for, whether a queue has it or not.
const NAMES: [&str; 16] = [
    "All",
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// Applies attributes within a change, which has no words for what `apply` finds wrong: check them before.
pub(super) fn set(to: &mut QueueAttributes, given: &BTreeMap<String, String>) -> Result<(), StoreError> {
    apply(to, given).map_err(|_| StoreError::InvalidAttribute("Attributes"))
}

/// The attributes that a client asked for by name.
pub(super) async fn describe(
    store: &Store,
    queue: &Queue,
    names: &[String],
) -> Result<serde_json::Map<String, serde_json::Value>, SqsError> {
    let known = |name: &&String| NAMES.contains(&name.as_str()) || INERT.contains(&name.as_str());
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(SqsError::unknown_attribute(unknown));
    }
    let counts = store.message_counts(queue.id).await?;
    let attributes = &queue.attributes;
    let mut all: Vec<(&str, String)> = vec![
        ("QueueArn", events::queue_arn(&store.region, &queue.name)),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", (queue.created_ms / 1000).to_string()),
        ("LastModifiedTimestamp", (queue.modified_ms / 1000).to_string()),
        ("VisibilityTimeout", attributes.visibility_timeout_s.to_string()),
        ("MaximumMessageSize", attributes.message_max_bytes.to_string()),
        ("MessageRetentionPeriod", attributes.retention_s.to_string()),
        ("DelaySeconds", attributes.delay_s.to_string()),
        ("ReceiveMessageWaitTimeSeconds", attributes.receive_wait_s.to_string()),
    ];
    if let Some(policy) = &attributes.redrive {
        let policy = json!({
            "deadLetterTargetArn": policy.dead_letter_arn,
            "maxReceiveCount": policy.max_receive_count,
        });
        all.push(("RedrivePolicy", policy.to_string()));
    }
    let inert = &attributes.inert;
    if !inert.contains_key("SqsManagedSseEnabled") && !inert.contains_key("KmsMasterKeyId") {
        // SQS encrypts new queues, and clients compare what they find with that.
        all.push(("SqsManagedSseEnabled", "true".into()));
    }
    all.extend(inert.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let wanted = |name: &str| names.iter().any(|asked| asked == "All" || asked == name);
    Ok(all.into_iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.to_owned(), value.into())).collect())
}
