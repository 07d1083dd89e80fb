//! How large a run's tensors get, before it runs.
//!
//! A failed allocation ends the process, and with it other people's jobs. rten infers most shapes when it loads a graph, as expressions over the
//! inputs' named sizes such as `batch * tokens`; with the sizes of a given input they become numbers, and a run that is too large is refused.
//! What is not inferred is not bounded: shapes that follow from the values of an input, and what an operator needs for itself.

use std::collections::HashMap;

/// The most elements of one tensor of a run: 1 GiB of f32.
pub(super) const MAX_ELEMENTS: u64 = 1 << 28;

/// An inferred size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Size {
    Number(i64),
    Name(String),
    Operation(char, Box<(Size, Size)>),
}

/// How deep parentheses may be; rten itself stops at an expression of ten levels.
const MAX_DEPTH: usize = 32;

impl Size {
    /// Reads an expression as rten writes it; nothing if it has something else in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let size = sum(&mut rest, 0)?;
        rest.trim().is_empty().then_some(size)
    }

    /// Its value; nothing if a name is unknown or a number grows beyond all bounds.
    fn value(&self, names: &HashMap<&str, i64>) -> Option<i64> {
        let (operator, sides) = match self {
            Self::Number(number) => return Some(*number),
            Self::Name(name) => return names.get(name.as_str()).copied(),
            Self::Operation(operator, sides) => (operator, sides),
        };
        let (a, b) = (sides.0.value(names)?, sides.1.value(names)?);
        match operator {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            '/' => a.checked_div_euclid(b),
            'c' => Some(a.checked_div_euclid(b)? + i64::from(a.checked_rem_euclid(b)? != 0)),
            '<' => Some(a.min(b)),
            _ => Some(a.max(b)),
        }
    }
}

fn sum(rest: &mut &str, depth: usize) -> Option<Size> {
    let mut size = product(rest, depth)?;
    while let Some(operator) = next(rest, &['+', '-']) {
        size = Size::Operation(operator, Box::new((size, product(rest, depth)?)));
    }
    Some(size)
}

fn product(rest: &mut &str, depth: usize) -> Option<Size> {
    let mut size = atom(rest, depth)?;
    while let Some(operator) = next(rest, &['*', '/']) {
        size = Size::Operation(operator, Box::new((size, atom(rest, depth)?)));
    }
    Some(size)
}

fn atom(rest: &mut &str, depth: usize) -> Option<Size> {
    if depth > MAX_DEPTH {
        return None;
    }
    if next(rest, &['-']).is_some() {
        return Some(Size::Operation('-', Box::new((Size::Number(0), atom(rest, depth + 1)?))));
    }
    if next(rest, &['(']).is_some() {
        let size = sum(rest, depth + 1)?;
        return next(rest, &[')']).map(|_| size);
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    let operator = match word {
        "" => return None,
        "ceil_div" => 'c',
        "max" | "broadcast" => '>',
        "min" => '<',
        word if word.starts_with(|c: char| c.is_ascii_digit()) => return word.parse().ok().map(Size::Number),
        name => return Some(Size::Name(name.to_owned())),
    };
    next(rest, &['('])?;
    let a = sum(rest, depth + 1)?;
    next(rest, &[','])?;
    let b = sum(rest, depth + 1)?;
    next(rest, &[')'])?;
    Some(Size::Operation(operator, Box::new((a, b))))
}

/// The next letter, if it is one of these.
fn next(rest: &mut &str, letters: &[char]) -> Option<char> {
    *rest = rest.trim_start();
    let letter = rest.chars().next().filter(|letter| letters.contains(letter))?;
    *rest = &rest[letter.len_utf8()..];
    Some(letter)
}

/// The number of elements of a shape; nothing if a size is unknown. Beyond an i64, it is the largest there is.
pub(super) fn elements(shape: &[Size], names: &HashMap<&str, i64>) -> Option<u64> {
    let sizes: Option<Vec<i64>> = shape.iter().map(|size| size.value(names)).collect();
    let sizes = sizes?.into_iter().map(|size| u64::try_from(size).unwrap_or(0));
    Some(sizes.fold(1, u64::saturating_mul))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_have_their_values() {
        let names = HashMap::from([("batch", 3), ("tokens", 7), ("unnamed_1", 1)]);
        let value = |text: &str| Size::parse(text)?.value(&names);
        assert_eq!(value("batch * tokens + 2"), Some(23));
        assert_eq!(value("2 * (tokens - 1) / batch"), Some(4));
        assert_eq!(value("ceil_div(tokens, 2) - min(batch, 2)"), Some(2));
        assert_eq!(value("max(batch, -tokens) * broadcast(unnamed_1, 5)"), Some(15));
        assert_eq!(value("tokens / 0"), None);
        assert_eq!(value("steps"), None);
        assert_eq!(value("9223372036854775807 + batch"), None);
        for text in ["", "batch batch", "floor(batch)", "(batch", "batch +", "*", "ceil_div(1)"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!(Size::parse(&"(".repeat(100_000)), None);
        let shape = ["batch", "tokens", "2"].map(|size| Size::parse(size).unwrap());
        assert_eq!(elements(&shape, &names), Some(42));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[a-c0-9+*/(), -]{0,40}") {
            if let Some(size) = Size::parse(&text) {
                let _ = size.value(&HashMap::from([("a", 3), ("b", -4), ("c", i64::MAX)]));
            }
        }
    }
}
