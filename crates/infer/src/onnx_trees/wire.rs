//! Protocol Buffers' wire format (<https://protobuf.dev/programming-guides/encoding/>), read in place.
//!
//! Nothing is copied and nothing is allocated: a message is a slice of the file. A decoder of whole messages would hold each of a
//! million empty strings, and that a file can say in two bytes.

use crate::load_error::LoadError;

/// A message's fields, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// Where in the file they begin, for errors.
    at: usize,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    /// A string, a message, or packed numbers; and where they begin.
    Bytes(&'a [u8], usize),
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Whether all fields were read.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn error(&self, problem: &'static str) -> LoadError {
        LoadError::Syntax { format: "ONNX", at: self.at, problem }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.error("the file ends too early"))?;
        self.bytes = rest;
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, LoadError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a number is too long"))
    }

    /// The next field's number and value; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, LoadError> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.take()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok();
                let split = length.and_then(|length| self.bytes.split_at_checked(length));
                let (taken, rest) = split.ok_or_else(|| self.error("the file ends too early"))?;
                let value = Value::Bytes(taken, self.at);
                self.bytes = rest;
                self.at += taken.len();
                value
            }
            5 => Value::Fixed32(self.take()?),
            _ => return Err(self.error("no such type of field")),
        };
        Ok(Some((tag >> 3, value)))
    }
}

impl<'a> Value<'a> {
    /// As a message; one without fields if it is none.
    pub(super) fn message(self) -> Fields<'a> {
        match self {
            Self::Bytes(bytes, at) => Fields::new(bytes, at),
            _ => Fields::new(&[], 0),
        }
    }

    /// As text; empty if it is none.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Bytes(bytes, _) => std::str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        }
    }

    /// Calls `each` with every integer of a repeated field, packed or alone.
    pub(super) fn integers(self, mut each: impl FnMut(i64) -> Result<(), LoadError>) -> Result<(), LoadError> {
        match self {
            Self::Varint(value) => each(value.cast_signed()),
            Self::Bytes(bytes, at) => {
                let mut packed = Fields::new(bytes, at);
                while !packed.is_empty() {
                    each(packed.varint()?.cast_signed())?;
                }
                Ok(())
            }
            _ => Err(Fields::new(&[], 0).error("an integer was expected")),
        }
    }

    /// Calls `each` with every f32 of a repeated field, packed or alone.
    pub(super) fn floats(self, mut each: impl FnMut(f32) -> Result<(), LoadError>) -> Result<(), LoadError> {
        match self {
            Self::Fixed32(bytes) => each(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes, at) => {
                let (numbers, []) = bytes.as_chunks() else {
                    return Err(Fields::new(&[], at).error("a list of numbers ends within one"));
                };
                numbers.iter().try_for_each(|number| each(f32::from_le_bytes(*number)))
            }
            _ => Err(Fields::new(&[], 0).error("a number was expected")),
        }
    }
}
