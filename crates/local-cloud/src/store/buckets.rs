//! Buckets and their configuration.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::error::{Result, StoreError};
use super::messages::{self, NewMessage};
use super::{Store, queues};
use crate::events::{self, Notifications};

#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
}

/// One rule of a bucket's CORS configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CorsRule {
    pub(crate) id: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) expose: Vec<String>,
    pub(crate) max_age_seconds: Option<i32>,
}

impl Store {
    pub(crate) async fn create_bucket(&self, name: String) -> Result<()> {
        let now_ms = self.now_ms();
        self.db
            .write(move |change| {
                let created = change.execute(
                    "INSERT INTO buckets (name, created_ms) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
                    params![name, now_ms],
                )?;
                if created == 1 { Ok(()) } else { Err(StoreError::BucketExists) }
            })
            .await
    }

    pub(crate) async fn delete_bucket(&self, name: String) -> Result<()> {
        self.db
            .write(move |change| {
                let bucket = bucket_id(change, &name)?;
                let occupied: bool =
                    change.query_row("SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)", [bucket], |row| {
                        row.get(0)
                    })?;
                if occupied {
                    return Err(StoreError::BucketNotEmpty);
                }
                let mut parts = change.prepare(
                    "SELECT parts.blob FROM parts JOIN uploads ON uploads.id = parts.upload WHERE uploads.bucket = ?1",
                )?;
                for blob in parts.query_map([bucket], |row| row.get(0))? {
                    change.after_commit(super::Effect::RemoveBlob(blob?));
                }
                change.execute("DELETE FROM uploads WHERE bucket = ?1", [bucket])?;
                change.execute("DELETE FROM buckets WHERE id = ?1", [bucket])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.db
            .read(|db| {
                let mut statement = db.prepare_cached("SELECT name, created_ms FROM buckets ORDER BY name")?;
                let rows = statement.query_map([], |row| Ok(Bucket { name: row.get(0)?, created_ms: row.get(1)? }))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub(crate) async fn require_bucket(&self, name: String) -> Result<()> {
        self.db.read(move |db| bucket_id(db, &name).map(|_| ())).await
    }

    /// Replaces the CORS rules; none at all removes the configuration.
    pub(crate) async fn set_cors(&self, bucket: String, rules: Vec<CorsRule>) -> Result<()> {
        let rules = if rules.is_empty() { None } else { Some(serde_json::to_string(&rules)?) };
        self.db
            .write(move |change| {
                let bucket = bucket_id(change, &bucket)?;
                change.execute("UPDATE buckets SET cors = ?2 WHERE id = ?1", params![bucket, rules])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn cors(&self, bucket: String) -> Result<Vec<CorsRule>> {
        self.db
            .read(move |db| {
                let rules: Option<Option<String>> = db
                    .prepare_cached("SELECT cors FROM buckets WHERE name = ?1")?
                    .query_row([bucket], |row| row.get(0))
                    .optional()?;
                let rules = rules.ok_or(StoreError::NoSuchBucket)?;
                Ok(rules.map(|rules| serde_json::from_str(&rules)).transpose()?.unwrap_or_default())
            })
            .await
    }

    /// Replaces the notification configuration. With `announce`, every queue of it gets an `s3:TestEvent`, as it
    /// does when the configuration is put through the API.
    ///
    /// # Errors
    /// `NoSuchQueue` if a rule names a queue that does not exist.
    pub(crate) async fn set_notifications(
        &self,
        bucket: String,
        notifications: Notifications,
        announce: bool,
        request_id: String,
    ) -> Result<()> {
        let now = self.now();
        self.db
            .write(move |change| {
                let id = bucket_id(change, &bucket)?;
                let mut destinations = Vec::new();
                for rule in &notifications.rules {
                    let name = events::queue_of_arn(&rule.queue_arn).ok_or(StoreError::NoSuchQueue)?;
                    let queue = queues::find(change, name)?;
                    if !destinations.iter().any(|known: &queues::Queue| known.id == queue.id) {
                        destinations.push(queue);
                    }
                }
                change.execute(
                    "UPDATE buckets SET notification = ?2 WHERE id = ?1",
                    params![id, serde_json::to_string(&notifications)?],
                )?;
                if announce {
                    for queue in &destinations {
                        let body = events::test_event_body(&bucket, now, &request_id);
                        messages::enqueue(change, queue, &NewMessage::of_body(body), now.as_millisecond())?;
                    }
                }
                Ok(())
            })
            .await
    }

    pub(crate) async fn notifications(&self, bucket: String) -> Result<Notifications> {
        self.db
            .read(move |db| {
                let id = bucket_id(db, &bucket)?;
                notifications_of(db, id)
            })
            .await
    }
}

pub(super) fn bucket_id(db: &Connection, name: &str) -> Result<i64> {
    db.prepare_cached("SELECT id FROM buckets WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NoSuchBucket)
}

pub(super) fn notifications_of(db: &Connection, bucket: i64) -> Result<Notifications> {
    let stored: Option<String> =
        db.prepare_cached("SELECT notification FROM buckets WHERE id = ?1")?.query_row([bucket], |row| row.get(0))?;
    Ok(stored.map(|stored| serde_json::from_str(&stored)).transpose()?.unwrap_or_default())
}
