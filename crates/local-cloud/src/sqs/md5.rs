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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(attributes: &str) -> Option<String> {
        of_attributes(&serde_json::from_str(attributes).expect("attributes"))
    }

    /// The digests that the test suites of other implementations have from AWS.
    #[test]
    fn attributes_are_digested_as_sqs_does() {
        assert_eq!(digest("{}"), None);
        let number = digest(r#"{"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}}"#);
        assert_eq!(number.as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
        let two = r#"{"Hello": {"DataType": "String", "StringValue": "There"},
                      "General": {"DataType": "String", "StringValue": "Kenobi"}}"#;
        assert_eq!(digest(two).as_deref(), Some("fca026605781cb4126a1e9044df24232"));
        let binary = digest(r#"{"b": {"DataType": "Binary", "BinaryValue": "AP8="}}"#);
        assert_eq!(binary.as_deref(), Some("fd655a218bb089c0d7ecd08d9ccc9271"));
    }
}
