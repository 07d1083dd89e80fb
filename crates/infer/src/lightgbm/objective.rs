//! What a model's objective means for prediction.

use crate::load_error::LoadError;
use crate::math::double::{exp, softmax};
use crate::torch::short;

/// How sums of leaves become answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Objective {
    /// As they are.
    Identity,
    /// Squared, with their sign (`reg_sqrt`).
    Square,
    /// e^x.
    Exp,
    /// 1 / (1 + e^(−factor · x)), one for each output; classes if there are any.
    Sigmoid { factor: f64, labels: bool },
    /// The classes' probabilities.
    Softmax,
}

impl Objective {
    /// From the file's line, such as "multiclassova num_class:3 sigmoid:1".
    pub(super) fn parse(text: &str) -> Result<Self, LoadError> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut factor = None;
        let mut square = false;
        for word in words {
            match word.split_once(':') {
                Some(("sigmoid", value)) => factor = value.parse().ok().filter(|factor: &f64| factor.is_finite()),
                None if word == "sqrt" => square = true,
                _ => {}
            }
        }
        let sigmoid = |labels| {
            let factor =
                factor.ok_or_else(|| LoadError::Invalid(format!("objective {} has no sigmoid", short(text))))?;
            Ok(Self::Sigmoid { factor, labels })
        };
        match name {
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" if square => Ok(Self::Square),
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank" | "rank_xendcg" => {
                Ok(Self::Identity)
            }
            "poisson" | "gamma" | "tweedie" => Ok(Self::Exp),
            "binary" | "multiclassova" => sigmoid(true),
            "cross_entropy" => Ok(Self::Sigmoid { factor: 1.0, labels: false }),
            "multiclass" => Ok(Self::Softmax),
            _ => Err(LoadError::Unsupported(format!("objective {}", short(text)))),
        }
    }

    /// How many classes there are, if answers are classes.
    pub(super) fn classes(self, outputs: usize) -> Option<usize> {
        match self {
            Self::Sigmoid { labels: true, .. } | Self::Softmax => Some(if outputs == 1 { 2 } else { outputs }),
            _ => None,
        }
    }

    /// A row's sums to its answer, in place.
    pub(super) fn convert(self, row: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::Square => {
                row.iter_mut().for_each(|x| *x = if *x == 0.0 { 0.0 } else { x.signum() } * *x * *x);
            }
            Self::Exp => row.iter_mut().for_each(|x| *x = exp(*x)),
            Self::Sigmoid { factor, .. } => row.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-factor * *x))),
            Self::Softmax => softmax(row),
        }
    }
}
