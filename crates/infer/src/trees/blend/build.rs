//! Laying a forest out.

use super::super::Scalar;
use super::super::column::Column;
use super::super::leaves::Leaves;
use super::super::ranks::{Cut, Ranks, TESTS};
use super::super::simd::Splits;
use super::super::walk::{Nodes, Packed, Tree};
use super::{Blend, Blended, MAX_LEVELS, MIN_LEVELS, Step, Stretch};

/// What a tree takes, a group of rows, in a unit of its own: asking for a level doubles with each level, walking is the same for each.
#[derive(Clone, Copy, Debug)]
pub(in crate::trees) struct Costs {
    /// A level walked, when a split asked of all rows is 1.
    pub(in crate::trees) walk: u64,
}

/// Splits asked for each node that a tree has, at most, and some: bounds what a sparse tree takes.
const MAX_PADDING: u64 = 4;
/// Columns of a stretch, unless it is one tree: with 512 rows, half of a core's second cache.
const MAX_COLUMNS: usize = 8 << 10;

/// What is laid out.
pub(in crate::trees) struct Plan<'a, X: Scalar, V> {
    pub(in crate::trees) columns: &'a [Column],
    pub(in crate::trees) trees: &'a [Tree],
    pub(in crate::trees) nodes: &'a Nodes<X::Key>,
    pub(in crate::trees) leaves: &'a Leaves<V>,
    pub(in crate::trees) outputs: usize,
    pub(in crate::trees) costs: Costs,
}

/// Down to which level a tree of so many nodes is best asked, and what it takes.
fn levels(depth: u32, nodes: u64, costs: Costs) -> (u32, u64) {
    let deepest = depth.clamp(MIN_LEVELS, MAX_LEVELS);
    let possible = (MIN_LEVELS..=deepest).filter(|levels| 1 << levels <= MAX_PADDING * nodes + (1 << MIN_LEVELS));
    possible
        .map(|levels| {
            let rest = u64::from(depth.saturating_sub(levels));
            // Starting to walk takes about as long as two steps.
            let walk = if rest == 0 { 0 } else { costs.walk * (rest + 2) };
            (levels, (1 << levels) + walk)
        })
        .min_by_key(|(_, cost)| *cost)
        .unwrap_or((MIN_LEVELS, u64::MAX))
}

/// Every split's question, once each, and by node which one it is.
struct Questions<K> {
    cuts: Vec<Cut<K>>,
    of_node: Vec<u32>,
}

/// A node that asks nothing.
const LEAF: u32 = u32::MAX;

impl<X: Scalar, V: Scalar> Plan<'_, X, V> {
    /// What a blend takes at most, in bytes, and what laying it out takes meanwhile. None if walking is as good.
    pub(in crate::trees) fn bytes(&self) -> Option<(usize, usize)> {
        let (mut blending, mut walking, mut bytes, mut nodes) = (0_u64, 0_u64, 0_usize, 0_usize);
        let mut walked = false;
        for tree in self.trees {
            let (levels, cost) = self.levels(tree);
            blending = blending.saturating_add(cost);
            walking = walking.saturating_add(self.costs.walk * u64::from(tree.depth.max(1)));
            walked |= tree.depth > levels;
            nodes += tree.nodes as usize;
            bytes = bytes.saturating_add(self.table_len(tree, levels).saturating_mul(size_of::<V>()));
            bytes = bytes.saturating_add((size_of::<u32>() << levels) + size_of::<Blended>());
        }
        let steps = if walked { nodes.next_power_of_two() * size_of::<Step>() } else { 0 };
        // Of the nodes, half are splits. Each has a key in a block, and there are some blocks above.
        let ranks =
            nodes / 2 * (2 * size_of::<X::Key>() + size_of::<u32>()) + self.columns.len() * 16 * size_of::<X::Key>();
        let asking = size_of::<Cut<X::Key>>() + size_of::<(Cut<X::Key>, u32)>() + 3 * size_of::<u32>();
        (blending < walking)
            .then_some((bytes.saturating_add(steps).saturating_add(ranks), nodes.saturating_mul(asking)))
    }

    /// Leaves, or nodes, that a tree's table has.
    fn table_len(&self, tree: &Tree, levels: u32) -> usize {
        let all = matches!(self.leaves, Leaves::All(_)) && tree.depth <= levels;
        (if all { self.outputs } else { 1 }).saturating_mul(1 << levels)
    }

    fn levels(&self, tree: &Tree) -> (u32, u64) {
        levels(tree.depth, tree.nodes.into(), self.costs)
    }

    /// The forest laid out, if a feature has no more thresholds than ranks count.
    pub(in crate::trees) fn lay_out(&self) -> Option<Blend<X, V>> {
        let Questions { cuts, mut of_node } = self.questions();
        let chosen = || self.trees.iter().map(|tree| (tree, self.levels(tree).0));
        let nodes: usize = self.trees.iter().map(|tree| tree.nodes as usize).sum();
        let walked = chosen().any(|(tree, levels)| tree.depth > levels);
        let tables = |walked: bool| {
            let own = chosen().filter(|(tree, levels)| (tree.depth > *levels) == walked);
            own.map(|(tree, levels)| self.table_len(tree, levels)).sum()
        };
        let mut blend = Blend {
            stretches: Vec::new(),
            trees: Vec::with_capacity(self.trees.len()),
            splits: Splits::with_capacity(chosen().map(|(_, levels)| (1 << levels) - 1).sum()),
            tables: Vec::with_capacity(tables(false)),
            entries: Vec::with_capacity(tables(true)),
            steps: if walked { vec![Step::default(); nodes.next_power_of_two()] } else { Vec::new() },
        };
        // By question, the stretch that it was last seen in, from 1; then its column there.
        let mut seen = vec![0_u32; cuts.len()];
        let mut rest = self.trees;
        while !rest.is_empty() {
            let stretch = blend.stretches.len() as u32 + 1;
            let mut asked: Vec<u32> = Vec::new();
            let mut trees = 0;
            for tree in rest {
                let before = asked.len();
                for cut in of_node[tree.start as usize..][..tree.nodes as usize].iter().filter(|cut| **cut != LEAF) {
                    if std::mem::replace(&mut seen[*cut as usize], stretch) != stretch {
                        asked.push(*cut);
                    }
                }
                if asked.len() > MAX_COLUMNS && trees > 0 {
                    // The next stretch will mark them again.
                    asked.truncate(before);
                    break;
                }
                trees += 1;
            }
            let own;
            (own, rest) = rest.split_at(trees);
            asked.sort_unstable();
            let own_cuts: Vec<_> = asked.iter().map(|cut| cuts[*cut as usize]).collect();
            let ranks = Ranks::new(self.columns, &own_cuts, X::HIGHEST)?;
            let mut column_of = seen;
            for (column, cut) in (1..).zip(&asked) {
                column_of[*cut as usize] = column;
            }
            for tree in own {
                for cut in &mut of_node[tree.start as usize..][..tree.nodes as usize] {
                    *cut = if *cut == LEAF { 0 } else { column_of[*cut as usize] };
                }
                self.add_tree(&mut blend, tree, &of_node);
            }
            // Columns could be taken for stretches.
            column_of.fill(0);
            seen = column_of;
            blend.stretches.push(Stretch { ranks, end: blend.trees.len() as u32 });
        }
        Some(blend)
    }

    fn questions(&self) -> Questions<X::Key> {
        let nodes: usize = self.trees.iter().map(|tree| tree.nodes as usize).sum();
        let mut asked = Vec::with_capacity(nodes / 2 + 1);
        for node in 0..nodes {
            let Packed { key, column, left } = self.nodes.get(node);
            if left != 0 {
                let (feature, missing_high) = match &self.columns[column as usize] {
                    Column::MissingLow(feature) => (*feature as u32, false),
                    Column::MissingHigh(feature) => (*feature as u32, true),
                    Column::Lowest | Column::Equal { .. } | Column::Categories { .. } => (TESTS + column, false),
                };
                asked.push((Cut { feature, key, missing_high }, node as u32));
            }
        }
        asked.sort_unstable_by_key(|(cut, _)| *cut);
        let mut cuts = Vec::new();
        let mut of_node = vec![LEAF; nodes];
        for (cut, node) in asked {
            if cuts.last() != Some(&cut) {
                cuts.push(cut);
            }
            of_node[node as usize] = cuts.len() as u32 - 1;
        }
        Questions { cuts, of_node }
    }

    /// Lays a tree out, complete down to the level. `columns` are by node, a leaf's is 0.
    fn add_tree(&self, blend: &mut Blend<X, V>, tree: &Tree, columns: &[u32]) {
        let (levels, _) = self.levels(tree);
        let splits = blend.splits.len() as u32;
        // The nodes of a level; the way left is the bit that is set.
        let mut level = [tree.start; 1 << MAX_LEVELS];
        for depth in 0..levels {
            let width = 1 << depth;
            for node in &level[..width] {
                blend.splits.push(columns[*node as usize]);
            }
            for slot in (0..width).rev() {
                let node = level[slot];
                let left = self.nodes.get(node as usize).left;
                // A leaf's only way is left.
                level[2 * slot] = if left == 0 { node } else { node + left + 1 };
                level[2 * slot + 1] = node + left;
            }
        }
        let rest = tree.depth.saturating_sub(levels);
        let reached = level[..1 << levels].iter();
        let table = if rest > 0 {
            for node in 0..tree.nodes {
                let node = (tree.start + node) as usize;
                blend.steps[node] = Step { left: self.nodes.get(node).left, column: columns[node] };
            }
            let table = blend.entries.len();
            blend.entries.extend(reached);
            table
        } else {
            let table = blend.tables.len();
            match self.leaves {
                Leaves::One(values) => blend.tables.extend(reached.map(|node| values[*node as usize])),
                Leaves::All(lists) => {
                    for output in 0..self.outputs {
                        let values = reached.clone().map(|node| lists.list(*node as usize, self.outputs)[output]);
                        blend.tables.extend(values);
                    }
                }
            }
            table
        };
        blend.trees.push(Blended { levels, output: tree.output, splits, table: table as u32, rest });
    }
}
