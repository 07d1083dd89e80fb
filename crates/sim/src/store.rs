//! A bucket as one process sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::memory::MemoryObjectStore;
use cloud::{
    Condition, GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions, Queue,
    StoreError,
};
use job::ETag;

use crate::fate::{Answer, Kind, Refusal};
use crate::process::Incarnation;
use crate::world::World;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    Inbox,
    Outbox,
    Models,
}

/// A faulty way to a sound bucket.
#[derive(Debug)]
pub(crate) struct SimStore {
    pub(crate) process: Arc<Incarnation>,
    pub(crate) bucket: Bucket,
}

impl World {
    pub(crate) fn bucket(&self, bucket: Bucket) -> &Arc<MemoryObjectStore> {
        match bucket {
            Bucket::Inbox => &self.inbox,
            Bucket::Outbox => &self.outbox,
            Bucket::Models => &self.models,
        }
    }

    /// Writes, tells the oracle, and delivers the event as badly as it may be delivered.
    pub(crate) async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        options: PutOptions,
    ) -> Result<ETag, StoreError> {
        let store = self.bucket(bucket);
        let before = store.get(key, GetOptions::default()).await.ok();
        let etag = store.put(key, body.clone(), options).await?;
        match bucket {
            Bucket::Inbox => {
                let modified = store.head(key).await.expect("it was written just now").last_modified;
                self.oracle.input_written(key, body, etag.clone(), modified, self.elapsed());
                self.deliver_events().await;
            }
            Bucket::Outbox => self.oracle.written(key, before.map(|object| object.body), &body, self.elapsed()),
            Bucket::Models => {}
        }
        Ok(etag)
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        if bucket == Bucket::Outbox {
            self.oracle.deleted(key);
        }
        self.bucket(bucket).delete(key).await
    }

    async fn deliver_events(&self) {
        let events = self.events.receive(10, Duration::ZERO, None).await.unwrap_or_default();
        let (chance, weather) = (&self.chance, &self.plan.weather);
        for event in events {
            self.events.delete(&event.receipt).await.expect("it was received just now");
            let sns = || serde_json::json!({"Type": "Notification", "Message": event.body}).to_string();
            let body = if self.plan.sns { sns() } else { event.body.clone() };
            let quiet = self.is_quiet();
            if !quiet && chance.happens(weather.lost_event) {
                self.oracle.fault();
                self.history.note("s3", || "loses an event".to_owned());
                continue;
            }
            for _ in 0..if !quiet && chance.happens(weather.duplicate) { 2 } else { 1 } {
                let late = if !quiet && chance.happens(weather.late_message) { 120_000 } else { 1_500 };
                let delay = chance.millis(1..=late);
                self.queue.send(&body, None, delay).await.expect("an event is a message");
            }
        }
    }
}

impl Answer for Result<ETag, StoreError> {
    fn refused(refusal: Refusal) -> Self {
        Err(refusal.store_error())
    }
    fn found_there() -> Self {
        Err(StoreError::PreconditionFailed)
    }
    fn is_success(&self) -> bool {
        self.is_ok()
    }
}

macro_rules! plain_answer {
    ($($answer:ty),*) => { $(
        impl Answer for Result<$answer, StoreError> {
            fn refused(refusal: Refusal) -> Self {
                Err(refusal.store_error())
            }
            fn found_there() -> Self {
                unreachable!("no conditional write answers so")
            }
            fn is_success(&self) -> bool {
                self.is_ok()
            }
        }
    )* };
}
plain_answer!(Object, ObjectMeta, (), Listing);

impl Refusal {
    fn store_error(self) -> StoreError {
        match self {
            Self::Throttled => StoreError::Throttled("the simulator asks to slow down".into()),
            Self::Unavailable => StoreError::Unavailable("the simulator does not answer".into()),
            Self::Conflict => StoreError::Conflict,
        }
    }
}

impl SimStore {
    fn what(&self, verb: &str, key: &str) -> String {
        format!("{verb} {}/{key}", self.process.world.bucket(self.bucket).bucket())
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    fn bucket(&self) -> &str {
        self.process.world.bucket(self.bucket).bucket()
    }

    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        let kind = match options.condition {
            _ if key.starts_with("mirror/") => Kind::Mirror { conditional: true },
            Condition::None => Kind::Write,
            Condition::Absent | Condition::Matches(_) => Kind::ConditionalWrite,
        };
        let (world, bucket, owned) = (self.process.world.clone(), self.bucket, key.to_owned());
        let effect = async move { world.put(bucket, &owned, body, options).await };
        self.process.call(kind, || self.what("put", key), effect).await
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        let (world, bucket, owned) = (self.process.world.clone(), self.bucket, key.to_owned());
        let effect = async move { world.bucket(bucket).get(&owned, options).await };
        self.process.call(Kind::Read, || self.what("get", key), effect).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let (world, bucket, owned) = (self.process.world.clone(), self.bucket, key.to_owned());
        let effect = async move { world.bucket(bucket).head(&owned).await };
        self.process.call(Kind::Read, || self.what("head", key), effect).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (world, bucket, owned) = (self.process.world.clone(), self.bucket, key.to_owned());
        let effect = async move { world.delete(bucket, &owned).await };
        self.process.call(Kind::Mirror { conditional: false }, || self.what("delete", key), effect).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        let (world, bucket) = (self.process.world.clone(), self.bucket);
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        let effect = async move { world.bucket(bucket).list(&owned, after.as_deref(), max).await };
        self.process.call(Kind::Read, || self.what("list", prefix), effect).await
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.process.world.bucket(self.bucket).presign_put(key, put).await
    }

    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        self.process.world.bucket(self.bucket).presign_get(key, expires_in, filename).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use cloud::conformance::{self, Pace};

    use super::*;
    use crate::plan::Plan;

    #[tokio::test(start_paused = true)]
    async fn without_faults_it_conforms() {
        let world = World::new(0, Plan::calm(), false).await;
        let places = AtomicU32::new(0);
        let failures = conformance::object_store(Pace::AtOnce, async || {
            // The one bucket whose content the oracle has no opinion of.
            let store = SimStore { process: Incarnation::idle(&world), bucket: Bucket::Models };
            let place = places.fetch_add(1, Ordering::Relaxed);
            conformance::Bucket { store: Arc::new(store), prefix: format!("case {place}/") }
        })
        .await;
        conformance::assert_none(&failures);
    }
}
