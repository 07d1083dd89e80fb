//! Inputs that say what the model does with them, and so what their right answer is.

use job::Sha256;
use serde_json::Value;

/// The model's limit, in seconds.
pub(crate) const MAX_SECONDS: u64 = 10;

/// The bundle's `model.toml`. Its one file is empty.
pub(crate) const MANIFEST: &str = r#"
format = 1
name = "m"
version = "VERSION"
title = "Does as its input says"
engine = { format = "xgboost", file = "model.ubj" }
input = { kind = "table", columns = [{ name = "n" }, { name = "do" }, { name = "ms" }] }
output = { kind = "number" }
limits = { max_input_bytes = 1000, max_seconds = 10 }
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#;

/// What the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers with JSON, after `ms`.
    Answer,
    /// Answers with a file, after `ms`.
    AnswerWithFile,
    /// Panics.
    Panic,
    /// Panics when it is run for the first time, and answers from then on.
    PanicOnce,
    /// Takes longer than it may, and stops when it is told to.
    Dawdle,
    /// Never ends, whatever it is told.
    Hang,
    /// Kills its whole process.
    Kill,
    /// Says that it can't.
    Fail,
}

const ACTS: [Act; 8] =
    [Act::Answer, Act::AnswerWithFile, Act::Panic, Act::PanicOnce, Act::Dawdle, Act::Hang, Act::Kill, Act::Fail];

/// An input, as the model reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) act: Act,
    pub(crate) ms: u64,
}

impl Script {
    pub(crate) fn new(act: Act, ms: u64) -> Self {
        Self { act, ms }
    }

    /// The input; `number` tells it from others that ask for the same.
    pub(crate) fn input(self, number: u64) -> String {
        let act = ACTS.iter().position(|act| *act == self.act).expect("all are listed");
        format!(r#"[{{"n":{number},"do":{act},"ms":{}}}]"#, self.ms)
    }

    /// None for what no model takes.
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let rows: Value = serde_json::from_slice(input).ok()?;
        let number = |name: &str| rows.get(0)?.get(name)?.as_u64();
        Some(Self { act: *ACTS.get(number("do")? as usize)?, ms: number("ms")? })
    }

    /// Whether it is to be answered, if nothing else goes wrong.
    pub(crate) fn is_good(self) -> bool {
        matches!(self.act, Act::Answer | Act::AnswerWithFile | Act::PanicOnce)
    }
}

/// The right answer to an input, if there is one.
pub(crate) fn answer(input: &[u8]) -> Option<String> {
    let script = Script::read(input)?;
    let digest = Sha256::of(input);
    match script.act {
        Act::Answer | Act::PanicOnce => Some(format!("\"{digest}\"")),
        Act::AnswerWithFile => Some(digest.to_string()),
        Act::Panic | Act::Dawdle | Act::Hang | Act::Kill | Act::Fail => None,
    }
}
