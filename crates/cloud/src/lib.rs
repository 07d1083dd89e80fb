//! What Millpond needs of a cloud: an [`ObjectStore`], a [`Queue`], a [`Clock`] and some [`Entropy`].
//!
//! Each trait states its contract; [`conformance`] checks it, on every implementation alike: [`memory`] here, the SDK
//! clients in `cloud-aws` against the local cloud, and against real AWS when asked.

pub mod clock;
pub mod conformance;
pub mod entropy;
pub mod memory;
pub mod object_store;
pub mod queue;

pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use object_store::{
    Condition, GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions,
    StoreError,
};
pub use queue::{Message, MessageId, Queue, QueueError, ReceiptHandle};
