//! What a blended forest needs of a machine: a few operations on bits of many rows at once.
//!
//! [`Portable`] is made of plain integers and runs anywhere. It is also the bounds-checked twin that tests compare the
//! [instruction sets](super::simd) with.

/// A bit for each row of a group.
pub trait Column: Copy + Send + Sync {
    /// None.
    const ZERO: Self;
    /// Words of 64.
    fn words(&self) -> &[u64];
    /// Words of 64.
    fn words_mut(&mut self) -> &mut [u64];
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident $words:literal $align:literal) => {
        $(#[$doc])*
        #[repr(C, align($align))]
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub [u64; $words]);

        impl Column for $name {
            const ZERO: Self = Self([0; $words]);

            #[inline(always)]
            fn words(&self) -> &[u64] {
                &self.0
            }

            #[inline(always)]
            fn words_mut(&mut self) -> &mut [u64] {
                &mut self.0
            }
        }
    };
}

column! {
    /// Of 256 rows, as vectors of 256 bits want them.
    Bits256 4 32
}
#[cfg(target_arch = "x86_64")]
column! {
    /// Of 512 rows, as vectors of 512 bits want them.
    Bits512 8 64
}

/// Operations on a group of rows. Whoever has a value of the type may use them: the machine has what they need.
///
/// [`Bits`](Self::Bits) are a vector: a bit a row, or, from [`merge`](Self::merge) on, a byte for an eighth of the rows.
pub trait Lanes: Copy {
    /// Rows in a group.
    const ROWS: usize;
    /// Vectors of f32 that an eighth of the rows fill.
    const SINGLES: usize;
    /// Vectors of f64 that an eighth of the rows fill.
    const DOUBLES: usize;
    /// A bit a row, in memory.
    type Column: Column;
    /// The same, in registers.
    type Bits: Copy;

    /// No bits.
    fn none(self) -> Self::Bits;
    /// From memory.
    fn load(self, column: &Self::Column) -> Self::Bits;
    /// To memory.
    fn store(self, bits: Self::Bits, column: &mut Self::Column);
    /// Each row's bit from `yes` where `by` has one, else from `no`.
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits;
    /// The bits of either.
    fn either(self, one: Self::Bits, other: Self::Bits) -> Self::Bits;
    /// The bits that are not in `except`.
    fn without(self, bits: Self::Bits, except: Self::Bits) -> Self::Bits;
    /// The index, and of each byte of `bits`, moved left by so many places, those in the mask. The mask has none that came from another byte.
    fn merge(self, index: Self::Bits, bits: Self::Bits, left: i32, mask: u8) -> Self::Bits;

    /// How many of the block's keys are at most `key`. The block is in ascending order.
    fn count32(self, block: &[i32; 16], key: i32) -> usize;
    /// The same.
    fn count64(self, block: &[i64; 16], key: i64) -> usize;

    /// Adds to each sum of an eighth of the rows what the table has at the row's index: of its byte, `BITS` bits from the `low`est on. The
    /// table is 2^`BITS` long, from 16 to 256. The first byte of each of the sums' vectors comes first, then the second, ...
    fn add32<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f32], sums: &mut [f32]);
    /// The same.
    fn add64<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f64], sums: &mut [f64]);
}

/// What is run with the instructions that a machine has.
pub trait Work {
    /// What comes of it.
    type Output;
    /// To be `#[inline(always)]`, so that it is compiled for the instructions of the function that it is called from.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Integers of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

const WORDS: usize = 4;

#[inline(always)]
fn each(of: impl Fn(usize) -> u64) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = of(at);
    }
    words
}

/// [`Lanes::add32`] and [`Lanes::add64`], where rows lie in the order of the bytes.
#[inline(always)]
pub fn add<V: Copy + std::ops::AddAssign, const BITS: usize>(
    index: [u64; WORDS],
    low: u32,
    table: &[V],
    sums: &mut [V],
) {
    let table = &table[..1 << BITS];
    for (sums, word) in sums.as_chunks_mut::<8>().0.iter_mut().zip(index) {
        let word = word >> low;
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum += table[(word >> (8 * row)) as usize & ((1 << BITS) - 1)];
        }
    }
}

impl Lanes for Portable {
    const ROWS: usize = 64 * WORDS;
    // Rows lie in the order of the bytes.
    const SINGLES: usize = 1;
    const DOUBLES: usize = 1;
    type Column = Bits256;
    type Bits = [u64; WORDS];

    #[inline(always)]
    fn none(self) -> Self::Bits {
        [0; WORDS]
    }

    #[inline(always)]
    fn load(self, column: &Self::Column) -> Self::Bits {
        column.0
    }

    #[inline(always)]
    fn store(self, bits: Self::Bits, column: &mut Self::Column) {
        column.0 = bits;
    }

    #[inline(always)]
    fn choose(self, by: Self::Bits, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        each(|at| no[at] ^ ((no[at] ^ yes[at]) & by[at]))
    }

    #[inline(always)]
    fn either(self, one: Self::Bits, other: Self::Bits) -> Self::Bits {
        each(|at| one[at] | other[at])
    }

    #[inline(always)]
    fn without(self, bits: Self::Bits, except: Self::Bits) -> Self::Bits {
        each(|at| bits[at] & !except[at])
    }

    #[inline(always)]
    fn merge(self, index: Self::Bits, bits: Self::Bits, left: i32, mask: u8) -> Self::Bits {
        let mask = u64::from(mask) * 0x0101_0101_0101_0101;
        each(|at| {
            let moved = if left < 0 { bits[at] >> -left } else { bits[at] << left };
            index[at] | (moved & mask)
        })
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
    fn add32<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f32], sums: &mut [f32]) {
        add::<f32, BITS>(index, low, table, sums);
    }

    #[inline(always)]
    fn add64<const BITS: usize>(self, index: Self::Bits, low: u32, table: &[f64], sums: &mut [f64]) {
        add::<f64, BITS>(index, low, table, sums);
    }
}
