//! The walk: each row, or each tree for a single row, goes from node to node by integer keys.
//!
//! A node is 8 bytes (16 where rows are f64). Children lie side by side, so that the comparison's outcome is added to the left child's
//! place, and a leaf is its own left child, so that every row of a tree takes the same number of steps and nothing branches. 8 rows, or
//! for a single row 8 trees, are walked at once, which hides the latency of the loads.

use std::cmp::Reverse;

use super::leaves::{Add, Leaves};
use super::{Forest, PredictError, Scalar};

/// Rows in flight in a batch, and the unit in which keys are laid out. With 16, whose places no longer fit the registers, the wine
/// models took 6 % longer, and batches of 3 to 15 rows much longer.
pub(super) const LANES: usize = 8;
/// Trees in flight for a single row.
const TREES: usize = 8;
/// Of so many trees, a single row's leaves are found in any order before they are added in theirs: those in flight together take as many
/// steps as the deepest of them, so they should be of the same depth.
const WINDOW: usize = 64;
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

/// A tree as a single row comes to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    start: u32,
    depth: u32,
    /// Which of its [`WINDOW`]'s trees it is.
    place: u32,
}

/// The trees in the order in which a single row goes through them: in each [`WINDOW`] the deepest first.
pub(super) fn turns(trees: &[Tree]) -> Vec<Turn> {
    let turn = |(place, tree): (u32, &Tree)| Turn { start: tree.start, depth: tree.depth, place };
    let mut turns = Vec::with_capacity(trees.len());
    for window in trees.chunks(WINDOW) {
        let start = turns.len();
        turns.extend((0..).zip(window).map(turn));
        // Their order among those of the same depth is of no account.
        turns[start..].sort_unstable_by_key(|turn| Reverse(turn.depth));
    }
    turns
}

/// All trees' nodes. A power of two many, which lets a mask stand for the bounds check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Nodes<K> {
    Narrow(Vec<Packed<K, u16>>),
    Wide(Vec<Packed<K, u32>>),
}

impl<K: Copy + Default> Nodes<K> {
    /// Stored as small as they can be, with nodes that nobody reaches up to a power of two.
    pub(super) fn of(mut nodes: Vec<Packed<K, u32>>, columns: usize, trees: &[Tree]) -> Self {
        const PLACES: u32 = 1 << u16::BITS;
        let len = nodes.len().next_power_of_two();
        // Of most forests this is told without a look at their nodes.
        let few = columns <= PLACES as usize && trees.iter().all(|tree| tree.nodes <= PLACES);
        if few || nodes.iter().all(|node| (node.column | node.left) < PLACES) {
            let mut narrow = Vec::with_capacity(len);
            let small =
                |node: &Packed<K, u32>| Packed { key: node.key, column: node.column as u16, left: node.left as u16 };
            narrow.extend(nodes.iter().map(small));
            narrow.resize(len, Packed::default());
            Self::Narrow(narrow)
        } else {
            nodes.resize(len, Packed::default());
            Self::Wide(nodes)
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
        let mut reached = [0; WINDOW];
        for (trees, turns) in self.trees.chunks(WINDOW).zip(self.turns.chunks(WINDOW)) {
            let (groups, rest) = turns.as_chunks::<TREES>();
            for group in groups {
                walk_trees(nodes, keys, group, &mut reached);
            }
            for turn in rest {
                walk_trees(nodes, keys, &[*turn], &mut reached);
            }
            leaves.add_trees(&reached, trees, out);
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

/// Notes the leaf, as a place among all nodes, that one row reaches in each of a group of trees.
#[inline(always)]
fn walk_trees<K: Copy + Ord, I: Index, const N: usize>(
    nodes: &[Packed<K, I>],
    keys: &[K],
    turns: &[Turn; N],
    reached: &mut [usize; WINDOW],
) {
    let node_mask = nodes.len() - 1;
    let key_mask = keys.len() - 1;
    let mut at = [0; N];
    for (at, turn) in at.iter_mut().zip(turns) {
        *at = turn.start as usize;
    }
    // None is deeper than the first.
    for _ in 0..turns[0].depth {
        for at in &mut at {
            let node = nodes[*at & node_mask];
            let right = keys[node.column.get() & key_mask] >= node.key;
            *at += node.left.get() + usize::from(right);
        }
    }
    for (at, turn) in at.iter().zip(turns) {
        reached[turn.place as usize % WINDOW] = *at;
    }
}
