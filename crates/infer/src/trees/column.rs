//! What splits compare.

use std::sync::Arc;

use super::Scalar;

/// One column of keys that the trees compare with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    /// Always the lowest key: where leaves look, and go "left" to themselves.
    Lowest,
    /// A feature's key; missing is below everything.
    MissingLow(usize),
    /// A feature's key; missing is above everything.
    MissingHigh(usize),
    /// Highest, for right, if the feature has this key, and lowest if it has another.
    Equal { feature: usize, key: i64, missing_left: bool },
    /// Lowest for left and highest for right, by membership in a set of categories.
    Categories {
        feature: usize,
        /// In ascending order. Shared, for layouts have copies.
        set: Arc<[u32]>,
        missing_left: bool,
    },
}

impl Column {
    pub(super) fn key<X: Scalar>(&self, row: &[X]) -> X::Key {
        match self {
            Self::Lowest => X::LOWEST,
            Self::MissingLow(feature) => {
                let value = row[*feature];
                if value.is_nan() { X::LOWEST } else { value.key() }
            }
            Self::MissingHigh(feature) => {
                let value = row[*feature];
                if value.is_nan() { X::HIGHEST } else { value.key() }
            }
            Self::Equal { feature, key, missing_left } => {
                let value = row[*feature];
                let left = if value.is_nan() { *missing_left } else { value.key().into() != *key };
                if left { X::LOWEST } else { X::HIGHEST }
            }
            Self::Categories { feature, set, missing_left } => {
                let value = row[*feature];
                let left = if value.is_nan() {
                    *missing_left
                } else {
                    value.category().is_none_or(|category| set.binary_search(&category).is_err())
                };
                if left { X::LOWEST } else { X::HIGHEST }
            }
        }
    }

    /// The feature it takes its keys from.
    pub(super) fn feature(&self) -> Option<usize> {
        match self {
            Self::Lowest => None,
            Self::MissingLow(feature)
            | Self::MissingHigh(feature)
            | Self::Equal { feature, .. }
            | Self::Categories { feature, .. } => Some(*feature),
        }
    }

    /// Memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Categories { set, .. } => size_of_val::<[_]>(set),
            Self::Lowest | Self::MissingLow(_) | Self::MissingHigh(_) | Self::Equal { .. } => 0,
        }
    }
}
