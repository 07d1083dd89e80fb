//! Splits, and the columns that they ask.

/// Splits, which ask no column beyond a highest one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Splits {
    /// The column that each asks.
    list: Vec<u32>,
    /// One more than the highest column of all in the list.
    columns: usize,
}

impl Splits {
    pub fn with_capacity(splits: usize) -> Self {
        Self { list: Vec::with_capacity(splits), columns: 0 }
    }

    pub fn push(&mut self, column: u32) {
        self.columns = self.columns.max(column as usize + 1);
        self.list.push(column);
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Memory beside its own.
    pub fn memory_bytes(&self) -> usize {
        self.list.capacity() * size_of::<u32>()
    }

    /// The splits with a group's columns.
    #[inline(always)]
    pub fn of<'a, C>(&'a self, columns: &'a [C]) -> Asked<'a, C> {
        assert!(self.columns <= columns.len(), "a column for every split");
        Asked { splits: &self.list, columns }
    }
}

/// Some splits, with all the columns that they ask.
///
/// The fields are private, so that whatever splits are here come from [`Splits::of`].
#[derive(Debug)]
pub struct Asked<'a, C, S: ?Sized = [u32]> {
    splits: &'a S,
    columns: &'a [C],
}

// Derived, they would ask that `C` and `S` are.
impl<C, S: ?Sized> Clone for Asked<'_, C, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, S: ?Sized> Copy for Asked<'_, C, S> {}

impl<'a, C> Asked<'a, C> {
    /// Those from a place on.
    #[inline(always)]
    pub fn from(self, start: usize) -> Self {
        Self { splits: &self.splits[start..], columns: self.columns }
    }

    /// Those from a place on, as many as are asked for.
    #[inline(always)]
    pub fn part<const N: usize>(self, start: usize) -> Asked<'a, C, [u32; N]> {
        let (parts, _) = self.splits[start..][..N].as_chunks();
        Asked { splits: &parts[0], columns: self.columns }
    }
}

impl<'a, C, const N: usize> Asked<'a, C, [u32; N]> {
    /// The first or the second half, of as many as are asked for.
    #[inline(always)]
    pub fn half<const H: usize>(self, which: usize) -> Asked<'a, C, [u32; H]> {
        let (halves, _) = self.splits.as_chunks();
        Asked { splits: &halves[which], columns: self.columns }
    }
}

impl<'a, C> Asked<'a, C, [u32; 15]> {
    /// Of a tree's first splits, the level of so many.
    #[inline(always)]
    pub fn level<const N: usize>(self) -> Asked<'a, C, [u32; N]> {
        let (levels, _) = self.splits[N - 1..][..N].as_chunks();
        Asked { splits: &levels[0], columns: self.columns }
    }
}

impl<'a, C> Asked<'a, C, [u32; 1]> {
    /// The split's column.
    #[inline(always)]
    pub fn column(self) -> &'a C {
        let [column] = *self.splits;
        // SAFETY: `Splits::of` saw that there are more columns than the highest that any of its splits asks, and is where this split and
        // these columns come from.
        unsafe { self.columns.get_unchecked(column as usize) }
    }
}
