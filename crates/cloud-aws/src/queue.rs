//! One SQS queue.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName as Attribute};
use cloud::{Message, MessageId, Queue, QueueError, ReceiptHandle};
use jiff::Timestamp;

use crate::error::queue_error;
use crate::limits;

/// One SQS queue. Durations are rounded up to SQS's whole seconds.
#[derive(Clone)]
pub struct AwsQueue {
    client: Client,
    url: String,
}

impl AwsQueue {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for AwsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsQueue").field("url", &self.url).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for AwsQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        let mut call = self.client.send_message().queue_url(&self.url).message_body(body);
        call = call.set_message_group_id(group.map(str::to_owned));
        // Said only when there is one, since a queue's own default delay would be overridden by a zero.
        if !delay.is_zero() {
            call = call.delay_seconds(seconds(delay));
        }
        let sent = call.customize().config_override(within(limits::short_call())).send().await.map_err(queue_error)?;
        sent.message_id.map(MessageId).ok_or_else(|| missing("MessageId"))
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(i32::MAX))
            .wait_time_seconds(seconds(wait))
            .set_visibility_timeout(visibility.map(seconds))
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::SentTimestamp)
            .message_system_attribute_names(Attribute::MessageGroupId)
            .customize()
            .config_override(within(limits::receive(wait)))
            .send()
            .await
            .map_err(queue_error)?;
        received.messages.unwrap_or_default().into_iter().map(message).collect()
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        self.client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(&receipt.0)
            .customize()
            .config_override(within(limits::short_call()))
            .send()
            .await
            .map_err(queue_error)?;
        Ok(())
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        self.client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(&receipt.0)
            .visibility_timeout(seconds(timeout))
            .customize()
            .config_override(within(limits::short_call()))
            .send()
            .await
            .map_err(queue_error)?;
        Ok(())
    }
}

fn message(message: SqsMessage) -> Result<Message, QueueError> {
    let attribute = |name: Attribute| message.attributes.as_ref().and_then(|all| all.get(&name)).map(String::as_str);
    let receive_count = attribute(Attribute::ApproximateReceiveCount).and_then(|count| count.parse().ok());
    let sent_at = attribute(Attribute::SentTimestamp)
        .and_then(|millis| millis.parse().ok())
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let group = attribute(Attribute::MessageGroupId).map(str::to_owned);
    Ok(Message {
        receive_count: receive_count.ok_or_else(|| missing("ApproximateReceiveCount"))?,
        sent_at: sent_at.ok_or_else(|| missing("SentTimestamp"))?,
        group,
        id: message.message_id.map(MessageId).ok_or_else(|| missing("MessageId"))?,
        receipt: message.receipt_handle.map(ReceiptHandle).ok_or_else(|| missing("ReceiptHandle"))?,
        body: message.body.unwrap_or_default(),
    })
}

/// SQS always sends what was asked for, so its lack means that the answer is damaged.
fn missing(what: &'static str) -> QueueError {
    QueueError::Unavailable(format!("the answer lacks {what}").into())
}

fn within(timeouts: TimeoutConfig) -> Builder {
    Builder::new().timeout_config(timeouts)
}

fn seconds(duration: Duration) -> i32 {
    let up = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(up).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(720)), 720);
        assert_eq!(seconds(Duration::MAX), i32::MAX);
    }
}
