//! From texts to the numbers that a net takes: a `tokenizer.json`, read and run by the crate `tokenizers`.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{PostProcessor, Tokenizer};
use tokenizers::utils::padding::{PaddingDirection, PaddingStrategy};
use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy};

use crate::caught::caught;

/// A vocabulary takes some ten times its file's size in memory. Those of large language models have 17 MB.
const MAX_FILE_BYTES: usize = 20 << 20;

/// How many times longer a text may become by replacements.
const MAX_GROWTH: usize = 1024;

/// The most tokens of a text where neither the tokenizer nor the manifest says it.
pub(crate) const DEFAULT_MAX_TOKENS: usize = 512;

/// Why a tokenizer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenizerError {
    /// It is larger than any that is in use.
    #[error("a tokenizer of more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It is no `tokenizer.json`.
    #[error("not a tokenizer.json: {0}")]
    Form(String),
    /// It draws by lot, or makes texts of any length.
    #[error("the tokenizer {0}")]
    Unsupported(String),
}

/// A text's tokens, at least one, without padding: their places in the vocabulary, and which part of a pair each belongs to (0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
}

/// How the tokenizer's file wants texts of a batch brought to one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padding {
    /// The least length.
    pub(crate) at_least: usize,
    /// Lengths are multiples of this.
    pub(crate) multiple: usize,
    /// Whether it goes before the tokens.
    pub(crate) left: bool,
    pub(crate) id: u32,
    pub(crate) type_id: u32,
}

/// A tokenizer ready to run.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    padding: Option<Padding>,
    file_bytes: usize,
}

/// What is looked at before the crate reads the file.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`. Texts will have at most `max_tokens` tokens if that is given, else as many as the file says, else
    /// [`DEFAULT_MAX_TOKENS`]; never more than `length`, which is what a net takes.
    pub(crate) fn read(bytes: &[u8], max_tokens: Option<usize>, length: Option<usize>) -> Result<Self, TokenizerError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(TokenizerError::TooLarge);
        }
        let form = |error: &dyn std::error::Error| TokenizerError::Form(error.to_string().chars().take(200).collect());
        let probe: Probe = serde_json::from_slice(bytes).map_err(|error| form(&error))?;
        let growth = growth(&probe.normalizer).saturating_mul(growth(&probe.pre_tokenizer));
        if growth > MAX_GROWTH {
            let fault =
                format!("has replacements that make texts up to {growth} times longer; {MAX_GROWTH} is the limit");
            return Err(TokenizerError::Unsupported(fault));
        }
        // The crate takes some things for granted that a file need not keep.
        let read = caught(|| Tokenizer::from_bytes(bytes)).map_err(TokenizerError::Form)?;
        let mut tokenizer = read.map_err(|error| form(&*error))?;
        if let ModelWrapper::BPE(model) = tokenizer.get_model()
            && model.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            return Err(TokenizerError::Unsupported("leaves merges out by lot (dropout)".to_owned()));
        }
        let truncation = tokenizer.get_truncation().cloned();
        let said = max_tokens.or(truncation.as_ref().map(|truncation| truncation.max_length));
        let max_length = said.unwrap_or(DEFAULT_MAX_TOKENS).min(length.unwrap_or(usize::MAX));
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if max_length <= added {
            let fault = format!("adds {added} tokens to a text, which may have {max_length} in all");
            return Err(TokenizerError::Unsupported(fault));
        }
        let direction = truncation.unwrap_or_default().direction;
        let strategy = TruncationStrategy::LongestFirst;
        let params = TruncationParams { direction, max_length, strategy, stride: 0 };
        tokenizer.with_truncation(Some(params)).map_err(|error| form(&*error))?;

        let padding = tokenizer.get_padding().map(|padding| Padding {
            at_least: match padding.strategy {
                PaddingStrategy::BatchLongest => 0,
                PaddingStrategy::Fixed(length) => length.min(max_length),
            },
            multiple: padding.pad_to_multiple_of.unwrap_or(1).clamp(1, max_length),
            left: matches!(padding.direction, PaddingDirection::Left),
            id: padding.pad_id,
            type_id: padding.pad_type_id,
        });
        tokenizer.with_padding(None);
        let read = Self { tokenizer, padding, file_bytes: bytes.len() };
        // A file that cannot do this can do nothing.
        read.encode("").map_err(TokenizerError::Unsupported)?;
        Ok(read)
    }

    pub(crate) fn padding(&self) -> Option<Padding> {
        self.padding
    }

    /// A text's tokens, those that the tokenizer adds included.
    pub(crate) fn encode(&self, text: &str) -> Result<Tokens, String> {
        let fault = |why: &str| format!("cannot read a text: {}", why.chars().take(200).collect::<String>());
        let encoding = caught(|| self.tokenizer.encode_fast(text, true)).map_err(|why| fault(&why))?;
        let encoding = encoding.map_err(|error| fault(&error.to_string()))?;
        let (mut ids, mut type_ids) = (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec());
        if ids.is_empty() {
            // A net needs something to run on.
            let padding = self.padding.map_or((0, 0), |padding| (padding.id, padding.type_id));
            ids.push(padding.0);
            type_ids.push(padding.1);
        }
        Ok(Tokens { ids, type_ids })
    }

    /// About how much memory it takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.file_bytes as u64 * 10
    }
}

/// How many times more characters a text could have after all replacements in this part of a tokenizer.
fn growth(part: &Value) -> usize {
    match part {
        Value::Array(parts) => parts.iter().map(growth).fold(1, usize::saturating_mul),
        Value::Object(fields) => {
            let inner = fields.values().map(growth).fold(1, usize::saturating_mul);
            let Some(content) = fields.get("content").and_then(Value::as_str) else { return inner };
            let each = content.chars().count().max(1);
            // A pattern that is no plain text, or an empty one, may match between characters as well.
            let plain = fields.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str);
            inner.saturating_mul(if plain.is_some_and(|text| !text.is_empty()) { each } else { each.saturating_add(1) })
        }
        _ => 1,
    }
}
