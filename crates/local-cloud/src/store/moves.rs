//! Moving messages to a dead-letter queue, and back (`StartMessageMoveTask`).
//!
//! A message received `maxReceiveCount` times moves when it would be received once more. A move back is one transaction, so
//! a task is finished by the time it is answered. Tasks are listed while the process lives; their record is not durable,
//! their effect is.

use std::sync::{Mutex, PoisonError};

use rusqlite::params;

use super::Store;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::queues::{self, Queue};
use crate::events;

/// So many tasks of a queue are listed at most, as in SQS.
const LISTED_PER_SOURCE: usize = 10;

#[derive(Debug, Clone)]
pub(crate) struct MoveTask {
    pub(crate) source_arn: String,
    pub(crate) destination_arn: Option<String>,
    pub(crate) started_ms: i64,
    pub(crate) moved: usize,
}

#[derive(Debug, Default)]
pub(crate) struct MoveTasks {
    done: Mutex<Vec<MoveTask>>,
}

impl Store {
    /// Moves all visible messages of `source_arn` to `destination_arn`, or each to the queue that it came from.
    /// Returns a handle of the task.
    pub(crate) async fn move_messages(&self, source_arn: String, destination_arn: Option<String>) -> Result<String> {
        let now_ms = self.now_ms();
        let named = |arn: &str| events::queue_of_arn(arn).map(str::to_owned).ok_or(StoreError::NoSuchQueue);
        let source = named(&source_arn)?;
        let destination = destination_arn.as_deref().map(named).transpose()?;
        let moved = self
            .db
            .write(move |change| {
                let source = queues::find(change, &source)?;
                let mut statement = change.prepare(
                    "SELECT id, dead_letter_source FROM messages
                     WHERE queue = ?1 AND visible_ms <= ?2 AND expires_ms > ?2",
                )?;
                let waiting: Vec<(i64, Option<String>)> = statement
                    .query_map(params![source.id, now_ms], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut moved = 0;
                for (id, came_from) in waiting {
                    let origin = came_from.as_deref().and_then(events::queue_of_arn);
                    let Some(target) = destination.as_deref().or(origin) else { continue };
                    let target = queues::find(change, target)?;
                    // A moved message counts as new: its receives and its age begin again.
                    moved += change
                        .prepare_cached(
                            "UPDATE messages SET queue = ?2, visible_ms = ?3, sent_ms = ?3, expires_ms = ?3 + ?4,
                                    receive_count = 0, first_received_ms = NULL, last_received_ms = NULL,
                                    receipt = NULL, dead_letter_source = NULL
                             WHERE id = ?1",
                        )?
                        .execute(params![id, target.id, now_ms, target.attributes.retention_s * 1000])?;
                    change.after_commit(Effect::Wake(target.id));
                }
                Ok(moved)
            })
            .await?;
        let mut done = self.move_tasks.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push(MoveTask { source_arn, destination_arn, started_ms: now_ms, moved });
        Ok(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The newest tasks of a queue first.
    pub(crate) fn moves_of(&self, source_arn: &str) -> Vec<MoveTask> {
        let done = self.move_tasks.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().rev().filter(|task| task.source_arn == source_arn).take(LISTED_PER_SOURCE).cloned().collect()
    }
}

/// Where the messages of a queue go that were received often enough.
pub(super) struct DeadLetters {
    target: Queue,
    source: String,
    pub(super) max_receive_count: i64,
}

impl DeadLetters {
    /// Those of `queue`, if it has a dead-letter queue that is there.
    pub(super) fn of(change: &Change<'_>, queue: &Queue) -> Result<Option<Self>> {
        let Some(policy) = &queue.attributes.redrive else { return Ok(None) };
        let Some(target) = events::queue_of_arn(&policy.dead_letter_arn) else { return Ok(None) };
        let target = match queues::find(change, target) {
            Ok(target) => target,
            // The dead-letter queue was deleted: SQS goes on delivering.
            Err(StoreError::NoSuchQueue) => return Ok(None),
            Err(error) => return Err(error),
        };
        let source = events::queue_arn(policy.dead_letter_arn.split(':').nth(3).unwrap_or_default(), &queue.name);
        Ok(Some(Self { target, source, max_receive_count: policy.max_receive_count.into() }))
    }

    pub(super) fn bury(&self, change: &Change<'_>, messages: &[i64], now_ms: i64) -> Result<()> {
        let retention_ms = self.target.attributes.retention_s * 1000;
        for id in messages {
            change
                .prepare_cached(
                    "UPDATE messages SET queue = ?2, visible_ms = ?3, receipt = NULL, dead_letter_source = ?4,
                            expires_ms = sent_ms + ?5
                     WHERE id = ?1",
                )?
                .execute(params![id, self.target.id, now_ms, self.source, retention_ms])?;
            change.after_commit(Effect::Wake(self.target.id));
        }
        Ok(())
    }
}
