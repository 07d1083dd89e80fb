//! What the JSON and the UBJ reader have in common: a pull parser that a model's structure is read through, in bounded memory.

mod budget;
mod decimal;
mod field;
mod json;
mod ubj;

pub use budget::{Budget, OverBudget, forest_bytes};
pub(crate) use field::{Field, Form, field, joined};
pub(crate) use json::Json;
pub(crate) use ubj::Ubj;

use crate::load_error::LoadError;

/// Containers may lie this deep within one another. XGBoost's models need 8, its dumps two for each level of a tree.
pub(crate) const MAX_DEPTH: usize = 128;

/// Reads one value after another, each as what the caller expects it to be.
///
/// # Contract
///
/// Every method consumes exactly one value or fails. Nothing panics or recurses deeper than [`MAX_DEPTH`], whatever the input. What is
/// returned has been taken from the [budget](Source::budget).
pub(crate) trait Source: Sized {
    /// What may still be read.
    fn budget(&mut self) -> &mut Budget;

    /// That something is wrong at the place that reading has come to.
    fn error(&self, problem: &'static str) -> LoadError;

    /// An object: calls `each` with every key, as it may be no UTF-8, which must consume the value.
    fn fields(&mut self, mut each: impl FnMut(&mut Self, &[u8]) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.fields_after(|source, key| key.map_or(Ok(()), |key| each(source, key)))
    }

    /// An object: first, if it isn't empty, calls `each` without a key, which may then read fields by
    /// [`next_numbers`](Self::next_numbers) and its like; then with every key that is left, as [`fields`](Self::fields) does. An object of
    /// an unusual form may be read by its keys alone.
    fn fields_after(
        &mut self,
        each: impl FnMut(&mut Self, Option<&[u8]>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError>;

    /// Reads an object's next field into an empty list, if it is this one in the form in which XGBoost writes it; whether it did. An
    /// object's last field may be left.
    fn next_numbers<T: Number>(&mut self, field: &Field, numbers: &mut Vec<T>) -> Result<bool, LoadError>;

    /// Skips an object's next field under the same conditions, if it is no object; whether it did.
    fn skip_next(&mut self, field: &Field) -> Result<bool, LoadError>;

    /// Skips a list as [`skip_next`](Self::skip_next) does, which those after it are most likely as long as.
    fn skip_first(&mut self, field: &Field) -> Result<bool, LoadError> {
        self.skip_next(field)
    }

    /// Reads an object's last field under the same conditions, if it is a text; whether it did.
    fn last_text(&mut self, _field: &Field, _read: impl FnOnce(&[u8])) -> Result<bool, LoadError> {
        Ok(false)
    }

    /// Reads an object's last field under the same conditions, if it is an object, as [`fields_after`](Self::fields_after) does; whether it
    /// did.
    fn last_fields(
        &mut self,
        _field: &Field,
        _each: impl FnMut(&mut Self, Option<&[u8]>) -> Result<(), LoadError>,
    ) -> Result<bool, LoadError> {
        Ok(false)
    }

    /// An object: calls `each` with every key, which must consume the value.
    fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<(), LoadError>) -> Result<(), LoadError> {
        self.fields(|source, key| match std::str::from_utf8(key) {
            Ok(key) => each(source, key),
            Err(_) => Err(source.error("not UTF-8")),
        })
    }

    /// An array of anything: calls `each` before every element, which must consume it.
    fn array(&mut self, each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError>;

    /// A string that isn't kept, as it may be no UTF-8.
    fn with_text<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Result<T, LoadError>;

    /// A string.
    fn string(&mut self) -> Result<String, LoadError>;

    /// A number.
    fn number<T: Number>(&mut self) -> Result<T, LoadError>;

    /// An array of numbers, in place of what the list holds. What the list had room for is not taken from the budget again.
    fn numbers_into<T: Number>(&mut self, numbers: &mut Vec<T>) -> Result<(), LoadError>;

    /// An array of numbers.
    fn numbers<T: Number>(&mut self) -> Result<Vec<T>, LoadError> {
        let mut numbers = Vec::new();
        self.numbers_into(&mut numbers)?;
        Ok(numbers)
    }

    /// Anything, not kept.
    fn skip(&mut self) -> Result<(), LoadError>;

    /// After the last value: nothing may follow.
    fn finish(&mut self) -> Result<(), LoadError>;

    /// What `read` reads, or null.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, LoadError>) -> Result<Option<T>, LoadError>;

    /// An array of strings.
    fn strings(&mut self) -> Result<Vec<String>, LoadError> {
        let mut strings = Vec::new();
        self.array(|source| {
            let string = source.string()?;
            source.budget().push(&mut strings, string)?;
            Ok(())
        })?;
        Ok(strings)
    }
}

/// A number as a list keeps it. Integers may be written as booleans.
pub(crate) trait Number: Copy {
    const ZERO: Self;

    /// For an error.
    const EXPECTED: &'static str;

    /// From its decimal digits.
    fn from_text(text: &str) -> Option<Self>;

    /// The element of a list that the bytes start with, and its length, if that is quickly told; what it is, [`from_text`](Self::from_text)
    /// says too.
    fn scan(bytes: &[u8]) -> Option<(Self, usize)>;

    fn from_integer(value: i64) -> Option<Self>;

    fn from_single(value: f32) -> Option<Self>;

    fn from_double(value: f64) -> Option<Self>;
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Number for $type {
            const ZERO: Self = 0;
            const EXPECTED: &'static str = "an integer was expected";

            fn from_text(text: &str) -> Option<Self> {
                match text {
                    "true" => Some(1),
                    "false" => Some(0),
                    _ => text.parse().ok(),
                }
            }

            #[inline(always)]
            fn scan(bytes: &[u8]) -> Option<(Self, usize)> {
                let (number, len) = decimal::integer(bytes)?;
                Some((number.try_into().ok()?, len))
            }

            fn from_integer(value: i64) -> Option<Self> {
                value.try_into().ok()
            }

            fn from_single(_: f32) -> Option<Self> {
                None
            }

            fn from_double(_: f64) -> Option<Self> {
                None
            }
        }
    )*};
}

macro_rules! float {
    ($($type:ty, $scan:ident),*) => {$(
        impl Number for $type {
            const ZERO: Self = 0.0;
            const EXPECTED: &'static str = "a number was expected";

            fn from_text(text: &str) -> Option<Self> {
                match text {
                    "NaN" => Some(Self::NAN),
                    "Infinity" => Some(Self::INFINITY),
                    "-Infinity" => Some(Self::NEG_INFINITY),
                    // At once: f32 by way of f64 would be rounded twice.
                    _ if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
                        text.parse().ok()
                    }
                    _ => None,
                }
            }

            #[inline(always)]
            fn scan(bytes: &[u8]) -> Option<(Self, usize)> {
                decimal::$scan(bytes)
            }

            fn from_integer(value: i64) -> Option<Self> {
                Some(value as Self)
            }

            fn from_single(value: f32) -> Option<Self> {
                Some(Self::from(value))
            }

            fn from_double(value: f64) -> Option<Self> {
                Some(value as Self)
            }
        }
    )*};
}

integer!(u8, i32, u32, i64, usize);
float!(f32, single, f64, double);
