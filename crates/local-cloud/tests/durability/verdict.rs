//! Compares what clients were told with the events that the store sent: each write that was acknowledged has one event,
//! each event a write, and in the order of the events everything that was seen makes sense.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use serde_json::{Value, json};

use super::child::Server;
use super::history::{self, Condition, Read, Sees, Span, Write};
use super::objects::{Attempt, BUCKET, Log, What};

pub const EVENTS: &str = "crash-events";

/// An event message, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    sequencer: String,
    key: String,
    name: String,
    etag: Option<String>,
    request_id: String,
}

impl Event {
    fn parse(body: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(body).expect("JSON");
        let record = message["Records"].get(0)?;
        let object = &record["s3"]["object"];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Some(Self {
            sequencer: text(&object["sequencer"]),
            key: text(&object["key"]),
            name: text(&record["eventName"]),
            etag: object["eTag"].as_str().map(str::to_owned),
            request_id: text(&record["responseElements"]["x-amz-request-id"]),
        })
    }
}

/// Creates the bucket, and the queue that every change of it is told to.
pub async fn provision(server: &Server) {
    let client = &server.client;
    client.queue(EVENTS, json!({"VisibilityTimeout": "600"})).await;
    client.s3("PUT", &format!("/{BUCKET}"), &[], b"").await.expect(200);
    let configuration = format!(
        "<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:us-east-1:000000000000:{EVENTS}</Queue>\
         <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event></QueueConfiguration>\
         </NotificationConfiguration>"
    );
    client.s3("PUT", &format!("/{BUCKET}?notification"), &[], configuration.as_bytes()).await.expect(200);
}

/// Takes all events from their queue.
pub async fn take_events(server: &Server) -> Vec<Event> {
    let queue = server.queue_url(EVENTS);
    let mut events = Vec::new();
    loop {
        let messages = server.client.receive(&queue, json!({"VisibilityTimeout": 600})).await;
        if messages.is_empty() {
            break;
        }
        events.extend(messages.iter().filter_map(|message| Event::parse(message["Body"].as_str().expect("text"))));
    }
    server.client.sqs("PurgeQueue", json!({"QueueUrl": queue})).await.expect(200);
    events.sort();
    events
}

/// Judges a load: what was there `before` it (key to ETag), what clients were told, and the events. If the server was
/// killed, `died` tells when. Returns which attempts took effect.
pub fn judge(
    before: &BTreeMap<String, String>,
    log: &Log,
    events: &[Event],
    died: Option<Instant>,
) -> Result<BTreeSet<usize>, String> {
    let mut took_effect = BTreeSet::new();
    let mut writes: BTreeMap<&str, Vec<Write>> = BTreeMap::new();
    let answered: HashMap<&str, usize> = log
        .attempts
        .iter()
        .enumerate()
        .filter_map(|(n, attempt)| Some((attempt.answer.as_ref()?.request_id.as_str(), n)))
        .collect();
    for event in events {
        let attempt = match answered.get(event.request_id.as_str()) {
            Some(&n) => Some(n).filter(|_| {
                let answer = log.attempts[n].answer.as_ref();
                answer.is_some_and(|answer| answer.status < 300 && (answer.etag == event.etag || event.etag.is_none()))
            }),
            // The one that began first, of those whose answer was not seen.
            None => (0..log.attempts.len()).find(|n| {
                log.attempts[*n].answer.is_none() && !took_effect.contains(n) && fits(event, &log.attempts[*n], log)
            }),
        };
        let attempt = attempt.filter(|&n| fits(event, &log.attempts[n], log));
        let n =
            attempt.filter(|&n| took_effect.insert(n)).ok_or(format!("{event:?} is of no write, or was sent twice"))?;
        let attempt = &log.attempts[n];
        let end = attempt.answer.as_ref().map(|answer| answer.end).or(died).ok_or("an answer is missing")?;
        let condition = match &attempt.what {
            What::Put(_, condition) | What::Complete(_, condition) | What::Copy(condition) => condition.clone(),
            What::Delete => Condition::IfPresent,
            What::PutWrongly | What::Get => return Err(format!("{attempt:?} has {event:?}")),
        };
        let span = Span { start: attempt.start, end };
        writes.entry(&event.key).or_default().push(Write { span, condition, leaves: event.etag.clone() });
    }

    let mut reads: BTreeMap<&str, Vec<Read>> = BTreeMap::new();
    for (n, attempt) in log.attempts.iter().enumerate() {
        let Some(answer) = &attempt.answer else { continue };
        if let Some(sees) = seen(attempt, took_effect.contains(&n))? {
            let span = Span { start: attempt.start, end: answer.end };
            reads.entry(&attempt.key).or_default().push(Read { span, sees });
        }
    }
    let keys: BTreeSet<&str> = writes.keys().chain(reads.keys()).copied().collect();
    for key in keys {
        let writes = writes.remove(key).unwrap_or_default();
        let reads = reads.remove(key).unwrap_or_default();
        let initial = before.get(key).map(String::as_str);
        history::judge(initial, &writes, reads).map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(took_effect)
}

fn fits(event: &Event, attempt: &Attempt, log: &Log) -> bool {
    let name = match &attempt.what {
        What::Put(etag, _) if event.etag.as_ref() == Some(etag) => "ObjectCreated:Put",
        What::Complete(etag, _) if event.etag.as_ref() == Some(etag) => "ObjectCreated:CompleteMultipartUpload",
        What::Copy(_) if event.etag.as_ref().is_some_and(|etag| log.contents.contains_key(etag)) => {
            "ObjectCreated:Copy"
        }
        What::Delete if event.etag.is_none() => "ObjectRemoved:Delete",
        _ => return false,
    };
    attempt.key == event.key && event.name == name
}

/// What the answer to `attempt` tells of the state of its key, beside what its event tells.
fn seen(attempt: &Attempt, has_event: bool) -> Result<Option<Sees>, String> {
    let Some(answer) = &attempt.answer else { return Ok(None) };
    let sees = match (&attempt.what, answer.status) {
        (What::Put(..) | What::Complete(..) | What::Copy(_), 200) if has_event => None,
        (What::Delete, 204) => (!has_event).then_some(Sees::Absent),
        (What::Put(_, condition) | What::Complete(_, condition) | What::Copy(condition), 412) => match condition {
            Condition::IfAbsent => Some(Sees::Present),
            Condition::IfMatch(etag) => Some(Sees::Other(etag.clone())),
            Condition::Always | Condition::IfPresent => return Err(format!("{attempt:?} had no condition")),
        },
        (What::Put(_, Condition::IfMatch(_)) | What::Get, 404) => Some(Sees::Absent),
        (What::Get, 200) => answer.etag.clone().map(Sees::Exactly),
        // There was nothing to copy, or the body was damaged.
        (What::Copy(_), 404) | (What::PutWrongly, 400) => None,
        _ => return Err(format!("{attempt:?}, and an event: {has_event}")),
    };
    Ok(sees)
}
