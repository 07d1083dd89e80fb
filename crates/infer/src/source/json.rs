//! JSON, as XGBoost writes it: standard, but numbers may also be `NaN`, `Infinity` and `-Infinity`.

use std::borrow::Cow;

use super::{Budget, Field, MAX_DEPTH, Number, Source};
use crate::load_error::LoadError;

/// Bytes that a kept string takes beside its characters, the allocator's share included.
const STRING_BYTES: usize = 16;

pub(crate) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    budget: Budget,
}

impl<'a> Json<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, budget: Budget::of(bytes) }
    }

    /// Whether the next value is an array.
    pub(crate) fn is_array(&mut self) -> bool {
        self.peek() == Some(b'[')
    }

    /// The next byte that is not white space, unconsumed.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                _ => return Some(*byte),
            }
        }
        None
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), LoadError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(problem)) }
    }

    /// The elements between two brackets, separated by commas.
    fn elements(
        &mut self,
        open: u8,
        close: u8,
        mut each: impl FnMut(&mut Self) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        self.expect(open, if open == b'{' { "an object was expected" } else { "an array was expected" })?;
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        self.depth += 1;
        if !self.eat(close) {
            loop {
                each(self)?;
                if self.eat(close) {
                    break;
                }
                self.expect(b',', "a comma or a closing bracket was expected")?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A number's, boolean's or null's text.
    fn token(&mut self) -> Result<&'a str, LoadError> {
        self.peek();
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'a'..=b'z' | b'A'..=b'Z'))
            .unwrap_or(rest.len());
        match std::str::from_utf8(&rest[..len]) {
            Ok(token) if len > 0 => {
                self.at += len;
                Ok(token)
            }
            _ => Err(self.error("a value was expected")),
        }
    }

    fn escape(&mut self) -> Result<char, LoadError> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        match byte {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => {
                let high = self.hex()?;
                let unit = if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.error("half of a surrogate pair"));
                    }
                    0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(unit).ok_or_else(|| self.error("half of a surrogate pair"))
            }
            _ => Err(self.error("no such escape")),
        }
    }

    fn hex(&mut self) -> Result<u32, LoadError> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let unit = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        // Past the end, later reads find nothing.
        self.at = self.at.min(self.bytes.len());
        unit.ok_or_else(|| self.error("four hexadecimal digits were expected"))
    }

    /// A string, copied only if it has escapes.
    fn text(&mut self) -> Result<Cow<'a, str>, LoadError> {
        self.expect(b'"', "a string was expected")?;
        let mut string = Cow::Borrowed("");
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\'))
                .ok_or_else(|| self.error("the string has no end"))?;
            let text = std::str::from_utf8(&rest[..plain]).map_err(|_| self.error("not UTF-8"))?;
            // Adding to what is empty copies nothing.
            string += text;
            self.at += plain + 1;
            if rest[plain] == b'"' {
                return Ok(string);
            }
            let escaped = self.escape()?;
            string.to_mut().push(escaped);
        }
    }

    /// A string, which may be no UTF-8.
    fn raw_text(&mut self) -> Result<Cow<'a, [u8]>, LoadError> {
        if self.peek() == Some(b'"') {
            let rest = &self.bytes[self.at + 1..];
            let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            if let Some(end) = end.filter(|end| rest[*end] == b'"') {
                self.at += end + 2;
                return Ok(Cow::Borrowed(&rest[..end]));
            }
        }
        Ok(match self.text()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Reads an object's next field, if it has this key and another field follows, all without white space; whether it did.
    #[inline(always)]
    fn next_value(
        &mut self,
        field: &Field,
        mut read: impl FnMut(&mut Self) -> Result<(), LoadError>,
    ) -> Result<bool, LoadError> {
        let start = self.at;
        if !self.bytes[start..].starts_with(field.json) {
            return Ok(false);
        }
        self.at += field.json.len();
        read(self)?;
        let more = self.bytes[self.at..].starts_with(b",\"");
        self.at = if more { self.at + 1 } else { start };
        Ok(more)
    }

    /// Reads an array of numbers that are quickly told, without white space; whether it was one. If not, nothing but the list has changed.
    #[inline(always)]
    fn flat_numbers<T: Number>(&mut self, numbers: &mut Vec<T>) -> Result<bool, LoadError> {
        let Some(mut rest) = self.bytes[self.at..].strip_prefix(b"[") else { return Ok(false) };
        if let [b']', after @ ..] = rest {
            self.at = self.bytes.len() - after.len();
            return Ok(true);
        }
        while let Some((number, len)) = T::scan(rest) {
            self.budget.push(numbers, number)?;
            // Behind what is told, there is a comma or the end.
            let (ended, after) = (rest[len] == b']', &rest[len + 1..]);
            if ended {
                self.at = self.bytes.len() - after.len();
                return Ok(true);
            }
            rest = after;
        }
        Ok(false)
    }
}

/// The length of an array of numbers without white space, if the bytes start with one: skipped many bytes at once.
fn flat_array(bytes: &[u8]) -> Option<usize> {
    const CHUNK: usize = 32;
    // Digits and `+,-.` lie together, but for the slash.
    let plain = |byte: u8| (byte.wrapping_sub(b'+') <= b'9' - b'+') & (byte != b'/') | (byte | 0x20 == b'e');
    let mut at = 1;
    // Of each byte, and of each comma also the next one.
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<{ CHUNK + 1 }>()) {
        let mut bad = 0;
        for place in 0..CHUNK {
            let (byte, next) = (chunk[place], chunk[place + 1]);
            bad |= u8::from(!plain(byte)) | (u8::from(byte == b',') & u8::from(next == b','));
        }
        if bad != 0 {
            break;
        }
        at += CHUNK;
    }
    while let Some(byte) = bytes.get(at).filter(|byte| plain(**byte)) {
        if *byte == b',' && bytes.get(at + 1) == Some(&b',') {
            return None;
        }
        at += 1;
    }
    let whole = at == 1 || (bytes[1] != b',' && bytes[at - 1] != b',');
    (whole && bytes.get(at) == Some(&b']')).then_some(at + 1)
}

impl Source for Json<'_> {
    fn error(&self, problem: &'static str) -> LoadError {
        LoadError::Syntax { format: "JSON", at: self.at, problem }
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    fn fields_after(
        &mut self,
        mut each: impl FnMut(&mut Self, Option<&[u8]>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let mut begun = false;
        self.elements(b'{', b'}', |json| {
            if !begun {
                begun = true;
                each(json, None)?;
            }
            let key = json.raw_text()?;
            json.expect(b':', "a colon was expected")?;
            each(json, Some(&key))
        })
    }

    #[inline(always)]
    fn next_numbers<T: Number>(&mut self, field: &Field, numbers: &mut Vec<T>) -> Result<bool, LoadError> {
        self.next_value(field, |json| json.numbers_into(numbers))
    }

    #[inline(always)]
    fn skip_next(&mut self, field: &Field) -> Result<bool, LoadError> {
        self.next_value(field, Self::skip)
    }

    fn array(&mut self, each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.elements(b'[', b']', each)
    }

    fn with_text<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Result<T, LoadError> {
        self.raw_text().map(|text| read(&text))
    }

    fn string(&mut self) -> Result<String, LoadError> {
        let text = self.text()?;
        self.budget.take(text.len().saturating_add(STRING_BYTES))?;
        Ok(text.into_owned())
    }

    fn number<T: Number>(&mut self) -> Result<T, LoadError> {
        let token = self.token()?;
        T::from_text(token).ok_or_else(|| self.error(T::EXPECTED))
    }

    fn numbers_into<T: Number>(&mut self, numbers: &mut Vec<T>) -> Result<(), LoadError> {
        numbers.clear();
        if self.flat_numbers(numbers)? {
            return Ok(());
        }
        numbers.clear();
        self.array(|json| {
            let number = json.number()?;
            json.budget.push(numbers, number)?;
            Ok(())
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        match self.peek() {
            Some(b'n') => {
                let token = self.token()?;
                if token == "null" { Ok(None) } else { Err(self.error("a value was expected")) }
            }
            _ => read(self).map(Some),
        }
    }

    fn skip(&mut self) -> Result<(), LoadError> {
        match self.peek() {
            Some(b'{') => self.fields(|json, _| json.skip()),
            Some(b'[') => match flat_array(&self.bytes[self.at..]) {
                Some(len) => {
                    self.at += len;
                    Ok(())
                }
                None => self.array(Self::skip),
            },
            Some(b'"') => self.raw_text().map(drop),
            _ => self.token().map(drop),
        }
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("something follows the model")),
        }
    }
}
