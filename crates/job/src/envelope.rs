//! What a queue message says: our own message, or an S3 event in any of the envelopes that it comes in.
//!
//! S3 → SQS delivers `{"Records": [...]}`; SNS wraps that as a string in `Message`; EventBridge sends one object under
//! `detail`. Event form: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>,
//! EventBridge: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::documents::V1;
use crate::id::{ETag, JobId};
use crate::layout::InboxKey;
use crate::trace::{self, TraceParent};

/// Our own message: for inline jobs, retries, repeats and backfills. Its JSON is what lies on the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Always 1.
    pub millpond: V1,
    /// What to do.
    #[serde(flatten)]
    pub order: Order,
}

impl Message {
    /// A message that gives `order`.
    pub fn new(order: Order) -> Self {
        Self { millpond: V1, order }
    }

    /// The message's body.
    pub fn to_body(&self) -> String {
        serde_json::to_string(self).expect("a message of strings is JSON")
    }
}

/// What our own message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Run the job whose ticket is written.
    Run {
        /// The job.
        job: JobId,
        /// The version of its upload that the sender saw, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        etag: Option<ETag>,
        /// The job's trace, so that a failure to read its ticket can be told from those of others.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient")]
        trace: Option<TraceParent>,
    },
    /// Make a job of a dropped file that has none, and run it.
    Dropped(ObjectVersion),
}

/// One version of one inbox object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// The bucket's name.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// Its ETag; S3 leaves it out of no event that creates an object, but other services do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// In bytes, where the event says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// One thing to do, out of a queue message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Run this job, whose ticket exists.
    Run {
        /// The job.
        job: JobId,
        /// The version of its upload that the message was sent for.
        etag: Option<ETag>,
        /// The bucket of that upload, where the message names one.
        bucket: Option<String>,
        /// The job's trace, where the message has it.
        trace: Option<TraceParent>,
    },
    /// Make a job of this dropped file, or find the one it has, and run it.
    Dropped(ObjectVersion),
}

/// A message that names no job. Trying again won't help; it belongs in the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It isn't JSON, or not one of the known forms.
    #[error("the message is neither an S3 event nor a Millpond message: {0}")]
    UnknownForm(String),
    /// An event of a version whose meaning is unknown.
    #[error("event version {0} is not known; 2.x is")]
    EventVersion(String),
    /// A key that is not percent-encoded UTF-8.
    #[error("the event's key is not percent-encoded UTF-8")]
    KeyEncoding,
    /// An object outside the prefixes that mean a job.
    #[error("the event is for an object that is no job's input")]
    ForeignKey,
}

#[derive(Deserialize)]
struct Any {
    millpond: Option<serde_json::Value>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "Type")]
    sns_type: Option<String>,
    #[serde(rename = "Message")]
    sns_message: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    detail: Option<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_version: Option<String>,
    event_name: Option<String>,
    s3: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    bucket: NamedBucket,
    object: Object,
}

#[derive(Deserialize)]
struct NamedBucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    #[serde(rename = "eTag", alias = "etag")]
    etag: Option<String>,
    size: Option<u64>,
}

/// Everything that one queue message asks for. Empty for what is acknowledged unread: `s3:TestEvent`, removals, folders.
pub fn decode(body: &str) -> Result<Vec<Work>, EnvelopeError> {
    let any: Any = parse(body)?;
    if any.millpond.is_some() {
        return Ok(vec![match parse::<Message>(body)?.order {
            Order::Run { job, etag, trace } => Work::Run { job, etag, bucket: None, trace },
            Order::Dropped(object) => Work::Dropped(object),
        }]);
    }
    if any.sns_type.as_deref() == Some("Notification") {
        let inner = any.sns_message.ok_or_else(|| unknown("an SNS notification without a message"))?;
        let any: Any = parse(&inner)?;
        // One layer only: an SNS notification inside another is not something that AWS makes.
        return if any.sns_type.is_some() { Err(unknown("nested SNS notifications")) } else { s3_event(any) };
    }
    s3_event(any)
}

fn s3_event(any: Any) -> Result<Vec<Work>, EnvelopeError> {
    if any.event.as_deref() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(records) = any.records {
        let mut works = Vec::with_capacity(records.len());
        for record in records {
            let version = record.event_version.unwrap_or_default();
            if !version.starts_with("2.") {
                return Err(EnvelopeError::EventVersion(version));
            }
            let created =
                record.event_name.is_none_or(|name| name.trim_start_matches("s3:").starts_with("ObjectCreated:"));
            let detail = record.s3.ok_or_else(|| unknown("a record without an object"))?;
            if created {
                let key = decode_key(&detail.object.key)?;
                works.extend(work(detail, key)?);
            }
        }
        return Ok(works);
    }
    match (any.detail_type.as_deref(), any.detail) {
        // EventBridge does not encode keys.
        (Some("Object Created"), Some(detail)) => {
            let key = detail.object.key.clone();
            Ok(work(detail, key)?.into_iter().collect())
        }
        (Some(other), _) if other.starts_with("Object ") => Ok(Vec::new()),
        _ => Err(unknown("no records, no detail")),
    }
}

fn work(detail: Detail, key: String) -> Result<Option<Work>, EnvelopeError> {
    let etag = detail.object.etag.map(ETag::new);
    let bucket = detail.bucket.name;
    let size_bytes = detail.object.size;
    match InboxKey::parse(&key) {
        InboxKey::Upload { job } => Ok(Some(Work::Run { job, etag, bucket: Some(bucket), trace: None })),
        InboxKey::Drop { .. } | InboxKey::DropWithoutModel => {
            Ok(Some(Work::Dropped(ObjectVersion { bucket, key, etag, size_bytes })))
        }
        InboxKey::Folder if size_bytes.unwrap_or(0) == 0 => Ok(None),
        InboxKey::Folder | InboxKey::Foreign => Err(EnvelopeError::ForeignKey),
    }
}

/// A key as S3 writes it in events: form-encoded, so `+` is a space, and only then percent-decoded.
pub fn decode_key(encoded: &str) -> Result<String, EnvelopeError> {
    let spaced = encoded.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(EnvelopeError::KeyEncoding),
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, EnvelopeError> {
    // serde's own text may quote what it did not expect; messages are not for logs.
    serde_json::from_str(text)
        .map_err(|e| unknown(&format!("it is not read beyond line {} column {}", e.line(), e.column())))
}

fn unknown(why: &str) -> EnvelopeError {
    EnvelopeError::UnknownForm(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    use proptest::prelude::*;

    /// What S3 leaves as it is in an event's key, besides letters and digits: `-._*/`.
    const EVENT: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'!')
        .add(b'"')
        .add(b'#')
        .add(b'$')
        .add(b'%')
        .add(b'&')
        .add(b'\'')
        .add(b'(')
        .add(b')')
        .add(b'+')
        .add(b',')
        .add(b':')
        .add(b';')
        .add(b'<')
        .add(b'=')
        .add(b'>')
        .add(b'?')
        .add(b'@')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b'~');

    fn encode(key: &str) -> String {
        utf8_percent_encode(key, EVENT).to_string().replace("%20", "+")
    }

    fn event(key: &str) -> String {
        serde_json::json!({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "inbox"}, "object": {"key": key, "size": 3, "eTag": "abc"}}}]})
        .to_string()
    }

    fn dropped(key: &str) -> Work {
        Work::Dropped(ObjectVersion {
            bucket: "inbox".into(),
            key: key.into(),
            etag: Some(ETag::new("abc")),
            size_bytes: Some(3),
        })
    }

    proptest! {
        #[test]
        fn keys_survive_the_event(key in "drop/m/\\PC{0,60}[^/]") {
            prop_assert_eq!(decode(&event(&encode(&key))).unwrap(), vec![dropped(&key)]);
        }

        #[test]
        fn any_key_survives_every_envelope(path in "(?s).{0,60}[^/]", bytes: [u8; 16]) {
            let job = JobId::from_random(bytes);
            let upload = Work::Run { job, etag: Some(ETag::new("abc")), bucket: Some("inbox".into()), trace: None };
            let drop = format!("drop/m/{path}");
            for (key, expected) in [(drop.clone(), dropped(&drop)), (format!("uploads/{job}/{path}"), upload)] {
                let plain = event(&encode(&key));
                let sns = serde_json::json!({"Type": "Notification", "Message": plain}).to_string();
                let bridge = serde_json::json!({"detail-type": "Object Created",
                    "detail": {"bucket": {"name": "inbox"}, "object": {"key": key, "size": 3, "etag": "abc"}}}).to_string();
                for body in [plain, sns, bridge] {
                    prop_assert_eq!(decode(&body), Ok(vec![expected.clone()]), "{}", body);
                }
            }
        }

        #[test]
        fn any_text_is_decoded_or_refused(body in "\\PC{0,200}") {
            let _ = decode(&body);
        }

        #[test]
        fn our_messages_survive(bytes: [u8; 16], etag in proptest::option::of("[a-f0-9]{4}"), traced: bool) {
            let (job, etag) = (JobId::from_random(bytes), etag.map(ETag::new));
            let trace = traced.then(|| TraceParent::from_random([7; 24]));
            let body = Message::new(Order::Run { job, etag: etag.clone(), trace }).to_body();
            prop_assert_eq!(decode(&body).unwrap(), vec![Work::Run { job, etag, bucket: None, trace }]);
        }
    }

    #[test]
    fn every_envelope_of_an_event() {
        let plain = event("drop/m/a+b%2Bc/%ED%95%9C.json");
        let expected = vec![dropped("drop/m/a b+c/한.json")];
        assert_eq!(decode(&plain).unwrap(), expected);

        let sns = serde_json::json!({"Type": "Notification", "MessageId": "1", "Message": plain}).to_string();
        assert_eq!(decode(&sns).unwrap(), expected);

        let bridge = serde_json::json!({"version": "0", "detail-type": "Object Created", "source": "aws.s3",
            "detail": {"bucket": {"name": "inbox"}, "object": {"key": "drop/m/a b+c/한.json", "size": 3, "etag": "abc"}}});
        assert_eq!(decode(&bridge.to_string()).unwrap(), expected);
    }

    #[test]
    fn what_is_acknowledged_unread() {
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-01T00:00:00Z","Bucket":"inbox"}"#;
        assert_eq!(decode(test).unwrap(), vec![]);
        let removed = event("drop/m/x").replace("ObjectCreated:Put", "ObjectRemoved:Delete");
        assert_eq!(decode(&removed).unwrap(), vec![]);
        let folder = event("drop/m/").replace("\"size\":3", "\"size\":0");
        assert_eq!(decode(&folder).unwrap(), vec![]);
    }

    #[test]
    fn what_names_no_job_is_refused() {
        assert!(matches!(decode("hello"), Err(EnvelopeError::UnknownForm(_))));
        assert!(matches!(decode("{}"), Err(EnvelopeError::UnknownForm(_))));
        assert_eq!(decode(&event("elsewhere/x")), Err(EnvelopeError::ForeignKey));
        assert_eq!(decode(&event("drop/m/%FF")), Err(EnvelopeError::KeyEncoding));
        let newer = event("drop/m/x").replace("2.1", "3.0");
        assert_eq!(decode(&newer), Err(EnvelopeError::EventVersion("3.0".into())));
        assert!(decode(r#"{"millpond":2,"run":{"job":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}}"#).is_err());
    }
}
