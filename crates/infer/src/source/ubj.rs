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

    fn error(&self, problem: &'static str) -> LoadError {
        LoadError::Syntax { format: "UBJ", at: self.at, problem }
    }

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
    fn peek(&mut self) -> Result<u8, LoadError> {
        while let Some(byte) = self.bytes.get(self.at) {
            if *byte != b'N' {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(self.error("the file ends too early"))
    }

    fn eat(&mut self, byte: u8) -> Result<bool, LoadError> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    /// The type of the value that comes: the container's, or its own.
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

    fn length(&mut self) -> Result<usize, LoadError> {
        let marker = self.peek()?;
        self.at += 1;
        let length = self.integer_of(marker)?;
        usize::try_from(length).map_err(|_| self.error("a negative length"))
    }

    fn text(&mut self) -> Result<&'a str, LoadError> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("not UTF-8"))
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
        let Header { marker, count } = self.header()?;
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

/// As many numbers as the bytes are, up to the first that cannot be kept.
fn decode<T, const N: usize>(bytes: &[u8], numbers: &mut Vec<T>, number: impl Fn([u8; N]) -> Option<T>) {
    let (chunks, _) = bytes.as_chunks();
    numbers.extend(chunks.iter().map_while(|chunk| number(*chunk)));
}

impl Source for Ubj<'_> {
    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.open(b'{', "an object was expected")?;
        self.elements(b'}', |ubj, marker| {
            let key = ubj.text()?;
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

    fn numbers<T: Number>(&mut self) -> Result<Vec<T>, LoadError> {
        self.open(b'[', "an array was expected")?;
        let before = self.at;
        if let Header { marker: Some(marker), count: Some(count) } = self.header()?
            && let Some(width) = width(marker)
        {
            // The numbers must be there before there is room for them.
            let bytes = count.checked_mul(width).and_then(|bytes| self.bytes[self.at..].get(..bytes));
            let bytes = bytes.ok_or_else(|| self.error("the file ends too early"))?;
            let mut numbers = self.budget.list(count)?;
            match marker {
                // As XGBoost writes them, at once.
                b'd' => decode(bytes, &mut numbers, |bytes| T::from_single(f32::from_be_bytes(bytes))),
                b'l' => decode(bytes, &mut numbers, |bytes| T::from_integer(i32::from_be_bytes(bytes).into())),
                b'U' => decode(bytes, &mut numbers, |[byte]| T::from_integer(byte.into())),
                _ => {
                    for _ in 0..count {
                        numbers.push(self.number_of(marker)?);
                    }
                    return Ok(numbers);
                }
            }
            self.at += bytes.len();
            return if numbers.len() == count { Ok(numbers) } else { Err(self.error(T::EXPECTED)) };
        }
        self.at = before;
        let mut numbers = Vec::new();
        self.elements(b']', |ubj, marker| {
            ubj.marker = marker;
            let number = ubj.number()?;
            ubj.budget.push(&mut numbers, number)?;
            Ok(())
        })?;
        Ok(numbers)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        if self.marker.is_none() && self.eat(b'Z')? { Ok(None) } else { read(self).map(Some) }
    }

    fn skip(&mut self) -> Result<(), LoadError> {
        let marker = self.marker()?;
        match marker {
            b'Z' | b'T' | b'F' => Ok(()),
            b'C' => self.take(1).map(drop),
            b'S' | b'H' => self.text().map(drop),
            b'[' => {
                let before = self.at;
                if let Header { marker: Some(marker), count: Some(count) } = self.header()?
                    && let Some(bytes) = width(marker).and_then(|width| count.checked_mul(width))
                {
                    return self.take(bytes).map(drop);
                }
                self.at = before;
                self.elements(b']', |ubj, marker| {
                    ubj.marker = marker;
                    ubj.skip()
                })
            }
            b'{' => self.elements(b'}', |ubj, marker| {
                ubj.text()?;
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
