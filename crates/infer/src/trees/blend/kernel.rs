//! Predicting with a blended forest, for any [`Lanes`].

use super::super::lanes::{Column, Lanes, Work};
use super::super::leaves::All;
use super::super::ranks::{Scratch, row_of};
use super::super::simd::Asked;
use super::{Blend, Blended, Leaves, MAX_LEVELS, MIN_LEVELS, PredictError, Scalar};

/// Rows of a group whose walks are in flight at once.
const WALKS: usize = 8;

/// A prediction to be done.
pub(in crate::trees) struct Predict<'a, X: Scalar, V> {
    pub(in crate::trees) blend: &'a Blend<X, V>,
    pub(in crate::trees) leaves: &'a Leaves<V>,
    pub(in crate::trees) rows: &'a [X],
    pub(in crate::trees) features: usize,
    /// As many rows of outputs, with the base scores.
    pub(in crate::trees) out: &'a mut [V],
    pub(in crate::trees) outputs: usize,
    pub(in crate::trees) cancel: &'a dyn Fn() -> bool,
}

/// Some trees, and the group of rows that they are for.
struct Group<'a, C, X: Scalar, V> {
    blend: &'a Blend<X, V>,
    trees: &'a [Blended],
    columns: &'a [C],
    /// By output, the rows' sums.
    sums: &'a mut [V],
    /// Eighths of the group that have rows.
    eighths: usize,
}

impl<X: Scalar, V: Scalar> Work for Predict<'_, X, V> {
    type Output = Result<(), PredictError>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { blend, leaves, rows, features, out, outputs, cancel } = self;
        let width = blend.stretches.iter().map(|stretch| stretch.ranks.columns()).max().unwrap_or(1);
        let mut columns = vec![L::Column::ZERO; width];
        let mut sums = vec![V::ZERO; outputs * L::ROWS];
        let mut scratch = Scratch::new(L::ROWS / 8, V::vectors::<L>());
        for (rows, out) in rows.chunks(L::ROWS * features).zip(out.chunks_mut(L::ROWS * outputs)) {
            if cancel() {
                return Err(PredictError::Cancelled);
            }
            for (output, sums) in sums.chunks_exact_mut(L::ROWS).enumerate() {
                // Idle lanes keep what they have.
                for (sum, out) in sums.iter_mut().zip(out.chunks_exact(outputs)) {
                    *sum = out[output];
                }
            }
            let eighths = (rows.len() / features).div_ceil(L::ROWS / 8);
            let mut first = 0;
            for stretch in &blend.stretches {
                stretch.ranks.fill(lanes, rows, features, &mut scratch, &mut columns);
                let trees = &blend.trees[first..stretch.end as usize];
                first = stretch.end as usize;
                let group = Group { blend, trees, columns: &columns, sums: &mut sums, eighths };
                match leaves {
                    Leaves::One(values) => group.add_one(lanes, values),
                    Leaves::All(lists) => group.add_all(lanes, lists, outputs),
                }
            }
            for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                for (output, out) in out.iter_mut().enumerate() {
                    *out = sums[output * L::ROWS + row];
                }
            }
        }
        Ok(())
    }
}

impl<C: Column, X: Scalar, V: Scalar> Group<'_, C, X, V> {
    /// If leaves have one value.
    #[inline(always)]
    fn add_one<L: Lanes<Column = C>>(self, lanes: L, values: &[V]) {
        let Self { blend, trees, columns, sums, eighths } = self;
        let asked = blend.splits.of(columns);
        for tree in trees {
            let sums = &mut sums[tree.output as usize * L::ROWS..][..L::ROWS];
            let indexes = indexes(lanes, tree, asked.from(tree.splits as usize), eighths);
            if tree.rest == 0 {
                add(lanes, tree.levels, &indexes, &blend.tables[tree.table as usize..], sums, eighths);
            } else {
                walk(lanes, blend, tree, &indexes, columns, eighths, &mut |row, leaf| sums[row] += values[leaf]);
            }
        }
    }

    /// If leaves have a value for each output.
    #[inline(always)]
    fn add_all<L: Lanes<Column = C>>(self, lanes: L, leaves: &All<V>, outputs: usize) {
        let Self { blend, trees, columns, sums, eighths } = self;
        let asked = blend.splits.of(columns);
        for tree in trees {
            let indexes = indexes(lanes, tree, asked.from(tree.splits as usize), eighths);
            if tree.rest == 0 {
                for (output, sums) in sums.chunks_exact_mut(L::ROWS).enumerate() {
                    let table = tree.table as usize + (output << tree.levels);
                    add(lanes, tree.levels, &indexes, &blend.tables[table..], sums, eighths);
                }
            } else {
                walk(lanes, blend, tree, &indexes, columns, eighths, &mut |row, leaf| {
                    for (output, value) in leaves.list(leaf, outputs).iter().enumerate() {
                        sums[output * L::ROWS + row] += *value;
                    }
                });
            }
        }
    }
}

/// Where an eighth of the rows has its indexes: in which vector, and from which bit of the bytes on. Indexes of four bits share bytes.
#[inline(always)]
fn place(levels: u32, eighth: usize) -> (usize, u32) {
    if levels > 4 { (eighth, 0) } else { (eighth % 4, eighth as u32 / 4 * 4) }
}

/// Walks on from a tree's entries, and calls `each` with every row of the group and the leaf it reaches.
#[inline(always)]
fn walk<L: Lanes, X: Scalar, V: Scalar>(
    lanes: L,
    blend: &Blend<X, V>,
    tree: &Blended,
    indexes: &[L::Bits; 8],
    columns: &[L::Column],
    eighths: usize,
    each: &mut impl FnMut(usize, usize),
) {
    for eighth in 0..eighths {
        let (vector, low) = place(tree.levels, eighth);
        let mut index = L::Column::ZERO;
        lanes.store(indexes[vector], &mut index);
        let vectors = V::vectors::<L>();
        for_each_leaf(blend, tree, &index, low, columns, eighth, &mut |byte, leaf| {
            each(eighth * (L::ROWS / 8) + row_of(byte, L::ROWS / 8, vectors), leaf);
        });
    }
}

/// Calls `each` with every byte of the index, and the leaf that its row reaches.
///
/// Not inlined: with AVX-512, the compiler makes gathers of it, which take four times as long.
#[inline(never)]
fn for_each_leaf<X: Scalar, V, C: Column>(
    blend: &Blend<X, V>,
    tree: &Blended,
    index: &C,
    low: u32,
    columns: &[C],
    eighth: usize,
    each: &mut impl FnMut(usize, usize),
) {
    let bits = tree.levels;
    let entries = &blend.entries[tree.table as usize..][..1 << bits];
    let steps = blend.steps.as_slice();
    // The length is a power of two: the mask changes no index, and spares the bounds checks.
    let mask = steps.len() - 1;
    for (word, index) in index.words().iter().enumerate() {
        let index = index >> low;
        let mut at = [0; WALKS];
        for (lane, at) in at.iter_mut().enumerate() {
            *at = entries[(index >> (8 * lane)) as usize & ((1 << bits) - 1)] as usize;
        }
        for _ in 0..tree.rest {
            for (lane, at) in at.iter_mut().enumerate() {
                let step = steps[*at & mask];
                let left = columns[step.column as usize].words()[word] >> (8 * lane + eighth) & 1;
                *at += step.left as usize + (left ^ 1) as usize;
            }
        }
        for (lane, leaf) in at.into_iter().enumerate() {
            each(8 * word + lane, leaf);
        }
    }
}

/// Adds the leaves that the indexes point at.
#[inline(always)]
fn add<L: Lanes, V: Scalar>(
    lanes: L,
    levels: u32,
    indexes: &[L::Bits; 8],
    table: &[V],
    sums: &mut [V],
    eighths: usize,
) {
    match levels {
        0..=4 => {
            // Each for itself, so that the shifts are by constants.
            let (first, second) = sums.split_at_mut(L::ROWS / 2);
            add_eighths::<L, V, 4>(lanes, indexes, 0, table, first, eighths);
            add_eighths::<L, V, 4>(lanes, indexes, 4, table, second, eighths.saturating_sub(4));
        }
        5 => add_eighths::<L, V, 5>(lanes, indexes, 0, table, sums, eighths),
        6 => add_eighths::<L, V, 6>(lanes, indexes, 0, table, sums, eighths),
        7 => add_eighths::<L, V, 7>(lanes, indexes, 0, table, sums, eighths),
        _ => add_eighths::<L, V, 8>(lanes, indexes, 0, table, sums, eighths),
    }
}

#[inline(always)]
fn add_eighths<L: Lanes, V: Scalar, const BITS: usize>(
    lanes: L,
    indexes: &[L::Bits; 8],
    low: u32,
    table: &[V],
    sums: &mut [V],
    eighths: usize,
) {
    for (sums, index) in sums.chunks_exact_mut(L::ROWS / 8).zip(indexes).take(eighths) {
        V::add::<L, BITS>(lanes, *index, low, table, sums);
    }
}

/// Each row's place in the tree's table: from the ways that its splits leave it, the root's the highest bit, and a set one for left.
#[inline(always)]
fn indexes<L: Lanes>(lanes: L, tree: &Blended, splits: Asked<'_, L::Column>, eighths: usize) -> [L::Bits; 8] {
    let mut ways = [lanes.none(); MAX_LEVELS as usize];
    upper_ways(lanes, splits, &mut ways);
    if tree.levels > MIN_LEVELS {
        lower_ways(lanes, tree.levels, splits, &mut ways);
    }
    let mut indexes = [lanes.none(); 8];
    // Constants, so that the shifts are by constants.
    macro_rules! merge {
        ($bits:literal, $mask:literal: $($place:literal)*) => {{
            $(if $place < eighths {
                for level in 0..$bits {
                    let to = $bits - 1 - level;
                    indexes[$place] = lanes.merge(indexes[$place], ways[level], to as i32 - $place, $mask << to);
                }
            })*
        }};
    }
    match tree.levels {
        // Places 4 apart go to the two halves of the bytes.
        0..=4 => merge!(4, 0x11: 0 1 2 3),
        5 => merge!(5, 1: 0 1 2 3 4 5 6 7),
        6 => merge!(6, 1: 0 1 2 3 4 5 6 7),
        7 => merge!(7, 1: 0 1 2 3 4 5 6 7),
        _ => merge!(8, 1: 0 1 2 3 4 5 6 7),
    }
    indexes
}

/// The ways of the first four levels.
#[inline(always)]
fn upper_ways<L: Lanes>(lanes: L, splits: Asked<'_, L::Column>, ways: &mut [L::Bits; MAX_LEVELS as usize]) {
    let splits = splits.part::<15>(0);
    ways[0] = choice0(lanes, splits.level::<1>(), &[]);
    ways[1] = choice1(lanes, splits.level::<2>(), &ways[..1]);
    ways[2] = choice2(lanes, splits.level::<4>(), &ways[..2]);
    ways[3] = choice3(lanes, splits.level::<8>(), &ways[..3]);
}

/// The same, for the levels below the fourth.
#[inline(always)]
fn lower_ways<L: Lanes>(
    lanes: L,
    levels: u32,
    splits: Asked<'_, L::Column>,
    ways: &mut [L::Bits; MAX_LEVELS as usize],
) {
    for level in 4..levels as usize {
        let first = (1 << level) - 1;
        let near: [L::Bits; 4] = [ways[level - 4], ways[level - 3], ways[level - 2], ways[level - 1]];
        // Outcomes of halves, quarters, ... that wait for their other half.
        let mut waiting = [lanes.none(); 5];
        for at in 0..1_usize << (level - 4) {
            let mut outcome = choice4(lanes, splits.part(first + 16 * at), &near);
            let pairs = at.trailing_ones() as usize;
            for pair in 0..pairs {
                outcome = lanes.choose(ways[level - 5 - pair], outcome, waiting[pair]);
            }
            waiting[pairs] = outcome;
        }
        ways[level] = waiting[level - 4];
    }
}

/// Whether each row goes left at the split.
#[inline(always)]
fn choice0<L: Lanes>(lanes: L, split: Asked<'_, L::Column, [u32; 1]>, _: &[L::Bits]) -> L::Bits {
    lanes.load(split.column())
}

/// Of a level's splits, or of some that lie together, each row's own: which way it goes there, by the ways that it went above.
macro_rules! choices {
    ($($name:ident $half:ident $count:literal,)*) => {$(
        #[inline(always)]
        fn $name<L: Lanes>(lanes: L, level: Asked<'_, L::Column, [u32; 2 * $count]>, ways: &[L::Bits]) -> L::Bits {
            let no = $half(lanes, level.half::<$count>(0), &ways[1..]);
            let yes = $half(lanes, level.half::<$count>(1), &ways[1..]);
            lanes.choose(ways[0], yes, no)
        }
    )*};
}

choices! {
    choice1 choice0 1,
    choice2 choice1 2,
    choice3 choice2 4,
    choice4 choice3 8,
}
