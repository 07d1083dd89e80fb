//! ReceiveMessage, and receipt handles.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value, json};

use super::error::SqsError;
use super::wire::{self, Attributes};
use super::{Context, actions, md5};
use crate::events::ACCOUNT;
use crate::store::{Receipt, ReceiveOptions, ReceivedMessage};

pub(super) fn encode_receipt(receipt: &Receipt) -> String {
    BASE64.encode(format!("{}:{}", receipt.message, receipt.token))
}

pub(super) fn decode_receipt(handle: &str) -> Option<Receipt> {
    let text = String::from_utf8(BASE64.decode(handle).ok()?).ok()?;
    let (message, token) = text.split_once(':')?;
    Some(Receipt { message: message.parse().ok()?, token: token.to_owned() })
}

pub(super) async fn receive(context: &Context<'_>, input: wire::Receive) -> Result<Value, SqsError> {
    let queue = context.store.queue(actions::queue_of(&input.queue_url)?).await?;
    let max_messages = usize::try_from(input.max_number_of_messages.unwrap_or(1))
        .ok()
        .filter(|messages| (1..=10).contains(messages))
        .ok_or_else(|| SqsError::invalid_value("MaxNumberOfMessages must be between 1 and 10, if provided"))?;
    let wait_s = input.wait_time_seconds.unwrap_or(queue.attributes.receive_wait_s);
    let wait_s = u64::try_from(wait_s)
        .ok()
        .filter(|seconds| *seconds <= 20)
        .ok_or_else(|| SqsError::invalid_value("WaitTimeSeconds must be >= 0 and <= 20, if provided"))?;
    let visibility_timeout_s =
        input.visibility_timeout.map(|seconds| actions::checked_timeout(Some(seconds))).transpose()?;
    let options = ReceiveOptions { max_messages, visibility_timeout_s, wait: Duration::from_secs(wait_s) };
    // On shutdown a long poll ends at once: empty-handed, unless it has just taken messages.
    let received = context.store.receive(queue, options, context.stop).await?;
    if received.is_empty() {
        return Ok(json!({}));
    }
    let mut system_names = input.attribute_names;
    system_names.extend(input.message_system_attribute_names);
    let shown: Vec<Value> =
        received.iter().map(|message| describe(message, &system_names, &input.message_attribute_names)).collect();
    Ok(json!({"Messages": shown}))
}

fn describe(message: &ReceivedMessage, system_names: &[String], names: &[String]) -> Value {
    let mut shown = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": encode_receipt(&message.receipt),
        "MD5OfBody": md5::of_body(&message.body),
        "Body": message.body,
    });
    let known = [
        ("SenderId", Some(ACCOUNT.to_owned())),
        ("SentTimestamp", Some(message.sent_ms.to_string())),
        ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
        ("ApproximateFirstReceiveTimestamp", Some(message.first_received_ms.to_string())),
        ("MessageGroupId", message.group_id.clone()),
        ("AWSTraceHeader", message.trace.clone()),
        ("DeadLetterQueueSourceArn", message.dead_letter_source.clone()),
    ];
    let system: Map<String, Value> = known
        .into_iter()
        .filter(|(name, _)| system_names.iter().any(|asked| asked == "All" || asked == name))
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect();
    if !system.is_empty() {
        shown["Attributes"] = system.into();
    }
    let stored: Attributes =
        message.attributes.as_deref().and_then(|stored| serde_json::from_str(stored).ok()).unwrap_or_default();
    let chosen: Attributes = stored.into_iter().filter(|(name, _)| is_asked_for(name, names)).collect();
    if let Some(digest) = md5::of_attributes(&chosen) {
        shown["MD5OfMessageAttributes"] = digest.into();
        shown["MessageAttributes"] = json!(chosen);
    }
    shown
}

/// Names are asked for one by one, by prefix (`trace.*`), or all.
fn is_asked_for(name: &str, asked: &[String]) -> bool {
    asked.iter().any(|asked| match asked.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => asked == "All" || asked == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_handle_gives_its_receipt_back() {
        let receipt = Receipt { message: 42, token: "abc".into() };
        assert_eq!(decode_receipt(&encode_receipt(&receipt)), Some(receipt));
        assert_eq!(decode_receipt("not a handle"), None);
        assert_eq!(decode_receipt(""), None);
    }

    #[test]
    fn attributes_are_asked_for_by_name_prefix_or_all() {
        let asked = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(is_asked_for("trace.id", &asked(&["trace.*"])));
        assert!(is_asked_for("x", &asked(&["All"])));
        assert!(is_asked_for("x", &asked(&[".*"])));
        assert!(!is_asked_for("y", &asked(&["x"])));
    }
}
