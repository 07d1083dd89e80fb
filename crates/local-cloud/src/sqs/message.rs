//! What SQS asks of a message before it takes it:
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>,
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::error::SqsError;
use super::md5;
use super::wire::{Attribute, Attributes, Outgoing};
use crate::store::NewMessage;

/// The limit of a message with its attributes, and of a batch.
pub(super) const MAX_BYTES: usize = 1 << 20;
const DELAY_S: std::ops::RangeInclusive<i64> = 0..=900;
const ATTRIBUTES_MAX: usize = 10;
const ATTRIBUTE_NAME_MAX_CHARS: usize = 256;
const ATTRIBUTE_TYPE_MAX_CHARS: usize = 256;
const GROUP_ID_MAX_CHARS: usize = 128;
const NUMBER_MAX_DIGITS: usize = 38;
/// The powers of ten of the smallest and the largest number.
const NUMBER_MAGNITUDES: std::ops::RangeInclusive<i64> = -128..=126;

/// A message that may be sent, and the answer that sending it gets.
pub(super) struct Checked {
    pub(super) message: NewMessage,
    pub(super) answer: Value,
}

/// What a message counts against the limits: its body and its attributes, but not those that AWS's services set.
pub(super) fn size_bytes(outgoing: &Outgoing) -> usize {
    let attribute = |(name, attribute): (&String, &Attribute)| {
        let text = attribute.string_value.as_ref().map_or(0, String::len);
        let binary = attribute.binary_value.as_ref().map_or(0, |value| {
            let padding = value.bytes().rev().take_while(|byte| *byte == b'=').count();
            (value.len() - padding) * 3 / 4
        });
        name.len() + attribute.data_type.len() + text + binary
    };
    let body = outgoing.message_body.as_ref().map_or(0, String::len);
    body + outgoing.message_attributes.iter().map(attribute).sum::<usize>()
}

/// Checks one message against all that SQS asks of it.
pub(super) fn check(outgoing: Outgoing, queue_max_bytes: usize) -> Result<Checked, SqsError> {
    let size_bytes = size_bytes(&outgoing);
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
    check_attributes(&outgoing.message_attributes)?;
    if size_bytes > queue_max_bytes {
        return Err(SqsError::invalid_value(format!(
            "one or more parameters are invalid: message must be shorter than {queue_max_bytes} bytes"
        )));
    }
    let trace = trace_header(&outgoing.message_system_attributes)?;
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
    Ok(Checked { message, answer })
}

/// The characters of XML 1.0.
fn is_allowed(character: char) -> bool {
    matches!(character, '\u{9}' | '\u{A}' | '\u{D}' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// The one attribute that a sender may set for AWS's own services. It does not count as part of the message.
fn trace_header(attributes: &Attributes) -> Result<Option<String>, SqsError> {
    let mut trace = None;
    for (name, attribute) in attributes {
        let invalid = |what: &str| SqsError::invalid_value(format!("the message system attribute {name:?} {what}"));
        if name != "AWSTraceHeader" {
            return Err(invalid("is unknown"));
        }
        match (attribute.data_type.as_str(), &attribute.string_value, &attribute.binary_value) {
            ("String", Some(value), None) if !value.is_empty() && value.chars().all(is_allowed) => {
                trace = Some(value.clone());
            }
            _ => return Err(invalid("must be a String with a value")),
        }
    }
    Ok(trace)
}

fn check_attributes(attributes: &Attributes) -> Result<(), SqsError> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(SqsError::invalid_value("a message has at most 10 attributes"));
    }
    for (name, attribute) in attributes {
        let invalid = |what: &str| SqsError::invalid_value(format!("the message attribute {name:?} has {what}"));
        if !is_attribute_name(name) {
            return Err(invalid("an invalid name"));
        }
        let data_type = attribute.data_type.as_str();
        if data_type.len() > ATTRIBUTE_TYPE_MAX_CHARS || !data_type.chars().all(is_allowed) {
            return Err(invalid("an invalid type"));
        }
        // A type may carry a label of its own: `Number.byte`.
        let kind = data_type.split_once('.').map_or(data_type, |(kind, _)| kind);
        let valid = match (kind, &attribute.string_value, &attribute.binary_value) {
            ("String", Some(value), None) => !value.is_empty() && value.chars().all(is_allowed),
            ("Number", Some(value), None) => is_number(value),
            ("Binary", None, Some(value)) => !value.is_empty() && BASE64.decode(value).is_ok(),
            ("String" | "Number" | "Binary", _, _) => false,
            _ => return Err(invalid("an unknown type")),
        };
        if !valid {
            return Err(invalid("no value of its type"));
        }
    }
    Ok(())
}

fn is_attribute_name(name: &str) -> bool {
    let reserved = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    (1..=ATTRIBUTE_NAME_MAX_CHARS).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(reserved("AWS.") || reserved("Amazon."))
}

/// A decimal number of at most 38 digits, between 10^-128 and 10^126, or zero.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
        None => (unsigned, Some(0)),
    };
    let Some(exponent) = exponent.filter(|exponent| exponent.unsigned_abs() < 1_000_000) else { return false };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return false;
    }
    let significant = digits.trim_start_matches('0');
    let leading_zeros = digits.len() - significant.len();
    let (Ok(whole), Ok(leading_zeros)) = (i64::try_from(whole.len()), i64::try_from(leading_zeros)) else {
        return false;
    };
    significant.is_empty()
        || significant.trim_end_matches('0').len() <= NUMBER_MAX_DIGITS
            && NUMBER_MAGNITUDES.contains(&(whole - leading_zeros - 1 + exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_bounded() {
        let long = "1".repeat(38);
        for good in ["0", "-0.0", "+1", "1.5", ".5", "5.", "1e126", "1E-128", "0.01e-126", "00100", &long] {
            assert!(is_number(good), "{good}");
        }
        let longer = "1".repeat(39);
        for bad in
            ["", "-", ".", "e1", "inf", "NaN", "0x1", "1e127", "1e-129", "1e", "1,5", " 1", "1e99999999", &longer]
        {
            assert!(!is_number(bad), "{bad}");
        }
        assert!(is_number(&format!("{long}000")), "zeros at the end are no precision");
    }

    #[test]
    fn names_of_attributes_are_checked() {
        let long = "n".repeat(256);
        for good in ["a", "A-b_c.9", "AWSome", "amazons", &long] {
            assert!(is_attribute_name(good), "{good}");
        }
        let longer = "n".repeat(257);
        for bad in ["", ".a", "a.", "a..b", "a b", "\u{e9}", "aws.x", "AWS.x", "Amazon.x", "amazon.x", &longer] {
            assert!(!is_attribute_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_message_counts_its_body_and_attributes() {
        let text = r#"{"MessageBody": "é", "MessageAttributes": {
            "ab": {"DataType": "String", "StringValue": "xyz"},
            "c": {"DataType": "Binary", "BinaryValue": "AP8="}},
            "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}}"#;
        let outgoing: Outgoing = serde_json::from_str(text).expect("a message");
        assert_eq!(size_bytes(&outgoing), 2 + (2 + 6 + 3) + (1 + 6 + 2));
    }
}
