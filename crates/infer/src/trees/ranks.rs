//! What trees ask of a row, as bits: which of all thresholds its values are below.
//!
//! Trees ask the same few questions again and again, for the thresholds of a feature are much fewer than the splits. So all are answered
//! once a group of rows. That takes no comparison for each: a value's rank, how many of the feature's different thresholds it reaches, is
//! found by a search. It sets the row's bit at this rank, and a threshold's column is the bits of all ranks up to the threshold's. Nothing is
//! rounded: `value < thresholds[i]` if and only if `rank <= i`.
//!
//! A missing value has rank 0, so it is below all. For splits that send it right, its bit is taken away.

use super::column::Column;
use super::lanes::{Column as _, Lanes};
use super::scalar::{Scalar, sealed::Key};

/// Different thresholds that a feature may have, so that a rank is a u16.
const MAX_CUTS: usize = u16::MAX as usize - 1;
/// Levels of blocks of 16 that as many thresholds need.
const LEVELS: usize = 4;

/// A question. They are in the order of their features, and of a feature's in the order of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut<K> {
    /// Which value is asked, or, from [`TESTS`] on, which of the forest's columns.
    pub(super) feature: u32,
    /// What is below it goes left.
    pub(super) key: K,
    /// Whether a missing value goes right.
    pub(super) missing_high: bool,
}

/// Above every feature.
pub(super) const TESTS: u32 = 1 << 31;

/// The columns that splits ask, and how a row's bits get there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranks<K> {
    features: Vec<Feature>,
    /// Every feature's thresholds, 16 a block, the last block filled up with keys that no value reaches. Above a level of more than one
    /// block lies another: the first key of each block but the first.
    blocks: Vec<[K; 16]>,
    /// By column, from the second on. The first is for what goes left whatever the row: leaves.
    asked: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq)]
struct Feature {
    /// Its key, a missing value's below all.
    column: Column,
    /// Its levels, from the top: where each one's blocks start.
    starts: [u32; LEVELS],
    levels: u32,
    /// How many keys the top level has.
    top: u32,
    /// Different thresholds.
    cuts: u32,
    /// How many of `asked` are its own.
    columns: u32,
    /// Whether any of them has missing values on the right.
    missing_high: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    /// Which of the feature's thresholds.
    cut: u16,
    missing_high: bool,
}

impl<K: Ord + Copy> Ranks<K> {
    /// For these questions, in ascending order and all different: the first has the second column, and so on. None if a feature has
    /// too many thresholds. `columns` are the forest's.
    pub(super) fn new(columns: &[Column], cuts: &[Cut<K>], highest: K) -> Option<Self> {
        let mut ranks = Self { features: Vec::new(), blocks: Vec::new(), asked: Vec::with_capacity(cuts.len()) };
        for own in cuts.chunk_by(|a, b| a.feature == b.feature) {
            ranks.add_feature(columns, own, highest)?;
        }
        Some(ranks)
    }

    fn add_feature(&mut self, columns: &[Column], own: &[Cut<K>], highest: K) -> Option<()> {
        let mut keys: Vec<K> = Vec::new();
        for cut in own {
            if keys.last() != Some(&cut.key) {
                keys.push(cut.key);
            }
            let place = u16::try_from(keys.len() - 1).ok()?;
            self.asked.push(Asked { cut: place, missing_high: cut.missing_high });
        }
        if keys.len() > MAX_CUTS {
            return None;
        }
        let feature = own[0].feature;
        let column = match feature.checked_sub(TESTS) {
            None => Column::MissingLow(feature as usize),
            Some(test) => columns[test as usize].clone(),
        };
        let cuts = keys.len() as u32;
        // From the bottom up.
        let mut levels = vec![keys];
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
        let missing_high = own.iter().any(|cut| cut.missing_high);
        let (levels, columns) = (levels.len() as u32, own.len() as u32);
        self.features.push(Feature { column, starts, levels, top, cuts, columns, missing_high });
        Some(())
    }

    /// How many columns there are.
    pub(super) fn columns(&self) -> usize {
        1 + self.asked.len()
    }

    /// Memory beside its own. The tests' sets are the forest's.
    pub(super) fn memory_bytes(&self) -> usize {
        self.features.capacity() * size_of::<Feature>()
            + self.blocks.capacity() * size_of::<[K; 16]>()
            + self.asked.capacity() * size_of::<Asked>()
    }
}

/// Where a row of a group has its bit: in which byte, and at which place there.
///
/// Each place of the bytes is an eighth of the rows. When such an eighth has become a vector of bytes, its first rows have the first byte of
/// each of the sums' vectors, the next rows the second, ...
#[inline(always)]
pub(super) fn bit_of(row: usize, eighth: usize, vectors: usize) -> (usize, usize) {
    let (place, rest) = (row / eighth, row % eighth);
    let width = eighth / vectors;
    (rest % width * vectors + rest / width, place)
}

/// The row, among an eighth of a group, whose byte this is: the inverse of [`bit_of`].
#[inline(always)]
pub(super) fn row_of(byte: usize, eighth: usize, vectors: usize) -> usize {
    byte % vectors * (eighth / vectors) + byte / vectors
}

/// What is reused from group to group.
#[derive(Debug)]
pub(super) struct Scratch<K, C> {
    /// By row, the word and the bit.
    bits: [(u32, u64); MAX_ROWS],
    /// Of one feature, by row.
    keys: [K; MAX_ROWS],
    ranks: [u16; MAX_ROWS],
    /// Of one feature, by rank: the rows that have it.
    having: Vec<C>,
}

/// Rows of the largest group.
const MAX_ROWS: usize = 512;

impl<K: Copy + Default, C> Scratch<K, C> {
    pub(super) fn new(eighth: usize, vectors: usize) -> Self {
        let mut bits = [(0, 0); MAX_ROWS];
        for (row, slot) in bits[..8 * eighth].iter_mut().enumerate() {
            let (byte, place) = bit_of(row, eighth, vectors);
            *slot = ((byte / 8) as u32, 1 << (byte % 8 * 8 + place));
        }
        Self { bits, keys: [K::default(); MAX_ROWS], ranks: [0; MAX_ROWS], having: Vec::new() }
    }
}

impl<K: Key> Ranks<K> {
    /// Fills a group's columns. Of `rows` there are one at least, and at most as many as a group has. What columns have for others means
    /// nothing.
    #[inline(always)]
    pub(super) fn fill<L: Lanes, X: Scalar<Key = K>>(
        &self,
        lanes: L,
        rows: &[X],
        features: usize,
        scratch: &mut Scratch<K, L::Column>,
        columns: &mut [L::Column],
    ) {
        let count = rows.len() / features;
        let Scratch { bits, keys, ranks, having } = scratch;
        let whole = count.next_multiple_of(16);
        let (keys, ranks) = (&mut keys[..whole], &mut ranks[..whole]);
        let (always, mut columns) = columns.split_at_mut(1);
        always[0].words_mut().fill(u64::MAX);
        let mut asked = self.asked.as_slice();
        for feature in &self.features {
            let rows = rows.chunks_exact(features);
            if let Column::MissingLow(at) = feature.column {
                for (key, row) in keys.iter_mut().zip(rows) {
                    let value = row[at];
                    *key = if value.is_nan() { X::LOWEST } else { value.key() };
                }
            } else {
                for (key, row) in keys.iter_mut().zip(rows) {
                    *key = feature.column.key(row);
                }
            }
            having.clear();
            having.resize(feature.cuts as usize + 1, L::Column::ZERO);
            let mut set = |rank: usize, (word, bit): (u32, u64)| {
                let words = having[rank].words_mut();
                // A power of two many: the mask changes nothing, and spares the bounds check.
                words[word as usize & (words.len() - 1)] |= bit;
            };
            let starts = self.rank_but_last(lanes, feature, keys, ranks);
            let found = ranks.iter().zip(&*keys).zip(&*bits).take(count);
            if let Some(start) = starts {
                let blocks = &self.blocks[start as usize..];
                for ((rank, key), bit) in found {
                    let rank = usize::from(*rank);
                    set(rank * 16 + key.count(lanes, &blocks[rank]), *bit);
                }
            } else {
                for ((rank, _), bit) in found {
                    set(usize::from(*rank), *bit);
                }
            }
            let mut missing = L::Column::ZERO;
            let any = keys[..count].iter().fold(false, |any, key| any | (*key == X::LOWEST));
            if feature.missing_high && any {
                for (_, (word, bit)) in keys.iter().zip(&*bits).take(count).filter(|(key, _)| **key == X::LOWEST) {
                    missing.words_mut()[*word as usize] |= bit;
                }
            }
            let missing = lanes.load(&missing);
            let (own, others) = asked.split_at(feature.columns as usize);
            let (filled, rest) = columns.split_at_mut(own.len());
            let (mut below, mut next) = (lanes.none(), 0);
            for (column, asked) in filled.iter_mut().zip(own) {
                while next <= usize::from(asked.cut) {
                    below = lanes.either(below, lanes.load(&having[next]));
                    next += 1;
                }
                lanes.store(if asked.missing_high { lanes.without(below, missing) } else { below }, column);
            }
            (asked, columns) = (others, rest);
        }
    }

    /// How many of a feature's thresholds each key reaches, or in which block of the last level that is to be counted; and that level's
    /// start.
    #[inline(always)]
    fn rank_but_last<L: Lanes>(&self, lanes: L, feature: &Feature, keys: &[K], ranks: &mut [u16]) -> Option<u32> {
        // Level by level, so that no row waits for another. All rows share the top one: the compiler makes vectors of rows.
        let (top, starts) = feature.starts[..feature.levels as usize].split_at(1);
        let top = &self.blocks[top[0] as usize][..feature.top as usize];
        for (ranks, keys) in ranks.as_chunks_mut::<16>().0.iter_mut().zip(keys.as_chunks::<16>().0) {
            let mut reached = [0_i32; 16];
            for cut in top {
                for (reached, key) in reached.iter_mut().zip(keys) {
                    *reached += i32::from(*cut <= *key);
                }
            }
            *ranks = reached.map(|reached| reached as u16);
        }
        let (last, between) = starts.split_last()?;
        for start in between {
            let blocks = &self.blocks[*start as usize..];
            for (rank, key) in ranks.iter_mut().zip(keys) {
                *rank = *rank * 16 + key.count(lanes, &blocks[usize::from(*rank)]) as u16;
            }
        }
        Some(*last)
    }
}
