//! Predicting with a blended forest, for any [`Lanes`].

use super::super::lanes::{Column, Lanes, Work};
use super::super::leaves::All;
use super::super::ranks::{Scratch, row_at};
use super::super::simd::{Asked, Split};
use super::build::table_bits;
use super::{Blend, Blended, Leaves, MAX_LEVELS, PredictError, Scalar};

/// Columns of a block of rows should stay within a core's first cache beside a stretch of trees.
const BLOCK_BYTES: usize = 24 << 10;
/// Rows in a block at most: between blocks it is asked whether to go on.
const BLOCK_ROWS: usize = 512;
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

impl<X: Scalar, V: Scalar> Work for Predict<'_, X, V> {
    type Output = Result<(), PredictError>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { blend, leaves, rows, features, out, outputs, cancel } = self;
        let width = blend.ranks.columns().max(1);
        let count = rows.len() / features;
        let most = (BLOCK_BYTES / (width * L::ROWS)).clamp(1, BLOCK_ROWS / L::ROWS);
        let groups = most.min(count.div_ceil(L::ROWS));
        let mut columns = vec![L::Column::ZERO; width * groups];
        let mut sums = vec![V::ZERO; outputs * groups * L::ROWS];
        let mut scratch = Scratch::new();
        let block_rows = groups * L::ROWS;
        for (rows, out) in rows.chunks(block_rows * features).zip(out.chunks_mut(block_rows * outputs)) {
            if cancel() {
                return Err(PredictError::Cancelled);
            }
            let groups = columns.chunks_exact_mut(width).zip(sums.chunks_exact_mut(outputs * L::ROWS));
            let inputs = rows.chunks(L::ROWS * features).zip(out.chunks(L::ROWS * outputs));
            for ((columns, sums), (rows, out)) in groups.zip(inputs) {
                blend.ranks.fill(lanes, V::vectors::<L>(), rows, features, &mut scratch, columns);
                for (output, sums) in sums.chunks_exact_mut(L::ROWS).enumerate() {
                    // Idle lanes keep what they have.
                    for (sum, out) in sums.iter_mut().zip(out.chunks_exact(outputs)) {
                        *sum = out[output];
                    }
                }
            }
            let used = rows.len().div_ceil(L::ROWS * features);
            let mut first = 0;
            for end in &blend.stretches {
                let trees = &blend.trees[first as usize..*end as usize];
                let groups = columns.chunks_exact(width).zip(sums.chunks_exact_mut(outputs * L::ROWS));
                for (columns, sums) in groups.take(used) {
                    match leaves {
                        Leaves::One(values) => add_one(lanes, blend, values, trees, columns, sums),
                        Leaves::All(lists) => add_all(lanes, blend, lists, trees, columns, sums, outputs),
                    }
                }
                first = *end;
            }
            for (sums, out) in sums.chunks_exact(outputs * L::ROWS).zip(out.chunks_mut(L::ROWS * outputs)) {
                for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                    for (output, out) in out.iter_mut().enumerate() {
                        *out = sums[output * L::ROWS + row];
                    }
                }
            }
        }
        Ok(())
    }
}

/// A stretch of trees whose leaves have one value, for a group of rows.
#[inline(always)]
fn add_one<L: Lanes, X: Scalar, V: Scalar>(
    lanes: L,
    blend: &Blend<X, V>,
    values: &[V],
    trees: &[Blended],
    columns: &[L::Column],
    sums: &mut [V],
) {
    let asked = blend.splits.of(columns);
    let mut trees = trees.iter().peekable();
    while let Some(&tree) = trees.peek() {
        let output = tree.output;
        let sums = &mut sums[output as usize * L::ROWS..][..L::ROWS];
        if tree.rest > 0 {
            trees.next();
            let index = index(lanes, blend, tree, columns);
            for_each_leaf(blend, tree, &index, columns, [L::UNIT, V::vectors::<L>()], &mut |row, leaf| {
                sums[row] += values[leaf]
            });
            continue;
        }
        // As long as trees add to the same output, its sums stay in registers.
        let mut held = V::load(lanes, sums);
        while let Some(tree) = trees.next_if(|tree| tree.output == output && tree.rest == 0) {
            let splits = asked.from(tree.splits as usize);
            let table = &blend.tables[tree.table as usize..];
            let bits = leaf_bits(lanes, tree.levels, splits);
            add(lanes, tree.levels, bits, table, &mut held);
        }
        V::store(lanes, held, sums);
    }
}

/// A stretch of trees whose leaves have a value for each output, for a group of rows.
#[inline(always)]
fn add_all<L: Lanes, X: Scalar, V: Scalar>(
    lanes: L,
    blend: &Blend<X, V>,
    leaves: &All<V>,
    trees: &[Blended],
    columns: &[L::Column],
    sums: &mut [V],
    outputs: usize,
) {
    for tree in trees {
        let splits = blend.splits.of(columns).from(tree.splits as usize);
        if tree.rest > 0 {
            let index = index(lanes, blend, tree, columns);
            for_each_leaf(blend, tree, &index, columns, [L::UNIT, V::vectors::<L>()], &mut |row, leaf| {
                for (output, value) in leaves.list(leaf, outputs).iter().enumerate() {
                    sums[output * L::ROWS + row] += *value;
                }
            });
            continue;
        }
        let bits = leaf_bits(lanes, tree.levels, splits);
        for (output, sums) in sums.chunks_exact_mut(L::ROWS).enumerate() {
            let table = &blend.tables[tree.table as usize + (output << table_bits(tree.levels))..];
            let mut held = V::load(lanes, sums);
            add(lanes, tree.levels, bits, table, &mut held);
            V::store(lanes, held, sums);
        }
    }
}

/// Which of a tree's entries each row takes.
#[inline(always)]
fn index<L: Lanes, X: Scalar, V>(lanes: L, blend: &Blend<X, V>, tree: &Blended, columns: &[L::Column]) -> L::Column {
    let splits = blend.splits.of(columns).from(tree.splits as usize);
    let mut index = L::Column::ZERO;
    lanes.store(leaf_bits(lanes, tree.levels, splits), &mut index);
    for byte in index.bytes_mut() {
        *byte >>= MAX_LEVELS - tree.levels;
    }
    index
}

/// Calls `each` with every row of the group and the leaf it reaches, walking on from the entries.
///
/// Not inlined: with AVX-512, the compiler makes gathers of it, which take four times as long.
#[inline(never)]
fn for_each_leaf<X: Scalar, V, C: Column>(
    blend: &Blend<X, V>,
    tree: &Blended,
    index: &C,
    columns: &[C],
    [unit, vectors]: [usize; 2],
    each: &mut impl FnMut(usize, usize),
) {
    let start = tree.start as usize;
    let steps = blend.steps.as_slice();
    // The length is a power of two: the mask changes no index, and spares the bounds checks.
    let mask = steps.len() - 1;
    for (part, entries) in index.bytes().as_chunks::<WALKS>().0.iter().enumerate() {
        let mut at = entries.map(|entry| blend.entries[tree.table as usize + usize::from(entry)] as usize);
        for _ in 0..tree.rest {
            for (lane, at) in at.iter_mut().enumerate() {
                let step = steps[*at & mask];
                let rank = columns[usize::from(step.column)].bytes()[part * WALKS + lane];
                *at = start + step.left as usize + usize::from(rank >= step.bound);
            }
        }
        for (lane, leaf) in at.into_iter().enumerate() {
            each(row_at(part * WALKS + lane, unit, vectors), leaf);
        }
    }
}

/// Adds the leaves that the bits point at.
#[inline(always)]
fn add<L: Lanes, V: Scalar>(lanes: L, levels: u32, bits: L::Bits, table: &[V], sums: &mut V::Sums<L>) {
    match levels {
        0..=4 => V::add::<L, 4>(lanes, bits, table, sums),
        5 => V::add::<L, 5>(lanes, bits, table, sums),
        6 => V::add::<L, 6>(lanes, bits, table, sums),
        7 => V::add::<L, 7>(lanes, bits, table, sums),
        _ => V::add::<L, 8>(lanes, bits, table, sums),
    }
}

/// The bits that a tree's splits leave each row: the root's highest, and a set one for left.
#[inline(always)]
fn leaf_bits<L: Lanes>(lanes: L, levels: u32, splits: Asked<'_, L::Column>) -> L::Bits {
    let mut ways = [lanes.none(); MAX_LEVELS as usize];
    match levels {
        1 => upper_bits::<L, 1>(lanes, splits, &mut ways),
        2 => upper_bits::<L, 2>(lanes, splits, &mut ways),
        3 => upper_bits::<L, 3>(lanes, splits, &mut ways),
        4 => upper_bits::<L, 4>(lanes, splits, &mut ways),
        _ => {
            let index = upper_bits::<L, 4>(lanes, splits, &mut ways);
            lower_bits(lanes, levels, splits, &mut ways, index)
        }
    }
}

/// The bits of the first levels, four at most.
#[inline(always)]
fn upper_bits<L: Lanes, const LEVELS: usize>(
    lanes: L,
    splits: Asked<'_, L::Column>,
    ways: &mut [L::Bits; MAX_LEVELS as usize],
) -> L::Bits {
    let mut index = lanes.none();
    macro_rules! level {
        ($level:literal, $choice:ident) => {
            if LEVELS > $level {
                ways[$level] = $choice(lanes, splits.part((1 << $level) - 1), &ways[..$level]);
                index = lanes.merge(index, ways[$level], $level);
            }
        };
    }
    level!(0, choice0);
    level!(1, choice1);
    level!(2, choice2);
    level!(3, choice3);
    index
}

/// The same, for the levels below the fourth.
#[inline(always)]
fn lower_bits<L: Lanes>(
    lanes: L,
    levels: u32,
    splits: Asked<'_, L::Column>,
    ways: &mut [L::Bits; MAX_LEVELS as usize],
    mut index: L::Bits,
) -> L::Bits {
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
        index = lanes.merge(index, ways[level], level as u32);
    }
    index
}

/// Whether each row goes left at the split.
#[inline(always)]
fn choice0<L: Lanes>(lanes: L, split: Asked<'_, L::Column, [Split; 1]>, _: &[L::Bits]) -> L::Bits {
    let (column, bound) = split.column();
    lanes.at_most(column, bound)
}

/// Of a level's splits, or of some that lie together, each row's own: which way it goes there, by the ways that it went above.
macro_rules! choices {
    ($($name:ident $half:ident $count:literal,)*) => {$(
        #[inline(always)]
        fn $name<L: Lanes>(lanes: L, level: Asked<'_, L::Column, [Split; 2 * $count]>, ways: &[L::Bits]) -> L::Bits {
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
