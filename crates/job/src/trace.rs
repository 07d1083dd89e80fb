//! Trace context: what joins the log lines of everybody who had to do with one request, in W3C's form.
//! <https://www.w3.org/TR/trace-context-1/#traceparent-header>

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The flags that are understood, and so passed on: that the caller keeps its part of the trace, and that the trace's id is
/// random (<https://www.w3.org/TR/trace-context-2/#trace-flags>).
const KNOWN_FLAGS: u8 = 0b11;
/// A trace begun here: its id is random, and whether anybody keeps it is not ours to say.
const RANDOM: u8 = 0b10;
/// The length of version 00, and of what every later version begins with.
const LENGTH: usize = 55;

/// A `traceparent`: which trace a request belongs to, and which part of it caused the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

/// Shows a trace's id alone.
#[derive(Debug, Clone, Copy)]
pub struct TraceId([u8; 16]);

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The start of a trace, out of random bytes.
    pub fn from_random(bytes: [u8; 24]) -> Self {
        let mut start = Self { trace: [0; 16], parent: [0; 8], flags: RANDOM };
        start.trace.copy_from_slice(&bytes[..16]);
        start.parent.copy_from_slice(&bytes[16..]);
        start
    }

    /// What id the whole trace has.
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.trace)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id(), HEXLOWER.encode(&self.parent), self.flags)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let bytes = text.as_bytes();
        let fields = bytes.get(..LENGTH).ok_or(InvalidTraceParent)?;
        let version = hex::<1>(&fields[..2])?[0];
        // A later version may have more fields, after a dash.
        let ends = match version {
            0 => bytes.len() == LENGTH,
            0xff => false,
            _ => bytes.get(LENGTH).is_none_or(|next| *next == b'-'),
        };
        if !ends || [fields[2], fields[35], fields[52]] != *b"---" {
            return Err(InvalidTraceParent);
        }
        let (trace, parent) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
        let flags = hex::<1>(&fields[53..])?[0] & KNOWN_FLAGS;
        if trace == [0; 16] || parent == [0; 8] {
            return Err(InvalidTraceParent);
        }
        Ok(Self { trace, parent, flags })
    }
}

/// Lower case only, as the specification has it.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], InvalidTraceParent> {
    let bytes = HEXLOWER.decode(digits).map_err(|_| InvalidTraceParent)?;
    bytes.try_into().map_err(|_| InvalidTraceParent)
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// For a field of a document: a trace that cannot be read is no reason to refuse the job that it belongs to.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| value.as_str()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_specification_takes() {
        let read = |text: &str| text.parse::<TraceParent>().map(|read| read.to_string());
        assert_eq!(read(EXAMPLE).as_deref(), Ok(EXAMPLE));
        assert_eq!(EXAMPLE.parse::<TraceParent>().unwrap().trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        // Unknown flags are not passed on, nor is what a later version adds.
        assert_eq!(read(&EXAMPLE.replace("-01", "-fd")).as_deref(), Ok(EXAMPLE));
        for later in [EXAMPLE.replacen("00", "01", 1), format!("{}-more.of:it", EXAMPLE.replacen("00", "fe", 1))] {
            assert_eq!(read(&later).as_deref(), Ok(EXAMPLE), "{later}");
        }
    }

    #[test]
    fn what_the_specification_refuses() {
        let with = |from: &str, to: &str| EXAMPLE.replacen(from, to, 1);
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            with("00-", "ff-"),
            with("00-", "0g-"),
            with("00-", "000-"),
            with("4bf9", "4BF9"),
            with("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            with("00f067aa0ba902b7", &zeros[..16]),
            with("-01", "-1"),
            with("-01", "-0x"),
            with("-00f0", "_00f0"),
            format!("{EXAMPLE}-"),
            format!(" {EXAMPLE}"),
            format!("{EXAMPLE} "),
            format!("{}x", with("00-", "01-")),
            with("4bf9", "4bé"),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,70}") {
            let _ = text.parse::<TraceParent>();
        }

        #[test]
        fn what_is_written_is_read_again(bytes: [u8; 24]) {
            let start = TraceParent::from_random(bytes);
            prop_assume!(start.trace != [0; 16] && start.parent != [0; 8]);
            prop_assert_eq!(start.to_string().parse(), Ok(start));
        }
    }
}
