//! From a character RNN's weights to a bundle's manifest.

use std::collections::BTreeMap;

use bundle::manifest::Input;
use bundle::{Engine, LettersSchema, Limits, ModelFormat, Output, Param, ParamKind};
use serde_json::{Value, json};

use super::{Choices, DraftError, Drafted};
use crate::char_rnn::{DEFAULT_MAX_LENGTH, MAX_LENGTH, Network, SEED, TEMPERATURE};

/// The greatest seed: the whole numbers up to it survive JSON wherever it is read.
const MAX_SEED: f64 = 9_007_199_254_740_991.0;

pub(super) fn draft(file: &str, bytes: &[u8], choices: &Choices) -> Result<Drafted, DraftError> {
    choices.refuse_for("a character RNN", &["features", "labels", "tokenizer"])?;
    let network = Network::read(bytes).map_err(|error| DraftError::Load(Box::new(error)))?;
    let schema = schema(&network, choices)?;
    let output = Output::Text { description: "a name that begins with the letter".to_owned() };
    let engine = Engine::new(ModelFormat::CharRnn, file);
    let mut manifest = choices.manifest(engine, Input::StartLetters(schema.clone()), output);
    // A hundred letters and a category need no more, even if every letter is escaped.
    manifest.limits = Limits { max_input_bytes: 64 << 10, max_rows: 1, max_seconds: 10 };
    manifest.params = params();
    let capitals: String = schema.alphabet.chars().filter(|letter| letter.is_uppercase()).take(3).collect();
    let start_letters = if capitals.is_empty() { schema.alphabet.chars().take(3).collect() } else { capitals };
    let input = json!({"category": schema.categories[0], "start_letters": start_letters}).to_string();
    Ok(Drafted { manifest, input, tolerance: 0.0 })
}

fn schema(network: &Network, choices: &Choices) -> Result<LettersSchema, DraftError> {
    let (letters, categories) = (network.letters(), network.categories());
    let alphabet = choices.alphabet.clone().ok_or_else(|| {
        DraftError::Unsaid(format!(
            "the model file does not name its {letters} letters; name them, in its order, with --alphabet FILE|TEXT"
        ))
    })?;
    let names = choices.categories.clone().ok_or_else(|| {
        DraftError::Unsaid(format!(
            "the model file does not name its {categories} categories; name them, in its order, with --categories a,b,..."
        ))
    })?;
    let given = alphabet.chars().count();
    if given != letters {
        let fault = format!("the model has {letters} letters, but --alphabet has {given}");
        return Err(DraftError::Contradiction(fault));
    }
    if names.len() != categories {
        let given = names.len();
        let fault = format!("the model has {categories} categories, but --categories names {given}");
        return Err(DraftError::Contradiction(fault));
    }
    Ok(LettersSchema { alphabet, categories: names, max_start_letters: LettersSchema::DEFAULT_MAX_START_LETTERS })
}

fn params() -> BTreeMap<String, Param> {
    let param = |kind, default: Value, min, max, description: &str| Param {
        kind,
        default,
        min: Some(min),
        max: Some(max),
        choices: Vec::new(),
        description: description.to_owned(),
    };
    let length = "the most letters of a name, the first counted";
    let temperature =
        "0 writes the likeliest letters; above it, letters are drawn, the unlikely oftener the higher it is";
    let seed = "what the draws follow from: the same seed draws the same names";
    BTreeMap::from([
        (MAX_LENGTH.to_owned(), param(ParamKind::Integer, DEFAULT_MAX_LENGTH.into(), 1.0, 100.0, length)),
        (TEMPERATURE.to_owned(), param(ParamKind::Number, Value::from(0.0), 0.0, 10.0, temperature)),
        (SEED.to_owned(), param(ParamKind::Integer, Value::from(0), 0.0, MAX_SEED, seed)),
    ])
}
