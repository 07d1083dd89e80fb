//! Laying a forest out.

use super::super::Scalar;
use super::super::column::Column;
use super::super::leaves::Leaves;
use super::super::ranks::{Cut, Question, Ranks, SEGMENT};
use super::super::simd::{Split, Splits};
use super::super::walk::{Nodes, Packed, Tree};
use super::{Blend, Blended, MAX_LEVELS, Step};

/// What a tree takes, a row, in a unit of its own: asking for a level doubles with each level, walking is the same for each.
#[derive(Clone, Copy, Debug)]
pub(in crate::trees) struct Costs {
    /// A level walked, when a split asked of all rows is 1.
    pub(in crate::trees) walk: u64,
}

/// Splits asked for each node that a tree has, at most, and some: bounds what a sparse tree takes.
const MAX_PADDING: u64 = 4;
/// Above every rank.
const LEAF: u8 = SEGMENT as u8 + 1;
/// What a stretch of trees takes at most, unless it is one tree.
const STRETCH_BYTES: usize = 12 << 10;

/// What is laid out.
pub(in crate::trees) struct Plan<'a, X: Scalar, V> {
    pub(in crate::trees) columns: &'a [Column],
    pub(in crate::trees) trees: &'a [Tree],
    pub(in crate::trees) nodes: &'a Nodes<X::Key>,
    pub(in crate::trees) leaves: &'a Leaves<V>,
    pub(in crate::trees) outputs: usize,
    pub(in crate::trees) costs: Costs,
    pub(in crate::trees) max_bytes: usize,
}

/// Down to which level a tree of so many nodes is best asked, and what it takes.
fn levels(depth: u32, nodes: u64, costs: Costs) -> (u32, u64) {
    // A tree of one leaf has a split that decides nothing.
    let depth = depth.max(1);
    let possible = (1..=depth.min(MAX_LEVELS)).filter(|levels| 1 << levels <= MAX_PADDING * nodes + 16);
    possible
        .map(|levels| {
            let rest = u64::from(depth - levels);
            // Starting to walk takes about as long as two steps.
            let walk = if rest == 0 { 0 } else { costs.walk * (rest + 2) };
            (levels, (1 << levels) + walk)
        })
        .min_by_key(|(_, cost)| *cost)
        .unwrap_or((1, u64::MAX))
}

impl<X: Scalar, V: Scalar> Plan<'_, X, V> {
    /// The forest laid out, if that is worth its while, and possible.
    pub(in crate::trees) fn lay_out(&self) -> Option<Blend<X, V>> {
        let chosen: Vec<(u32, u64)> =
            self.trees.iter().map(|tree| levels(tree.depth, tree.nodes.into(), self.costs)).collect();
        let blending = chosen.iter().map(|(_, cost)| *cost).fold(0, u64::saturating_add);
        let walking: u64 = self.trees.iter().map(|tree| self.costs.walk * u64::from(tree.depth.max(1))).sum();
        let walked = self.trees.iter().zip(&chosen).any(|(tree, (levels, _))| tree.depth > *levels);
        if blending >= walking || self.bytes(&chosen, walked) > self.max_bytes {
            return None;
        }
        let (ranks, cuts) = self.rank()?;
        let mut blend = Blend {
            ranks,
            trees: Vec::with_capacity(self.trees.len()),
            splits: Splits::with_capacity(chosen.iter().map(|(levels, _)| (1 << levels) - 1).sum()),
            tables: Vec::new(),
            entries: Vec::new(),
            steps: Vec::new(),
            stretches: Vec::new(),
        };
        let mut stretch_bytes = 0;
        for (tree, (levels, _)) in self.trees.iter().zip(&chosen) {
            let before = blend.stretched_bytes();
            self.add_tree(&mut blend, tree, *levels, &cuts);
            let bytes = blend.stretched_bytes() - before;
            if stretch_bytes + bytes > STRETCH_BYTES && stretch_bytes > 0 {
                blend.stretches.push((blend.trees.len() - 1) as u32);
                stretch_bytes = 0;
            }
            stretch_bytes += bytes;
        }
        blend.stretches.push(blend.trees.len() as u32);
        if walked {
            blend.steps = self.steps(&cuts);
        }
        Some(blend)
    }

    /// What laying out takes at most, in bytes: what stays, and what is only needed meanwhile.
    fn bytes(&self, chosen: &[(u32, u64)], walked: bool) -> usize {
        let values = if matches!(self.leaves, Leaves::One(_)) { 1 } else { self.outputs };
        let tree = |(levels, _): &(u32, u64)| {
            let table = (1_usize << table_bits(*levels)).saturating_mul(values).saturating_mul(size_of::<V>());
            // Lists double as they grow.
            table.saturating_mul(2).saturating_add((1 << levels) * size_of::<Split>() + size_of::<Blended>())
        };
        let trees = chosen.iter().map(tree).fold(0, usize::saturating_add);
        let nodes: usize = self.trees.iter().map(|tree| tree.nodes as usize).sum();
        let steps = if walked { nodes.next_power_of_two() * size_of::<Step>() } else { 0 };
        let ranking = nodes * (size_of::<Question<X::Key>>() + size_of::<Cut>() + 2 * size_of::<X::Key>());
        // In a batch, each column has a byte for each row of a group.
        trees.saturating_add(steps).saturating_add(ranking).saturating_add(self.columns.len() * 256)
    }

    /// Every split's cut, by node.
    fn rank(&self) -> Option<(Ranks<X::Key>, Vec<Cut>)> {
        let nodes: usize = self.trees.iter().map(|tree| tree.nodes as usize).sum();
        let mut questions = Vec::with_capacity(nodes / 2 + 1);
        for tree in self.trees {
            for place in 0..tree.nodes {
                let node = tree.start + place;
                let Packed { key, column, left } = self.nodes.get(node as usize);
                if left != place {
                    questions.push(Question { column, key, node });
                }
            }
        }
        let mut cuts = vec![Cut { column: 0, bound: LEAF }; nodes];
        let ranks = Ranks::new(self.columns, questions, X::HIGHEST, |node, cut| cuts[node as usize] = cut)?;
        Some((ranks, cuts))
    }

    /// Lays a tree out, complete down to the level.
    fn add_tree(&self, blend: &mut Blend<X, V>, tree: &Tree, levels: u32, cuts: &[Cut]) {
        let splits = blend.splits.len() as u32;
        // The nodes of a level, counted from the tree's first; the way left is the bit that is set.
        let mut level = [0; 1 << MAX_LEVELS];
        for depth in 0..levels {
            let width = 1 << depth;
            for place in &level[..width] {
                let Cut { column, bound } = cuts[(tree.start + place) as usize];
                // Whatever decides nothing asks a column that there is, if there is any.
                let bound = u32::from(SEGMENT as u8 + bound.min(SEGMENT as u8));
                blend.splits.push(bound * 0x0101_0101, column);
            }
            for slot in (0..width).rev() {
                let place = level[slot];
                let left = self.nodes.get((tree.start + place) as usize).left;
                level[2 * slot] = if left == place { place } else { left + 1 };
                level[2 * slot + 1] = left;
            }
        }
        let rest = tree.depth.saturating_sub(levels);
        let reached = level[..1 << levels].iter().map(|place| tree.start + place);
        let table = if rest > 0 {
            let table = blend.entries.len();
            blend.entries.extend(reached);
            table
        } else {
            let table = blend.tables.len();
            // A table has 16 places at least; those of few levels are apart.
            let apart = 1 << (table_bits(levels) - levels);
            match self.leaves {
                Leaves::One(values) => {
                    for node in reached {
                        let end = blend.tables.len() + apart;
                        blend.tables.push(values[node as usize]);
                        blend.tables.resize(end, V::ZERO);
                    }
                }
                Leaves::All(lists) => {
                    for output in 0..self.outputs {
                        for node in reached.clone() {
                            let end = blend.tables.len() + apart;
                            blend.tables.push(lists.list(node as usize, self.outputs)[output]);
                            blend.tables.resize(end, V::ZERO);
                        }
                    }
                }
            }
            table
        };
        let Tree { start, output, .. } = *tree;
        blend.trees.push(Blended { levels, output, splits, table: table as u32, rest, start });
    }

    fn steps(&self, cuts: &[Cut]) -> Vec<Step> {
        let mut steps: Vec<Step> = cuts
            .iter()
            .enumerate()
            .map(|(at, cut)| Step { left: self.nodes.get(at).left, column: cut.column as u16, bound: cut.bound })
            .collect();
        steps.resize(steps.len().next_power_of_two(), Step::default());
        steps
    }
}

impl<X: Scalar, V> Blend<X, V> {
    /// What its trees take of a cache.
    fn stretched_bytes(&self) -> usize {
        self.splits.len() * size_of::<Split>()
            + self.tables.len() * size_of::<V>()
            + self.entries.len() * size_of::<u32>()
    }
}

/// Bits of a table's places.
pub(super) fn table_bits(levels: u32) -> u32 {
    levels.max(4)
}
