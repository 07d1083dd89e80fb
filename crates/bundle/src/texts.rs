//! Texts: what a model that classifies texts takes.
//!
//! An input is `{"text": {"0": "...", "1": "..."}}` with an id for each text, `{"text": ["...", "..."]}`, or
//! `{"text": "..."}`; the answer has the same form. Where a bundle has two engines, `"do_fast": true` asks for the fast one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::InputError;
use crate::table::quote;

/// What may be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextsSchema {
    /// The most texts of one input.
    pub max_texts: usize,
    /// The most characters (Unicode scalar values) of one text.
    pub max_characters: usize,
    /// The most tokens that a net gets of one text; the rest is cut off. Absent, as many as its tokenizer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// What a text is, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Default for TextsSchema {
    fn default() -> Self {
        Self { max_texts: 10_000, max_characters: 10_000, max_tokens: None, description: String::new() }
    }
}

impl TextsSchema {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.max_texts == 0 || self.max_characters == 0 {
            return Err("[input] needs at least one text of at least one character".to_owned());
        }
        Ok(())
    }
}

/// How the texts came, which is how their answers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextsForm {
    /// One text by itself.
    Single,
    /// An array of them.
    List,
    /// An object: the texts' ids, in the order of the texts.
    Named(Vec<String>),
}

/// A checked input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// At least one; each may be empty.
    pub texts: Vec<String>,
    /// How they came.
    pub form: TextsForm,
    /// Whether the fast engine is asked for.
    pub do_fast: bool,
}

impl Texts {
    /// Reads an input; `has_fast` tells whether the bundle has a fast engine, for else `do_fast` is an unknown field.
    pub fn from_json(schema: &TextsSchema, has_fast: bool, bytes: &[u8]) -> Result<Self, InputError> {
        let bytes = crate::input_error::content(bytes)?;
        let mut reader = Reader { schema, has_fast, texts: Vec::new(), too_large: None };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = json.deserialize_any(Fields(&mut reader)).and_then(|read| json.end().map(|()| read));
        match (read, reader.too_large) {
            (Err(_), Some(why)) => Err(InputError::TooLarge(why)),
            (Err(error), None) => Err(InputError::from_json(&error)),
            (Ok(_), _) if reader.texts.is_empty() => Err(InputError::Empty(format!("{TEXT} has no texts"))),
            (Ok((form, do_fast)), _) => Ok(Self { texts: reader.texts, form, do_fast }),
        }
    }
}

impl TextsForm {
    /// Writes the texts' answers, one a text, in the form that the texts came in.
    pub fn serialize<A: Serialize, S: Serializer>(&self, answers: &[A], serializer: S) -> Result<S::Ok, S::Error> {
        match (self, answers) {
            (Self::Single, [answer]) => answer.serialize(serializer),
            (Self::Single | Self::List, answers) => serializer.collect_seq(answers),
            (Self::Named(ids), answers) => {
                let mut object = serializer.serialize_map(Some(ids.len()))?;
                for (id, answer) in ids.iter().zip(answers) {
                    object.serialize_entry(id, answer)?;
                }
                object.end()
            }
        }
    }
}

const TEXT: &str = "text";
const DO_FAST: &str = "do_fast";

struct Reader<'a> {
    schema: &'a TextsSchema,
    has_fast: bool,
    texts: Vec<String>,
    /// Which limit was exceeded: serde's errors have no kind for it.
    too_large: Option<String>,
}

impl Reader<'_> {
    fn fields(&self) -> String {
        if self.has_fast { format!("{TEXT} and {DO_FAST}") } else { TEXT.to_owned() }
    }

    fn full<E: Error>(&mut self) -> Result<(), E> {
        let max = self.schema.max_texts;
        if self.texts.len() < max {
            return Ok(());
        }
        self.too_large = Some(format!("{TEXT} has more than {max} texts; split it into several jobs"));
        Err(E::custom("too many texts"))
    }

    /// Takes a text; `which` names it, for errors.
    fn take<E: Error>(&mut self, which: &dyn Fn() -> String, text: &str) -> Result<(), E> {
        let max = self.schema.max_characters;
        // Looks no further than one character past the limit, however long the text is.
        if text.len() > max && text.chars().nth(max).is_some() {
            self.too_large = Some(format!("{} has more than {max} characters", which()));
            return Err(E::custom("too long a text"));
        }
        self.texts.push(text.to_owned());
        Ok(())
    }
}

/// Methods of a visitor that takes something else than these, so that no error quotes a value as serde's own would.
macro_rules! refuse {
    ($value:ty: $($kind:ident)*) => { $(refuse!(@ $kind $value);)* };
    (@ text $value:ty) => {
        fn visit_str<E: Error>(self, _: &str) -> Result<$value, E> { Err(self.wrong("a text")) }
    };
    (@ number $value:ty) => {
        fn visit_u64<E: Error>(self, _: u64) -> Result<$value, E> { Err(self.wrong("a number")) }
        fn visit_i64<E: Error>(self, _: i64) -> Result<$value, E> { Err(self.wrong("a number")) }
        fn visit_f64<E: Error>(self, _: f64) -> Result<$value, E> { Err(self.wrong("a number")) }
    };
    (@ boolean $value:ty) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<$value, E> { Err(self.wrong("true or false")) }
    };
    (@ null $value:ty) => {
        fn visit_unit<E: Error>(self) -> Result<$value, E> { Err(self.wrong("null")) }
    };
    (@ array $value:ty) => {
        fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<$value, A::Error> { Err(self.wrong("an array")) }
    };
    (@ object $value:ty) => {
        fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<$value, A::Error> { Err(self.wrong("an object")) }
    };
}

/// The whole input.
struct Fields<'r, 'a>(&'r mut Reader<'a>);

impl Fields<'_, '_> {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("the input must be an object with {}, not {what}", self.0.fields()))
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = (TextsForm, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.0.fields())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut form, mut do_fast) = (None, None);
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            let twice = |name| Err(A::Error::custom(format_args!("the input has {name} twice")));
            match &*name {
                TEXT if form.is_some() => return twice(TEXT),
                TEXT => form = Some(fields.next_value_seed(Form(&mut *self.0))?),
                DO_FAST if !self.0.has_fast => {
                    return Err(A::Error::custom(format_args!(
                        "the model has no fast engine to ask for with {DO_FAST}"
                    )));
                }
                DO_FAST if do_fast.is_some() => return twice(DO_FAST),
                DO_FAST => do_fast = Some(fields.next_value_seed(Flag)?),
                other => {
                    let (unknown, known) = (quote(other), self.0.fields());
                    return Err(A::Error::custom(format_args!(
                        "the input has a field {unknown} that the model does not know; it takes {known}"
                    )));
                }
            }
        }
        let form = form.ok_or_else(|| A::Error::custom(format_args!("the input lacks {TEXT}")))?;
        Ok((form, do_fast.unwrap_or(false)))
    }

    refuse!(Self::Value: text number boolean null array);
}

/// The value of `text`.
struct Form<'r, 'a>(&'r mut Reader<'a>);

impl Form<'_, '_> {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!(
            "{TEXT} must be a text, an array of texts or an object of texts by their ids, not {what}"
        ))
    }
}

impl<'de> DeserializeSeed<'de> for Form<'_, '_> {
    type Value = TextsForm;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<TextsForm, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Form<'_, '_> {
    type Value = TextsForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text, an array of texts or an object of texts as {TEXT}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextsForm, E> {
        self.0.take(&|| TEXT.to_owned(), text)?;
        Ok(TextsForm::Single)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<TextsForm, A::Error> {
        let place = |at: usize| format!("text {}", at + 1);
        loop {
            let at = self.0.texts.len();
            if texts.next_element_seed(Text { reader: self.0, which: &|| place(at) })?.is_none() {
                return Ok(TextsForm::List);
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut texts: A) -> Result<TextsForm, A::Error> {
        let mut ids = Vec::new();
        let mut seen = HashSet::new();
        while let Some(id) = texts.next_key::<String>()? {
            let which = || format!("the text {}", quote(&id));
            if !seen.insert(id.clone()) {
                return Err(A::Error::custom(format_args!("{TEXT} has {} twice", quote(&id))));
            }
            texts.next_value_seed(Text { reader: self.0, which: &which })?;
            ids.push(id);
        }
        Ok(TextsForm::Named(ids))
    }

    refuse!(TextsForm: number boolean null);
}

/// One of several texts.
struct Text<'r, 'a> {
    reader: &'r mut Reader<'a>,
    which: &'r dyn Fn() -> String,
}

impl Text<'_, '_> {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("{} must be a text, not {what}", (self.which)()))
    }
}

impl<'de> DeserializeSeed<'de> for Text<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.reader.full()?;
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as a text", (self.which)())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.reader.take(self.which, text)
    }

    refuse!((): number boolean null array object);
}

/// The value of `do_fast`.
struct Flag;

impl Flag {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("{DO_FAST} must be true or false, not {what}"))
    }
}

impl<'de> DeserializeSeed<'de> for Flag {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "true or false as {DO_FAST}")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<bool, E> {
        Ok(flag)
    }

    refuse!(bool: text number null array object);
}

#[cfg(test)]
mod tests;
