//! The body of `POST /jobs`: read whole, parsed strictly, judged before anything is accepted.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use job::documents::MAX_INLINE_INPUT_BYTES;
use job::{Code, ModelName, Sha256, layout};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::extract::{quote, unknown_model};
use crate::problem::Failure;

/// An inline input of the largest size, and everything around it.
pub(crate) const MAX_BODY_BYTES: usize = MAX_INLINE_INPUT_BYTES + 64 * 1024;
/// A body that is too large is read on up to here before it is refused: a client that is still sending when the
/// connection closes often never sees the answer.
const MAX_DRAINED_BYTES: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// serde_json's own limit for what it builds; what it only passes over has none.
const MAX_NESTING: usize = 127;

/// A checked `POST /jobs`, but for what only the model knows.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) model: ModelName,
    pub(crate) input: SubmittedInput,
    /// The params' text, if there are any.
    pub(crate) params: Option<Box<RawValue>>,
}

/// Where the input comes from.
#[derive(Debug)]
pub(crate) enum SubmittedInput {
    /// In the request, exactly as the client wrote it.
    Inline(Box<RawValue>),
    /// By an upload to come.
    Upload(Announced),
}

/// An upload as the client announces it.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Option<Sha256>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmissionWire {
    model: String,
    input: Option<Box<RawValue>>,
    upload: Option<Object<UploadWire>>,
    params: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadWire {
    filename: String,
    content_type: Option<String>,
    size_bytes: SizeBytes,
    sha256: Option<String>,
}

/// A struct that is read from an object alone: serde would take an array of its fields as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// A size, with a better message than serde's for the ways in which it is got wrong.
struct SizeBytes(u64);

impl<'de> Deserialize<'de> for SizeBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = SizeBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of bytes")
            }
            fn visit_u64<E: Error>(self, size: u64) -> Result<SizeBytes, E> {
                Ok(SizeBytes(size))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<SizeBytes, E> {
                Err(E::custom("a size cannot be negative"))
            }
            fn visit_f64<E: Error>(self, size: f64) -> Result<SizeBytes, E> {
                // To JSON Schema, 5.0 is an integer. Below 2^53, it can be no other number.
                if (0.0..=9_007_199_254_740_992.0).contains(&size) && size.fract() == 0.0 {
                    return Ok(SizeBytes(size as u64));
                }
                Err(E::custom("a size is a whole number of bytes"))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

/// JSON is wanted, uncompressed. No content type at all is taken for it; a wrong one is a mistake worth naming.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let why = "the body must be sent uncompressed, without Content-Encoding";
        return Err(Failure::new(Code::UnsupportedMediaType, why));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Failure::new(
        Code::UnsupportedMediaType,
        format!(
            "the body must be application/json, not {}; curl needs -H 'content-type: application/json' beside -d",
            quote(&essence)
        ),
    ))
}

/// The whole body, if it is no larger than an inline job can be.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, Failure> {
    let late = |_| Failure::new(Code::InvalidRequest, "the body did not arrive in time");
    tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(late)?
}

async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let broken = |_| Failure::new(Code::InvalidRequest, "the body ended before it was complete");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DRAINED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES { Err(use_upload()) } else { Ok(bytes.into()) }
}

/// Takes in a body that nobody reads, as much of it as is worth it, so that its sender comes to see the answer.
pub(crate) async fn discard(mut body: Body) {
    let drain = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > MAX_DRAINED_BYTES {
                break;
            }
        }
    };
    // What has not come by then does not matter.
    let _ = tokio::time::timeout(BODY_TIMEOUT, drain).await;
}

fn use_upload() -> Failure {
    Failure::new(
        Code::UseUpload,
        format!("an inline input has at most {MAX_INLINE_INPUT_BYTES} bytes; POST with `upload` instead of `input`"),
    )
}

impl Submission {
    /// Reads the body of a `POST /jobs`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let malformed = |why: String| Failure::new(Code::MalformedJson, why);
        // Some editors put a byte order mark in front; RFC 8259 lets a reader ignore it.
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let text = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
        if text.trim_ascii().is_empty() {
            return Err(malformed("the body is empty".to_owned()));
        }
        if nested_deeper_than(text, MAX_NESTING) {
            return Err(malformed(format!("the body is nested more than {MAX_NESTING} levels deep")));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let Object::<SubmissionWire>(wire) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            refuse(error.inner(), &path)
        })?;
        json.end().map_err(|error| refuse(&error, "."))?;
        let model: ModelName = wire.model.parse().map_err(|_| unknown_model(&wire.model))?;
        let input = match (wire.input, wire.upload) {
            (Some(input), None) if input.get().len() > MAX_INLINE_INPUT_BYTES => return Err(use_upload()),
            (Some(input), None) => SubmittedInput::Inline(input),
            (None, Some(Object(upload))) => SubmittedInput::Upload(upload.check()?),
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    Code::InvalidRequest,
                    "there are both `input` and `upload`; give one of them",
                ));
            }
            (None, None) => {
                return Err(Failure::new(
                    Code::InvalidRequest,
                    "there is neither `input` nor `upload`; give one of them",
                ));
            }
        };
        Ok(Self { model, input, params: wire.params })
    }
}

impl UploadWire {
    fn check(self) -> Result<Announced, Failure> {
        if let Some(fault) = layout::filename_fault(&self.filename) {
            return Err(Failure::new(Code::InvalidFilename, fault));
        }
        let content_type = self.content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        if !is_media_type(&content_type) {
            let why = "upload.content_type must be a media type such as image/jpeg";
            return Err(Failure::new(Code::InvalidRequest, why));
        }
        if self.size_bytes.0 == 0 {
            return Err(Failure::new(Code::EmptyInput, "an upload of 0 bytes holds no input"));
        }
        let sha256 = self.sha256.map(|text| text.parse()).transpose().map_err(|_| {
            Failure::new(Code::InvalidSha256, "upload.sha256 must be the file's SHA-256 as 64 hexadecimal digits")
        })?;
        Ok(Announced { filename: self.filename, content_type, size_bytes: self.size_bytes.0, sha256 })
    }
}

/// `type/subtype` and perhaps parameters, in a form that a signed header carries unchanged.
fn is_media_type(text: &str) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    // A signature is over the value with runs of spaces made one, so what has such runs would not verify. No other white space
    // can be in a header.
    let plain = parameters.bytes().all(|b| matches!(b, b' '..=b'~')) && !text.contains("  ") && text.trim() == text;
    text.len() <= 255 && token(kind) && token(subtype.strip_suffix(' ').unwrap_or(subtype)) && plain
}

/// serde_json's error as ours, with the field that it is about.
fn refuse(error: &serde_json::Error, path: &str) -> Failure {
    use serde_json::error::Category;
    let code = match error.classify() {
        Category::Data => Code::InvalidRequest,
        Category::Syntax | Category::Eof | Category::Io => Code::MalformedJson,
    };
    let mut text: String = error.to_string().chars().take(400).collect();
    if code == Code::InvalidRequest && path != "." {
        text = format!("{path}: {text}");
    }
    Failure::new(code, text)
}

/// Whether brackets nest deeper than `max`, counted without recursion and without minding whether the text is JSON.
fn nested_deeper_than(text: &str, max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Submission::parse(&bytes);
        }

        #[test]
        fn an_inline_input_is_kept_as_it_was_written(number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,30})?", blanks in "[ \n]{0,9}") {
            let input = format!("[{blanks}{number}]");
            let body = format!("{{\"input\":{blanks}{input}{blanks},\"model\":\"m\"}}");
            let submission = Submission::parse(body.as_bytes()).unwrap();
            prop_assert!(matches!(submission.input, SubmittedInput::Inline(kept) if kept.get() == input));
        }
    }

    #[test]
    fn a_size_may_have_a_point_as_its_schema_has_it() {
        let size = |size: &str| {
            let body = format!(r#"{{"model":"m","upload":{{"filename":"f","size_bytes":{size}}}}}"#);
            match Submission::parse(body.as_bytes()).map(|submission| submission.input) {
                Ok(SubmittedInput::Upload(upload)) => Some(upload.size_bytes),
                _ => None,
            }
        };
        assert_eq!(["5.0", "5e9", "5.5", "-5.0", "1e300"].map(size), [Some(5), Some(5_000_000_000), None, None, None]);
    }

    #[test]
    fn nesting_is_counted_outside_strings() {
        assert!(nested_deeper_than("[[[", 2));
        assert!(!nested_deeper_than("[[]][[]]", 2));
        assert!(!nested_deeper_than(r#"["[[[\"[[["]"#, 2));
        assert!(!nested_deeper_than("]]]]", 0));
    }

    #[test]
    fn media_types() {
        for good in [
            "image/jpeg",
            "application/vnd.x+json",
            "text/csv ;a",
            "text/csv; charset=utf-8",
            "text/csv;header=\"present\"",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "image",
            "image/",
            "/jpeg",
            "image/jp eg",
            "a/b\r\nx: y",
            "a/b\n;c",
            "a/b\u{a0};c",
            "a/b;  c",
            " a/b",
            "a/b ",
            "한/글",
        ] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }
}
