//! The actions on queues and single messages.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::SqsError;
use super::wire::{self, Attributes, Outgoing};
use super::{Context, attributes, batch, md5, queue_url, receive};
use crate::stack::valid_queue_name;
use crate::store::{NewMessage, QueueAttributes, Receipt};

type Answer = Result<Value, SqsError>;

/// The limit of a message with its attributes, and of a batch.
pub(super) const MESSAGE_MAX_BYTES: usize = 1 << 20;
const DELAY_S: std::ops::RangeInclusive<i64> = 0..=900;
const VISIBILITY_S: std::ops::RangeInclusive<i64> = 0..=43_200;
const ATTRIBUTES_MAX: usize = 10;
const GROUP_ID_MAX_CHARS: usize = 128;
const LISTED_MAX: usize = 1000;

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
        _ => Err(crate::store::StoreError::NoSuchQueue.into()),
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
    let mut attributes = QueueAttributes::default();
    attributes::apply(&mut attributes, &input.attributes)?;
    context.store.create_queue(input.queue_name.clone(), attributes).await?;
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
    let limit = input.max_results.unwrap_or(LISTED_MAX).clamp(1, LISTED_MAX);
    let more = names.len() > limit;
    names.truncate(limit);
    let urls: Vec<String> = names.iter().map(|name| queue_url(context.endpoint, name)).collect();
    let mut output = json!({"QueueUrls": urls});
    if more && input.max_results.is_some() {
        output["NextToken"] = names.last().cloned().into();
    }
    Ok(output)
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
    let edit = move |attributes: &mut QueueAttributes| {
        attributes::apply(attributes, &input.attributes)
            .map_err(|_| crate::store::StoreError::InvalidAttribute("Attributes"))
    };
    context.store.edit_queue(name, edit).await?;
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

/// A message that may be sent, what it counts against the limits, and the answer that sending it gets.
pub(super) struct Checked {
    pub(super) message: NewMessage,
    pub(super) size_bytes: usize,
    pub(super) answer: Value,
}

/// Checks one message against all that SQS asks of it.
pub(super) fn check_message(outgoing: Outgoing, queue_max_bytes: usize) -> Result<Checked, SqsError> {
    let body = outgoing.message_body.filter(|body| !body.is_empty()).ok_or_else(|| SqsError::missing("MessageBody"))?;
    if !body.chars().all(is_allowed) {
        return Err(SqsError::invalid_contents());
    }
    if outgoing.message_deduplication_id.is_some() {
        return Err(SqsError::invalid_value("MessageDeduplicationId is not valid for this queue type"));
    }
    if outgoing.delay_seconds.is_some_and(|seconds| !DELAY_S.contains(&seconds)) {
        return Err(SqsError::invalid_value("DelaySeconds must be >= 0 and <= 900"));
    }
    if let Some(group) = &outgoing.message_group_id
        && (group.is_empty() || group.len() > GROUP_ID_MAX_CHARS || !group.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(SqsError::invalid_value(
            "MessageGroupId can only include up to 128 letters, digits and punctuation",
        ));
    }
    let size_bytes = body.len() + check_attributes(&outgoing.message_attributes)?;
    if size_bytes > queue_max_bytes {
        return Err(SqsError::invalid_value(format!(
            "one or more parameters are invalid: message must be shorter than {queue_max_bytes} bytes"
        )));
    }
    let mut trace = None;
    for (name, attribute) in &outgoing.message_system_attributes {
        match (name.as_str(), &attribute.string_value) {
            ("AWSTraceHeader", Some(value)) => trace = Some(value.clone()),
            _ => return Err(SqsError::invalid_value(format!("message system attribute {name} is invalid"))),
        }
    }
    let mut answer = json!({"MD5OfMessageBody": md5::of_body(&body)});
    if let Some(digest) = md5::of_attributes(&outgoing.message_attributes) {
        answer["MD5OfMessageAttributes"] = digest.into();
    }
    if let Some(digest) = md5::of_attributes(&outgoing.message_system_attributes) {
        answer["MD5OfMessageSystemAttributes"] = digest.into();
    }
    let attributes = (!outgoing.message_attributes.is_empty())
        .then(|| serde_json::to_string(&outgoing.message_attributes))
        .transpose()
        .map_err(|error| SqsError::malformed(error.to_string()))?;
    let message =
        NewMessage { body, attributes, group_id: outgoing.message_group_id, trace, delay_s: outgoing.delay_seconds };
    Ok(Checked { message, size_bytes, answer })
}

/// The characters of XML 1.0.
fn is_allowed(character: char) -> bool {
    matches!(character, '\u{9}' | '\u{A}' | '\u{D}' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// How many bytes the attributes add to a message.
fn check_attributes(attributes: &Attributes) -> Result<usize, SqsError> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(SqsError::invalid_value("a message has at most 10 attributes"));
    }
    let mut size_bytes = 0;
    for (name, attribute) in attributes {
        let invalid = |what: &str| SqsError::invalid_value(format!("the message attribute {name:?} has {what}"));
        let named = !name.is_empty()
            && name.len() <= 256
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if !named {
            return Err(invalid("an invalid name"));
        }
        let kind = attribute.data_type.split('.').next().unwrap_or_default();
        let value_bytes = match (kind, &attribute.string_value, &attribute.binary_value) {
            ("String", Some(value), None) if !value.is_empty() => value.len(),
            ("Number", Some(value), None) if value.parse::<f64>().is_ok() => value.len(),
            ("Binary", None, Some(value)) if !value.is_empty() => value.len() / 4 * 3,
            ("String" | "Number" | "Binary", _, _) => return Err(invalid("no value of its type")),
            _ => return Err(invalid("an unknown type")),
        };
        size_bytes += name.len() + attribute.data_type.len() + value_bytes;
    }
    Ok(size_bytes)
}

async fn send(context: &Context<'_>, input: wire::Send) -> Answer {
    let queue = context.store.queue(queue_of(&input.queue_url)?).await?;
    let Checked { message, mut answer, .. } = check_message(input.message, queue.attributes.message_max_bytes)?;
    let ids = context.store.send(queue.name, vec![message]).await?;
    answer["MessageId"] = ids.into_iter().next().into();
    Ok(answer)
}

async fn delete(context: &Context<'_>, input: wire::OnQueue<wire::Handle>) -> Answer {
    let queue = queue_of(&input.queue_url)?;
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
    let queue = queue_of(&input.queue_url)?;
    let receipt = receipt(&input.content.receipt_handle)?;
    let timeout_s = checked_timeout(input.content.visibility_timeout)?;
    context.store.change_visibility(queue, receipt, timeout_s).await?;
    Ok(json!({}))
}

async fn start_move(context: &Context<'_>, input: wire::StartMove) -> Answer {
    let source = crate::events::queue_of_arn(&input.source_arn).unwrap_or_default().to_owned();
    let sources = context.store.dead_letter_sources(source).await;
    match sources {
        Ok(sources) if sources.is_empty() => {
            return Err(SqsError::unsupported("the source queue is not the dead-letter queue of any other queue"));
        }
        Ok(_) => {}
        Err(crate::store::StoreError::NoSuchQueue) => {
            return Err(SqsError::no_such_resource("the resource that you specified for SourceArn doesn't exist"));
        }
        Err(error) => return Err(error.into()),
    }
    let task = context.store.move_messages(input.source_arn, input.destination_arn).await?;
    Ok(json!({"TaskHandle": task}))
}

fn list_moves(context: &Context<'_>, input: &wire::ListMoves) -> Answer {
    let tasks = context.store.moves_of(&input.source_arn);
    let shown: Vec<Value> = tasks
        .into_iter()
        .take(input.max_results.unwrap_or(1).clamp(1, 10))
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
