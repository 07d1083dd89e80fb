//! The character RNN of the PyTorch tutorial that generates names
//! (<https://docs.pytorch.org/tutorials/intermediate/char_rnn_generation_tutorial.html>), in plain f32 arithmetic.
//!
//! Of a category c and a letter x, both one-hot, and the hidden state h before it:
//!
//! ```text
//! h' = i2h · (c, x, h) + b      o = i2o · (c, x, h) + b      logits = o2o · (h', o) + b
//! ```
//!
//! The logits are of the next letter, the last of them of the word's end. Dropout before the softmax is of training alone, and
//! the softmax keeps the order of the logits, so that neither is needed for the likeliest letter. The weights are a safetensors
//! file with PyTorch's names and shapes; alphabet and categories are the manifest's.
//!
//! Sums are taken in another order than PyTorch takes them: log-probabilities are within 2e-5 of its own, and the likeliest letters the
//! same as long as two do not come that close. The same input gives the same bits on every platform.

use std::collections::BTreeMap;

use bundle::manifest::Input;
use bundle::{Letters, LettersSchema, Manifest, Output, ParamKind, Params};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::math;
use crate::model::{self, Answer, Control, Model, RunError};
use crate::random::SplitMix64;
use crate::torch::{Tensor, short};

/// The parameter that limits a text's length.
pub(crate) const MAX_LENGTH: &str = "max_length";
/// The limit where neither client nor manifest sets one: the tutorial's.
pub(crate) const DEFAULT_MAX_LENGTH: u64 = 20;
/// The parameter that makes unlikely letters likelier.
pub(crate) const TEMPERATURE: &str = "temperature";
/// The parameter that the draws follow from.
pub(crate) const SEED: &str = "seed";

/// Why weights were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The file is no safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(String),
    /// The tensors are those of another network.
    #[error("not a character RNN: {0}")]
    Network(String),
    /// A weight is infinite or not a number.
    #[error("{0} has a weight that is not finite")]
    NotFinite(&'static str),
}

/// A header names six tensors, and says what someone may have noted; parsed, it takes some twenty times as much memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The tensors of a network, as PyTorch names them, in the order of [`Network`]'s shapes.
const TENSORS: [&str; 6] = ["i2h.weight", "i2h.bias", "i2o.weight", "i2o.bias", "o2o.weight", "o2o.bias"];

/// A network ready to run.
///
/// Weights are kept by input, each input's weights to all outputs side by side, so that a one-hot input is one row to add. i2h and
/// i2o take the same input and o2o takes their outputs, so the two are one layer here.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    categories: usize,
    /// Letters and the end.
    letters: usize,
    hidden: usize,
    /// (categories + letters + hidden) × (hidden + letters)
    first: Vec<f32>,
    first_bias: Vec<f32>,
    /// (hidden + letters) × letters
    second: Vec<f32>,
    second_bias: Vec<f32>,
}

/// Whether a file looks like safetensors: a length that the file has, and a JSON object.
#[must_use]
pub fn recognises(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    bytes.get(8) == Some(&b'{') && length.is_some_and(|length| length <= bytes.len() as u64 - 8)
}

/// Writes tensors as safetensors; the same tensors give the same bytes.
///
/// # Errors
///
/// [`WeightsError::Format`].
pub fn to_safetensors(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, WeightsError> {
    let format = |error: safetensors::SafeTensorError| WeightsError::Format(error.to_string());
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, tensor), bytes)| {
            Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(format)?))
        })
        .collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None).map_err(format)
}

impl Network {
    /// Reads a network from a safetensors file.
    ///
    /// # Errors
    ///
    /// [`WeightsError`]. Whatever the bytes are, nothing panics, and memory stays within a small multiple of their number.
    pub fn read(bytes: &[u8]) -> Result<Self, WeightsError> {
        if bytes.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) > MAX_HEADER_BYTES) {
            return Err(WeightsError::Format(format!("its header has more than {MAX_HEADER_BYTES} bytes")));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| WeightsError::Format(error.to_string()))?;
        if let Some(extra) = file.names().into_iter().find(|name| !TENSORS.contains(name)) {
            return Err(WeightsError::Network(format!("it has a tensor {}", short(extra))));
        }
        let tensors: Vec<Tensor> = TENSORS.iter().map(|name| tensor(&file, name)).collect::<Result<_, _>>()?;
        let [i2h, i2h_bias, i2o, i2o_bias, o2o, o2o_bias] = &tensors[..] else {
            return Err(WeightsError::Network("it lacks a tensor".to_owned()));
        };
        let (hidden, letters) = (i2h_bias.values.len(), i2o_bias.values.len());
        let inputs = i2h.shape.get(1).copied().unwrap_or(0);
        let categories = inputs.checked_sub(hidden + letters).filter(|categories| *categories > 0);
        let Some(categories) = categories.filter(|_| hidden > 0 && letters > 1) else {
            return Err(WeightsError::Network(format!(
                "{inputs} inputs are too few for a category, {letters} letters and {hidden} hidden values"
            )));
        };
        let shapes = [
            vec![hidden, inputs],
            vec![hidden],
            vec![letters, inputs],
            vec![letters],
            vec![letters, hidden + letters],
            vec![letters],
        ];
        for ((name, tensor), shape) in TENSORS.iter().zip(&tensors).zip(shapes) {
            if tensor.shape != shape {
                let found = &tensor.shape;
                return Err(WeightsError::Network(format!("{name} has the shape {found:?} instead of {shape:?}")));
            }
        }
        // Rows of weights, an output each, one layer's below the other's.
        let first = [&i2h.values[..], &i2o.values].concat();
        Ok(Self {
            categories,
            letters,
            hidden,
            first: transposed(&first, inputs),
            first_bias: [&i2h_bias.values[..], &i2o_bias.values].concat(),
            second: transposed(&o2o.values, hidden + letters),
            second_bias: o2o_bias.values.clone(),
        })
    }

    /// How many categories there are.
    #[must_use]
    pub fn categories(&self) -> usize {
        self.categories
    }

    /// How many letters there are, the end not counted.
    #[must_use]
    pub fn letters(&self) -> usize {
        self.letters - 1
    }

    /// Begins a word of a category, which must be less than [`categories`](Self::categories).
    #[must_use]
    pub fn begin(&self, category: usize) -> Word<'_> {
        let width = self.hidden + self.letters;
        let mut category_and_bias = self.first_bias.clone();
        add(&mut category_and_bias, 1.0, &self.first[category * width..][..width]);
        Word {
            network: self,
            category_and_bias,
            hidden: vec![0.0; self.hidden],
            between: vec![0.0; width],
            logits: vec![0.0; self.letters],
        }
    }

    fn weights(&self) -> usize {
        self.first.len() + self.first_bias.len() + self.second.len() + self.second_bias.len()
    }
}

/// A word that is being written.
#[derive(Debug, Clone)]
pub struct Word<'a> {
    network: &'a Network,
    category_and_bias: Vec<f32>,
    hidden: Vec<f32>,
    /// The hidden state after, then what i2o gives.
    between: Vec<f32>,
    logits: Vec<f32>,
}

impl Word<'_> {
    /// Takes the word's next letter, which must be at most [`Network::letters`]; answers the logits of the one after it. The last
    /// logit is the end's.
    pub fn step(&mut self, letter: usize) -> &[f32] {
        let network = self.network;
        let width = self.between.len();
        let (_, rest) = network.first.split_at(network.categories * width);
        let (of_letters, of_hidden) = rest.split_at(network.letters * width);

        self.between.copy_from_slice(&self.category_and_bias);
        add(&mut self.between, 1.0, &of_letters[letter * width..][..width]);
        for (value, weights) in self.hidden.iter().zip(of_hidden.chunks_exact(width)) {
            add(&mut self.between, *value, weights);
        }
        self.logits.copy_from_slice(&network.second_bias);
        for (value, weights) in self.between.iter().zip(network.second.chunks_exact(network.letters)) {
            add(&mut self.logits, *value, weights);
        }
        self.hidden.copy_from_slice(&self.between[..network.hidden]);
        &self.logits
    }
}

/// Adds `factor` times `weights`. Each sum goes its own way from input to input, so that vector instructions change no bit.
fn add(sums: &mut [f32], factor: f32, weights: &[f32]) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum += factor * weight;
    }
}

fn transposed(rows: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| rows.iter().skip(column).step_by(width)).copied().collect()
}

fn tensor(file: &SafeTensors<'_>, name: &'static str) -> Result<Tensor, WeightsError> {
    let view = file.tensor(name).map_err(|_| WeightsError::Network(format!("it lacks {name}")))?;
    let (numbers, []) = view.data().as_chunks::<4>() else {
        return Err(WeightsError::Network(format!("{name} is not of f32")));
    };
    if view.dtype() != Dtype::F32 {
        return Err(WeightsError::Network(format!("{name} is not of f32")));
    }
    let values: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(WeightsError::NotFinite(name));
    }
    Ok(Tensor { shape: view.shape().to_vec(), values })
}

/// How the next letter is chosen.
#[derive(Debug, Clone)]
enum Choice {
    /// The likeliest.
    Greedy,
    /// By lot. Each letter's chance is in proportion to e^(logit / temperature).
    Drawn { temperature: f64, random: SplitMix64 },
}

impl Choice {
    fn of(params: &Params) -> Self {
        let temperature = params.get(TEMPERATURE).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        let seed = params.get(SEED).and_then(serde_json::Value::as_u64).unwrap_or(0);
        if temperature > 0.0 { Self::Drawn { temperature, random: SplitMix64::new(seed) } } else { Self::Greedy }
    }

    /// The place of one of the logits; nothing if they aren't numbers.
    fn choose(&mut self, logits: &[f32]) -> Option<usize> {
        let (mut best, mut largest) = (0, f32::NEG_INFINITY);
        for (at, logit) in logits.iter().enumerate() {
            // Of equal ones the first.
            if *logit > largest {
                (best, largest) = (at, *logit);
            }
        }
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let Self::Drawn { temperature, random } = self else {
            return Some(best);
        };
        let chance = |logit: &f32| f64::from(math::exp((f64::from(logit - largest) / *temperature) as f32));
        // At least 1: the likeliest letter's own.
        let total: f64 = logits.iter().map(chance).sum();
        let mut left = random.unit() * total;
        for (at, logit) in logits.iter().enumerate() {
            left -= chance(logit);
            if left < 0.0 {
                return Some(at);
            }
        }
        // Rounding can leave a rest.
        Some(best)
    }
}

struct CharRnn {
    schema: LettersSchema,
    alphabet: Vec<char>,
    network: Network,
}

pub(crate) fn load(manifest: &Manifest, file: &str, bytes: &[u8]) -> Result<Box<dyn Model>, model::LoadError> {
    let network = Network::read(bytes)
        .map_err(|source| model::LoadError::Engine { file: file.to_owned(), source: Box::new(source) })?;
    let contradiction = |text: String| Err(model::LoadError::Contradiction(text));
    let (Input::StartLetters(schema), Output::Text { .. }) = (&manifest.input, &manifest.output) else {
        return contradiction("a character RNN takes start_letters and answers text".to_owned());
    };
    let alphabet: Vec<char> = schema.alphabet.chars().collect();
    for (name, kind, least) in
        [(MAX_LENGTH, ParamKind::Integer, 1.0), (TEMPERATURE, ParamKind::Number, 0.0), (SEED, ParamKind::Integer, 0.0)]
    {
        let declared = manifest.params.get(name);
        if declared.is_some_and(|param| param.kind != kind || param.min.is_none_or(|min| min < least)) {
            let kind = if kind == ParamKind::Integer { "an integer" } else { "a number" };
            return contradiction(format!("[params.{name}] must be {kind} with a min of at least {least}"));
        }
    }
    if (schema.categories.len(), alphabet.len()) != (network.categories(), network.letters()) {
        let (categories, letters) = (network.categories(), network.letters());
        return contradiction(format!("the model file has {categories} categories and {letters} letters"));
    }
    Ok(Box::new(CharRnn { schema: schema.clone(), alphabet, network }))
}

impl CharRnn {
    fn text(
        &self,
        category: usize,
        start: usize,
        max_length: u64,
        choice: &mut Choice,
        control: &Control,
    ) -> Result<String, RunError> {
        let mut word = self.network.begin(category);
        let mut text = String::new();
        let mut letter = start;
        let mut length = 0;
        // The alphabet has no letter at the end's place.
        while let Some(next) = self.alphabet.get(letter) {
            if control.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            text.push(*next);
            length += 1;
            if length >= max_length {
                break;
            }
            letter = choice
                .choose(word.step(letter))
                .ok_or_else(|| RunError::Failed("the network's numbers grew beyond all bounds".to_owned()))?;
        }
        Ok(text)
    }
}

impl Model for CharRnn {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let Letters { category, start_letters } = Letters::from_json(&self.schema, input)?;
        let max_length = params.get(MAX_LENGTH).and_then(serde_json::Value::as_u64).unwrap_or(DEFAULT_MAX_LENGTH);
        let mut choice = Choice::of(params);
        let mut texts = Vec::with_capacity(start_letters.len());
        for start in &start_letters {
            texts.push(self.text(category, *start, max_length, &mut choice, control)?);
            control.report(texts.len() as u64, start_letters.len() as u64);
        }
        let body = serde_json::to_vec(&texts).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        (self.network.weights() * size_of::<f32>()) as u64
    }
}
