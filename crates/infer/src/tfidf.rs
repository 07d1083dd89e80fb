//! scikit-learn's text features, TF-IDF over n-grams of characters or words, and a linear classifier over them.
//!
//! The file is what `models/train/export_tfidf.py` writes of a `TfidfVectorizer` or `CountVectorizer` and a linear classifier;
//! its form is described in `models/train/README.md`. Features are scikit-learn's but for rounding (tests hold them to 1e-12), and
//! so is what a text is made of: `str.lower`, `\s` and `\w` are Python's. The one difference is Unicode's version: letters that it
//! got after the Python in question have case and category here already.
//!
//! The same text gives the same bits on every platform.

mod analyze;
mod classifier;
mod file;
mod terms;

pub use analyze::Analyzer;
pub use file::{ReadError, is_model};

use analyze::Buffer;
use classifier::Classifier;
use terms::Terms;

/// A text's features and a classifier over them.
#[derive(Debug)]
pub struct TfidfModel {
    analyzer: Analyzer,
    terms: Terms,
    weighting: Weighting,
    classifier: Classifier,
    /// The estimator's class, as scikit-learn names it.
    estimator: String,
    /// The scikit-learn that trained it.
    scikit_learn: String,
}

/// From how often a term occurs to its feature.
#[derive(Debug)]
struct Weighting {
    /// Whether it only counts that a term occurs.
    binary: bool,
    /// 1 + ln n instead of n.
    sublinear_tf: bool,
    /// For each term, its inverse document frequency.
    idf: Option<Vec<f64>>,
    norm: Option<Norm>,
}

/// What a text's features are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Norm {
    /// The sum of their absolute values.
    L1,
    /// The root of the sum of their squares.
    L2,
}

/// What a text's computation needs besides the model; kept from text to text, so that most take no memory from the system.
#[derive(Debug, Default)]
pub struct Scratch {
    buffer: Buffer,
    /// Of each n-gram of the vocabulary, wherever it occurs, its place there.
    found: Vec<u32>,
    features: Vec<(u32, f64)>,
}

impl TfidfModel {
    /// Reads a model file.
    ///
    /// # Errors
    ///
    /// [`ReadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        file::read(bytes)
    }

    /// The classes' names, in the file's order: at least two.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.classifier.labels
    }

    /// Whether there are probabilities, not only decisions.
    #[must_use]
    pub fn has_probabilities(&self) -> bool {
        self.classifier.has_probabilities()
    }

    /// What was trained: scikit-learn's name of its class, and scikit-learn's version.
    #[must_use]
    pub fn estimator(&self) -> (&str, &str) {
        (&self.estimator, &self.scikit_learn)
    }

    /// How many features a text could have.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// A text's features that are there: their places in the vocabulary, ascending, and their values.
    #[must_use]
    pub fn features<'a>(&self, text: &str, scratch: &'a mut Scratch) -> &'a [(u32, f64)] {
        let Scratch { buffer, found, features } = scratch;
        found.clear();
        self.analyzer
            .ngrams(text, buffer, self.terms.longest(), |hash, term| found.extend(self.terms.find(hash, term)));
        found.sort_unstable();
        features.clear();
        features.extend(found.chunk_by(u32::eq).map(|same| (same[0], self.weighting.of(same[0], same.len()))));
        self.weighting.normalise(features);
        features
    }

    /// A text's decision values, one a class; with two classes a single one, which is above 0 for the second.
    #[must_use]
    pub fn decide(&self, text: &str, scratch: &mut Scratch) -> Vec<f64> {
        self.classifier.decide(self.features(text, scratch))
    }

    /// Of decision values, the class.
    #[must_use]
    pub fn class(&self, decision: &[f64]) -> usize {
        classifier::class(decision)
    }

    /// Of decision values, each class's probability; empty if the estimator has none.
    #[must_use]
    pub fn probabilities(&self, decision: &[f64]) -> Vec<f64> {
        self.classifier.probabilities(decision)
    }

    /// About how much memory the model holds.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let idf = self.weighting.idf.as_ref().map_or(0, Vec::len);
        (self.terms.memory_bytes() + (idf + self.classifier.weights()) * size_of::<f64>()) as u64
    }
}

impl Weighting {
    /// A term's value before normalising, of how often it occurs: at least once.
    fn of(&self, term: u32, count: usize) -> f64 {
        let count = if self.binary { 1.0 } else { count as f64 };
        // Not the platform's logarithm: its last bit differs from one to another.
        let tf = if self.sublinear_tf && count > 1.0 { libm::log(count) + 1.0 } else { count };
        self.idf.as_ref().map_or(tf, |idf| tf * idf[term as usize])
    }

    fn normalise(&self, features: &mut [(u32, f64)]) {
        let values = features.iter().map(|(_, value)| *value);
        let norm = match self.norm {
            None => return,
            Some(Norm::L1) => values.map(f64::abs).sum(),
            Some(Norm::L2) => values.map(|value| value * value).sum::<f64>().sqrt(),
        };
        if norm > 0.0 {
            features.iter_mut().for_each(|(_, value)| *value /= norm);
        }
    }
}
