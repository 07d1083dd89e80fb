//! The file that `models/train/export_tfidf.py` writes, and its checks: safetensors, with the settings as metadata.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::analyze::Analyzer;
use super::classifier::{Classifier, Link};
use super::terms::{Terms, TermsError};
use super::{Norm, TfidfModel, Weighting};
use crate::char_rnn;

/// What the metadata's `format` is.
const FORMAT: &str = "tfidf-linear";
/// The only version of the form.
const VERSION: &str = "1";
/// The header names five tensors and holds stop words; parsed, it takes some twenty times as much memory.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(String),
    /// Its metadata cannot be read.
    #[error("its metadata {0}")]
    Metadata(String),
    /// A tensor is missing, superfluous or of another type or shape.
    #[error("its tensor {0}")]
    Tensor(String),
    /// The vocabulary.
    #[error("its vocabulary cannot be used")]
    Terms(#[from] TermsError),
    /// The parts contradict each other.
    #[error("it contradicts itself: it has {0}")]
    Contradiction(String),
}

/// Whether the bytes are meant to be such a file: safetensors whose header has the format's name.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    let header = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
    char_rnn::recognises(bytes) && header.windows(FORMAT.len()).any(|window| window == FORMAT.as_bytes())
}

/// The metadata `settings`, which is JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    scikit_learn: String,
    vectorizer: Analyzer,
    binary: bool,
    sublinear_tf: bool,
    norm: Option<Norm>,
    estimator: String,
    link: Link,
    labels: Vec<String>,
}

const TENSORS: [&str; 5] = ["terms", "lengths", "idf", "weights", "intercept"];

pub(super) fn read(bytes: &[u8]) -> Result<TfidfModel, ReadError> {
    let format = |error: safetensors::SafeTensorError| ReadError::Format(error.to_string());
    if bytes.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) > MAX_HEADER_BYTES as u64) {
        return Err(ReadError::Format(format!("its header has more than {MAX_HEADER_BYTES} bytes")));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let metadata = |key: &str| {
        let value = header.metadata().as_ref().and_then(|metadata| metadata.get(key));
        value.ok_or_else(|| ReadError::Metadata(format!("lacks {key}")))
    };
    if (metadata("format")?.as_str(), metadata("version")?.as_str()) != (FORMAT, VERSION) {
        return Err(ReadError::Metadata(format!("is not of the format {FORMAT} in version {VERSION}")));
    }
    let settings: Settings = serde_json::from_str(metadata("settings")?)
        .map_err(|error| ReadError::Metadata(format!("cannot be read: {}", short(&error.to_string()))))?;
    settings.vectorizer.check().map_err(ReadError::Contradiction)?;

    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    if let Some(extra) = file.names().into_iter().find(|name| !TENSORS.contains(name)) {
        return Err(ReadError::Tensor(format!("{:?} is unknown", short(extra))));
    }
    let text = tensor(&file, "terms")?;
    if text.dtype() != Dtype::U8 {
        return Err(ReadError::Tensor("terms is not of u8".to_owned()));
    }
    let text =
        String::from_utf8(text.data().to_vec()).map_err(|_| ReadError::Tensor("terms is not UTF-8".to_owned()))?;
    let terms = Terms::new(text, lengths(&tensor(&file, "lengths")?)?.into_iter())?;
    let count = terms.len();
    let idf = match file.names().contains(&"idf") {
        true => {
            let idf = Numbers::of(&file, "idf", &[count])?;
            Some((0..count).map(|term| idf.at(term)).collect())
        }
        false => None,
    };
    let outputs = Classifier::outputs(&settings.labels);
    let weights = Numbers::of(&file, "weights", &[outputs, count])?;
    let intercept = Numbers::of(&file, "intercept", &[outputs])?;
    let classifier = Classifier {
        link: settings.link,
        // A term's weights side by side.
        weights: (0..count)
            .flat_map(|term| (0..outputs).map(move |output| output * count + term))
            .map(|at| weights.at(at))
            .collect(),
        intercept: (0..outputs).map(|output| intercept.at(output)).collect(),
        labels: settings.labels,
    };
    classifier.check().map_err(ReadError::Contradiction)?;
    let (binary, sublinear_tf, norm) = (settings.binary, settings.sublinear_tf, settings.norm);
    Ok(TfidfModel {
        analyzer: settings.vectorizer,
        terms,
        weighting: Weighting { binary, sublinear_tf, idf, norm },
        classifier,
        estimator: settings.estimator,
        scikit_learn: settings.scikit_learn,
    })
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &'static str) -> Result<TensorView<'a>, ReadError> {
    file.tensor(name).map_err(|_| ReadError::Tensor(format!("{name} is missing")))
}

/// The terms' lengths in bytes, of u8, u16 or u32.
fn lengths(tensor: &TensorView<'_>) -> Result<Vec<usize>, ReadError> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::U8 => Ok(data.iter().map(|length| usize::from(*length)).collect()),
        Dtype::U16 => Ok(data.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes).into()).collect()),
        Dtype::U32 => Ok(data.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect()),
        _ => Err(ReadError::Tensor("lengths is of neither u8, u16 nor u32".to_owned())),
    }
}

/// A tensor's numbers, row by row, of f32 or f64, all finite.
struct Numbers<'a> {
    data: &'a [u8],
    wide: bool,
}

impl<'a> Numbers<'a> {
    fn of(file: &SafeTensors<'a>, name: &'static str, shape: &[usize]) -> Result<Self, ReadError> {
        let tensor = tensor(file, name)?;
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(ReadError::Tensor(format!("{name} has the shape {found:?} instead of {shape:?}")));
        }
        let wide = match tensor.dtype() {
            Dtype::F32 => false,
            Dtype::F64 => true,
            _ => return Err(ReadError::Tensor(format!("{name} is of neither f32 nor f64"))),
        };
        let numbers = Self { data: tensor.data(), wide };
        // Larger ones than any that was ever learned could add up to infinity.
        if (0..shape.iter().product()).map(|at| numbers.at(at)).any(|number| number.is_nan() || number.abs() > 1e100) {
            return Err(ReadError::Tensor(format!("{name} has a number that is not finite, or beyond 1e100")));
        }
        Ok(numbers)
    }

    fn at(&self, at: usize) -> f64 {
        if self.wide {
            f64::from_le_bytes(self.data.as_chunks().0[at])
        } else {
            f32::from_le_bytes(self.data.as_chunks().0[at]).into()
        }
    }
}

/// No more of a text out of a file than an error should quote.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
