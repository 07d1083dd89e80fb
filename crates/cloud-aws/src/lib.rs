//! S3 and SQS through Amazon's SDK, behind the contracts of [`cloud`].
//!
//! The only crate that names the SDK. It serves real AWS, and with [`Endpoint::s3_url`] and [`Endpoint::sqs_url`] the
//! local cloud or whatever else speaks the protocols, by the same calls.

mod connect;
mod error;
pub mod inspect;
mod limits;
mod object_store;
mod queue;

pub use connect::{Aws, Endpoint, StaticCredentials};
pub use object_store::AwsObjectStore;
pub use queue::AwsQueue;
