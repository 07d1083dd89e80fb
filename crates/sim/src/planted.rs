//! Bugs on purpose: what the simulation must find, so that it is known to look.
//!
//! They stand between the product's code and the cloud, and make it do what it would do if it had the bug.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    Condition, GetOptions, Listing, Message, MessageId, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest,
    PutOptions, Queue, QueueError, ReceiptHandle, StoreError,
};
use job::ETag;
use job::layout::{JOBS, ticket_of};
use tokio::time::sleep;

use crate::process::Incarnation;
use crate::queue::SimQueue;
use crate::store::{Bucket, SimStore};
use crate::world::TENANTS;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// Outcomes are written whether or not there is one.
    UnconditionalOutcome,
    /// Messages are acknowledged as they are received.
    EarlyAcknowledgement,
    /// The dead-letter handler does nothing.
    IdleDeadLetters,
    /// Nothing looks for what was lost.
    NoSweep,
    /// One ticket in five is not written, though its job is accepted.
    ForgottenTicket,
    /// An input is read whatever version of it lies there.
    IgnoredETag,
    /// What the client announced of its upload is not checked.
    IgnoredAnnouncement,
    /// What an earlier version of a dropped file left in the mirror stays there.
    UndeletedMirror,
    /// A result is written seconds after the outcome that names it.
    LateResult,
    /// A progress record disappears.
    ForgottenProgress,
    /// A cancellation is answered and not written down.
    IgnoredCancel,
    /// A message that cannot be read holds up whoever receives it.
    ObstructiveMessage,
    /// A running attempt does not notice that its job was cancelled.
    DeafAttempts,
    /// A batch takes far more time than it has.
    IgnoredDeadline,
    /// Failed attempts are repeated without end.
    EndlessAttempts,
    /// One tenant sees another's jobs.
    OpenTickets,
}

impl Bug {
    /// The invariant that it breaks.
    pub fn breaks(self) -> &'static str {
        match self {
            Self::UnconditionalOutcome => "J1",
            Self::EarlyAcknowledgement
            | Self::IdleDeadLetters
            | Self::NoSweep
            | Self::ForgottenTicket
            | Self::IgnoredETag
            | Self::IgnoredAnnouncement
            | Self::UndeletedMirror => "J2",
            Self::LateResult => "J3",
            Self::ForgottenProgress | Self::IgnoredCancel => "J4",
            Self::ObstructiveMessage => "J5",
            Self::DeafAttempts | Self::IgnoredDeadline | Self::EndlessAttempts => "J6",
            Self::OpenTickets => "J7",
        }
    }
}

/// A store through which a bug's process sees and writes.
#[derive(Debug)]
pub(crate) struct PlantedStore {
    pub(crate) bug: Bug,
    pub(crate) process: Arc<Incarnation>,
    pub(crate) store: SimStore,
}

impl PlantedStore {
    fn later(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.process.world.detach(async move {
            sleep(Duration::from_secs(3)).await;
            call.await;
        });
    }
}

fn never_written() -> ETag {
    ETag::new("\"never written\"")
}

/// The ticket with one part of its text replaced.
fn altered(object: Object, from: &str, to: &str) -> Object {
    let text = String::from_utf8_lossy(&object.body).replace(from, to);
    Object { body: Bytes::from(text), ..object }
}

#[async_trait]
impl ObjectStore for PlantedStore {
    fn bucket(&self) -> &str {
        self.store.bucket()
    }

    async fn put(&self, key: &str, body: Bytes, mut options: PutOptions) -> Result<ETag, StoreError> {
        let world = self.process.world.clone();
        let is_outcome = key.ends_with("/outcome.json");
        match self.bug {
            Bug::UnconditionalOutcome if is_outcome => options.condition = Condition::None,
            Bug::ForgottenTicket if ticket_of(key).is_some() && world.chance.happens(0.2) => return Ok(never_written()),
            Bug::IgnoredCancel if is_outcome && body.windows(9).any(|part| part == b"cancelled") => {
                return Ok(never_written());
            }
            Bug::LateResult if key.starts_with("results/") => {
                let key = key.to_owned();
                self.later(async move {
                    let _ = world.put(Bucket::Outbox, &key, body, options).await;
                });
                return Ok(never_written());
            }
            Bug::ForgottenProgress if key.ends_with("/progress.json") => {
                let forgotten = key.to_owned();
                self.later(async move {
                    let _ = world.outbox.delete(&forgotten).await;
                });
            }
            _ => {}
        }
        self.store.put(key, body, options).await
    }

    async fn get(&self, key: &str, mut options: GetOptions) -> Result<Object, StoreError> {
        if self.bug == Bug::IgnoredETag {
            options.if_match = None;
        }
        let object = self.store.get(key, options).await?;
        let is_ticket = key.starts_with(JOBS) && ticket_of(key).is_some();
        Ok(match self.bug {
            Bug::OpenTickets if is_ticket && self.process.name == "api-beta" => altered(object, TENANTS[0], TENANTS[1]),
            Bug::IgnoredAnnouncement if is_ticket => altered(object, "\"sha256\":\"", "\"was\":\""),
            _ => object,
        })
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        if self.bug == Bug::DeafAttempts && key.ends_with("/outcome.json") {
            return Err(StoreError::NotFound);
        }
        self.store.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        if self.bug == Bug::UndeletedMirror && key.starts_with("mirror/") {
            return Ok(());
        }
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, max).await
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.store.presign_put(key, put).await
    }

    async fn presign_get(&self, key: &str, life: Duration, name: Option<&str>) -> Result<PresignedRequest, StoreError> {
        self.store.presign_get(key, life, name).await
    }
}

/// A queue through which a bug's process receives.
#[derive(Debug)]
pub(crate) struct PlantedQueue {
    pub(crate) bug: Bug,
    pub(crate) queue: SimQueue,
}

fn is_garbage(message: &Message) -> bool {
    job::envelope::decode(&message.body).is_err()
}

#[async_trait]
impl Queue for PlantedQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        self.queue.send(body, group, delay).await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        let received = self.queue.receive(max, wait, visibility).await?;
        match self.bug {
            Bug::EarlyAcknowledgement => {
                for message in &received {
                    let _ = self.queue.delete(&message.receipt).await;
                }
                Ok(received)
            }
            Bug::ObstructiveMessage if self.queue.name == "jobs" && received.iter().any(is_garbage) => {
                sleep(Duration::from_secs(900)).await;
                Ok(received)
            }
            _ => Ok(received),
        }
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        self.queue.delete(receipt).await
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        self.queue.change_visibility(receipt, timeout).await
    }
}
