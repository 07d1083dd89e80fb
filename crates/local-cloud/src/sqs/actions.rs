//! The actions on queues and single messages.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::SqsError;
use super::message::Checked;
use super::wire;
use super::{Context, attributes, batch, message, queue_url, receive};
use crate::stack::valid_queue_name;
use crate::store::{QueueAttributes, Receipt, StoreError};

type Answer = Result<Value, SqsError>;

const VISIBILITY_S: std::ops::RangeInclusive<i64> = 0..=43_200;
const LISTED_MAX: usize = 1000;
const LISTED_MOVES_MAX: usize = 10;

pub(super) async fn dispatch(context: &Context<'_>, action: &str, body: &[u8]) -> Answer {
    match action {
        "CreateQueue" => create_queue(context, parse(body)?).await,
        "GetQueueUrl" => get_queue_url(context, parse(body)?).await,
        "ListQueues" => list_queues(context, parse(body)?).await,
        "GetQueueAttributes" => get_attributes(context, parse(body)?).await,
        "SetQueueAttributes" => set_attributes(context, parse(body)?).await,
        "DeleteQueue" => delete_queue(context, parse(body)?).await,
        "PurgeQueue" => purge_queue(context, parse(body)?).await,
        "ListDeadLetterSourceQueues" => dead_letter_sources(context, parse(body)?).await,
        "SendMessage" => send(context, parse(body)?).await,
        "SendMessageBatch" => batch::send(context, parse(body)?).await,
        "ReceiveMessage" => receive::receive(context, parse(body)?).await,
        "DeleteMessage" => delete(context, parse(body)?).await,
        "DeleteMessageBatch" => batch::delete(context, parse(body)?).await,
        "ChangeMessageVisibility" => change_visibility(context, parse(body)?).await,
        "ChangeMessageVisibilityBatch" => batch::change_visibility(context, parse(body)?).await,
        "StartMessageMoveTask" => start_move(context, parse(body)?).await,
        // A move is over before anyone can cancel it.
        "CancelMessageMoveTask" => Err(SqsError::no_such_resource("there is no such task under way")),
        "ListMessageMoveTasks" => list_moves(context, &parse(body)?),
        other => Err(SqsError::unknown_operation(format!("the action {other} is not supported here"))),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| SqsError::malformed(error.to_string()))
}

/// The name at the end of a queue's URL. Host and port are left aside: they change when ports are taken anew.
pub(super) fn queue_of(url: &str) -> Result<String, SqsError> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    match path.rsplit('/').next() {
        Some(name) if valid_queue_name(name) => Ok(name.to_owned()),
        _ => Err(StoreError::NoSuchQueue.into()),
    }
}

async fn create_queue(context: &Context<'_>, input: wire::CreateQueue) -> Answer {
    if input.queue_name.ends_with(".fifo") {
        return Err(SqsError::unsupported("FIFO queues are not supported: S3 does not notify them"));
    }
    if !valid_queue_name(&input.queue_name) {
        return Err(SqsError::invalid_value(
            "a queue's name can only include alphanumeric characters, hyphens and underscores, 1 to 80 in length",
        ));
    }
    attributes::apply(&mut QueueAttributes::default(), &input.attributes)?;
    let given = input.attributes;
    context.store.create_queue(input.queue_name.clone(), move |to| attributes::set(to, &given)).await?;
    Ok(json!({"QueueUrl": queue_url(context.endpoint, &input.queue_name)}))
}

async fn get_queue_url(context: &Context<'_>, input: wire::QueueName) -> Answer {
    let queue = context.store.queue(input.queue_name).await?;
    Ok(json!({"QueueUrl": queue_url(context.endpoint, &queue.name)}))
}

async fn list_queues(context: &Context<'_>, input: wire::ListQueues) -> Answer {
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let after = input.next_token.unwrap_or_default();
    let mut names: Vec<String> = context.store.queues().await?.into_iter().map(|queue| queue.name).collect();
    names.retain(|name| name.starts_with(&prefix) && *name > after);
    let limit = listed_at_most(input.max_results, LISTED_MAX)?.unwrap_or(LISTED_MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let urls: Vec<String> = names.iter().map(|name| queue_url(context.endpoint, name)).collect();
    let mut output = json!({"QueueUrls": urls});
    if more && input.max_results.is_some() {
        output["NextToken"] = names.last().cloned().into();
    }
    Ok(output)
}

/// How many results a client asked for, if it did.
fn listed_at_most(asked: Option<usize>, limit: usize) -> Result<Option<usize>, SqsError> {
    match asked {
        Some(results) if !(1..=limit).contains(&results) => {
            Err(SqsError::invalid_value(format!("MaxResults must be between 1 and {limit}")))
        }
        asked => Ok(asked),
    }
}

async fn get_attributes(context: &Context<'_>, input: wire::GetAttributes) -> Answer {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?;
    let attributes = attributes::describe(context.store, &queue, &input.attribute_names).await?;
    Ok(json!({"Attributes": attributes}))
}

async fn set_attributes(context: &Context<'_>, input: wire::SetAttributes) -> Answer {
    let name = queue_of(&input.queue_url)?;
    let mut checked = context.store.queue(name.clone()).await?.attributes;
    attributes::apply(&mut checked, &input.attributes)?;
    context.store.edit_queue(name, move |to| attributes::set(to, &input.attributes)).await?;
    Ok(json!({}))
}

async fn delete_queue(context: &Context<'_>, input: wire::QueueUrl) -> Answer {
    context.store.delete_queue(queue_of(&input.queue_url)?).await?;
    Ok(json!({}))
}

async fn purge_queue(context: &Context<'_>, input: wire::QueueUrl) -> Answer {
    context.store.purge_queue(queue_of(&input.queue_url)?).await?;
    Ok(json!({}))
}

async fn dead_letter_sources(context: &Context<'_>, input: wire::QueueUrl) -> Answer {
    let sources = context.store.dead_letter_sources(queue_of(&input.queue_url)?).await?;
    let urls: Vec<String> = sources.iter().map(|queue| queue_url(context.endpoint, &queue.name)).collect();
    // The name of this field begins with a small letter in the service model.
    Ok(json!({"queueUrls": urls}))
}

async fn send(context: &Context<'_>, input: wire::Send) -> Answer {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?;
    let Checked { message, mut answer } = message::check(input.message, queue.attributes.message_max_bytes)?;
    let ids = context.store.send(queue.name, vec![message]).await?;
    answer["MessageId"] = ids.into_iter().next().into();
    Ok(answer)
}

async fn delete(context: &Context<'_>, input: wire::OnQueue<wire::Handle>) -> Answer {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?.name;
    context.store.delete_message(queue, receipt(&input.content.receipt_handle)?).await?;
    Ok(json!({}))
}

pub(super) fn receipt(handle: &str) -> Result<Receipt, SqsError> {
    receive::decode_receipt(handle).ok_or_else(|| SqsError::invalid_receipt(handle))
}

pub(super) fn checked_timeout(seconds: Option<i64>) -> Result<i64, SqsError> {
    let seconds = seconds.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?;
    if VISIBILITY_S.contains(&seconds) {
        Ok(seconds)
    } else {
        Err(SqsError::invalid_value("VisibilityTimeout must be >= 0 and <= 43200"))
    }
}

async fn change_visibility(context: &Context<'_>, input: wire::OnQueue<wire::HandleAndTimeout>) -> Answer {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?.name;
    let receipt = receipt(&input.content.receipt_handle)?;
    let timeout_s = checked_timeout(input.content.visibility_timeout)?;
    context.store.change_visibility(queue, receipt, timeout_s).await?;
    Ok(json!({}))
}

async fn start_move(context: &Context<'_>, input: wire::StartMove) -> Answer {
    let source = crate::events::queue_of_arn(&input.source_arn).unwrap_or_default().to_owned();
    let sources = context.store.dead_letter_sources(source).await.map_err(|error| absent("SourceArn", error))?;
    if sources.is_empty() {
        return Err(SqsError::invalid_value("source queue must be configured as a dead-letter queue"));
    }
    if let Some(destination) = &input.destination_arn {
        let name = crate::events::queue_of_arn(destination).unwrap_or_default().to_owned();
        context.store.queue(name).await.map_err(|error| absent("DestinationArn", error))?;
    }
    let task = context.store.move_messages(input.source_arn, input.destination_arn).await?;
    Ok(json!({"TaskHandle": task}))
}

/// What a move answers when one of its queues is not there.
fn absent(parameter: &str, error: StoreError) -> SqsError {
    match error {
        StoreError::NoSuchQueue => {
            SqsError::no_such_resource(format!("the resource that you specified for {parameter} doesn't exist"))
        }
        error => error.into(),
    }
}

fn list_moves(context: &Context<'_>, input: &wire::ListMoves) -> Answer {
    let limit = listed_at_most(input.max_results, LISTED_MOVES_MAX)?.unwrap_or(1);
    let tasks = context.store.moves_of(&input.source_arn);
    let shown: Vec<Value> = tasks
        .into_iter()
        .take(limit)
        .map(|task| {
            json!({
                "Status": "COMPLETED",
                "SourceArn": task.source_arn,
                "DestinationArn": task.destination_arn,
                "ApproximateNumberOfMessagesMoved": task.moved,
                "ApproximateNumberOfMessagesToMove": task.moved,
                "StartedTimestamp": task.started_ms,
            })
        })
        .collect();
    Ok(json!({"Results": shown}))
}
