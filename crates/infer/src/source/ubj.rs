//! Universal Binary JSON, draft 12 (<https://ubjson.org>), big-endian, as XGBoost writes it: arrays with a count and mostly with a
//! type, objects without either.

use super::{Budget, Field, Form, MAX_DEPTH, Number, OverBudget, Source};
use crate::load_error::LoadError;

/// Bytes that a kept string takes beside its characters, the allocator's share included.
const STRING_BYTES: usize = 16;

pub(crate) struct Ubj<'a> {
    /// How long the file is.
    len: usize,
    /// What is left of it.
    rest: &'a [u8],
    depth: usize,
    /// How many numbers the next lists most likely have; no more than fit into the file, whatever their type.
    expected: usize,
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
        Self { len: bytes.len(), rest: bytes, depth: 0, expected: 0, marker: None, budget: Budget::of(bytes) }
    }

    #[inline(always)]
    fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.error("the file ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error("the file ends too early"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next byte; `N` is a no-op that may stand before any value.
    #[inline(always)]
    fn byte(&mut self) -> Result<u8, LoadError> {
        while let Some((byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            if *byte != b'N' {
                return Ok(*byte);
            }
        }
        Err(self.error("the file ends too early"))
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> Result<bool, LoadError> {
        let before = self.rest;
        // The usual length of what isn't eaten.
        if before.first() == Some(&b'L') {
            return Ok(false);
        }
        let found = self.byte()? == byte;
        if !found {
            self.rest = before;
        }
        Ok(found)
    }

    /// The type of the value that comes: the container's, or its own.
    #[inline(always)]
    fn marker(&mut self) -> Result<u8, LoadError> {
        if let Some(marker) = self.marker.take() {
            return Ok(marker);
        }
        self.byte()
    }

    fn integer_of(&mut self, marker: u8) -> Result<i64, LoadError> {
        self.integer(marker).ok_or_else(|| self.error("an integer was expected"))
    }

    #[inline(always)]
    fn integer(&mut self, marker: u8) -> Option<i64> {
        let value = match marker {
            b'T' => 1,
            b'F' => 0,
            b'i' => i8::from_be_bytes(self.fixed().ok()?).into(),
            b'U' => u8::from_be_bytes(self.fixed().ok()?).into(),
            b'I' => i16::from_be_bytes(self.fixed().ok()?).into(),
            b'l' => i32::from_be_bytes(self.fixed().ok()?).into(),
            b'L' => i64::from_be_bytes(self.fixed().ok()?),
            _ => return None,
        };
        Some(value)
    }

    fn number_of<T: Number>(&mut self, marker: u8) -> Result<T, LoadError> {
        let number = match marker {
            b'd' => T::from_single(f32::from_be_bytes(self.fixed()?)),
            b'D' => T::from_double(f64::from_be_bytes(self.fixed()?)),
            _ => self.integer(marker).and_then(T::from_integer),
        };
        number.ok_or_else(|| self.error(T::EXPECTED))
    }

    #[inline(always)]
    fn length(&mut self) -> Result<usize, LoadError> {
        // As XGBoost writes all of them.
        if let Some((length, rest)) = counted(self.rest) {
            self.rest = rest;
            return Ok(length);
        }
        let marker = self.byte()?;
        let length = self.integer_of(marker)?;
        usize::try_from(length).map_err(|_| self.error("a negative length"))
    }

    fn text(&mut self) -> Result<&'a str, LoadError> {
        let bytes = self.text_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("not UTF-8"))
    }

    /// A string's bytes, which may be no UTF-8.
    fn text_bytes(&mut self) -> Result<&'a [u8], LoadError> {
        self.open(b'S', "a string was expected")?;
        self.raw_text()
    }

    /// The bytes of a key, or of a string whose marker was read.
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
        if count > self.rest.len() {
            return Err(self.error("the file ends too early"));
        }
        Ok(Header { marker, count: Some(count) })
    }

    /// An array's type and numbers, if it has both type and count as XGBoost writes them.
    #[inline(always)]
    fn typed(&mut self) -> Option<(u8, &'a [u8])> {
        let [b'$', marker, b'#', rest @ ..] = self.rest else { return None };
        let (count, rest) = counted(rest)?;
        let (numbers, rest) = split_numbers(rest, count, *marker)?;
        self.rest = rest;
        Some((*marker, numbers))
    }

    /// The bytes of the next field's value, and what comes after them, if it is this one and no object.
    #[inline(always)]
    fn next(&self, field: &Field) -> Option<(&'a [u8], &'a [u8])> {
        let rest = self.rest.strip_prefix(field.ubj)?;
        match field.form {
            Form::Text => {
                let (length, rest) = count(rest)?;
                rest.split_at_checked(length)
            }
            Form::Integer => {
                let (marker, rest) = rest.split_first()?;
                split_numbers(rest, 1, *marker)
            }
            Form::Object => None,
            Form::Bytes | Form::Integers | Form::Longs | Form::Singles => self.list(rest, field.form.marker()),
        }
    }

    /// The bytes of a list's numbers, and what comes after them.
    ///
    /// That they are as many as expected, or none, is a branch of its own each: the processor takes it and reads on, where otherwise each list
    /// would wait for the count of the one before to learn where it begins.
    #[inline(always)]
    fn list(&self, rest: &'a [u8], marker: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (count, rest) = count(rest)?;
        if count == self.expected {
            return rest.split_at_checked(self.expected << log_width(marker)?);
        }
        if count == 0 { Some((&[], rest)) } else { unexpected(rest, count, marker) }
    }

    #[inline(always)]
    fn eat_if_any(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    /// What is left of a value that is skipped.
    fn skip_rest(&mut self, marker: u8) -> Result<(), LoadError> {
        match marker {
            b'Z' | b'T' | b'F' => Ok(()),
            b'C' => self.take(1).map(drop),
            b'S' | b'H' => self.raw_text().map(drop),
            b'[' => self.elements(b']', |ubj, marker| {
                ubj.marker = marker;
                ubj.skip()
            }),
            b'{' => self.elements(b'}', |ubj, marker| {
                ubj.raw_text()?;
                ubj.marker = marker;
                ubj.skip()
            }),
            _ => {
                let width = log_width(marker).ok_or_else(|| self.error("no such type"))?;
                self.take(1 << width).map(drop)
            }
        }
    }

    fn enter(&mut self) -> Result<(), LoadError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        self.depth += 1;
        Ok(())
    }

    /// What is left of a container, `each` consuming an element.
    #[inline(always)]
    fn elements(
        &mut self,
        close: u8,
        mut each: impl FnMut(&mut Self, Option<u8>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        self.enter()?;
        let plain = matches!(self.rest.first(), Some(byte) if !matches!(byte, b'$' | b'#' | b'N'));
        let Header { marker, mut count } = if plain { Header { marker: None, count: None } } else { self.header()? };
        loop {
            match &mut count {
                Some(0) => break,
                Some(left) => *left -= 1,
                None if self.eat(close)? => break,
                None => {}
            }
            // Here alone, so that it becomes part of the loop.
            each(self, marker)?;
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

/// A length or count, and what comes after it, if it has the form in which XGBoost writes all of them.
#[inline(always)]
fn counted(bytes: &[u8]) -> Option<(usize, &[u8])> {
    count(bytes.strip_prefix(b"L")?)
}

/// The same, behind its marker.
#[inline(always)]
fn count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(i64::from_be_bytes(*count)).ok()?, rest))
}

/// The bytes of so many numbers of this type, and what comes after them.
#[inline(always)]
fn split_numbers(bytes: &[u8], count: usize, marker: u8) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(count.checked_mul(1 << log_width(marker)?)?)
}

/// The same, out of the way of those that are as many as expected.
#[cold]
#[inline(never)]
fn unexpected(bytes: &[u8], count: usize, marker: u8) -> Option<(&[u8], &[u8])> {
    split_numbers(bytes, count, marker)
}

/// Two to this power are the bytes of a number of this type.
#[inline(always)]
fn log_width(marker: u8) -> Option<u32> {
    const NONE: u8 = u8::MAX;
    const WIDTHS: [u8; 256] = {
        let mut widths = [NONE; 256];
        (widths[b'i' as usize], widths[b'U' as usize]) = (0, 0);
        widths[b'I' as usize] = 1;
        (widths[b'l' as usize], widths[b'd' as usize]) = (2, 2);
        (widths[b'L' as usize], widths[b'D' as usize]) = (3, 3);
        widths
    };
    match WIDTHS[usize::from(marker)] {
        NONE => None,
        width => Some(width.into()),
    }
}

/// Appends the numbers of an array of this type to an empty list, if all can be kept.
fn keep<T: Number>(budget: &mut Budget, marker: u8, bytes: &[u8], numbers: &mut Vec<T>) -> Result<bool, OverBudget> {
    // The numbers are there before there is room for them.
    budget.reserve(numbers, bytes.len() >> log_width(marker).unwrap_or(0))?;
    Ok(match marker {
        b'd' => decode(bytes, numbers, |bytes| T::from_single(f32::from_be_bytes(bytes))),
        b'D' => decode(bytes, numbers, |bytes| T::from_double(f64::from_be_bytes(bytes))),
        b'L' => decode(bytes, numbers, |bytes| T::from_integer(i64::from_be_bytes(bytes))),
        b'l' => decode(bytes, numbers, |bytes| T::from_integer(i32::from_be_bytes(bytes).into())),
        b'I' => decode(bytes, numbers, |bytes| T::from_integer(i16::from_be_bytes(bytes).into())),
        b'i' => decode(bytes, numbers, |[byte]| T::from_integer((byte as i8).into())),
        _ => decode(bytes, numbers, |[byte]| T::from_integer(byte.into())),
    })
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
        LoadError::Syntax { format: "UBJ", at: self.len - self.rest.len(), problem }
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    fn fields_after(
        &mut self,
        mut each: impl FnMut(&mut Self, Option<&[u8]>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        self.open(b'{', "an object was expected")?;
        if self.rest.first() == Some(&b'L') {
            // Its fields have no common type, nor are they counted.
            self.enter()?;
            each(self, None)?;
            self.depth -= 1;
            if self.eat_if_any(b'}') {
                return Ok(());
            }
        }
        self.elements(b'}', |ubj, marker| {
            let key = ubj.raw_text()?;
            ubj.marker = marker;
            each(ubj, Some(key))
        })
    }

    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.open(b'[', "an array was expected")?;
        self.elements(b']', |ubj, marker| {
            ubj.marker = marker;
            each(ubj)
        })
    }

    fn with_text<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Result<T, LoadError> {
        self.text_bytes().map(read)
    }

    fn string(&mut self) -> Result<String, LoadError> {
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
        match self.typed() {
            Some((marker, bytes)) => {
                if keep(&mut self.budget, marker, bytes, numbers)? {
                    Ok(())
                } else {
                    Err(self.error(T::EXPECTED))
                }
            }
            None => self.elements(b']', |ubj, marker| {
                ubj.marker = marker;
                let number = ubj.number()?;
                ubj.budget.push(numbers, number)?;
                Ok(())
            }),
        }
    }

    #[inline(always)]
    fn next_numbers<T: Number>(&mut self, field: &Field, numbers: &mut Vec<T>) -> Result<bool, LoadError> {
        let Some((bytes, rest)) = self.next(field) else { return Ok(false) };
        let kept = bytes.is_empty() || keep(&mut self.budget, field.form.marker(), bytes, numbers)?;
        // Not before, as what is stored ahead of a call has to be loaded again behind it.
        self.rest = rest;
        if kept { Ok(true) } else { Err(self.error(T::EXPECTED)) }
    }

    #[inline(always)]
    fn skip_first(&mut self, field: &Field) -> Result<bool, LoadError> {
        let count = self.rest.get(field.ubj.len()..).and_then(count);
        self.expected = count.map_or(0, |(count, _)| count.min(self.len / size_of::<u64>()));
        self.skip_next(field)
    }

    #[inline(always)]
    fn skip_next(&mut self, field: &Field) -> Result<bool, LoadError> {
        let Some((_, rest)) = self.next(field) else { return Ok(false) };
        self.rest = rest;
        Ok(true)
    }

    #[inline(always)]
    fn last_text(&mut self, field: &Field, read: impl FnOnce(&[u8])) -> Result<bool, LoadError> {
        let Some((text, rest)) = self.next(field) else { return Ok(false) };
        read(text);
        self.rest = rest;
        Ok(true)
    }

    #[inline(always)]
    fn last_fields(
        &mut self,
        field: &Field,
        each: impl FnMut(&mut Self, Option<&[u8]>) -> Result<(), LoadError>,
    ) -> Result<bool, LoadError> {
        if !self.rest.starts_with(field.ubj) {
            return Ok(false);
        }
        // But for the brace.
        self.rest = &self.rest[field.ubj.len() - 1..];
        self.fields_after(each)?;
        Ok(true)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        if self.marker.is_none() && self.eat(b'Z')? { Ok(None) } else { read(self).map(Some) }
    }

    #[inline(always)]
    fn skip(&mut self) -> Result<(), LoadError> {
        let marker = self.marker()?;
        if marker == b'[' && self.typed().is_some() { Ok(()) } else { self.skip_rest(marker) }
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("something follows the model")) }
    }
}
