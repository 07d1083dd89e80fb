//! Queue messages and the keys in them.

use job::envelope::{ObjectVersion, Order, Work, decode, decode_key};
use job::layout::{self, InboxKey};
use job::{JobId, Message};
use serde_json::{Value, json};

/// A queue message, by itself and inside SNS's envelope. What it asks for can be asked for by our own message as well.
pub fn envelope(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let works = decode(body);
    let wrapped = decode(&json!({"Type": "Notification", "Message": body}).to_string());
    // Inside SNS there is neither our own message nor SNS once more.
    let bare = |value: Value| value["millpond"].is_null() && value["Type"].is_null();
    if serde_json::from_str(body).is_ok_and(bare) {
        assert_eq!(wrapped, works);
    }
    for work in works.into_iter().flatten() {
        let order = match &work {
            Work::Run { job, etag, trace, .. } => Order::Run { job: *job, etag: etag.clone(), trace: *trace },
            Work::Dropped(object) => {
                dropped(object, body);
                Order::Dropped(object.clone())
            }
        };
        let bucketless = match work {
            Work::Run { job, etag, trace, .. } => Work::Run { job, etag, bucket: None, trace },
            dropped => dropped,
        };
        assert_eq!(decode(&Message::new(order).to_body()), Ok(vec![bucketless]));
    }
}

/// An event's dropped file is of the inbox's prefix. Our own messages say what they like.
fn dropped(object: &ObjectVersion, body: &str) {
    let ours = serde_json::from_str::<Value>(body).is_ok_and(|value| !value["millpond"].is_null());
    assert!(ours || matches!(InboxKey::parse(&object.key), InboxKey::Drop { .. } | InboxKey::DropWithoutModel));
}

/// An event's key, and the same text as a key, as a filename and as an id.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = decode_key(text) {
        let mut encoded = String::new();
        key.bytes().for_each(|byte| encoded.push_str(&format!("%{byte:02X}")));
        assert_eq!(decode_key(&encoded).as_ref(), Ok(&key));
        taken_apart(&key);
    }
    taken_apart(text);
    if layout::filename_fault(text).is_none() {
        let job = JobId::from_random([7; 16]);
        let key = layout::upload_key(job, text);
        assert!(key.len() <= layout::MAX_KEY_BYTES);
        assert_eq!(InboxKey::parse(&key), InboxKey::Upload { job });
    }
    let dead = layout::dead_key(text);
    assert!(dead.matches(['/', '.']).count() == 2 && dead.is_ascii(), "{dead}");
    if let Ok(id) = text.parse::<JobId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A key is put together again from its parts.
fn taken_apart(key: &str) {
    match InboxKey::parse(key) {
        InboxKey::Upload { job } => assert!(key.starts_with(&layout::upload_key(job, ""))),
        InboxKey::Drop { model, path } => {
            assert_eq!(key, format!("{}{model}/{path}", layout::DROP));
            let mirror = layout::MirrorKeys::new(&model, &path, "json");
            assert!(!mirror.fit() || mirror.result.len() <= layout::MAX_KEY_BYTES);
        }
        InboxKey::DropWithoutModel => assert!(key.starts_with(layout::DROP)),
        InboxKey::Folder => assert!(key.ends_with('/')),
        InboxKey::Foreign => {}
    }
    if let Some(job) = layout::ticket_of(key) {
        assert_eq!(layout::ticket_key(job), key);
    }
}
