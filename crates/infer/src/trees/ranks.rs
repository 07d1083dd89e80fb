//! Values as bytes: how many of a feature's thresholds a value reaches.
//!
//! Trees ask of a feature's value only whether it reaches a threshold, so all that matters is how many of the feature's different
//! thresholds it does: its rank. `value >= thresholds[i]` if and only if `rank > i`: nothing is rounded, and nothing is lost.
//!
//! A rank may exceed a byte, so a feature has several columns of bytes, each for the next 127 thresholds: below them it is 0, above
//! them 127. A missing value is 0 in all of them or 127 in all of them, as the splits want it; if they differ, the feature has columns
//! of both kinds.

use super::column::Column;
use super::lanes::{Column as Bytes, Lanes};
use super::scalar::{Scalar, sealed::Key};

/// Thresholds that a column tells apart.
pub(super) const SEGMENT: usize = 127;
/// Thresholds that a feature may have, so that a rank is a u16.
const MAX_CUTS: usize = u16::MAX as usize - 1;
/// Levels of blocks of 16 that as many thresholds need.
const LEVELS: usize = 4;

/// How a split asks: whether a column's byte is below this goes left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) column: u32,
    /// 1 to 127.
    pub(super) bound: u8,
}

/// The columns that splits compare, and how values get there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranks<K> {
    features: Vec<Feature>,
    /// Every feature's thresholds, 16 a block, the last block filled up with keys that no value reaches. Above a level of more than one
    /// block lies another: the first key of each block but the first.
    blocks: Vec<[K; 16]>,
    ranked: Vec<Ranked>,
    /// Columns of the forest that are yes or no, 0 or 127, after the ranked ones.
    tests: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
struct Feature {
    feature: usize,
    /// Its levels, from the top: where each one's blocks start.
    starts: [u32; LEVELS],
    levels: u32,
    /// How many keys the top level has.
    top: u32,
    /// How many of `ranked` are its own.
    columns: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ranked {
    /// The thresholds of the columns before.
    below: u16,
    missing_high: bool,
}

/// A split, as the forest has it.
pub(super) struct Question<K> {
    pub(super) column: u32,
    pub(super) key: K,
    pub(super) node: u32,
}

impl<K: Ord + Copy> Ranks<K> {
    /// Ranks what the splits ask, and tells each split's node its cut. None if there are too many thresholds or columns.
    pub(super) fn new(
        columns: &[Column],
        mut questions: Vec<Question<K>>,
        highest: K,
        mut tell: impl FnMut(u32, Cut),
    ) -> Option<Self> {
        let mut ranks = Self { features: Vec::new(), blocks: Vec::new(), ranked: Vec::new(), tests: Vec::new() };
        // The feature, and whether a missing value is high; tests of their own come last.
        let place = |question: &Question<K>| match &columns[question.column as usize] {
            Column::MissingLow(feature) => (*feature, false),
            Column::MissingHigh(feature) => (*feature, true),
            Column::Lowest | Column::Equal { .. } | Column::Categories { .. } => (usize::MAX, false),
        };
        questions.sort_unstable_by_key(|question| (place(question).0, question.key));
        let mut rest = questions.as_slice();
        while let Some(first) = rest.first() {
            let feature = place(first).0;
            if feature == usize::MAX {
                break;
            }
            let own;
            (own, rest) = rest.split_at(rest.partition_point(|question| place(question).0 == feature));
            ranks.add_feature(feature, own, |question| place(question).1, highest, &mut tell)?;
        }
        // In the order of the forest's columns.
        let mut tests: Vec<&Question<K>> = rest.iter().collect();
        tests.sort_unstable_by_key(|question| question.column);
        let mut last = None;
        for question in tests {
            if last != Some(question.column) {
                ranks.tests.push(columns[question.column as usize].clone());
                last = Some(question.column);
            }
            tell(question.node, Cut { column: u32::try_from(ranks.columns() - 1).ok()?, bound: 1 });
        }
        // Walks go by ranks count columns in u16.
        (ranks.columns() <= 1 << 16).then_some(ranks)
    }

    fn add_feature(
        &mut self,
        feature: usize,
        questions: &[Question<K>],
        missing_high: impl Fn(&Question<K>) -> bool,
        highest: K,
        tell: &mut impl FnMut(u32, Cut),
    ) -> Option<()> {
        let first_column = self.ranked.len();
        let mut cuts: Vec<K> = Vec::new();
        // The columns of the segment that the cuts have come to, by `missing_high`.
        let mut own = [None; 2];
        for question in questions {
            if cuts.last() != Some(&question.key) {
                if cuts.len() == MAX_CUTS {
                    return None;
                }
                if cuts.len().is_multiple_of(SEGMENT) {
                    own = [None; 2];
                }
                cuts.push(question.key);
            }
            let at = cuts.len() - 1;
            let high = missing_high(question);
            let ranked = &mut self.ranked;
            let column = *own[usize::from(high)].get_or_insert_with(|| {
                ranked.push(Ranked { below: (at / SEGMENT * SEGMENT) as u16, missing_high: high });
                ranked.len() - 1
            });
            tell(question.node, Cut { column: u32::try_from(column).ok()?, bound: (at % SEGMENT + 1) as u8 });
        }
        // From the bottom up.
        let mut levels = vec![cuts];
        while levels[levels.len() - 1].len() > 16 {
            let below = &levels[levels.len() - 1];
            levels.push(below.iter().copied().step_by(16).skip(1).collect());
        }
        let mut starts = [0; LEVELS];
        for (start, level) in starts.iter_mut().zip(levels.iter().rev()) {
            *start = u32::try_from(self.blocks.len()).ok()?;
            for keys in level.chunks(16) {
                let mut block = [highest; 16];
                block[..keys.len()].copy_from_slice(keys);
                self.blocks.push(block);
            }
        }
        let top = levels[levels.len() - 1].len() as u32;
        let columns = (self.ranked.len() - first_column) as u32;
        self.features.push(Feature { feature, starts, levels: levels.len() as u32, top, columns });
        Some(())
    }

    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        self.ranked.len() + self.tests.len()
    }

    /// Memory beside its own. The tests' sets are the forest's.
    pub(super) fn memory_bytes(&self) -> usize {
        self.features.capacity() * size_of::<Feature>()
            + self.blocks.capacity() * size_of::<[K; 16]>()
            + self.ranked.capacity() * size_of::<Ranked>()
            + self.tests.capacity() * size_of::<Column>()
    }
}

/// The row that a byte of a group's columns is for. Of the `unit` rows of a vector of bytes, whose sums fill so many vectors, the first
/// vector takes the first rows; and of the bytes, each in turn goes with the next vector.
#[inline(always)]
pub(super) fn row_at(place: usize, unit: usize, vectors: usize) -> usize {
    let (first, byte) = (place / unit * unit, place % unit);
    first + byte % vectors * (unit / vectors) + byte / vectors
}

/// What is reused from group to group.
#[derive(Debug)]
pub(super) struct Scratch<K> {
    /// By place, where its row's values start.
    starts: [u32; MAX_ROWS],
    /// Of one feature, by place: its key, its rank, and its rank if a missing value is above all.
    keys: [K; MAX_ROWS],
    low: [u16; MAX_ROWS],
    high: [u16; MAX_ROWS],
}

/// Rows of the largest group.
const MAX_ROWS: usize = 128;

impl<K: Copy + Default> Scratch<K> {
    pub(super) fn new() -> Self {
        Self { starts: [0; MAX_ROWS], keys: [K::default(); MAX_ROWS], low: [0; MAX_ROWS], high: [0; MAX_ROWS] }
    }
}

impl<K: Key> Ranks<K> {
    /// Fills a group's columns. Of `rows` there are one at least, and at most as many as a group has.
    #[inline(always)]
    pub(super) fn fill<L: Lanes, X: Scalar<Key = K>>(
        &self,
        lanes: L,
        vectors: usize,
        rows: &[X],
        features: usize,
        scratch: &mut Scratch<K>,
        columns: &mut [L::Column],
    ) {
        let count = rows.len() / features;
        // Places beyond the last row repeat it.
        let row = |place| row_at(place, L::UNIT, vectors).min(count - 1);
        let Scratch { starts, keys, low, high } = scratch;
        let (starts, keys, low, high) =
            (&mut starts[..L::ROWS], &mut keys[..L::ROWS], &mut low[..L::ROWS], &mut high[..L::ROWS]);
        for (place, start) in starts.iter_mut().enumerate() {
            *start = (row(place) * features) as u32;
        }
        let (mut ranked, mut columns) = (self.ranked.as_slice(), columns);
        for feature in &self.features {
            for (key, start) in keys.iter_mut().zip(&*starts) {
                let value = rows[*start as usize + feature.feature];
                *key = if value.is_nan() { X::LOWEST } else { value.key() };
            }
            // Level by level, so that no row waits for another. All rows share the top one: the compiler makes vectors of rows.
            let (top, starts) = feature.starts[..feature.levels as usize].split_at(1);
            let top = &self.blocks[top[0] as usize][..feature.top as usize];
            for (ranks, keys) in low.as_chunks_mut::<16>().0.iter_mut().zip(keys.as_chunks::<16>().0) {
                let mut reached = [0_i32; 16];
                for cut in top {
                    for (reached, key) in reached.iter_mut().zip(keys) {
                        *reached += i32::from(*cut <= *key);
                    }
                }
                *ranks = reached.map(|reached| reached as u16);
            }
            for start in starts {
                let blocks = &self.blocks[*start as usize..];
                for (rank, key) in low.iter_mut().zip(&*keys) {
                    *rank = *rank * 16 + key.count(lanes, &blocks[usize::from(*rank)]) as u16;
                }
            }
            for ((high, low), key) in high.iter_mut().zip(&*low).zip(&*keys) {
                *high = if *key == X::LOWEST { u16::MAX } else { *low };
            }
            let (own, others) = ranked.split_at(feature.columns as usize);
            let (filled, rest) = columns.split_at_mut(own.len());
            for (column, ranked) in filled.iter_mut().zip(own) {
                let ranks = if ranked.missing_high { &*high } else { &*low };
                for (byte, rank) in column.bytes_mut().iter_mut().zip(ranks) {
                    *byte = rank.saturating_sub(ranked.below).min(SEGMENT as u16) as u8;
                }
            }
            (ranked, columns) = (others, rest);
        }
        for (column, test) in columns.iter_mut().zip(&self.tests) {
            for (place, byte) in column.bytes_mut().iter_mut().enumerate() {
                let row = &rows[row(place) * features..][..features];
                *byte = if test.key(row) == X::LOWEST { 0 } else { SEGMENT as u8 };
            }
        }
    }
}
