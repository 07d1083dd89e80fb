//! From sums of leaves to an answer, as ONNX Runtime has it where the operators' description is vague
//! (<https://github.com/microsoft/onnxruntime>, `onnxruntime/core/providers/cpu/ml/`).

use crate::load_error::LoadError;
use crate::math;
use crate::torch::short;

/// `post_transform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

/// What a row's sums mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scores {
    /// Targets, onto which base values are added; their mean over this many trees, if any.
    Numbers { base: Vec<f32>, average: Option<usize> },
    /// One for each class.
    Classes { base: Vec<f32>, transform: Transform },
    /// The second class's probability.
    Probability { base: f32 },
    /// The second class's score; the first one's is its negative, and `transform` is taken of each. Above the threshold, the second
    /// class wins.
    Opposite { base: f32, transform: Transform, threshold: f32 },
}

impl Transform {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "" | "NONE" => Self::None,
            "SOFTMAX" => Self::Softmax,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => {
                let highest = highest(scores);
                scores.iter_mut().for_each(|score| *score = math::exp(*score - highest));
                normalise(scores);
            }
            Self::SoftmaxZero => {
                let highest = highest(scores);
                let of_zero = math::exp(-highest);
                let mut sum = 0.0;
                for score in &mut *scores {
                    // What is 0 stays it.
                    if score.abs() > 1e-7 {
                        *score = math::exp(*score - highest);
                        sum += *score;
                    } else {
                        *score *= of_zero;
                    }
                }
                scores.iter_mut().for_each(|score| *score /= sum);
            }
        }
    }
}

impl Scores {
    /// Of two classes and one sum: if all weights are positive they are probabilities, otherwise scores.
    pub(super) fn binary(transform: Transform, base: &[f32], all_positive: bool) -> Result<Self, LoadError> {
        let base = match base {
            [] => 0.0,
            [base] => *base,
            _ => return Err(LoadError::Unsupported("a classifier of two classes with two base values".into())),
        };
        match transform {
            Transform::None if all_positive => Ok(Self::Probability { base }),
            Transform::None => Ok(Self::Opposite { base, transform, threshold: 0.0 }),
            // ONNX Runtime takes positive weights for probabilities even where it takes the logistic function of their sum.
            Transform::Logistic if all_positive => Ok(Self::Opposite { base, transform, threshold: 0.5 }),
            Transform::Logistic => Ok(Self::Opposite { base, transform, threshold: 0.0 }),
            Transform::Softmax | Transform::SoftmaxZero | Transform::Probit => {
                let why =
                    format!("a classifier of two classes with the post_transform {}", short(&format!("{transform:?}")));
                Err(LoadError::Unsupported(why))
            }
        }
    }

    pub(super) fn are_probabilities(&self) -> bool {
        match self {
            Self::Numbers { .. } => false,
            Self::Probability { .. } => true,
            // A forest's leaves hold probabilities, another model's may not: the file doesn't say.
            Self::Classes { transform, .. } => *transform != Transform::Probit,
            Self::Opposite { transform, .. } => *transform == Transform::Logistic,
        }
    }

    /// A row's class; of equal ones the first.
    pub(super) fn class(&self, sums: &[f32]) -> usize {
        match self {
            Self::Numbers { .. } => 0,
            Self::Probability { base } => usize::from(sums[0] + base > 0.5),
            Self::Opposite { base, threshold, .. } => usize::from(sums[0] + base > *threshold),
            Self::Classes { base, .. } => {
                let scores = plus(sums, base);
                (1..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
            }
        }
    }

    /// A row's answer.
    pub(super) fn of(&self, sums: &[f32]) -> Vec<f32> {
        match self {
            Self::Numbers { base, average: None } => plus(sums, base),
            Self::Numbers { base, average: Some(trees) } => {
                let means: Vec<f32> = sums.iter().map(|sum| sum / *trees as f32).collect();
                plus(&means, base)
            }
            Self::Classes { base, transform } => {
                let mut scores = plus(sums, base);
                transform.apply(&mut scores);
                scores
            }
            Self::Probability { base } => vec![1.0 - (sums[0] + base), sums[0] + base],
            Self::Opposite { base, transform, .. } => {
                let mut scores = vec![-(sums[0] + base), sums[0] + base];
                transform.apply(&mut scores);
                scores
            }
        }
    }
}

fn plus(sums: &[f32], base: &[f32]) -> Vec<f32> {
    sums.iter().enumerate().map(|(at, sum)| sum + base.get(at).copied().unwrap_or(0.0)).collect()
}

fn highest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(f32::MIN, f32::max)
}

fn normalise(scores: &mut [f32]) {
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

fn logistic(score: f32) -> f32 {
    let of_magnitude = 1.0 / (1.0 + math::exp(-score.abs()));
    if score < 0.0 { 1.0 - of_magnitude } else { of_magnitude }
}

/// The normal distribution's quantile, by Winitzki's approximation of the inverse error function.
#[expect(clippy::approx_constant, reason = "ONNX Runtime's π has these digits")]
fn probit(score: f32) -> f32 {
    let x = 2.0 * score - 1.0;
    let log = math::ln((1.0 - x) * (1.0 + x));
    let v = 2.0 / (3.14159 * 0.147) + 0.5 * log;
    let inverse = (-v + (v * v - log / 0.147).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -inverse } else { inverse }
}
