//! Where a service keeps its jobs, for commands that go past its API.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use cloud::{OsEntropy, SystemClock};
use cloud_aws::{Aws, Endpoint};
use ledger::Ledger;
use registry::{Place, Registry};

use crate::env;
use crate::local::Endpoints;
use crate::place;

/// The buckets and queues of a service, or those of a running `up`. Credentials and region come from where every AWS tool looks.
#[derive(clap::Args)]
pub struct PlaceArgs {
    /// The job queue's URL
    #[arg(long, env = env::QUEUE_URL, value_name = "URL", required_unless_present = "endpoints")]
    queue_url: Option<String>,
    /// The dead-letter queue's URL; without it, given-up messages are left to another process
    #[arg(long, env = env::DEAD_LETTER_QUEUE_URL, value_name = "URL")]
    dead_letter_queue_url: Option<String>,
    /// The bucket that clients write to
    #[arg(long, env = env::INBOX, value_name = "BUCKET", required_unless_present = "endpoints")]
    inbox: Option<String>,
    /// The bucket that the service writes to
    #[arg(long, env = env::OUTBOX, value_name = "BUCKET", required_unless_present = "endpoints")]
    outbox: Option<String>,
    /// Take all of that, and the credentials, from the endpoints.json of a running `millpond up`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue_url", "dead_letter_queue_url", "inbox", "outbox"])]
    endpoints: Option<PathBuf>,
    /// Another S3 than Amazon's
    #[arg(long, env = env::S3_URL, value_name = "URL")]
    s3_url: Option<String>,
    /// Another SQS than Amazon's
    #[arg(long, env = env::SQS_URL, value_name = "URL")]
    sqs_url: Option<String>,
}

/// What [`PlaceArgs`] name.
pub struct ServicePlace {
    /// How to reach it.
    pub endpoint: Endpoint,
    /// The bucket that clients write to.
    pub inbox: String,
    /// The bucket that the service writes to.
    pub outbox: String,
    /// The job queue.
    pub queue_url: String,
    /// Its dead-letter queue, if it is named.
    pub dead_letter_queue_url: Option<String>,
}

impl PlaceArgs {
    /// Whether it is that of a running `up`.
    pub fn is_of_up(&self) -> bool {
        self.endpoints.is_some()
    }

    /// Reads what has to be read.
    pub fn resolve(self) -> anyhow::Result<ServicePlace> {
        if let Some(path) = &self.endpoints {
            let up = Endpoints::read(path)?;
            return Ok(ServicePlace {
                endpoint: up.endpoint(),
                inbox: up.inbox,
                outbox: up.outbox,
                queue_url: up.queue_url,
                dead_letter_queue_url: Some(up.dead_letter_queue_url),
            });
        }
        let given = "clap requires it";
        Ok(ServicePlace {
            endpoint: Endpoint {
                region: None,
                force_path_style: self.s3_url.is_some(),
                s3_url: self.s3_url,
                sqs_url: self.sqs_url,
                credentials: None,
            },
            inbox: self.inbox.context(given)?,
            outbox: self.outbox.context(given)?,
            queue_url: self.queue_url.context(given)?,
            dead_letter_queue_url: self.dead_letter_queue_url,
        })
    }
}

impl ServicePlace {
    /// The models of this name: a folder, or a bucket beside the jobs'.
    pub fn registry(&self, aws: &Aws, models: &str) -> anyhow::Result<Registry> {
        Ok(match place::parse(models)? {
            Place::Directory(path) => Registry::directory(place::existing(&path)?),
            Place::Bucket { bucket, prefix } => Registry::bucket(Arc::new(aws.bucket(bucket)), prefix),
        })
    }

    /// The jobs there.
    pub fn ledger(&self, aws: &Aws) -> Ledger {
        Ledger::new(
            Arc::new(aws.bucket(&self.inbox)),
            Arc::new(aws.bucket(&self.outbox)),
            Arc::new(aws.queue(&self.queue_url)),
            Arc::new(SystemClock),
            Arc::new(OsEntropy),
        )
    }
}
