//! A category and start letters: what a model that writes words takes.
//!
//! An input is `{"category":"Russian","start_letters":"RUS"}`. Both fields must be there, once, and no other may be. Each
//! start letter is answered with one text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::InputError;
use crate::table::quote;

/// What may be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LettersSchema {
    /// The letters that the model knows, each once, in the order in which it counts them.
    pub alphabet: String,
    /// The categories that the model knows, in the order in which it counts them.
    pub categories: Vec<String>,
    /// The most start letters of one input.
    #[serde(default = "hundred")]
    pub max_start_letters: usize,
}

fn hundred() -> usize {
    LettersSchema::DEFAULT_MAX_START_LETTERS
}

impl LettersSchema {
    /// The limit on start letters where a manifest sets none.
    pub const DEFAULT_MAX_START_LETTERS: usize = 100;

    pub(crate) fn check(&self) -> Result<(), String> {
        let mut letters = BTreeSet::new();
        if let Some(twice) = self.alphabet.chars().find(|letter| !letters.insert(*letter)) {
            return Err(format!("[input] alphabet has the letter {twice:?} twice"));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.categories.iter().find(|name| !names.insert(*name)) {
            return Err(format!("[input] has the category {twice:?} twice"));
        }
        if letters.is_empty() || names.is_empty() || self.max_start_letters == 0 {
            return Err("[input] needs a letter, a category and at least one start letter".to_owned());
        }
        Ok(())
    }
}

/// A checked input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    /// The category's place among the schema's.
    pub category: usize,
    /// The start letters' places in the alphabet.
    pub start_letters: Vec<usize>,
}

impl Letters {
    /// Reads an input. What the schema's limit bounds is the letters: the text around them is as long as the caller let it be.
    pub fn from_json(schema: &LettersSchema, bytes: &[u8]) -> Result<Self, InputError> {
        let bytes = crate::input_error::content(bytes)?;
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let fields = json.deserialize_any(Fields).and_then(|fields| json.end().map(|()| fields));
        let (category, start_letters) = fields.map_err(|error| InputError::from_json(&error))?;

        let category =
            schema.categories.iter().position(|known| *known == category).ok_or_else(|| {
                InputError::Invalid(format!("category must be one of {}", schema.categories.join(", ")))
            })?;
        let max = schema.max_start_letters;
        // Looks no further than one letter past the limit, however long the text is.
        if start_letters.chars().nth(max).is_some() {
            return Err(InputError::TooLarge(format!("start_letters has more than {max} letters")));
        }
        if start_letters.is_empty() {
            return Err(InputError::Empty("start_letters has no letter".to_owned()));
        }
        let place = |(at, letter): (usize, char)| {
            schema.alphabet.chars().position(|known| known == letter).ok_or_else(|| {
                let (number, alphabet) = (at + 1, &schema.alphabet);
                InputError::Invalid(format!("start_letters: letter {number} is not one of the model's, {alphabet:?}"))
            })
        };
        let start_letters = start_letters.chars().enumerate().map(place).collect::<Result<_, _>>()?;
        Ok(Self { category, start_letters })
    }
}

const CATEGORY: &str = "category";
const START_LETTERS: &str = "start_letters";

struct Fields;

impl Fields {
    fn not_an_object<E: Error>(what: &str) -> E {
        E::custom(format_args!("the input must be an object with {CATEGORY} and {START_LETTERS}, not {what}"))
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = (String, String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {CATEGORY} and {START_LETTERS}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut category, mut start_letters) = (None, None);
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            let (slot, name) = match &*name {
                CATEGORY => (&mut category, CATEGORY),
                START_LETTERS => (&mut start_letters, START_LETTERS),
                other => {
                    return Err(A::Error::custom(format_args!(
                        "the input has a field {} that the model does not know; it takes {CATEGORY} and {START_LETTERS}",
                        quote(other)
                    )));
                }
            };
            if slot.is_some() {
                return Err(A::Error::custom(format_args!("the input has {name} twice")));
            }
            *slot = Some(fields.next_value_seed(Text(name))?);
        }
        let lacks = |name| A::Error::custom(format_args!("the input lacks {name}"));
        Ok((category.ok_or_else(|| lacks(CATEGORY))?, start_letters.ok_or_else(|| lacks(START_LETTERS))?))
    }

    // serde's own message would quote the value.
    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(Self::not_an_object("a text"))
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(Self::not_an_object("true or false"))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(Self::not_an_object("a number"))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(Self::not_an_object("a number"))
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(Self::not_an_object("a number"))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(Self::not_an_object("null"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(Self::not_an_object("an array"))
    }
}

/// The text of a field of this name.
struct Text(&'static str);

impl Text {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("{} must be a text, not {what}", self.0))
    }
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text as {}", self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        Err(self.wrong("true or false"))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<String, E> {
        Err(self.wrong("a number"))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        Err(self.wrong("a number"))
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        Err(self.wrong("a number"))
    }
    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(self.wrong("null"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(self.wrong("an array"))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(self.wrong("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> LettersSchema {
        LettersSchema {
            alphabet: "abÄ-]".into(), categories: vec!["Greek".into(), "한".into()], max_start_letters: 4
        }
    }

    fn read(text: &str) -> Result<Letters, InputError> {
        Letters::from_json(&schema(), text.as_bytes())
    }

    #[test]
    fn letters_and_category_are_counted() {
        let expected = Letters { category: 1, start_letters: vec![2, 0, 0, 3] };
        assert_eq!(read("\u{feff}{\"start_letters\":\"Äaa-\",\"category\":\"한\"}\n").unwrap(), expected);
        assert_eq!(read(r#"{"start_letters":"\u00c4aa\u002d","cate\u0067ory":"\ud55c"}"#).unwrap(), expected);
    }

    #[test]
    fn faults_are_named() {
        let many = format!(r#"{{"category":"한","start_letters":"{}"}}"#, "a".repeat(10_000));
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(10_000));
        let cases = [
            "",
            " \n",
            "{",
            "nonsense",
            "{}",
            r#"{"category":"한"}"#,
            r#"{"start_letters":"a"}"#,
            r#"{"category":"한","start_letters":""}"#,
            r#"{"category":"Latin","start_letters":"a"}"#,
            r#"{"category":"greek","start_letters":"a"}"#,
            r#"{"category":"한","start_letters":"aZ"}"#,
            r#"{"category":"한","start_letters":"aA\u0308"}"#,
            r#"{"category":"한","start_letters":"\ud800"}"#,
            r#"{"category":"한","start_letters":"aaaaa"}"#,
            &many,
            r#"{"category":1,"start_letters":"a"}"#,
            r#"{"category":"한","start_letters":["a"]}"#,
            r#"{"category":"한","start_letters":null}"#,
            r#"{"category":"한","start_letters":{}}"#,
            r#"{"category":true,"start_letters":"a"}"#,
            r#"{"category":"한","category":"한","start_letters":"a"}"#,
            r#"{"category":"한","start_letters":"a","max_length":3}"#,
            &long,
            r#"{"category":"한","start_letters":"a"} x"#,
            "[]",
            "\"secret\"",
            "3",
            "-3",
            "0.5",
            "null",
            "true",
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|text| {
                let shown: String = text.chars().take(44).collect();
                format!("{shown:<46} {:?}", read(text).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn schemas_that_make_no_sense_are_refused() {
        let faults: Vec<String> = [
            LettersSchema { alphabet: "aba".into(), ..schema() },
            LettersSchema { alphabet: String::new(), ..schema() },
            LettersSchema { categories: Vec::new(), ..schema() },
            LettersSchema { categories: vec!["a".into(), "a".into()], ..schema() },
            LettersSchema { max_start_letters: 0, ..schema() },
        ]
        .iter()
        .map(|schema| schema.check().unwrap_err())
        .collect();
        insta::assert_snapshot!(faults.join("\n"));
        assert_eq!(schema().check(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Letters::from_json(&schema(), &bytes);
        }

        #[test]
        fn any_texts_are_read_or_refused(category: String, letters: String) {
            let text = serde_json::json!({"category": category, "start_letters": letters}).to_string();
            prop_assert!(read(&text).is_err() || category == "Greek" || category == "한");
        }
    }
}
