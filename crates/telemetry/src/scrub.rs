//! The last gate of every log line: what must be in none is taken out here, whoever put it in.
//!
//! Our own code logs none of it. But the text of an error may be Amazon's ("User: arn:aws:... is not authorized"), and that of a
//! failed request may hold its signed URL.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// What a secret begins with, and what stands in the line instead of it and of all that follows it.
const SECRETS: [(&str, &str); 5] = [
    ("arn:aws", "[arn]"),
    ("x-amz-signature=", "[signature]"),
    ("x-amz-credential=", "[credential]"),
    ("x-amz-security-token=", "[token]"),
    ("mp_", "[key]"),
];
/// The first part of an API key, by which a word is told from one that only begins like it: `mp_` and eight digits.
const KEY_ID_DIGITS: usize = 8;

/// Makes writers that scrub what they write.
#[derive(Debug)]
pub(crate) struct Scrubbed<M>(pub(crate) M);

/// Scrubs each line; one write is one line.
#[derive(Debug)]
pub(crate) struct Scrubber<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Scrubbed<M> {
    type Writer = Scrubber<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Scrubber(self.0.make_writer())
    }
}

impl<W: Write> Write for Scrubber<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(scrub(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn scrub(line: &str) -> Cow<'_, str> {
    let lower = line.to_ascii_lowercase();
    let (mut clean, mut from) = (String::new(), 0);
    while let Some((at, end, instead)) = first_secret(&lower, from) {
        clean.push_str(&line[from..at]);
        clean.push_str(instead);
        from = end;
    }
    if from == 0 { Cow::Borrowed(line) } else { Cow::Owned(clean + &line[from..]) }
}

/// Where the first secret at or after `from` begins and ends.
fn first_secret(lower: &str, from: usize) -> Option<(usize, usize, &'static str)> {
    let found = SECRETS.iter().filter_map(|(start, instead)| {
        let mut search = from;
        loop {
            let at = search + lower[search..].find(start)?;
            let rest = &lower[at..];
            if *start != "mp_" || is_key(rest) {
                return Some((at, at + rest.find(is_end).unwrap_or(rest.len()), *instead));
            }
            search = at + start.len();
        }
    });
    found.min()
}

fn is_key(rest: &str) -> bool {
    let id = rest.as_bytes().get("mp_".len().."mp_".len() + KEY_ID_DIGITS + 1);
    id.is_some_and(|id| id[..KEY_ID_DIGITS].iter().all(u8::is_ascii_hexdigit) && id[KEY_ID_DIGITS] == b'_')
}

/// What is in no ARN and in no value of a query.
fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '&' | '<' | '>' | '(' | ')' | '{' | '}' | ',' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let line = r#"{"cause":"User: arn:aws:sts::123456789012:assumed-role/api/x is not authorized on \"arn:aws:s3:::inbox/a\""}"#;
        assert_eq!(scrub(line), r#"{"cause":"User: [arn] is not authorized on \"[arn]\""}"#);
        let line = "GET http://s3/inbox/k?X-Amz-Credential=AK%2F2026&X-Amz-Date=1&X-Amz-Signature=0a1b failed";
        assert_eq!(scrub(line), "GET http://s3/inbox/k?[credential]&X-Amz-Date=1&[signature] failed");
        let key = format!("mp_0123abcd_{}", "f".repeat(40));
        assert_eq!(scrub(&format!("the key {key}, and again: {key}")), "the key [key], and again: [key]");
        assert_eq!(scrub("ünïcode ARN:AWS-CN:sqs:x ünïcode"), "ünïcode [arn] ünïcode");
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in ["", "job ended", "tmp_file mp_1 mp_models_are_here", "a barn: aws"] {
            assert!(matches!(scrub(line), Cow::Borrowed(same) if same == line), "{line}");
        }
    }
}
