//! Protocol Buffers' wire format (<https://protobuf.dev/programming-guides/encoding/>): fields one after another, each within the
//! bytes of the message that it stands in. Nothing is copied.

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    /// A text, bytes, a message, or numbers packed together.
    Bytes(&'a [u8]),
    /// 4 or 8 bytes of a float or a fixed-size integer.
    Fixed(usize),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(super) fn number(self) -> Result<u64, Malformed> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Malformed) }
    }

    /// Calls `each` with every number of a field that may be packed.
    pub(super) fn numbers(self, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
        match self {
            Self::Number(number) => each(number),
            Self::Bytes(mut rest) => {
                while !rest.is_empty() {
                    each(varint(&mut rest)?);
                }
            }
            Self::Fixed(_) => return Err(Malformed),
        }
        Ok(())
    }
}

/// The fields of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>), Malformed> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => Value::Fixed(take(rest, 8)?.len()),
        2 => {
            let length = varint(rest)?;
            Value::Bytes(take(rest, usize::try_from(length).map_err(|_| Malformed)?)?)
        }
        5 => Value::Fixed(take(rest, 4)?.len()),
        // Groups, long deprecated, and what was never given a meaning.
        _ => return Err(Malformed),
    };
    Ok((tag >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

/// Appends a field that is a number.
pub(super) fn write_number(message: &mut Vec<u8>, field: u64, number: u64) {
    write_varint(message, field << 3);
    write_varint(message, number);
}

/// Appends a field that is a text, bytes or a message.
pub(super) fn write_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_varint(message, field << 3 | 2);
    write_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn write_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
