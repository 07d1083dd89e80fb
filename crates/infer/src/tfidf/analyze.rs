//! From a text to its n-grams, as scikit-learn's vectorizers take them (`sklearn/feature_extraction/text.py`).

use std::collections::HashSet;

use serde::Deserialize;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::terms::{START, step};

/// The most units of an n-gram. Beyond some ten none has been seen to help, and each costs a look at every place of a text.
const MAX_UNITS: usize = 100;

/// What n-grams are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Characters, across words.
    Char,
    /// Characters within words, with a space before and after each word.
    CharWb,
    /// Words.
    Word,
}

/// How a text is cut into n-grams: the vectorizer's parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analyzer {
    analyzer: Unit,
    ngram_range: (usize, usize),
    lowercase: bool,
    /// For words: how many characters make one, as `token_pattern` has it.
    min_word: usize,
    /// For words: those that are left out.
    stop_words: HashSet<String>,
}

/// A text as n-grams are cut out of it.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
    /// The text's characters and where they begin; at the end a NUL behind the last.
    characters: Vec<(char, usize)>,
    /// For words: where each begins and ends among the characters. One space is between two.
    words: Vec<(usize, usize)>,
}

impl Buffer {
    fn clear(&mut self) {
        self.text.clear();
        self.characters.clear();
        self.words.clear();
    }

    fn push(&mut self, character: char) {
        self.characters.push((character, self.text.len()));
        self.text.push(character);
    }

    /// The text of some characters.
    fn slice(&self, start: usize, end: usize) -> &str {
        &self.text[self.characters[start].1..self.characters[end].1]
    }
}

/// Python's `\s` and `str.isspace`: besides Unicode's white space, the four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// Python's `\w`: `str.isalnum`, by category, or `_`. Combining marks are none.
pub(super) fn is_word(character: char) -> bool {
    match character {
        '\0'..='\x7f' => character.is_ascii_alphanumeric() || character == '_',
        // Syllables, as Korean texts have them: spared the search.
        '가'..='힣' => true,
        _ => matches!(character.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number),
    }
}

impl Analyzer {
    pub(super) fn check(&self) -> Result<(), String> {
        let (min, max) = self.ngram_range;
        if min == 0 || min > max || max > MAX_UNITS {
            return Err(format!("an ngram_range of {min} to {max}; it must be within 1 to {MAX_UNITS}"));
        }
        if !(1..=2).contains(&self.min_word) {
            return Err(format!("words of at least {} characters; it must be 1 or 2", self.min_word));
        }
        if self.analyzer != Unit::Word && !self.stop_words.is_empty() {
            return Err("stop words, which are for words, with n-grams of characters".to_owned());
        }
        Ok(())
    }

    /// Calls `each` for every n-gram of at most `longest` bytes, however often it occurs, with its hash.
    pub(super) fn ngrams(&self, text: &str, buffer: &mut Buffer, longest: usize, mut each: impl FnMut(u64, &str)) {
        let lower;
        let text = if self.lowercase {
            lower = text.to_lowercase();
            &lower
        } else {
            text
        };
        buffer.clear();
        match self.analyzer {
            Unit::Char => {
                push_characters(text, buffer);
                buffer.characters.push(('\0', buffer.text.len()));
                let end = buffer.characters.len() - 1;
                self.within(buffer, (0, end), false, &mut each);
            }
            Unit::CharWb => {
                for word in text.split(is_space).filter(|word| !word.is_empty()) {
                    let start = buffer.characters.len();
                    buffer.push(' ');
                    word.chars().for_each(|character| buffer.push(character));
                    buffer.push(' ');
                    buffer.words.push((start, buffer.characters.len()));
                }
                buffer.characters.push(('\0', buffer.text.len()));
                for word in &buffer.words {
                    self.within(buffer, *word, true, &mut each);
                }
            }
            Unit::Word => {
                self.push_words(text, buffer);
                buffer.characters.push(('\0', buffer.text.len()));
                self.of_words(buffer, longest, &mut each);
            }
        }
    }

    /// All n-grams of a range of characters. With `whole`, a range that is shorter than an n-gram counts as one, once.
    fn within(&self, buffer: &Buffer, (start, end): (usize, usize), whole: bool, each: &mut impl FnMut(u64, &str)) {
        let (min, max) = self.ngram_range;
        if whole && end - start < min {
            let hash = buffer.characters[start..end].iter().fold(START, |hash, (character, _)| step(hash, *character));
            each(hash, buffer.slice(start, end));
        }
        for first in start..end {
            let mut hash = START;
            for last in first..end.min(first + max) {
                hash = step(hash, buffer.characters[last].0);
                if last - first + 1 >= min {
                    each(hash, buffer.slice(first, last + 1));
                }
            }
        }
    }

    /// The maximal runs of `\w` that are words, one space between two.
    fn push_words(&self, text: &str, buffer: &mut Buffer) {
        for word in text.split(|character| !is_word(character)) {
            if word.chars().nth(self.min_word - 1).is_none() || self.stop_words.contains(word) {
                continue;
            }
            if !buffer.words.is_empty() {
                buffer.push(' ');
            }
            let start = buffer.characters.len();
            word.chars().for_each(|character| buffer.push(character));
            buffer.words.push((start, buffer.characters.len()));
        }
    }

    fn of_words(&self, buffer: &Buffer, longest: usize, each: &mut impl FnMut(u64, &str)) {
        let (min, max) = self.ngram_range;
        for (first, (start, _)) in buffer.words.iter().enumerate() {
            let (mut hash, mut at) = (START, *start);
            for (last, (_, end)) in buffer.words.iter().enumerate().skip(first).take(max) {
                // Else a few long words would be read as often as an n-gram has units.
                if buffer.characters[*end].1 - buffer.characters[*start].1 > longest {
                    break;
                }
                hash = buffer.characters[at..*end].iter().fold(hash, |hash, (character, _)| step(hash, *character));
                at = *end;
                if last - first + 1 >= min {
                    each(hash, buffer.slice(*start, *end));
                }
            }
        }
    }
}

/// All characters, but two spaces or more in a row as one: `re.sub(r"\s\s+", " ", text)`. A lone one stays what it is.
fn push_characters(text: &str, buffer: &mut Buffer) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut character = character;
        if is_space(character) {
            while characters.next_if(|next| is_space(*next)).is_some() {
                character = ' ';
            }
        }
        buffer.push(character);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::{is_space, is_word};

    /// Of every code point that Python's Unicode knows, but for two whose category has changed since: is it white space, is it part of a word, what is it in lower case, and next to
    /// a sigma, whose form depends on what is around it. `models/train/reference_tfidf.py` asked Python.
    #[test]
    fn every_code_point_is_what_it_is_in_python() {
        #[derive(serde::Deserialize)]
        struct Reference {
            assigned: Vec<(u32, u32)>,
            sha256: String,
        }
        let Reference { assigned, sha256 } =
            serde_json::from_str(include_str!("../../tests/reference/tfidf/unicode.json")).unwrap();
        let mut lines = String::new();
        for character in assigned.iter().flat_map(|(first, end)| *first..*end).filter_map(char::from_u32) {
            let lower = format!("{character} A{character}Σ AΣ{character}A AΣ{character}").to_lowercase();
            let (space, word) = (u8::from(is_space(character)), u8::from(is_word(character)));
            let _ = writeln!(lines, "{:x} {space} {word} {lower}", u32::from(character));
        }
        assert!(lines.lines().count() > 280_000);
        assert_eq!(bundle::digest(lines.as_bytes()), sha256);
    }
}
