//! What the JSON and the UBJ reader have in common: a pull parser that the model's structure is read through.

use super::LoadError;

/// Containers may lie this deep within one another. XGBoost's models need 8.
pub(super) const MAX_DEPTH: usize = 64;

/// Reads one value after another, each as what the caller expects it to be.
///
/// # Contract
///
/// Every method consumes exactly one value or fails. Nothing panics, recurses deeper than [`MAX_DEPTH`], or holds more memory
/// than a small multiple of the input's length, whatever the input.
pub(super) trait Source: Sized {
    /// An object: calls `each` with every key, which must consume the value.
    fn object(&mut self, each: impl FnMut(&mut Self, &str) -> Result<(), LoadError>) -> Result<(), LoadError>;

    /// An array of anything: calls `each` before every element, which must consume it.
    fn array(&mut self, each: impl FnMut(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError>;

    /// A string.
    fn string(&mut self) -> Result<String, LoadError>;

    /// An array of numbers.
    fn floats(&mut self) -> Result<Vec<f32>, LoadError>;

    /// An array of integers or booleans.
    fn integers(&mut self) -> Result<Vec<i64>, LoadError>;

    /// Anything, not kept.
    fn skip(&mut self) -> Result<(), LoadError>;

    /// After the last value: nothing may follow.
    fn finish(&mut self) -> Result<(), LoadError>;

    /// An array of strings.
    fn strings(&mut self) -> Result<Vec<String>, LoadError> {
        let mut strings = Vec::new();
        self.array(|source| {
            strings.push(source.string()?);
            Ok(())
        })?;
        Ok(strings)
    }
}
