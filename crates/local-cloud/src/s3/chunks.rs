//! The chunks of a streamed upload, cut small.
//!
//! `s3s` keeps each chunk of an `aws-chunked` body in memory until it has all of it, and some clients send gigabytes as
//! one. A chunk without a signature of its own means the same in pieces; one with a signature cannot be cut, and is
//! refused above a size that no client is known to use.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

use std::io;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};
use s3s::{Body, StdError};

const SIGNED_CHUNK_MAX_BYTES: u32 = 16 << 20;
/// The size in hexadecimal, and at most `;chunk-signature=` with its 64 digits.
const HEADER_MAX_BYTES: usize = 128;

/// The body of a request, for `s3s`.
pub(crate) fn bounded(headers: &HeaderMap, body: Incoming) -> Body {
    let digest = headers.get("x-amz-content-sha256");
    if !digest.is_some_and(|digest| digest.as_bytes().starts_with(b"STREAMING-")) {
        return Body::from(body);
    }
    let mut cutter = Cutter::Header(BytesMut::new());
    let frames = BodyStream::new(body).map(move |frame| match frame?.into_data() {
        Ok(bytes) => Ok::<_, StdError>(Frame::data(cutter.cut(&bytes)?)),
        Err(trailers) => Ok(trailers),
    });
    Body::http_body_unsync(StreamBody::new(frames))
}

/// Where in the body we are.
enum Cutter {
    /// In a chunk's header, of which this much has come.
    Header(BytesMut),
    /// In the data of a chunk that is cut wherever the network cuts it.
    Unsigned { left_bytes: usize, begun: bool },
    /// In the data of a chunk that is passed on as it is.
    Signed { left_bytes: usize },
    /// Behind the last chunk.
    Trailer,
}

impl Cutter {
    /// What to pass on for the next bytes of the body.
    fn cut(&mut self, mut bytes: &[u8]) -> io::Result<Bytes> {
        let mut passed = BytesMut::with_capacity(bytes.len() + 32);
        while !bytes.is_empty() {
            match self {
                Self::Header(header) => {
                    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |line_end| line_end + 1);
                    header.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end..];
                    if header.len() > HEADER_MAX_BYTES {
                        return Err(malformed("a chunk's header is too long"));
                    }
                    if header.ends_with(b"\n") {
                        let header = header.split();
                        *self = Self::after(&header, &mut passed)?;
                    }
                }
                Self::Unsigned { left_bytes, begun } => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(*left_bytes));
                    // The line end behind the last piece is the chunk's own.
                    let end_of_last = if *begun { "\r\n" } else { "" };
                    passed.extend_from_slice(format!("{end_of_last}{:x}\r\n", piece.len()).as_bytes());
                    passed.extend_from_slice(piece);
                    bytes = rest;
                    (*left_bytes, *begun) = (*left_bytes - piece.len(), true);
                    if *left_bytes == 0 {
                        *self = Self::Header(BytesMut::new());
                    }
                }
                Self::Signed { left_bytes } => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(*left_bytes));
                    passed.extend_from_slice(piece);
                    bytes = rest;
                    *left_bytes -= piece.len();
                    if *left_bytes == 0 {
                        *self = Self::Header(BytesMut::new());
                    }
                }
                Self::Trailer => {
                    passed.extend_from_slice(bytes);
                    bytes = &[];
                }
            }
        }
        Ok(passed.freeze())
    }

    /// What follows a line: a header, or the empty one behind a chunk's data.
    fn after(line: &[u8], passed: &mut BytesMut) -> io::Result<Self> {
        if line == b"\r\n" {
            passed.extend_from_slice(line);
            return Ok(Self::Header(BytesMut::new()));
        }
        let header = line.strip_suffix(b"\r\n").and_then(|header| std::str::from_utf8(header).ok());
        let header = header.ok_or_else(|| malformed("a chunk's header is malformed"))?;
        let (size, signed) = header.split_once(';').map_or((header, false), |(size, _)| (size, true));
        let hexadecimal = size.bytes().all(|digit| digit.is_ascii_hexdigit());
        let size = u32::from_str_radix(size, 16).ok().filter(|_| hexadecimal);
        let size = size.ok_or_else(|| malformed("a chunk's size is malformed"))?;
        if signed && size > SIGNED_CHUNK_MAX_BYTES {
            return Err(malformed("a signed chunk is larger than 16 MiB"));
        }
        if signed || size == 0 {
            passed.extend_from_slice(line);
        }
        let left_bytes = size as usize;
        Ok(match (size, signed) {
            (0, _) => Self::Trailer,
            (_, true) => Self::Signed { left_bytes },
            (_, false) => Self::Unsigned { left_bytes, begun: false },
        })
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &[u8], step_bytes: usize) -> io::Result<String> {
        let mut cutter = Cutter::Header(BytesMut::new());
        let mut passed = Vec::new();
        for bytes in body.chunks(step_bytes) {
            passed.extend_from_slice(&cutter.cut(bytes)?);
        }
        Ok(String::from_utf8(passed).expect("text"))
    }

    #[test]
    fn an_unsigned_chunk_is_passed_on_in_the_pieces_in_which_it_comes() {
        let body = b"9\r\n123456789\r\n2\r\nab\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
        assert_eq!(cut(body, body.len()).expect("cut"), String::from_utf8_lossy(body));
        let pieces = "4\r\n1234\r\n5\r\n56789\r\n2\r\nab\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
        assert_eq!(cut(body, 7).expect("cut"), pieces);
        for step_bytes in 1..body.len() {
            let passed = cut(body, step_bytes).expect("cut");
            let data: String = passed.split("\r\n").skip(1).step_by(2).collect();
            assert!(data.starts_with("123456789ab"), "{passed:?}");
        }
    }

    #[test]
    fn signed_chunks_stay_whole_and_have_a_limit() {
        let signature = "0".repeat(64);
        let body = format!("3;chunk-signature={signature}\r\nabc\r\n0;chunk-signature={signature}\r\n\r\n");
        for step_bytes in 1..body.len() {
            assert_eq!(cut(body.as_bytes(), step_bytes).expect("passed on"), body);
        }
        assert!(cut(format!("1000000;chunk-signature={signature}\r\n").as_bytes(), 100).is_ok());
        assert!(cut(format!("1000001;chunk-signature={signature}\r\n").as_bytes(), 100).is_err());
    }

    #[test]
    fn malformed_headers_are_refused() {
        for body in ["+5\r\n", "5z\r\n", "\n", "5\n", "-1\r\n", "100000000\r\n", " 5\r\n", ";\r\n", "\u{e9}\r\n"] {
            assert!(cut(body.as_bytes(), 100).is_err(), "{body:?}");
        }
        assert!(cut(&[b'0'; 4096], 64).is_err());
    }
}
