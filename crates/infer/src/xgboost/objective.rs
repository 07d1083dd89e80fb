//! What a model's objective means for prediction: how the stored base score becomes a margin, and a margin an answer.

use crate::math;

/// How margins become predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    /// As they are.
    Identity,
    /// To probabilities.
    Sigmoid,
    /// 1 above zero, else 0.
    Step,
    /// e^x.
    Exp,
    /// e^x, taken in f64 and then rounded.
    ExpInDouble,
    /// Of a row's margins, the first largest one's class.
    Argmax,
    /// Of a row's margins, the classes' probabilities.
    Softmax,
}

impl Transform {
    /// For an objective by the name in the model file; `None` if it isn't known.
    pub(crate) fn of(objective: &str) -> Option<Self> {
        Some(match objective {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "reg:expectileerror"
            | "binary:logitraw"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => Self::Identity,
            "reg:logistic" | "binary:logistic" => Self::Sigmoid,
            "binary:hinge" => Self::Step,
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" => Self::Exp,
            "survival:aft" => Self::ExpInDouble,
            "multi:softmax" => Self::Argmax,
            "multi:softprob" => Self::Softmax,
            _ => return None,
        })
    }

    /// How many values a row's answer has, of this many margins.
    pub(crate) fn outputs(self, margins: usize) -> usize {
        if self == Self::Argmax { 1 } else { margins }
    }

    /// Margins, row-major n × `margins`, to answers, n × [`outputs`](Self::outputs).
    pub(crate) fn apply(self, values: &mut Vec<f32>, margins: usize) {
        match self {
            Self::Identity => {}
            Self::Sigmoid => values.iter_mut().for_each(|value| *value = math::sigmoid(*value)),
            Self::Step => values.iter_mut().for_each(|value| *value = if *value > 0.0 { 1.0 } else { 0.0 }),
            Self::Exp => values.iter_mut().for_each(|value| *value = math::exp(*value)),
            Self::ExpInDouble => {
                values.iter_mut().for_each(|value| *value = math::double::exp(f64::from(*value)) as f32)
            }
            Self::Softmax => values.chunks_exact_mut(margins).for_each(math::softmax),
            Self::Argmax => {
                let rows = values.len() / margins;
                for row in 0..rows {
                    let scores = &values[row * margins..][..margins];
                    // Like `std::max_element`: only a larger one takes over.
                    let best =
                        (1..margins).fold(0, |best, class| if scores[best] < scores[class] { class } else { best });
                    values[row] = best as f32;
                }
                values.truncate(rows);
            }
        }
    }
}

/// The margin of a base score, which model files give in the output's space. For `binary:logitraw` that is the margin's own.
pub(crate) fn margin(objective: &str, base_score: f32) -> f32 {
    match objective {
        "reg:logistic" | "binary:logistic" => -math::ln(1.0 / base_score - 1.0),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => math::ln(base_score),
        _ => base_score,
    }
}
