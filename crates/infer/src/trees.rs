//! Forests of decision trees.
//!
//! Whatever a split asks, a row goes left or right by comparing integers, of which every kind of split makes the same question:
//!
//! - A value becomes an integer [`key`] that orders as the float does.
//! - Each feature may have two columns: one where a missing value is below everything (splits that send it left), one where it is
//!   above everything (right). So missing values cost nothing.
//! - A split on a set of categories has a column of its own, whose key says which way the row goes there.
//!
//! A forest has two forms. The second is made for the first batch, so that whoever has a few rows doesn't wait for it:
//!
//! - The `walk`, for single rows, and for batches where nothing else fits: from node to node, some trees or rows at once.
//! - The `blend`, for batches: all splits of a tree are asked for many rows at once, a bit each, and the outcomes choose among each other.
//!   There, values are `ranks`. It is the same code for every machine, on the operations in `lanes`; `simd` has those of AVX2,
//!   AVX-512 and Neon, and the only `unsafe`. [`Layout`] says which the machine has.
//!
//! Both are exact, because neither computes anything with the values: a rank or key is below a threshold's if and only if the value is below the
//! threshold. And leaves are added one by one, in the order of the trees, to an accumulator that starts at the base score. The training
//! libraries do the same, and floating-point sums depend on it. They differ in precision, so a [`Forest`] is generic over it: XGBoost
//! reads and sums f32, scikit-learn's forests read f32 and sum f64, its histogram boosting and LightGBM read and sum f64.

mod blend;
mod build;
mod column;
mod lanes;
mod layout;
mod leaves;
mod ranks;
mod scalar;
mod simd;
mod walk;

pub(crate) use build::Spot;
pub use build::{Builder, Node, Test, TreeError};
pub use layout::Layout;
pub use scalar::{Scalar, key};

use std::sync::OnceLock;

use blend::Blend;
use column::Column;
use leaves::Leaves;
use walk::{Nodes, Tree, Turn};

/// Up to here, rows are walked rather than blended with idle lanes.
const FEW_ROWS: usize = 16;

/// The most features that a model of tables may have: bounds what names and a row take. Rows of JSON name each of their values.
pub const MAX_FEATURES: usize = 1 << 16;

/// Why [`Forest::predict`] gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// The caller's cancel flag was up.
    #[error("cancelled")]
    Cancelled,
    /// The values are no whole number of rows.
    #[error("{values} values are no whole number of rows of {features} features")]
    RaggedRows {
        /// How many values were given.
        values: usize,
        /// How many make a row.
        features: usize,
    },
}

/// A forest ready to predict: every tree adds one leaf to a row's outputs. Made by a [`Builder`].
///
/// Rows are of `X`, leaves and sums of `V`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest<X: Scalar = f32, V = f32> {
    features: usize,
    base: Vec<V>,
    columns: Vec<Column>,
    trees: Vec<Tree>,
    /// See [`walk::turns`].
    turns: Vec<Turn>,
    nodes: Nodes<X::Key>,
    leaves: Leaves<V>,
    layout: Layout,
    /// What the blend takes at most.
    blend_bytes: usize,
    blend: Lazy<X, V>,
}

/// A forest's blend, once a batch asked for it; none if the trees can't be blended.
#[derive(Clone, Debug)]
struct Lazy<X: Scalar, V>(OnceLock<Option<Box<Blend<X, V>>>>);

/// It follows from the rest of the forest, whether it is there yet or not.
impl<X: Scalar, V> PartialEq for Lazy<X, V> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<X: Scalar, V: Scalar> Forest<X, V> {
    /// How many values make a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many outputs a row has.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.base.len()
    }

    /// How many trees there are.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How much memory the forest holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let columns = self.columns.capacity() * size_of::<Column>()
            + self.columns.iter().map(Column::memory_bytes).sum::<usize>();
        let blend = match self.blend.0.get() {
            // It may be asked for at any time.
            None => self.blend_bytes,
            Some(blend) => blend.as_ref().map_or(0, |blend| size_of::<Blend<X, V>>() + blend.memory_bytes()),
        };
        size_of::<Self>()
            + self.base.capacity() * size_of::<V>()
            + columns
            + self.trees.capacity() * size_of::<Tree>()
            + self.turns.capacity() * size_of::<Turn>()
            + self.nodes.memory_bytes()
            + self.leaves.memory_bytes()
            + blend
    }

    /// Sums the leaves that each row falls into, onto the base scores.
    ///
    /// `rows` is row-major, n × [`features`](Self::features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs`](Self::outputs). `cancel` is asked before each block of rows of at most 512.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict(&self, rows: &[X], out: &mut Vec<V>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        if self.features == 0 || !rows.len().is_multiple_of(self.features) {
            return Err(PredictError::RaggedRows { values: rows.len(), features: self.features });
        }
        let count = rows.len() / self.features;
        out.clear();
        out.reserve(count * self.outputs());
        for _ in 0..count {
            out.extend_from_slice(&self.base);
        }
        match self.blend_for(count) {
            Some(blend) => self.blend(blend, rows, out, cancel),
            None => self.walk(rows, out, cancel),
        }
    }
}
