//! What leaves add, and how it gets into the sums.

use super::Scalar;
use super::walk::{LANES, Tree};

/// What the leaves add.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaves<V> {
    /// A value to the tree's own output: by node, 0 for splits. As long as the nodes.
    One(Vec<V>),
    /// A value to each output.
    All(All<V>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct All<V> {
    /// By node, which list is a leaf's; 0 for splits. As long as the nodes.
    pub(super) lists: Vec<u32>,
    /// The lists one after another, each with a value an output.
    pub(super) values: Vec<V>,
}

impl<V> Leaves<V> {
    /// Memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::One(values) => values.capacity() * size_of::<V>(),
            Self::All(all) => all.lists.capacity() * size_of::<u32>() + all.values.capacity() * size_of::<V>(),
        }
    }
}

/// How leaves get into the sums of a walk, chosen once a prediction, not once a leaf.
pub(super) trait Add<V> {
    /// Adds the leaf of each of these trees to a row's sums.
    fn add_trees(&self, leaves: &[usize], trees: &[Tree], sums: &mut [V]);

    /// Adds each lane's leaf to the lane's sums.
    fn add_lanes(&self, leaves: [usize; LANES], output: usize, sums: &mut [[V; LANES]]);
}

/// One value a node.
impl<V: Scalar> Add<V> for [V] {
    // As a part of the walk, the sum would have no register left, and by way of memory each would wait some time for the one before.
    #[inline(never)]
    fn add_trees(&self, leaves: &[usize], trees: &[Tree], sums: &mut [V]) {
        if let [sum] = sums {
            let mut all = *sum;
            for (leaf, _) in leaves.iter().zip(trees) {
                all += self[*leaf];
            }
            *sum = all;
        } else {
            for (leaf, tree) in leaves.iter().zip(trees) {
                sums[tree.output as usize] += self[*leaf];
            }
        }
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
    /// The values of the leaf at that node.
    #[inline(always)]
    pub(super) fn list(&self, leaf: usize, outputs: usize) -> &[V] {
        &self.values[self.lists[leaf] as usize * outputs..][..outputs]
    }
}

impl<V: Scalar> Add<V> for All<V> {
    fn add_trees(&self, leaves: &[usize], trees: &[Tree], sums: &mut [V]) {
        for (leaf, _) in leaves.iter().zip(trees) {
            let list = self.list(*leaf, sums.len());
            for (sum, value) in sums.iter_mut().zip(list) {
                *sum += *value;
            }
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
