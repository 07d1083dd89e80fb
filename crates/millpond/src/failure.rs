//! How a failed command ends: `error:`, `caused by:`, `hint:`, and an exit code.

use std::fmt;
use std::process::ExitCode;

/// The command failed.
const FAILED: u8 = 1;
/// The command was called wrongly; clap's own code for that.
const USAGE: u8 = 2;

/// A sentence on what to do about an error; it hangs on an error's chain and is printed after it.
#[derive(Debug)]
pub struct Hint {
    message: String,
    hint: String,
    usage: bool,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hint {}

/// An error with a hint.
pub fn hint(message: impl Into<String>, hint: impl Into<String>) -> Hint {
    Hint { message: message.into(), hint: hint.into(), usage: false }
}

/// An error of whoever called: exit code 2.
pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Hint {
    Hint { usage: true, ..self::hint(message, hint) }
}

/// Prints a failed command's error and chooses its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {cause}");
    }
    let hint = error.downcast_ref::<Hint>();
    if let Some(hint) = hint.filter(|hint| !hint.hint.is_empty()) {
        eprintln!("  hint: {}", hint.hint);
    }
    ExitCode::from(if hint.is_some_and(|hint| hint.usage) { USAGE } else { FAILED })
}
