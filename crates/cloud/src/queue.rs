//! One queue.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use crate::object_store::Source;

/// One queue, with the guarantees of an SQS standard queue, and no more.
///
/// # Contract
///
/// - **Delivery** is at least once: a message is handed out again when its visibility timeout ends before it was deleted,
///   and now and then without reason.
/// - **Order**: none.
/// - **Receipts** belong to one receive. After a later receive of the same message the older one is stale:
///   [`Queue::change_visibility`] with it fails with [`QueueError::StaleReceipt`] or does nothing, and never touches
///   the later receive; [`Queue::delete`] with it may or may not remove the message.
/// - **Receive count**: how often the message was handed out, this time included; approximate.
/// - **Redrive**: a message received more often than the queue's maximum moves to its dead-letter queue, if it has one.
/// - **Durability**: a message whose `send` was answered is kept until it is deleted or its retention ends. A send that
///   failed transiently may have happened.
/// - **Cancellation**: a dropped `receive` may have received; those messages come back after their visibility timeout.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Sends one message. `group` keeps one tenant's backlog from delaying the others' (SQS fair queues); `delay` (up to
    /// 15 minutes, whole seconds) hides it at first.
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError>;

    /// Up to `max` (1 to 10) messages, as soon as there is one; none if none came within `wait` (up to 20 s).
    /// `visibility` overrides the queue's own timeout.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError>;

    /// Acknowledges: the message is gone for good.
    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError>;

    /// Hides the message for `timeout` from now on (up to 12 h since it was received); zero hands it back at once.
    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError>;
}

/// A message's id, the same at every delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub String);

/// The handle of one receive of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiptHandle(pub String);

/// A message as it was received.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// This receive's handle.
    pub receipt: ReceiptHandle,
    /// What was sent.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was first sent.
    pub sent_at: Timestamp,
    /// Its message group, if it was sent with one.
    pub group: Option<String>,
}

/// Why a queue call failed. Sources are logged where they are handled; `Display` leaves them out.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The receipt is of an earlier receive, or its message is gone.
    #[error("the receipt is not valid any more")]
    StaleReceipt,
    /// The service asks to slow down.
    #[error("the queue asks to slow down")]
    Throttled(#[source] Source),
    /// The service failed or could not be reached.
    #[error("the queue does not answer")]
    Unavailable(#[source] Source),
    /// The credentials do not allow it.
    #[error("access to the queue was denied")]
    Denied(#[source] Source),
    /// The request can't be right: no such queue, a message that is too long.
    #[error("the queue refused the request")]
    Invalid(#[source] Source),
}

impl QueueError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled(_) | Self::Unavailable(_) | Self::Denied(_) => true,
            Self::StaleReceipt | Self::Invalid(_) => false,
        }
    }
}
