//! Forests of decision trees, walked over order-preserving integer keys.
//!
//! What makes it fast without `unsafe` or instructions that only some machines have:
//!
//! - A value becomes an i32 [`key`] that orders as the float does, so that a comparison is one integer instruction.
//! - Each feature may have two columns: one where a missing value is below everything (splits that send it left), one where it is
//!   above everything (right). So missing values cost the walk nothing.
//! - A split on a set of categories has a column of its own, whose key says which way the row goes there.
//! - A node is 8 bytes. Children lie side by side, so that the comparison's outcome is added to the left child's place, and a leaf is
//!   its own left child, so that every row of a tree takes the same number of steps and nothing branches.
//! - 8 rows, or for a single row 8 trees, are walked at once, which hides the latency of the loads.
//!
//! Leaves are added one by one, in the order of the trees, to an accumulator that starts at the base score. XGBoost does the
//! same, and floating-point sums depend on it.

mod build;

pub use build::{Builder, Node, Test, TreeError};

/// Rows in flight in a batch, and the unit in which keys are laid out. With 16, whose places no longer fit the registers, the wine
/// models took 6 % longer, and batches of 3 to 15 rows much longer.
const LANES: usize = 8;
/// Trees in flight for a single row.
const TREES: usize = 8;
/// Keys for a block of rows should stay within a core's second-level cache beside the trees.
const BLOCK_KEYS: usize = 32 * 1024;
/// Up to here, rows are faster one by one than as a batch with idle lanes.
const FEW_ROWS: usize = 4;

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

/// The key of a value that is not missing: `key(a) < key(b)` if and only if `a < b`, and −0 has the key of 0.
///
/// Keys of numbers lie strictly between `i32::MIN + 1` and `i32::MAX`.
#[must_use]
pub fn key(value: f32) -> i32 {
    // Adding zero turns -0 into 0. The bits of a float order like a sign-magnitude integer.
    let bits = (value + 0.0).to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// One column of keys that the trees compare with.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    /// Always `i32::MIN`: where leaves look, and go "left" to themselves.
    Lowest,
    /// A feature's key; missing is below everything.
    MissingLow(usize),
    /// A feature's key; missing is above everything.
    MissingHigh(usize),
    /// −1 for left and 1 for right, by membership in a set of categories.
    Categories {
        feature: usize,
        /// In ascending order.
        set: Vec<u32>,
        missing_left: bool,
    },
}

impl Column {
    fn key(&self, row: &[f32]) -> i32 {
        match self {
            Self::Lowest => i32::MIN,
            Self::MissingLow(feature) => {
                let value = row[*feature];
                if value.is_nan() { i32::MIN } else { key(value) }
            }
            Self::MissingHigh(feature) => {
                let value = row[*feature];
                if value.is_nan() { i32::MAX } else { key(value) }
            }
            Self::Categories { feature, set, missing_left } => {
                let value = row[*feature];
                let left = if value.is_nan() {
                    *missing_left
                } else {
                    // The cast truncates and saturates.
                    value < 0.0 || set.binary_search(&(value as u32)).is_err()
                };
                if left { -1 } else { 1 }
            }
        }
    }
}

/// An index stored small: in u16 a node is 8 bytes, in u32 it is 12.
trait Index: Copy + Default + PartialEq + std::fmt::Debug {
    fn get(self) -> usize;
}

impl Index for u16 {
    #[inline(always)]
    fn get(self) -> usize {
        usize::from(self)
    }
}

impl Index for u32 {
    #[inline(always)]
    fn get(self) -> usize {
        self as usize
    }
}

/// A node as the walk reads it; `left` counts from the tree's first node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Packed<I> {
    key: i32,
    column: I,
    left: I,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tree {
    /// Place of the root among all nodes.
    start: u32,
    /// Steps from the root to the deepest leaf.
    depth: u32,
    /// Which of a row's outputs the leaves are added to.
    output: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Nodes {
    Narrow(Vec<Packed<u16>>),
    Wide(Vec<Packed<u32>>),
}

/// A forest ready to predict: every tree adds one leaf to one of a row's outputs. Made by a [`Builder`].
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    features: usize,
    base: Vec<f32>,
    columns: Vec<Column>,
    trees: Vec<Tree>,
    /// As long as `values`, and a power of two, which lets a mask stand for the bounds check.
    nodes: Nodes,
    /// Leaf values; 0 for splits.
    values: Vec<f32>,
}

impl Forest {
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

    /// Sums the leaves that each row falls into, onto the base scores.
    ///
    /// `rows` is row-major, n × [`features`](Self::features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs`](Self::outputs). `cancel` is asked before each block of rows of at most 128.
    ///
    /// # Errors
    ///
    /// [`PredictError`]; `out` then holds nothing of use.
    pub fn predict(&self, rows: &[f32], out: &mut Vec<f32>, cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        if self.features == 0 || !rows.len().is_multiple_of(self.features) {
            return Err(PredictError::RaggedRows { values: rows.len(), features: self.features });
        }
        let count = rows.len() / self.features;
        out.clear();
        out.reserve(count * self.outputs());
        for _ in 0..count {
            out.extend_from_slice(&self.base);
        }
        match &self.nodes {
            Nodes::Narrow(nodes) => self.predict_with(nodes, rows, out, cancel),
            Nodes::Wide(nodes) => self.predict_with(nodes, rows, out, cancel),
        }
    }

    fn predict_with<I: Index>(
        &self,
        nodes: &[Packed<I>],
        rows: &[f32],
        out: &mut [f32],
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        // The walk masks with len - 1.
        let width = self.columns.len().next_power_of_two();
        let outputs = self.outputs();
        if rows.len() <= FEW_ROWS * self.features {
            let mut keys = vec![0; width];
            for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(outputs)) {
                if cancel() {
                    return Err(PredictError::Cancelled);
                }
                self.add_row(nodes, row, &mut keys, out);
            }
            return Ok(());
        }
        let groups = (BLOCK_KEYS / (width * LANES)).clamp(1, 16).min(rows.len().div_ceil(self.features * LANES));
        let mut keys = vec![[0; LANES]; width * groups];
        let mut sums = vec![[0.0; LANES]; outputs * groups];
        let block_rows = groups * LANES;
        let blocks = rows.chunks(block_rows * self.features).zip(out.chunks_mut(block_rows * outputs));
        for (rows, out) in blocks {
            if cancel() {
                return Err(PredictError::Cancelled);
            }
            self.add_block(nodes, rows, width, &mut keys, &mut sums, out);
        }
        Ok(())
    }

    /// One row, [`TREES`] trees at a time.
    fn add_row<I: Index>(&self, nodes: &[Packed<I>], row: &[f32], keys: &mut [i32], out: &mut [f32]) {
        for (slot, column) in keys.iter_mut().zip(&self.columns) {
            *slot = column.key(row);
        }
        let (groups, rest) = self.trees.as_chunks::<TREES>();
        for group in groups {
            let leaves = walk_trees(nodes, keys, group);
            for (tree, leaf) in group.iter().zip(leaves) {
                out[tree.output as usize] += self.values[leaf];
            }
        }
        for tree in rest {
            let [leaf] = walk_trees(nodes, keys, &[*tree]);
            out[tree.output as usize] += self.values[leaf];
        }
    }

    /// A block of rows: each tree in turn takes all of them, [`LANES`] at a time, and stays in the first-level cache meanwhile.
    fn add_block<I: Index>(
        &self,
        nodes: &[Packed<I>],
        rows: &[f32],
        width: usize,
        keys: &mut [[i32; LANES]],
        sums: &mut [[f32; LANES]],
        out: &mut [f32],
    ) {
        let outputs = self.outputs();
        for (keys, rows) in keys.chunks_exact_mut(width).zip(rows.chunks(LANES * self.features)) {
            for (slots, column) in keys.iter_mut().zip(&self.columns) {
                // Lanes without a row keep old keys: any key is safe to walk with.
                for (slot, row) in slots.iter_mut().zip(rows.chunks_exact(self.features)) {
                    *slot = column.key(row);
                }
            }
        }
        let value_mask = self.values.len() - 1;
        for sums in sums.chunks_exact_mut(outputs) {
            for (sums, base) in sums.iter_mut().zip(&self.base) {
                *sums = [*base; LANES];
            }
        }
        for tree in &self.trees {
            for (keys, sums) in keys.chunks_exact(width).zip(sums.chunks_exact_mut(outputs)) {
                let leaves = walk_rows(nodes, keys, *tree);
                for (sum, leaf) in sums[tree.output as usize].iter_mut().zip(leaves) {
                    *sum += self.values[leaf & value_mask];
                }
            }
        }
        for (sums, out) in sums.chunks_exact(outputs).zip(out.chunks_mut(LANES * outputs)) {
            for (lane, out) in out.chunks_exact_mut(outputs).enumerate() {
                for (out, sums) in out.iter_mut().zip(sums) {
                    *out = sums[lane];
                }
            }
        }
    }
}

/// The leaf, as a place among all nodes, that each of a group's rows reaches in a tree.
#[inline(always)]
fn walk_rows<I: Index>(nodes: &[Packed<I>], keys: &[[i32; LANES]], tree: Tree) -> [usize; LANES] {
    // Both lengths are powers of two: the masks change no index, and spare the bounds checks.
    let node_mask = nodes.len() - 1;
    let key_mask = keys.len() - 1;
    let start = tree.start as usize;
    let mut at = [start; LANES];
    for _ in 0..tree.depth {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = nodes[*at & node_mask];
            let right = keys[node.column.get() & key_mask][lane] >= node.key;
            *at = start + node.left.get() + usize::from(right);
        }
    }
    at
}

/// The leaf, as a place among all nodes, that one row reaches in each of a group of trees.
#[inline(always)]
fn walk_trees<I: Index, const N: usize>(nodes: &[Packed<I>], keys: &[i32], trees: &[Tree; N]) -> [usize; N] {
    let node_mask = nodes.len() - 1;
    let key_mask = keys.len() - 1;
    let starts = trees.map(|tree| tree.start as usize);
    let depth = trees.iter().map(|tree| tree.depth).max().unwrap_or(0);
    let mut at = starts;
    for _ in 0..depth {
        for (at, start) in at.iter_mut().zip(starts) {
            let node = nodes[*at & node_mask];
            let right = keys[node.column.get() & key_mask] >= node.key;
            *at = start + node.left.get() + usize::from(right);
        }
    }
    at
}
