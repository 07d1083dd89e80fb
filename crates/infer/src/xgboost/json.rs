//! JSON, as XGBoost writes it: standard, but numbers may also be `NaN`, `Infinity` and `-Infinity`.

use super::LoadError;
use super::source::{MAX_DEPTH, Source};

pub(super) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Json<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    fn error(&self, problem: &'static str) -> LoadError {
        LoadError::Syntax { format: "JSON", at: self.at, problem }
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

    fn integer(&mut self) -> Result<i64, LoadError> {
        match self.token()? {
            "true" => Ok(1),
            "false" => Ok(0),
            token => token.parse().map_err(|_| self.error("an integer was expected")),
        }
    }

    fn float(&mut self) -> Result<f32, LoadError> {
        let token = self.token()?;
        let numeral = token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        match token {
            "NaN" => Ok(f32::NAN),
            "Infinity" => Ok(f32::INFINITY),
            "-Infinity" => Ok(f32::NEG_INFINITY),
            // To f32 at once: by way of f64 it would be rounded twice.
            _ if numeral => token.parse().map_err(|_| self.error("a number was expected")),
            _ => Err(self.error("a number was expected")),
        }
    }
}

impl Source for Json<'_> {
    fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.elements(b'{', b'}', |json| {
            let key = json.string()?;
            json.expect(b':', "a colon was expected")?;
            each(json, &key)
        })
    }

    fn array(&mut self, each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.elements(b'[', b']', each)
    }

    fn string(&mut self) -> Result<String, LoadError> {
        self.expect(b'"', "a string was expected")?;
        let mut string = String::new();
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\'))
                .ok_or_else(|| self.error("the string has no end"))?;
            let text = std::str::from_utf8(&rest[..plain]).map_err(|_| self.error("not UTF-8"))?;
            string.push_str(text);
            self.at += plain + 1;
            if rest[plain] == b'"' {
                return Ok(string);
            }
            string.push(self.escape()?);
        }
    }

    fn floats(&mut self) -> Result<Vec<f32>, LoadError> {
        let mut floats = Vec::new();
        self.array(|json| {
            floats.push(json.float()?);
            Ok(())
        })?;
        Ok(floats)
    }

    fn integers(&mut self) -> Result<Vec<i64>, LoadError> {
        let mut integers = Vec::new();
        self.array(|json| {
            integers.push(json.integer()?);
            Ok(())
        })?;
        Ok(integers)
    }

    fn skip(&mut self) -> Result<(), LoadError> {
        match self.peek() {
            Some(b'{') => self.object(|json, _| json.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.string().map(drop),
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
