//! From a net's numbers for each class to a label.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::math;
use crate::onnx::Net;

/// What a net's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scores {
    /// One a class, of which softmax makes probabilities. Logarithms of probabilities are such numbers as well.
    Logits,
    /// The probabilities themselves: the graph ends in softmax or sigmoid.
    Probabilities,
}

impl Scores {
    /// What an output of a net has, by the operator that writes it.
    pub(crate) fn of(net: &Net, output: usize) -> Self {
        match net.last_operators(output).last().map(String::as_str) {
            Some("Softmax" | "Sigmoid") => Self::Probabilities,
            _ => Self::Logits,
        }
    }

    /// Each label's probability of one row of numbers. A row has as many numbers as there are labels, or for two labels one:
    /// that of the second, of which a sigmoid makes a probability.
    pub(crate) fn probabilities(self, row: &[f32]) -> Vec<f32> {
        match (self, row) {
            (Self::Probabilities, [second]) => vec![1.0 - second, *second],
            (Self::Probabilities, _) => row.to_vec(),
            // Sigmoid is softmax with a zero beside it.
            (Self::Logits, [second]) => softmax(&[0.0, *second]),
            (Self::Logits, _) => softmax(row),
        }
    }
}

/// f32 exponentials, an f64 sum.
fn softmax(row: &[f32]) -> Vec<f32> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = row.iter().map(|logit| math::exp(logit - largest)).collect();
    let sum: f64 = powers.iter().copied().map(f64::from).sum();
    powers.into_iter().map(|power| (f64::from(power) / sum) as f32).collect()
}

/// The place of the largest probability, of equal ones the first; nothing if one is not a number.
pub(crate) fn likeliest(probabilities: &[f64]) -> Option<usize> {
    let finite = probabilities.iter().all(|probability| probability.is_finite());
    let better = |best, at| if probabilities[at] > probabilities[best] { at } else { best };
    (finite && !probabilities.is_empty()).then(|| (1..probabilities.len()).fold(0, better))
}

/// An answer: `{"label": "...", "confidence": 0.97}`, and on request each label's probability. Without probabilities, the label alone.
pub(crate) struct Labelled<'a> {
    labels: &'a [String],
    probabilities: Vec<f64>,
    best: usize,
    all: bool,
}

impl<'a> Labelled<'a> {
    /// Of as many probabilities as there are labels; nothing if one of them is not a number. Of equally likely labels, the first is the answer.
    pub(crate) fn new(labels: &'a [String], probabilities: &[f32], all: bool) -> Option<Self> {
        // Printed as the f64 that equals it.
        let probabilities: Vec<f64> = probabilities.iter().copied().map(f64::from).collect();
        let best = likeliest(&probabilities).filter(|_| probabilities.len() == labels.len())?;
        Some(Self { labels, probabilities, best, all })
    }

    /// Of a classifier that chose itself: the label's place, and as many probabilities as there are labels, or none.
    pub(crate) fn chosen(labels: &'a [String], best: usize, probabilities: Vec<f64>, all: bool) -> Self {
        Self { labels, probabilities, best, all }
    }

    /// The label's place.
    #[allow(dead_code, reason = "for models of texts")]
    pub(crate) fn best(&self) -> usize {
        self.best
    }
}

impl Serialize for Labelled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct All<'a>(&'a Labelled<'a>);
        impl Serialize for All<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.labels.iter().zip(&self.0.probabilities))
            }
        }
        let mut answer = serializer.serialize_map(None)?;
        answer.serialize_entry(
            "label",
            self.labels.get(self.best).ok_or_else(|| serde::ser::Error::custom("no label"))?,
        )?;
        if let Some(confidence) = self.probabilities.get(self.best) {
            answer.serialize_entry("confidence", confidence)?;
            if self.all {
                answer.serialize_entry("probabilities", &All(self))?;
            }
        }
        answer.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_probabilities() {
        assert_eq!(Scores::Logits.probabilities(&[1.0, 1.0]), [0.5, 0.5]);
        assert_eq!(Scores::Logits.probabilities(&[0.0]), [0.5, 0.5]);
        assert_eq!(Scores::Probabilities.probabilities(&[0.25]), [0.75, 0.25]);
        assert_eq!(Scores::Probabilities.probabilities(&[0.1, 0.9]), [0.1, 0.9]);
        // Far beyond what e^x can be.
        assert_eq!(Scores::Logits.probabilities(&[-1e30, 1e30, 3.0]), [0.0, 1.0, 0.0]);
        let three = Scores::Logits.probabilities(&[1.0, 2.0, 3.0]);
        for (ours, theirs) in three.iter().zip([0.090_030_57, 0.244_728_47, 0.665_240_96]) {
            assert!((ours - theirs).abs() < 1e-7, "{three:?}");
        }
    }

    #[test]
    fn the_likeliest_label_is_the_answer() {
        let labels = ["no".to_owned(), "yes".to_owned(), "maybe".to_owned()];
        let json = |probabilities: &[f32], all| {
            Labelled::new(&labels, probabilities, all).map(|answer| serde_json::to_string(&answer).unwrap())
        };
        assert_eq!(json(&[0.25, 0.5, 0.25], false).unwrap(), r#"{"label":"yes","confidence":0.5}"#);
        assert_eq!(
            json(&[0.5, 0.5, 0.0], true).unwrap(),
            r#"{"label":"no","confidence":0.5,"probabilities":{"no":0.5,"yes":0.5,"maybe":0.0}}"#
        );
        assert_eq!(json(&[0.5, 0.5], false), None);
        assert_eq!(json(&[0.5, f32::NAN, 0.0], false), None);
        assert_eq!(Labelled::new(&labels, &[0.0, 0.1, 0.9], false).unwrap().best(), 2);
        let alone = Labelled::chosen(&labels, 1, Vec::new(), true);
        assert_eq!(serde_json::to_string(&alone).unwrap(), r#"{"label":"yes"}"#);
    }
}
