//! Lambda's events, and our answers to them.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsMessage;
use cloud::{Clock, ReceiptHandle, SystemClock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use worker::BatchMessage;

/// An SQS event, its records not taken apart yet: one that is of no known form must not lose the others (J5).
#[derive(Debug, Deserialize)]
pub(crate) struct QueueEvent {
    #[serde(rename = "Records", default)]
    records: Vec<Value>,
}

/// Which messages of a batch must come back; Lambda deletes the others.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BatchAnswer {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

impl BatchAnswer {
    pub(crate) fn of(ids: Vec<String>) -> Self {
        Self { failures: ids.into_iter().map(|id| Failure { id }).collect() }
    }
}

impl QueueEvent {
    /// The messages. A record without an id cannot be reported as failed, and to leave it out would delete it unread; the
    /// empty id stands for it, which makes Lambda take the whole batch for failed.
    pub(crate) fn messages(self) -> Vec<BatchMessage> {
        self.records.into_iter().map(message).collect()
    }
}

fn message(record: Value) -> BatchMessage {
    let id = record.get("messageId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let record = serde_json::from_value::<SqsMessage>(record).unwrap_or_else(|error| {
        tracing::error!(message = id, "an SQS record is of no known form: {error}");
        SqsMessage::default()
    });
    let attribute = |name: &str| record.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
    BatchMessage {
        id,
        receive_count: attribute("ApproximateReceiveCount").and_then(|count| count.try_into().ok()).unwrap_or(1),
        sent_at: attribute("SentTimestamp").and_then(|at| Timestamp::from_millisecond(at).ok()),
        receipt: record.receipt_handle.map(ReceiptHandle),
        // Without a body it names no job, and goes the way of all those.
        body: record.body.unwrap_or_default(),
    }
}

/// When Lambda ends the invocation, given in milliseconds since 1970.
pub(crate) fn deadline(deadline_ms: u64) -> Instant {
    let now_ms = u64::try_from(SystemClock.now().as_millisecond()).unwrap_or_default();
    Instant::now() + Duration::from_millis(deadline_ms.saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_are_read_one_by_one() {
        let event: QueueEvent = serde_json::from_value(json!({"Records": [
            {"messageId": "a", "receiptHandle": "r", "body": "{}", "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1763640000000"}},
            {"messageId": "b", "body": 7},
            {"messageId": "c"},
        ]}))
        .unwrap();
        let messages = event.messages();
        let seen: Vec<_> = messages.iter().map(|m| (m.id.as_str(), m.body.as_str(), m.receive_count)).collect();
        assert_eq!(seen, [("a", "{}", 3), ("b", "", 1), ("c", "", 1)]);
        assert_eq!(messages[0].sent_at.unwrap().as_second(), 1_763_640_000);
        assert_eq!(messages[0].receipt, Some(ReceiptHandle("r".into())));
    }

    #[test]
    fn failures_are_named_as_lambda_names_them() {
        let answer = serde_json::to_string(&BatchAnswer::of(vec!["a".into()])).unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#);
        assert_eq!(serde_json::to_string(&BatchAnswer::default()).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
