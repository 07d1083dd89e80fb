//! S3 event notifications: which queues a change concerns, and the message that each gets.
//!
//! The message structure is the one of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The account that owns everything here.
pub(crate) const ACCOUNT: &str = "000000000000";
const OWNER: &str = "MILLPONDLOCAL";

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectEvent {
    Put,
    Copy,
    CompleteMultipartUpload,
    Delete,
}

impl ObjectEvent {
    /// The name in the message: the name in the configuration less its `s3:`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
        }
    }
}

/// A bucket's notification configuration, as far as it names queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notifications {
    pub(crate) rules: Vec<NotificationRule>,
}

/// One queue, the events that it wants, and the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotificationRule {
    pub(crate) id: String,
    pub(crate) queue_arn: String,
    /// As configured: `s3:ObjectCreated:*`, `s3:ObjectRemoved:Delete`, ...
    pub(crate) events: Vec<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) suffix: Option<String>,
}

impl NotificationRule {
    pub(crate) fn matches(&self, event: ObjectEvent, key: &str) -> bool {
        let wanted = self.events.iter().any(|pattern| {
            let pattern = pattern.strip_prefix("s3:").unwrap_or(pattern);
            match pattern.strip_suffix('*') {
                Some(group) => event.name().starts_with(group),
                None => pattern == event.name(),
            }
        });
        wanted
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.as_deref().is_none_or(|suffix| key.ends_with(suffix))
    }

    /// Whether some event could match both, which S3 refuses in one configuration:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html>.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let covers = |pattern: &str, event: &str| match pattern.strip_suffix('*') {
            Some(group) => event.starts_with(group),
            None => event == pattern,
        };
        let events = self.events.iter().any(|one| other.events.iter().any(|two| covers(one, two) || covers(two, one)));
        let prefixes = {
            let (one, two) = (self.prefix.as_deref().unwrap_or(""), other.prefix.as_deref().unwrap_or(""));
            one.starts_with(two) || two.starts_with(one)
        };
        let suffixes = {
            let (one, two) = (self.suffix.as_deref().unwrap_or(""), other.suffix.as_deref().unwrap_or(""));
            one.ends_with(two) || two.ends_with(one)
        };
        events && prefixes && suffixes
    }
}

/// The name at the end of an SQS ARN of this account.
pub(crate) fn queue_of_arn(arn: &str) -> Option<&str> {
    let mut fields = arn.splitn(6, ':');
    let head = (fields.next()?, fields.next()?, fields.next()?);
    let (_region, account, name) = (fields.next()?, fields.next()?, fields.next()?);
    (head == ("arn", "aws", "sqs") && account == ACCOUNT && !name.is_empty()).then_some(name)
}

/// The ARN of a queue.
pub(crate) fn queue_arn(region: &str, name: &str) -> String {
    format!("arn:aws:sqs:{region}:{ACCOUNT}:{name}")
}

/// What an event tells of its object.
pub(crate) struct EventObject<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    /// `None` for a deletion, which tells neither size nor ETag.
    pub(crate) written: Option<(u64, &'a str)>,
    pub(crate) sequencer: u64,
}

/// The body of the message for one event.
pub(crate) fn event_body(
    event: ObjectEvent,
    rule: &NotificationRule,
    object: &EventObject<'_>,
    region: &str,
    time: jiff::Timestamp,
    request_id: &str,
) -> String {
    let mut described = json!({
        "key": encode_key(object.key),
        "sequencer": format!("{:018X}", object.sequencer),
    });
    if let Some((size, etag)) = object.written {
        described["size"] = size.into();
        described["eTag"] = etag.into();
    }
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": format!("{time:.3}"),
        "eventName": event.name(),
        "userIdentity": {"principalId": OWNER},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": request_id, "x-amz-id-2": request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule.id,
            "bucket": {
                "name": object.bucket,
                "ownerIdentity": {"principalId": OWNER},
                "arn": format!("arn:aws:s3:::{}", object.bucket),
            },
            "object": described,
        },
    }]})
    .to_string()
}

/// The message that S3 sends to a queue when it is configured as a destination.
pub(crate) fn test_event_body(bucket: &str, time: jiff::Timestamp, request_id: &str) -> String {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": format!("{time:.3}"),
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": request_id,
    })
    .to_string()
}

/// Keys in events are encoded as in a form, but for `/`: a space is `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, FORM).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> NotificationRule {
        NotificationRule {
            id: "r".into(),
            queue_arn: queue_arn("eu-central-1", "jobs"),
            events: events.iter().map(|&event| event.into()).collect(),
            prefix: prefix.map(Into::into),
            suffix: suffix.map(Into::into),
        }
    }

    #[test]
    fn keys_are_encoded_as_in_a_form() {
        assert_eq!(encode_key("drop/m/a b+c=d/é.png"), "drop/m/a+b%2Bc%3Dd/%C3%A9.png");
    }

    #[test]
    fn rules_match_by_event_group_prefix_and_suffix() {
        let all = rule(&["s3:ObjectCreated:*"], Some("uploads/"), Some(".png"));
        assert!(all.matches(ObjectEvent::Copy, "uploads/x.png"));
        assert!(!all.matches(ObjectEvent::Delete, "uploads/x.png"));
        assert!(!all.matches(ObjectEvent::Put, "drop/x.png"));
        assert!(!all.matches(ObjectEvent::Put, "uploads/x.jpg"));
        let put = rule(&["s3:ObjectCreated:Put"], None, None);
        assert!(put.matches(ObjectEvent::Put, "x"));
        assert!(!put.matches(ObjectEvent::Copy, "x"));
    }

    #[test]
    fn rules_overlap_if_an_event_could_match_both() {
        let jpg = rule(&["s3:ObjectCreated:*"], Some("images/"), Some(".jpg"));
        for (events, prefix, suffix, overlapping) in [
            (["s3:ObjectCreated:Put"], Some("images/"), Some(".jpg"), true),
            (["s3:ObjectCreated:Put"], Some("images/2026/"), Some("jpg"), true),
            (["s3:ObjectCreated:*"], None, None, true),
            (["s3:ObjectCreated:*"], Some("images/"), Some(".png"), false),
            (["s3:ObjectCreated:*"], Some("logs/"), Some(".jpg"), false),
            (["s3:ObjectRemoved:*"], Some("images/"), Some(".jpg"), false),
        ] {
            let other = rule(&events, prefix, suffix);
            assert_eq!((jpg.overlaps(&other), other.overlaps(&jpg)), (overlapping, overlapping), "{other:?}");
        }
    }

    #[test]
    fn an_arn_names_its_queue() {
        assert_eq!(queue_of_arn("arn:aws:sqs:eu-central-1:000000000000:jobs"), Some("jobs"));
        assert_eq!(queue_of_arn("arn:aws:sns:eu-central-1:000000000000:jobs"), None);
        assert_eq!(queue_of_arn("arn:aws:sqs:eu-central-1:000000000000:"), None);
    }
}
