//! The batch forms of actions: each entry succeeds or fails by itself.

use std::collections::HashSet;

use futures::future::join_all;
use serde_json::{Value, json};

use super::Context;
use super::actions::{checked_timeout, queue_of, receipt};
use super::error::SqsError;
use super::message::{self, Checked};
use super::wire::{Batch, Entry, Handle, HandleAndTimeout, Outgoing};

const ENTRIES_MAX: usize = 10;
const ID_MAX_CHARS: usize = 80;

/// What is wrong with the batch as a whole.
fn check<T>(entries: &[Entry<T>]) -> Result<(), SqsError> {
    if entries.is_empty() {
        return Err(SqsError::empty_batch());
    }
    if entries.len() > ENTRIES_MAX {
        return Err(SqsError::too_many_entries(entries.len()));
    }
    let mut seen = HashSet::new();
    for entry in entries {
        let valid = (1..=ID_MAX_CHARS).contains(&entry.id.len())
            && entry.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !valid {
            return Err(SqsError::invalid_id());
        }
        if !seen.insert(&entry.id) {
            return Err(SqsError::repeated_id(&entry.id));
        }
    }
    Ok(())
}

fn answer(outcomes: Vec<(String, Result<Value, SqsError>)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(mut output) => {
                output["Id"] = id.into();
                successful.push(output);
            }
            Err(error) => failed.push(error.failed_entry(&id)),
        }
    }
    // The service model requires both lists, empty or not.
    json!({"Successful": successful, "Failed": failed})
}

pub(super) async fn send(context: &Context<'_>, input: Batch<Outgoing>) -> Result<Value, SqsError> {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?;
    check(&input.entries)?;
    // Those that will be refused one by one count, too.
    let total_bytes = input.entries.iter().map(|entry| message::size_bytes(&entry.content)).sum();
    if total_bytes > message::MAX_BYTES {
        return Err(SqsError::batch_too_long(total_bytes));
    }
    let (mut messages, mut outcomes) = (Vec::new(), Vec::new());
    for Entry { id, content } in input.entries {
        match message::check(content, queue.attributes.message_max_bytes) {
            Ok(Checked { message, answer }) => {
                messages.push(message);
                outcomes.push((id, Ok(answer)));
            }
            Err(error) => outcomes.push((id, Err(error))),
        }
    }
    let ids = context.store.send(queue.name, messages).await?;
    let sent = outcomes.iter_mut().filter_map(|(_, outcome)| outcome.as_mut().ok());
    for (answer, id) in sent.zip(ids) {
        answer["MessageId"] = id.into();
    }
    Ok(answer(outcomes))
}

pub(super) async fn delete(context: &Context<'_>, input: Batch<Handle>) -> Result<Value, SqsError> {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?.name;
    check(&input.entries)?;
    let deletions = input.entries.into_iter().map(|Entry { id, content }| {
        let queue = queue.clone();
        let deleted = async move {
            context.store.delete_message(queue, receipt(&content.receipt_handle)?).await?;
            Ok(json!({}))
        };
        async { (id, deleted.await) }
    });
    Ok(answer(join_all(deletions).await))
}

pub(super) async fn change_visibility(
    context: &Context<'_>,
    input: Batch<HandleAndTimeout>,
) -> Result<Value, SqsError> {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?.name;
    check(&input.entries)?;
    let changes = input.entries.into_iter().map(|Entry { id, content }| {
        let queue = queue.clone();
        let changed = async move {
            let timeout_s = checked_timeout(content.visibility_timeout)?;
            context.store.change_visibility(queue, receipt(&content.receipt_handle)?, timeout_s).await?;
            Ok(json!({}))
        };
        async { (id, changed.await) }
    });
    Ok(answer(join_all(changes).await))
}
