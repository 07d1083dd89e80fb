//! Trees without steps: every split of a tree is asked for many rows at once, and the answers choose among each other.
//!
//! Of a group of rows, a bit each says who goes left at a split; [splits that ask the same](super::ranks) share them. Of the splits of a level, a
//! row needs the one that lies on its way: the bits of the level above choose among pairs, those of the level before among the pairs'
//! outcomes, and so on. What is left is a bit a level, and the bits together are the place of the row's leaf in a table. No row waits for
//! a load that depends on another, and nothing branches.
//!
//! So a tree is laid out complete: where it ends early, splits that decide nothing lead to copies of the leaf. A tree that is too deep
//! for that, or too sparse, is laid out to some level only; from there its rows [walk](super::walk), by the same bits.
//!
//! The leaves are the forest's own numbers, added in the forest's order to the same sums: the answers are those of the walk.

mod build;
mod kernel;

use super::leaves::Leaves;
use super::ranks::Ranks;
use super::simd::Splits;
use super::{PredictError, Scalar};

pub(super) use build::{Costs, Plan};
pub(super) use kernel::Predict;

/// Levels that a tree is laid out to at least, whatever its depth: fewer cases let the branches be foreseen.
const MIN_LEVELS: u32 = 4;
/// Levels that a row's byte has a bit for.
const MAX_LEVELS: u32 = 8;

/// A tree as far as it is blended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Blended {
    /// From [`MIN_LEVELS`] to [`MAX_LEVELS`].
    levels: u32,
    /// Which of a row's outputs the leaves are added to.
    output: u32,
    /// Where its splits start, level by level, the right one of two siblings first.
    splits: u32,
    /// Where its table starts: of leaves, or, if a walk follows, of nodes.
    table: u32,
    /// Levels to walk from there.
    rest: u32,
}

/// A node for walks by bits, in the same place as the forest's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Step {
    /// How many nodes further the left child is; a leaf's is itself.
    left: u32,
    /// Rows with a bit there go left; all have one in a leaf's.
    column: u32,
}

/// Trees that share columns.
#[derive(Clone, Debug, PartialEq)]
struct Stretch<K> {
    ranks: Ranks<K>,
    /// How many trees there are up to its end.
    end: u32,
}

/// A forest laid out for groups of rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blend<X: Scalar, V> {
    stretches: Vec<Stretch<X::Key>>,
    trees: Vec<Blended>,
    splits: Splits,
    /// By tree, and then by output if leaves have a value for each: what a row's bits point at.
    tables: Vec<V>,
    /// By tree that is walked on: the node that a row's bits point at.
    entries: Vec<u32>,
    /// A power of two many, or none if no tree is walked.
    steps: Vec<Step>,
}

impl<X: Scalar, V> Blend<X, V> {
    /// Memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        self.stretches.capacity() * size_of::<Stretch<X::Key>>()
            + self.stretches.iter().map(|stretch| stretch.ranks.memory_bytes()).sum::<usize>()
            + self.trees.capacity() * size_of::<Blended>()
            + self.splits.memory_bytes()
            + self.tables.capacity() * size_of::<V>()
            + self.entries.capacity() * size_of::<u32>()
            + self.steps.capacity() * size_of::<Step>()
    }
}
