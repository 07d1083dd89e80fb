//! The digests by which clients check messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};

use super::wire::Attributes;

pub(super) fn of_body(body: &str) -> String {
    hex::encode(Md5::digest(body))
}

/// The digest of message attributes, as described in
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>:
/// in order of name, each name, type and value with its length in four bytes, the value behind a byte for its kind.
pub(super) fn of_attributes(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    let mut sized = |bytes: &[u8], kind: Option<u8>| {
        if let Some(kind) = kind {
            digest.update([kind]);
        }
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in attributes {
        sized(name.as_bytes(), None);
        sized(attribute.data_type.as_bytes(), None);
        match (&attribute.string_value, &attribute.binary_value) {
            (Some(text), _) => sized(text.as_bytes(), Some(1)),
            (None, Some(binary)) => sized(&BASE64.decode(binary).unwrap_or_default(), Some(2)),
            (None, None) => {}
        }
    }
    Some(hex::encode(digest.finalize()))
}
