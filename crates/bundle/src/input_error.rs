//! Why an input cannot be run.

/// Why an input cannot be run. The texts are for the person who sent it; they quote names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// It isn't JSON at all (RFC 8259: no `NaN`, no comments, no trailing commas).
    #[error("{0}")]
    MalformedJson(String),
    /// It has no bytes, or no rows.
    #[error("{0}")]
    Empty(String),
    /// It is JSON, but not what the model takes.
    #[error("{0}")]
    Invalid(String),
    /// It exceeds a limit of the model.
    #[error("{0}")]
    TooLarge(String),
}

/// The bytes that are to be JSON, if there are any.
pub(crate) fn content(bytes: &[u8]) -> Result<&[u8], InputError> {
    // Some editors put a byte order mark in front; RFC 8259 lets a reader ignore it.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(InputError::Empty("the input has no content".to_owned()));
    }
    Ok(bytes)
}

impl InputError {
    /// Sorts serde_json's errors into ours; its text names the line and the column.
    pub(crate) fn from_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        match error.classify() {
            serde_json::error::Category::Data => Self::Invalid(text),
            // Beyond an f64, but good JSON.
            serde_json::error::Category::Syntax if text.starts_with("number out of range") => Self::Invalid(text),
            serde_json::error::Category::Syntax if text.starts_with("recursion limit exceeded") => Self::MalformedJson(
                text.replacen("recursion limit exceeded", "the JSON is nested more than 127 levels deep", 1),
            ),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => Self::MalformedJson(text),
        }
    }
}
