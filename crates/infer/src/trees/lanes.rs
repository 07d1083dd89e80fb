//! What a blended forest needs of a machine: a few operations on the bytes of many rows at once.
//!
//! [`Portable`] is made of plain integers and runs anywhere. It is also the bounds-checked twin that tests compare the
//! [instruction sets](super::simd) with.

/// Bytes of a group of rows, one each.
pub trait Column: Copy + Send + Sync {
    /// All 0.
    const ZERO: Self;
    /// The bytes.
    fn bytes(&self) -> &[u8];
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Bytes that lie as vectors want them.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Aligned<const N: usize>(pub [u8; N]);

impl<const N: usize> Column for Aligned<N> {
    const ZERO: Self = Self([0; N]);

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Operations on a group of rows. Whoever has a value of the type may use them: the machine has what they need.
///
/// [`Bits`](Self::Bits) are bytes of which only the highest bit counts, a byte a row.
pub trait Lanes: Copy {
    /// Rows in a group.
    const ROWS: usize;
    /// Rows in a vector of bytes.
    const UNIT: usize;
    /// Vectors of f32 that a vector's rows fill.
    const SINGLES: usize;
    /// Vectors of f64 that a vector's rows fill.
    const DOUBLES: usize;
    /// A byte a row.
    type Column: Column;
    /// A bit a row, or, from [`merge`](Self::merge), some.
    type Bits: Copy;
    /// An f32 a row.
    type Sums32: Copy;
    /// An f64 a row.
    type Sums64: Copy;

    /// No bits.
    fn none(self) -> Self::Bits;
    /// The highest bits of `bound - column`. Bytes of columns are below 128, and `bound` is four times the same byte, of 128 or more: then
    /// nothing wraps, and the bit says whether `column <= bound - 128`.
    fn at_most(self, column: &Self::Column, bound: u32) -> Self::Bits;
    /// Each row's bit from `yes` where `by` has one, else from `no`.
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits;
    /// The index, with the rows' bits at this place below the highest.
    fn merge(self, index: Self::Bits, bits: Self::Bits, place: u32) -> Self::Bits;
    /// The bytes.
    fn store(self, bits: Self::Bits, column: &mut Self::Column);

    /// How many of the block's keys are at most `key`. The block is in ascending order.
    fn count32(self, block: &[i32; 16], key: i32) -> usize;
    /// The same.
    fn count64(self, block: &[i64; 16], key: i64) -> usize;

    /// The group's sums.
    fn load32(self, sums: &[f32]) -> Self::Sums32;
    /// Back.
    fn store32(self, sums: Self::Sums32, to: &mut [f32]);
    /// Adds to each row's sum what the table has at the highest `BITS` bits of the row's byte. The table is 2^`BITS` long, from 16 to 256.
    fn add32<const BITS: usize>(self, index: Self::Bits, table: &[f32], sums: &mut Self::Sums32);
    /// The group's sums.
    fn load64(self, sums: &[f64]) -> Self::Sums64;
    /// Back.
    fn store64(self, sums: Self::Sums64, to: &mut [f64]);
    /// [`add32`](Self::add32).
    fn add64<const BITS: usize>(self, index: Self::Bits, table: &[f64], sums: &mut Self::Sums64);
}

/// What is run with the instructions that a machine has.
pub trait Work {
    /// What comes of it.
    type Output;
    /// To be `#[inline(always)]`, so that it is compiled for the instructions of the function that it is called from.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Integers of 64 bits, 8 rows each, in which no byte borrows from the next.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Words of a group: two registers of 128 bits.
const WORDS: usize = 4;
const ROWS: usize = 8 * WORDS;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[inline(always)]
fn each(of: impl Fn(usize) -> u64) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = of(at);
    }
    words
}

#[inline(always)]
fn add<V: Copy + std::ops::AddAssign, const BITS: usize>(index: [u64; WORDS], table: &[V], sums: &mut [V; ROWS]) {
    let (sums, _) = sums.as_chunks_mut::<8>();
    let table = &table[..1 << BITS];
    for (sums, word) in sums.iter_mut().zip(index) {
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum += table[(word >> (8 * row + 8 - BITS)) as usize & ((1 << BITS) - 1)];
        }
    }
}

impl Lanes for Portable {
    const ROWS: usize = ROWS;
    const UNIT: usize = ROWS;
    // Rows lie in their order.
    const SINGLES: usize = 1;
    const DOUBLES: usize = 1;
    type Column = Aligned<ROWS>;
    type Bits = [u64; WORDS];
    type Sums32 = [f32; ROWS];
    type Sums64 = [f64; ROWS];

    #[inline(always)]
    fn none(self) -> Self::Bits {
        [0; WORDS]
    }

    #[inline(always)]
    fn at_most(self, column: &Self::Column, bound: u32) -> Self::Bits {
        let bound = u64::from(bound) << 32 | u64::from(bound);
        let (words, _) = column.0.as_chunks();
        each(|at| bound - u64::from_le_bytes(words[at]))
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        each(|at| no[at] ^ ((no[at] ^ yes[at]) & by[at]))
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, place: u32) -> Self::Bits {
        each(|at| index[at] | ((bits[at] & HIGH) >> place))
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        let (words, _) = column.0.as_chunks_mut();
        for (word, bits) in words.iter_mut().zip(bits) {
            *word = bits.to_le_bytes();
        }
    }

    #[inline(always)]
    fn count32(self, block: &[i32; 16], key: i32) -> usize {
        block.iter().map(|cut| i32::from(*cut <= key)).sum::<i32>() as usize
    }

    #[inline(always)]
    fn count64(self, block: &[i64; 16], key: i64) -> usize {
        block.iter().map(|cut| i32::from(*cut <= key)).sum::<i32>() as usize
    }

    #[inline(always)]
    fn load32(self, sums: &[f32]) -> Self::Sums32 {
        let mut all = [0.0; ROWS];
        all.copy_from_slice(sums);
        all
    }

    #[inline(always)]
    fn store32(self, sums: Self::Sums32, to: &mut [f32]) {
        to.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn add32<const BITS: usize>(self, index: Self::Bits, table: &[f32], sums: &mut Self::Sums32) {
        add::<f32, BITS>(index, table, sums);
    }

    #[inline(always)]
    fn load64(self, sums: &[f64]) -> Self::Sums64 {
        let mut all = [0.0; ROWS];
        all.copy_from_slice(sums);
        all
    }

    #[inline(always)]
    fn store64(self, sums: Self::Sums64, to: &mut [f64]) {
        to.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, table: &[f64], sums: &mut Self::Sums64) {
        add::<f64, BITS>(index, table, sums);
    }
}
