//! How much memory a model file may take.

/// What loading takes beside the lists that are counted: one for reading, one for the forest.
const READING_BYTES: usize = 16 << 20;
const FOREST_BYTES: usize = 32 << 20;

/// Memory that may still be taken while a file is read.
///
/// A loader and the model that it makes may hold four times the file and 64 MB, whatever the bytes are. What libraries write takes
/// much less, for they write each node out with its statistics. So half of that is for what is read, which this counts, and half
/// for the forest ([`forest_bytes`]).
#[derive(Debug, Clone)]
pub struct Budget {
    left: usize,
}

/// A file whose content would take more memory than its size allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model is packed so densely that it would take more than four times its size in memory")]
pub struct OverBudget;

/// What the forest of a file may take.
#[must_use]
pub fn forest_bytes(file: &[u8]) -> usize {
    file.len().saturating_mul(2).saturating_add(FOREST_BYTES)
}

impl Budget {
    /// For a file.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        Self { left: file.len().saturating_mul(2).saturating_add(READING_BYTES) }
    }

    /// For a file from which no forest of ours is made: both halves.
    pub fn all_of(file: &[u8]) -> Self {
        Self { left: Self::of(file).left.saturating_add(forest_bytes(file)) }
    }

    /// Counts bytes that are about to be allocated.
    pub fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.left = self.left.checked_sub(bytes).ok_or(OverBudget)?;
        Ok(())
    }

    /// Appends to a list, whose growth is counted: it doubles, as vectors do.
    pub fn push<T>(&mut self, list: &mut Vec<T>, item: T) -> Result<(), OverBudget> {
        if list.len() == list.capacity() {
            let more = list.capacity().max(4);
            self.take(more.saturating_mul(size_of::<T>()))?;
            list.reserve_exact(more);
        }
        list.push(item);
        Ok(())
    }

    /// Makes room in an empty list for as many items as are known to come, and counts what it lacked.
    #[inline(always)]
    pub fn reserve<T>(&mut self, list: &mut Vec<T>, items: usize) -> Result<(), OverBudget> {
        // Lists are used again and again, so that most have it.
        if items <= list.capacity() {
            return Ok(());
        }
        self.take((items - list.capacity()).saturating_mul(size_of::<T>()))?;
        list.reserve_exact(items);
        Ok(())
    }

    /// A list of as many items as are known to come.
    pub fn list<T>(&mut self, items: usize) -> Result<Vec<T>, OverBudget> {
        let mut list = Vec::new();
        self.reserve(&mut list, items)?;
        Ok(list)
    }
}
