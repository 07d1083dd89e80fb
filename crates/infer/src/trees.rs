//! Forests of decision trees, walked over order-preserving integer keys.
//!
//! What makes it fast without `unsafe` or instructions that only some machines have:
//!
//! - A value becomes an integer [`key`] that orders as the float does, so that a comparison is one integer instruction.
//! - Each feature may have two columns: one where a missing value is below everything (splits that send it left), one where it is
//!   above everything (right). So missing values cost the walk nothing.
//! - A split on a set of categories has a column of its own, whose key says which way the row goes there.
//! - A node is 8 bytes (16 where rows are f64). Children lie side by side, so that the comparison's outcome is added to the left child's place, and a leaf is
//!   its own left child, so that every row of a tree takes the same number of steps and nothing branches.
//! - 8 rows, or for a single row 8 trees, are walked at once, which hides the latency of the loads.
//!
//! Leaves are added one by one, in the order of the trees, to an accumulator that starts at the base score. The training libraries
//! do the same, and floating-point sums depend on it. They differ in precision, so a [`Forest`] is generic over it: XGBoost reads
//! and sums f32, scikit-learn's forests read f32 and sum f64, its histogram boosting and LightGBM read and sum f64.

mod build;
mod scalar;

pub use build::{Builder, Node, Test, TreeError};
pub use scalar::{Scalar, key};

/// Rows in flight in a batch, and the unit in which keys are laid out. With 16, whose places no longer fit the registers, the wine
/// models took 6 % longer, and batches of 3 to 15 rows much longer.
const LANES: usize = 8;
/// Trees in flight for a single row.
const TREES: usize = 8;
/// Keys for a block of rows should stay within a core's second-level cache beside the trees.
const BLOCK_KEYS: usize = 32 * 1024;
/// Up to here, rows are faster one by one than as a batch with idle lanes.
const FEW_ROWS: usize = 4;

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

/// One column of keys that the trees compare with.
#[derive(Clone, Debug, PartialEq)]
enum Column {
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
        /// In ascending order.
        set: Box<[u32]>,
        missing_left: bool,
    },
}

impl Column {
    fn key<X: Scalar>(&self, row: &[X]) -> X::Key {
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
}

/// An index stored small: beside a key of 4 bytes, a node is 8 bytes in u16 and 12 in u32.
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
struct Packed<K, I> {
    key: K,
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
enum Nodes<K> {
    Narrow(Vec<Packed<K, u16>>),
    Wide(Vec<Packed<K, u32>>),
}

/// What the leaves add.
#[derive(Clone, Debug, PartialEq)]
enum Leaves<V> {
    /// A value to the tree's own output: by node, 0 for splits. As long as the nodes.
    One(Vec<V>),
    /// A value to each output.
    All(All<V>),
}

#[derive(Clone, Debug, PartialEq)]
struct All<V> {
    /// By node, which list is a leaf's; 0 for splits. As long as the nodes.
    lists: Vec<u32>,
    /// The lists one after another, each with a value an output.
    values: Vec<V>,
}

/// How leaves get into the sums, chosen once a prediction, not once a leaf.
trait Add<V> {
    /// Adds a leaf to a row's sums.
    fn add(&self, leaf: usize, output: usize, sums: &mut [V]);

    /// Adds each lane's leaf to the lane's sums.
    fn add_lanes(&self, leaves: [usize; LANES], output: usize, sums: &mut [[V; LANES]]);
}

/// One value a node.
impl<V: Scalar> Add<V> for [V] {
    #[inline(always)]
    fn add(&self, leaf: usize, output: usize, sums: &mut [V]) {
        sums[output] += self[leaf];
    }

    #[inline(always)]
    fn add_lanes(&self, leaves: [usize; LANES], output: usize, sums: &mut [[V; LANES]]) {
        // The length is a power of two: the mask changes no index, and spares the bounds checks.
        let mask = self.len() - 1;
        let sums = &mut sums[output];
        // Zipped iterators, in a function of their own, made batches 5 % slower.
        for lane in 0..LANES {
            sums[lane] += self[leaves[lane] & mask];
        }
    }
}

impl<V: Scalar> All<V> {
    #[inline(always)]
    fn list(&self, leaf: usize, outputs: usize) -> &[V] {
        &self.values[self.lists[leaf] as usize * outputs..][..outputs]
    }
}

impl<V: Scalar> Add<V> for All<V> {
    #[inline(always)]
    fn add(&self, leaf: usize, _: usize, sums: &mut [V]) {
        let list = self.list(leaf, sums.len());
        for (sum, value) in sums.iter_mut().zip(list) {
            *sum += *value;
        }
    }

    #[inline(always)]
    fn add_lanes(&self, leaves: [usize; LANES], _: usize, sums: &mut [[V; LANES]]) {
        for (lane, leaf) in leaves.into_iter().enumerate() {
            let list = self.list(leaf, sums.len());
            for (sums, value) in sums.iter_mut().zip(list) {
                sums[lane] += *value;
            }
        }
    }
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
    /// A power of two many, which lets a mask stand for the bounds check.
    nodes: Nodes<X::Key>,
    leaves: Leaves<V>,
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
        fn of<T>(items: &Vec<T>) -> usize {
            items.capacity() * size_of::<T>()
        }
        let sets = |column: &Column| match column {
            Column::Categories { set, .. } => size_of_val::<[_]>(set),
            Column::Lowest | Column::MissingLow(_) | Column::MissingHigh(_) | Column::Equal { .. } => 0,
        };
        let nodes = match &self.nodes {
            Nodes::Narrow(nodes) => of(nodes),
            Nodes::Wide(nodes) => of(nodes),
        };
        let leaves = match &self.leaves {
            Leaves::One(values) => of(values),
            Leaves::All(all) => of(&all.lists) + of(&all.values),
        };
        let columns = of(&self.columns) + self.columns.iter().map(sets).sum::<usize>();
        size_of::<Self>() + of(&self.base) + columns + of(&self.trees) + nodes + leaves
    }

    /// Sums the leaves that each row falls into, onto the base scores.
    ///
    /// `rows` is row-major, n × [`features`](Self::features), NaN for a missing value. `out` is cleared and gets n ×
    /// [`outputs`](Self::outputs). `cancel` is asked before each block of rows of at most 128.
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
        match (&self.nodes, &self.leaves) {
            (Nodes::Narrow(nodes), Leaves::One(values)) => {
                self.predict_with(nodes, values.as_slice(), rows, out, cancel)
            }
            (Nodes::Narrow(nodes), Leaves::All(leaves)) => self.predict_with(nodes, leaves, rows, out, cancel),
            (Nodes::Wide(nodes), Leaves::One(values)) => self.predict_with(nodes, values.as_slice(), rows, out, cancel),
            (Nodes::Wide(nodes), Leaves::All(leaves)) => self.predict_with(nodes, leaves, rows, out, cancel),
        }
    }

    fn predict_with<I: Index>(
        &self,
        nodes: &[Packed<X::Key, I>],
        leaves: &(impl Add<V> + ?Sized),
        rows: &[X],
        out: &mut [V],
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        // The walk masks with len - 1.
        let width = self.columns.len().next_power_of_two();
        let outputs = self.outputs();
        if rows.len() <= FEW_ROWS * self.features {
            let mut keys = vec![X::LOWEST; width];
            for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(outputs)) {
                if cancel() {
                    return Err(PredictError::Cancelled);
                }
                self.add_row(nodes, leaves, row, &mut keys, out);
            }
            return Ok(());
        }
        let groups = (BLOCK_KEYS / (width * LANES)).clamp(1, 16).min(rows.len().div_ceil(self.features * LANES));
        let mut keys = vec![[X::LOWEST; LANES]; width * groups];
        let mut sums = vec![[V::ZERO; LANES]; outputs * groups];
        let block_rows = groups * LANES;
        let blocks = rows.chunks(block_rows * self.features).zip(out.chunks_mut(block_rows * outputs));
        for (rows, out) in blocks {
            if cancel() {
                return Err(PredictError::Cancelled);
            }
            self.add_block(nodes, leaves, rows, width, &mut keys, &mut sums, out);
        }
        Ok(())
    }

    /// One row, [`TREES`] trees at a time.
    fn add_row<I: Index>(
        &self,
        nodes: &[Packed<X::Key, I>],
        leaves: &(impl Add<V> + ?Sized),
        row: &[X],
        keys: &mut [X::Key],
        out: &mut [V],
    ) {
        for (slot, column) in keys.iter_mut().zip(&self.columns) {
            *slot = column.key(row);
        }
        let (groups, rest) = self.trees.as_chunks::<TREES>();
        for group in groups {
            let reached = walk_trees(nodes, keys, group);
            for (tree, leaf) in group.iter().zip(reached) {
                leaves.add(leaf, tree.output as usize, out);
            }
        }
        for tree in rest {
            let [leaf] = walk_trees(nodes, keys, &[*tree]);
            leaves.add(leaf, tree.output as usize, out);
        }
    }

    /// A block of rows: each tree in turn takes all of them, [`LANES`] at a time, and stays in the first-level cache meanwhile.
    #[expect(clippy::too_many_arguments, reason = "buffers that are reused from block to block")]
    fn add_block<I: Index>(
        &self,
        nodes: &[Packed<X::Key, I>],
        leaves: &(impl Add<V> + ?Sized),
        rows: &[X],
        width: usize,
        keys: &mut [[X::Key; LANES]],
        sums: &mut [[V; LANES]],
        out: &mut [V],
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
        for sums in sums.chunks_exact_mut(outputs) {
            for (sums, base) in sums.iter_mut().zip(&self.base) {
                *sums = [*base; LANES];
            }
        }
        for &tree in &self.trees {
            for (keys, sums) in keys.chunks_exact(width).zip(sums.chunks_exact_mut(outputs)) {
                leaves.add_lanes(walk_rows(nodes, keys, tree), tree.output as usize, sums);
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
fn walk_rows<K: Copy + Ord, I: Index>(nodes: &[Packed<K, I>], keys: &[[K; LANES]], tree: Tree) -> [usize; LANES] {
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
fn walk_trees<K: Copy + Ord, I: Index, const N: usize>(
    nodes: &[Packed<K, I>],
    keys: &[K],
    trees: &[Tree; N],
) -> [usize; N] {
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
