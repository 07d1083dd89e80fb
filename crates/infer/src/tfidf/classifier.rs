//! Linear classifiers, as scikit-learn's decide and as they turn decisions into probabilities.

use std::collections::HashSet;

use serde::Deserialize;

use crate::math::double;

/// From decision values to probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Link {
    /// None: the estimator has no probabilities (`LinearSVC`, `RidgeClassifier`).
    None,
    /// The logistic function; of several classes, over their sum (`SGDClassifier` with `log_loss`, `LogisticRegression` of two).
    Logistic,
    /// Exponents over their sum (`LogisticRegression` of three or more).
    Softmax,
    /// (x + 1) / 2 between −1 and 1; of several classes, over their sum (`SGDClassifier` with `modified_huber`).
    ModifiedHuber,
}

#[derive(Debug)]
pub(super) struct Classifier {
    pub(super) labels: Vec<String>,
    /// terms × outputs
    pub(super) weights: Vec<f64>,
    /// One for each output.
    pub(super) intercept: Vec<f64>,
    pub(super) link: Link,
}

impl Classifier {
    /// How many decision values there are: one for two classes, else one for each.
    pub(super) fn outputs(labels: &[String]) -> usize {
        if labels.len() == 2 { 1 } else { labels.len() }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let labels = self.labels.len();
        if labels < 2 || self.labels.iter().collect::<HashSet<_>>().len() < labels {
            return Err(format!("{labels} labels, which must be two or more, each another"));
        }
        if labels == 2 && self.link == Link::Softmax {
            return Err("two labels and the link softmax".to_owned());
        }
        Ok(())
    }

    pub(super) fn decide(&self, features: &[(u32, f64)]) -> Vec<f64> {
        let outputs = self.intercept.len();
        let mut sums = vec![0.0; outputs];
        for (term, value) in features {
            let weights = &self.weights[*term as usize * outputs..][..outputs];
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
        sums.iter_mut().zip(&self.intercept).for_each(|(sum, intercept)| *sum += intercept);
        sums
    }

    pub(super) fn has_probabilities(&self) -> bool {
        self.link != Link::None
    }

    pub(super) fn weights(&self) -> usize {
        self.weights.len()
    }

    pub(super) fn probabilities(&self, decision: &[f64]) -> Vec<f64> {
        let one: fn(f64) -> f64 = match self.link {
            Link::None => return Vec::new(),
            Link::Softmax => {
                let mut values = decision.to_vec();
                double::softmax(&mut values);
                return values;
            }
            Link::Logistic => double::expit,
            Link::ModifiedHuber => |value| (value.clamp(-1.0, 1.0) + 1.0) / 2.0,
        };
        if let [value] = decision {
            let second = one(*value);
            return vec![1.0 - second, second];
        }
        let mut values: Vec<f64> = decision.iter().map(|value| one(*value)).collect();
        let sum: f64 = values.iter().sum();
        let count = values.len() as f64;
        values.iter_mut().for_each(|value| *value = if sum == 0.0 { 1.0 / count } else { *value / sum });
        values
    }
}

/// The class of the largest value, of equal ones the first; of a single value, the second class if it is above 0.
pub(super) fn class(decision: &[f64]) -> usize {
    match decision {
        [value] => usize::from(*value > 0.0),
        values => (1..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best }),
    }
}
