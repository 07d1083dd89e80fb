//! The walk: each row, or each tree for a single row, goes from node to node by integer keys.
//!
//! A node is 8 bytes (16 where rows are f64). Children lie side by side, so that the comparison's outcome is added to the left child's
//! place, and a leaf is its own left child, so that every row of a tree takes the same number of steps and nothing branches. 8 rows, or
//! for a single row 8 trees, are walked at once, which hides the latency of the loads.

use super::leaves::{Add, Leaves};
use super::{Forest, PredictError, Scalar};

/// Rows in flight in a batch, and the unit in which keys are laid out. With 16, whose places no longer fit the registers, the wine
/// models took 6 % longer, and batches of 3 to 15 rows much longer.
pub(super) const LANES: usize = 8;
/// Trees in flight for a single row.
const TREES: usize = 8;
/// Keys for a block of rows should stay within a core's second-level cache beside the trees.
const BLOCK_KEYS: usize = 32 * 1024;
/// Up to here, rows are faster one by one than as a batch with idle lanes.
const FEW_ROWS: usize = 4;

/// An index stored small: beside a key of 4 bytes, a node is 8 bytes in u16 and 12 in u32.
pub(super) trait Index: Copy + Default + PartialEq + std::fmt::Debug {
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

/// A node as the walk reads it. Its left child is `left` nodes further, a leaf's is itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Packed<K, I> {
    pub(super) key: K,
    pub(super) column: I,
    pub(super) left: I,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tree {
    /// Place of the root among all nodes.
    pub(super) start: u32,
    /// How many nodes there are.
    pub(super) nodes: u32,
    /// Steps from the root to the deepest leaf.
    pub(super) depth: u32,
    /// Which of a row's outputs the leaves are added to.
    pub(super) output: u32,
}

/// All trees' nodes. A power of two many, which lets a mask stand for the bounds check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Nodes<K> {
    Narrow(Vec<Packed<K, u16>>),
    Wide(Vec<Packed<K, u32>>),
}

impl<K: Copy + Default> Nodes<K> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Narrow(nodes) => nodes.len(),
            Self::Wide(nodes) => nodes.len(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, node: Packed<K, u32>) {
        let Packed { key, column, left } = node;
        match self {
            Self::Narrow(nodes) => match (column.try_into(), left.try_into()) {
                (Ok(column), Ok(left)) => nodes.push(Packed { key, column, left }),
                _ => {
                    let wide = |node: &Packed<K, u16>| Packed {
                        key: node.key,
                        column: node.column.into(),
                        left: node.left.into(),
                    };
                    let mut all = Vec::with_capacity(nodes.len() + 1);
                    all.extend(nodes.iter().map(wide));
                    all.push(node);
                    *self = Self::Wide(all);
                }
            },
            Self::Wide(nodes) => nodes.push(node),
        }
    }

    /// Leaves the first ones.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Narrow(nodes) => nodes.truncate(len),
            Self::Wide(nodes) => nodes.truncate(len),
        }
    }

    /// Adds nodes that nobody reaches.
    pub(super) fn fill_up(&mut self, len: usize) {
        match self {
            Self::Narrow(nodes) => nodes.resize(len, Packed::default()),
            Self::Wide(nodes) => nodes.resize(len, Packed::default()),
        }
    }

    /// A node.
    pub(super) fn get(&self, at: usize) -> Packed<K, u32> {
        match self {
            Self::Narrow(nodes) => {
                let Packed { key, column, left } = nodes[at];
                Packed { key, column: column.into(), left: left.into() }
            }
            Self::Wide(nodes) => nodes[at],
        }
    }

    /// Memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Narrow(nodes) => nodes.capacity() * size_of::<Packed<K, u16>>(),
            Self::Wide(nodes) => nodes.capacity() * size_of::<Packed<K, u32>>(),
        }
    }
}

impl<X: Scalar, V: Scalar> Forest<X, V> {
    /// Adds the leaves that each row reaches to `out`, which has the base scores.
    pub(super) fn walk(&self, rows: &[X], out: &mut [V], cancel: &dyn Fn() -> bool) -> Result<(), PredictError> {
        match (&self.nodes, &self.leaves) {
            (Nodes::Narrow(nodes), Leaves::One(values)) => self.walk_with(nodes, values.as_slice(), rows, out, cancel),
            (Nodes::Narrow(nodes), Leaves::All(leaves)) => self.walk_with(nodes, leaves, rows, out, cancel),
            (Nodes::Wide(nodes), Leaves::One(values)) => self.walk_with(nodes, values.as_slice(), rows, out, cancel),
            (Nodes::Wide(nodes), Leaves::All(leaves)) => self.walk_with(nodes, leaves, rows, out, cancel),
        }
    }

    fn walk_with<I: Index>(
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
        if let [out] = out {
            // In a register: by way of memory, each sum would wait some time for the one before.
            let mut sum = [*out];
            self.add_trees(nodes, leaves, keys, &mut sum);
            [*out] = sum;
        } else {
            self.add_trees(nodes, leaves, keys, out);
        }
    }

    #[inline(always)]
    fn add_trees<I: Index>(
        &self,
        nodes: &[Packed<X::Key, I>],
        leaves: &(impl Add<V> + ?Sized),
        keys: &[X::Key],
        out: &mut [V],
    ) {
        // No other output passed the builder. Where there is one, the compiler sees which.
        let last = out.len() - 1;
        let (groups, rest) = self.trees.as_chunks::<TREES>();
        for group in groups {
            let reached = walk_trees(nodes, keys, group);
            for (tree, leaf) in group.iter().zip(reached) {
                leaves.add(leaf, last.min(tree.output as usize), out);
            }
        }
        for tree in rest {
            let [leaf] = walk_trees(nodes, keys, &[*tree]);
            leaves.add(leaf, last.min(tree.output as usize), out);
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
    let mut at = [tree.start as usize; LANES];
    for _ in 0..tree.depth {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = nodes[*at & node_mask];
            let right = keys[node.column.get() & key_mask][lane] >= node.key;
            *at += node.left.get() + usize::from(right);
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
    let depth = trees.iter().map(|tree| tree.depth).max().unwrap_or(0);
    let mut at = trees.map(|tree| tree.start as usize);
    for _ in 0..depth {
        for at in &mut at {
            let node = nodes[*at & node_mask];
            let right = keys[node.column.get() & key_mask] >= node.key;
            *at += node.left.get() + usize::from(right);
        }
    }
    at
}
