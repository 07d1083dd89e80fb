//! Universal Binary JSON, draft 12 (<https://ubjson.org>), big-endian, as XGBoost writes it: arrays with a count and mostly with a
//! type, objects without either.

use super::{Budget, MAX_DEPTH, Number, Source};
use crate::load_error::LoadError;

/// Bytes that a kept string takes beside its characters, the allocator's share included.
const STRING_BYTES: usize = 16;

pub(crate) struct Ubj<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// The type that the enclosing typed container gives its elements, which then bear none.
    marker: Option<u8>,
    budget: Budget,
}

/// What an array says about itself before its elements.
struct Header {
    marker: Option<u8>,
    count: Option<usize>,
}

impl<'a> Ubj<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, marker: None, budget: Budget::of(bytes) }
    }

    #[inline(always)]
    fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let taken = self.bytes[self.at..].get(..count).ok_or_else(|| self.error("the file ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (bytes, _) =
            self.bytes[self.at..].split_first_chunk().ok_or_else(|| self.error("the file ends too early"))?;
        self.at += N;
        Ok(*bytes)
    }

    /// The next byte, unconsumed; `N` is a no-op that may stand before any value.
    #[inline(always)]
    fn peek(&mut self) -> Result<u8, LoadError> {
        while let Some(byte) = self.bytes.get(self.at) {
            if *byte != b'N' {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(self.error("the file ends too early"))
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> Result<bool, LoadError> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    /// The type of the value that comes: the container's, or its own.
    #[inline(always)]
    fn marker(&mut self) -> Result<u8, LoadError> {
        if let Some(marker) = self.marker.take() {
            return Ok(marker);
        }
        let marker = self.peek()?;
        self.at += 1;
        Ok(marker)
    }

    fn integer_of(&mut self, marker: u8) -> Result<i64, LoadError> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.fixed()?)),
            b'U' => i64::from(u8::from_be_bytes(self.fixed()?)),
            b'I' => i64::from(i16::from_be_bytes(self.fixed()?)),
            b'l' => i64::from(i32::from_be_bytes(self.fixed()?)),
            b'L' => i64::from_be_bytes(self.fixed()?),
            b'T' => 1,
            b'F' => 0,
            _ => return Err(self.error("an integer was expected")),
        })
    }

    fn number_of<T: Number>(&mut self, marker: u8) -> Result<T, LoadError> {
        let number = match marker {
            b'd' => T::from_single(f32::from_be_bytes(self.fixed()?)),
            b'D' => T::from_double(f64::from_be_bytes(self.fixed()?)),
            _ => self.integer_of(marker).ok().and_then(T::from_integer),
        };
        number.ok_or_else(|| self.error(T::EXPECTED))
    }

    #[inline(always)]
    fn length(&mut self) -> Result<usize, LoadError> {
        // As XGBoost writes all of them.
        if let Some((b'L', rest)) = self.bytes[self.at..].split_first()
            && let Some((length, _)) = rest.split_first_chunk()
        {
            self.at += 9;
            return usize::try_from(i64::from_be_bytes(*length)).map_err(|_| self.error("a negative length"));
        }
        let marker = self.peek()?;
        self.at += 1;
        let length = self.integer_of(marker)?;
        usize::try_from(length).map_err(|_| self.error("a negative length"))
    }

    fn text(&mut self) -> Result<&'a str, LoadError> {
        let bytes = self.raw_text()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("not UTF-8"))
    }

    /// A string, which may be no UTF-8.
    #[inline(always)]
    fn raw_text(&mut self) -> Result<&'a [u8], LoadError> {
        let length = self.length()?;
        self.take(length)
    }

    fn header(&mut self) -> Result<Header, LoadError> {
        let mut marker = None;
        if self.eat(b'$')? {
            let [byte] = self.fixed()?;
            // Elements without a payload would let a few bytes stand for an endless array.
            if !matches!(byte, b'i' | b'U' | b'I' | b'l' | b'L' | b'd' | b'D' | b'S' | b'C' | b'[' | b'{') {
                return Err(self.error("no such element type"));
            }
            marker = Some(byte);
        }
        if !self.eat_if_any(b'#') {
            return match marker {
                Some(_) => Err(self.error("a typed container without a count")),
                None => Ok(Header { marker, count: None }),
            };
        }
        let count = self.length()?;
        // Each element takes a byte at least.
        if count > self.bytes.len() - self.at {
            return Err(self.error("the file ends too early"));
        }
        Ok(Header { marker, count: Some(count) })
    }

    /// An array's type and numbers, if it has both type and count as XGBoost writes them.
    #[inline(always)]
    fn typed(&mut self) -> Option<(u8, &'a [u8])> {
        let [b'$', marker, b'#', b'L', rest @ ..] = &self.bytes[self.at..] else { return None };
        let (count, rest) = rest.split_first_chunk()?;
        let count = usize::try_from(i64::from_be_bytes(*count)).ok()?;
        let bytes = rest.get(..count.checked_mul(width(*marker)?)?)?;
        self.at += 12 + bytes.len();
        Some((*marker, bytes))
    }

    #[inline(always)]
    fn eat_if_any(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn enter(&mut self) -> Result<(), LoadError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        self.depth += 1;
        Ok(())
    }

    /// What is left of a container, `each` consuming an element.
    fn elements(
        &mut self,
        close: u8,
        mut each: impl FnMut(&mut Self, Option<u8>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        self.enter()?;
        let plain = matches!(self.bytes.get(self.at), Some(byte) if !matches!(byte, b'$' | b'#' | b'N'));
        let Header { marker, count } = if plain { Header { marker: None, count: None } } else { self.header()? };
        match count {
            Some(count) => {
                for _ in 0..count {
                    each(self, marker)?;
                }
            }
            None => {
                while !self.eat(close)? {
                    each(self, None)?;
                }
            }
        }
        self.marker = None;
        self.depth -= 1;
        Ok(())
    }

    #[inline(always)]
    fn open(&mut self, open: u8, problem: &'static str) -> Result<(), LoadError> {
        if self.marker()? == open { Ok(()) } else { Err(self.error(problem)) }
    }
}

/// Bytes of a number of this type.
fn width(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

/// As many numbers as the bytes are, if all can be kept.
fn decode<T: Number, const N: usize>(
    bytes: &[u8],
    numbers: &mut Vec<T>,
    number: impl Fn([u8; N]) -> Option<T>,
) -> bool {
    let (chunks, _) = bytes.as_chunks();
    // Without a way out between two numbers, the compiler makes vectors of them.
    let all = chunks.iter().fold(true, |all, chunk| all & number(*chunk).is_some());
    numbers.extend(chunks.iter().map(|chunk| number(*chunk).unwrap_or(T::ZERO)));
    all
}

impl Source for Ubj<'_> {
    #[cold]
    fn error(&self, problem: &'static str) -> LoadError {
        LoadError::Syntax { format: "UBJ", at: self.at, problem }
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    fn fields(&mut self, mut each: impl FnMut(&mut Self, &[u8]) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.open(b'{', "an object was expected")?;
        self.elements(b'}', |ubj, marker| {
            let key = ubj.raw_text()?;
            ubj.marker = marker;
            each(ubj, key)
        })
    }

    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.open(b'[', "an array was expected")?;
        self.elements(b']', |ubj, marker| {
            ubj.marker = marker;
            each(ubj)
        })
    }

    fn string(&mut self) -> Result<String, LoadError> {
        self.open(b'S', "a string was expected")?;
        let text = self.text()?;
        self.budget.take(text.len().saturating_add(STRING_BYTES))?;
        Ok(text.to_owned())
    }

    fn number<T: Number>(&mut self) -> Result<T, LoadError> {
        let marker = self.marker()?;
        self.number_of(marker)
    }

    fn numbers_into<T: Number>(&mut self, numbers: &mut Vec<T>) -> Result<(), LoadError> {
        numbers.clear();
        self.open(b'[', "an array was expected")?;
        if let Some((marker, bytes)) = self.typed() {
            // The numbers are there before there is room for them.
            let count = bytes.len() / width(marker).unwrap_or(1);
            self.budget.reserve(numbers, count)?;
            let all = match marker {
                b'd' => decode(bytes, numbers, |bytes| T::from_single(f32::from_be_bytes(bytes))),
                b'D' => decode(bytes, numbers, |bytes| T::from_double(f64::from_be_bytes(bytes))),
                b'L' => decode(bytes, numbers, |bytes| T::from_integer(i64::from_be_bytes(bytes))),
                b'l' => decode(bytes, numbers, |bytes| T::from_integer(i32::from_be_bytes(bytes).into())),
                b'I' => decode(bytes, numbers, |bytes| T::from_integer(i16::from_be_bytes(bytes).into())),
                b'i' => decode(bytes, numbers, |[byte]| T::from_integer((byte as i8).into())),
                _ => decode(bytes, numbers, |[byte]| T::from_integer(byte.into())),
            };
            return if all { Ok(()) } else { Err(self.error(T::EXPECTED)) };
        }
        self.elements(b']', |ubj, marker| {
            ubj.marker = marker;
            let number = ubj.number()?;
            ubj.budget.push(numbers, number)?;
            Ok(())
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        if self.marker.is_none() && self.eat(b'Z')? { Ok(None) } else { read(self).map(Some) }
    }

    fn skip(&mut self) -> Result<(), LoadError> {
        let marker = self.marker()?;
        match marker {
            b'Z' | b'T' | b'F' => Ok(()),
            b'C' => self.take(1).map(drop),
            b'S' | b'H' => self.raw_text().map(drop),
            b'[' => {
                if self.typed().is_some() {
                    return Ok(());
                }
                self.elements(b']', |ubj, marker| {
                    ubj.marker = marker;
                    ubj.skip()
                })
            }
            b'{' => self.elements(b'}', |ubj, marker| {
                ubj.raw_text()?;
                ubj.marker = marker;
                ubj.skip()
            }),
            _ => {
                let width = width(marker).ok_or_else(|| self.error("no such type"))?;
                self.take(width).map(drop)
            }
        }
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error("something follows the model")) }
    }
}
