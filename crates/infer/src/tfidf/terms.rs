//! The vocabulary: from an n-gram's characters to its place, without making a string of it.

/// A term's place takes 24 bits of a slot.
const MAX_TERMS: usize = (1 << 24) - 1;

/// More terms than this in a row nowhere else share their places, unless someone crafted them. (The table is at most half full.)
const MAX_PROBES: usize = 256;

/// The hash of no character.
pub(super) const START: u64 = 0;

/// The hash of one character more (FxHash's step, over code points instead of words).
#[inline]
pub(super) fn step(hash: u64, character: char) -> u64 {
    (hash.rotate_left(5) ^ u64::from(u32::from(character))).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// A hash table with open addressing over the terms' own bytes.
#[derive(Debug)]
pub(super) struct Terms {
    /// All terms, one behind the other.
    text: String,
    /// Where each begins; at the end the text's length.
    starts: Vec<u32>,
    /// 0, or a term's place plus one in the lower 24 bits and eight bits of its hash above. A power of two of them.
    slots: Vec<u32>,
    longest: usize,
}

/// Why terms are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// More than places can be told apart.
    #[error("it has more than {MAX_TERMS} terms, or 4 GB of them")]
    TooMany,
    /// A term ends outside the text or within a character, or is empty.
    #[error("term {0} is no text")]
    NoText(usize),
    /// The lengths leave a rest.
    #[error("the terms have more bytes than their lengths say")]
    Rest,
    /// A term is there already.
    #[error("term {0} is in the vocabulary twice")]
    Twice(usize),
    /// Too many terms with the same hash.
    #[error("term {0} collides with more than {MAX_PROBES} others")]
    Collides(usize),
}

impl Terms {
    /// Terms of these `lengths` in bytes, one behind the other in `text`.
    pub(super) fn new(text: String, lengths: impl ExactSizeIterator<Item = usize>) -> Result<Self, TermsError> {
        let count = lengths.len();
        if count > MAX_TERMS || u32::try_from(text.len()).is_err() {
            return Err(TermsError::TooMany);
        }
        let slots = vec![0; (2 * count).next_power_of_two().max(2)];
        let mut terms = Self { text, starts: Vec::with_capacity(count + 1), slots, longest: 0 };
        terms.starts.push(0);
        let mut start = 0;
        for (at, length) in lengths.enumerate() {
            // Both fit: a length is at most 32 bits, like the text's.
            let end = start + length;
            let term = terms.text.get(start..end).filter(|term| !term.is_empty()).ok_or(TermsError::NoText(at))?;
            let hash = term.chars().fold(START, step);
            let slot = terms.seek(hash, term).ok_or(TermsError::Collides(at))?;
            if terms.slots[slot] != 0 {
                return Err(TermsError::Twice(at));
            }
            terms.slots[slot] = tag(hash) | (at as u32 + 1);
            terms.starts.push(end as u32);
            terms.longest = terms.longest.max(length);
            start = end;
        }
        if start == terms.text.len() { Ok(terms) } else { Err(TermsError::Rest) }
    }

    /// The slot that the term has or would get; nothing if its neighbourhood is full of others.
    #[inline]
    fn seek(&self, hash: u64, term: &str) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let first = (hash >> (64 - self.slots.len().trailing_zeros())) as usize;
        (0..MAX_PROBES).map(|step| (first + step) & mask).find(|at| {
            let slot = self.slots[*at];
            slot == 0 || (slot & !PLACE == tag(hash) && self.term((slot & PLACE) as usize - 1) == term.as_bytes())
        })
    }

    fn term(&self, place: usize) -> &[u8] {
        &self.text.as_bytes()[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// A term's place, if it is one; `hash` is its characters', [`step`] by step.
    #[inline]
    pub(super) fn find(&self, hash: u64, term: &str) -> Option<u32> {
        let slot = self.slots[self.seek(hash, term)?];
        slot.checked_sub(1).map(|slot| slot & PLACE)
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The longest term's length in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.text.len() + (self.starts.len() + self.slots.len()) * size_of::<u32>()
    }
}

const PLACE: u32 = 0x00ff_ffff;

/// The hash's lowest byte, where a slot keeps it; a slot's number is of the highest bits.
#[inline]
fn tag(hash: u64) -> u32 {
    ((hash >> 8) as u32) << 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn terms(terms: &[&str]) -> Result<Terms, TermsError> {
        Terms::new(terms.concat(), terms.iter().map(|term| term.len()).collect::<Vec<_>>().into_iter())
    }

    fn find(terms: &Terms, term: &str) -> Option<u32> {
        terms.find(term.chars().fold(START, step), term)
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        assert_eq!(terms(&["a", "", "b"]).unwrap_err(), TermsError::NoText(1));
        assert_eq!(terms(&["a", "한", "a"]).unwrap_err(), TermsError::Twice(2));
        let lengths = |lengths: &[usize]| Terms::new("a한b".into(), lengths.iter().copied()).map(|_| ());
        assert_eq!(lengths(&[1, 3, 1]), Ok(()));
        assert_eq!(lengths(&[1, 3]), Err(TermsError::Rest));
        assert_eq!(lengths(&[1, 2, 2]), Err(TermsError::NoText(1)));
        assert_eq!(lengths(&[1, 3, 2]), Err(TermsError::NoText(2)));
        assert_eq!(lengths(&[1, 3, u32::MAX as usize]), Err(TermsError::NoText(2)));
    }

    /// Terms can be chosen so that they all belong to a few neighbouring slots.
    #[test]
    fn crafted_collisions_are_refused_soon() {
        let mut by_place: HashMap<u64, Vec<String>> = HashMap::new();
        for first in '一'..'乀' {
            for second in '가'..='힣' {
                let term = String::from_iter([first, second]);
                by_place.entry(term.chars().fold(START, step) >> 55).or_default().push(term);
            }
        }
        let crafted = by_place.into_values().max_by_key(Vec::len).unwrap();
        let crafted: Vec<&str> = crafted.iter().map(String::as_str).take(512).collect();
        assert_eq!(crafted.len(), 512);
        assert!(matches!(terms(&crafted), Err(TermsError::Collides(_))));
    }

    proptest! {
        #[test]
        fn finds_what_is_there_and_nothing_else(words: std::collections::BTreeSet<String>, others: Vec<String>) {
            let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
            let table = terms(&words).unwrap();
            for (at, word) in words.iter().enumerate() {
                prop_assert_eq!(find(&table, word), Some(at as u32));
            }
            for other in &others {
                prop_assert_eq!(find(&table, other).is_some(), words.contains(&other.as_str()));
            }
        }
    }
}
