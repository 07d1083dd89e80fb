//! Tables: rows of named numbers, read strictly from JSON.
//!
//! `[{"a":1,"b":null}, ...]`, or a single row `{"a":1,"b":2}` whose answer is then single as well. Columns are matched by
//! name, in any order. Every column must be there and no other may be; `null` is a missing value where the column allows
//! one.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::InputError;

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSchema {
    /// In the order in which the model takes them.
    pub columns: Vec<Column>,
    /// What the model computes with; numbers beyond it are refused.
    #[serde(default, skip_serializing_if = "Precision::is_single")]
    pub precision: Precision,
}

/// The floats that a model's inputs become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Single,
    /// 64 bits.
    Double,
}

impl Precision {
    // serde passes a reference.
    #[expect(clippy::trivially_copy_pass_by_ref)]
    fn is_single(&self) -> bool {
        *self == Self::Single
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, exactly as inputs must spell it.
    pub name: String,
    /// Its values.
    #[serde(rename = "type", default)]
    pub kind: ColumnKind,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Whether `null` is taken, as a missing value.
    #[serde(default = "yes")]
    pub missing: bool,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

fn yes() -> bool {
    true
}

/// The type of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Any number within the range of the table's [`Precision`].
    #[default]
    Number,
    /// A whole one.
    Integer,
}

impl TableSchema {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.columns.is_empty() {
            return Err("[input] has no columns".to_owned());
        }
        let bad = |column: &&Column| {
            let (min, max) = (column.min.unwrap_or(f64::MIN), column.max.unwrap_or(f64::MAX));
            !min.is_finite() || !max.is_finite() || min > max
        };
        if let Some(column) = self.columns.iter().find(bad) {
            return Err(format!(
                "[input] column {:?} has a min or max that is not finite, or a min above its max",
                column.name
            ));
        }
        let mut seen = std::collections::BTreeSet::new();
        match self.columns.iter().find(|column| !seen.insert(&column.name)) {
            Some(twice) => Err(format!("[input] has the column {:?} twice", twice.name)),
            None => Ok(()),
        }
    }
}

/// Whether an input is a list of rows or a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[{...}, ...]`
    Rows,
    /// `{...}`
    Single,
}

/// What a table's numbers are read into: f32 or f64.
pub trait Number: sealed::Sealed + Copy {
    /// What stands for a missing value.
    const MISSING: Self;

    /// The nearest number, if the value is within range.
    fn nearest(value: f64) -> Option<Self>;

    /// Its range's name, for [`InputError`]s.
    const NAME: &'static str;
}

impl Number for f32 {
    const MISSING: Self = Self::NAN;
    const NAME: &'static str = "32-bit float";

    fn nearest(value: f64) -> Option<Self> {
        let narrow = value as Self;
        narrow.is_finite().then_some(narrow)
    }
}

impl Number for f64 {
    const MISSING: Self = Self::NAN;
    const NAME: &'static str = "64-bit float";

    fn nearest(value: f64) -> Option<Self> {
        value.is_finite().then_some(value)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A checked table, of f32 or of f64 as the model needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<T = f32> {
    /// Row-major, `rows × columns` in the schema's order; NaN is a missing value.
    pub values: Vec<T>,
    /// How many rows.
    pub rows: usize,
    /// Whether the answer is a list.
    pub shape: Shape,
}

impl<T: Number> Table<T> {
    /// Reads a table of at most `max_rows` rows. Numbers are read as the nearest f64 and then, for f32, rounded once more,
    /// which is what XGBoost and scikit-learn make of a float64 frame.
    pub fn from_json(schema: &TableSchema, max_rows: usize, bytes: &[u8]) -> Result<Self, InputError> {
        let bytes = crate::input_error::content(bytes)?;
        let mut reader = Reader {
            schema,
            max_rows,
            index: schema.columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at)).collect(),
            values: Vec::new(),
            rows: 0,
            too_many: false,
        };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let shape = reader.deserialize_table(&mut json).and_then(|shape| json.end().map(|()| shape));
        match shape {
            Err(_) if reader.too_many => Err(InputError::TooLarge(format!(
                "the input has more than {max_rows} rows; split it into several jobs"
            ))),
            Err(error) => Err(InputError::from_json(&error)),
            Ok(_) if reader.rows == 0 => Err(InputError::Empty("the input is an array without rows".to_owned())),
            Ok(shape) => Ok(Self { values: reader.values, rows: reader.rows, shape }),
        }
    }
}

struct Reader<'a, T> {
    schema: &'a TableSchema,
    max_rows: usize,
    index: HashMap<&'a str, usize>,
    values: Vec<T>,
    rows: usize,
    too_many: bool,
}

impl<'a, T: Number> Reader<'a, T> {
    fn deserialize_table<'de, D: Deserializer<'de>>(&mut self, json: D) -> Result<Shape, D::Error> {
        json.deserialize_any(TableVisitor(self))
    }

    /// The column of this name. Rows mostly keep the schema's order, so the next one is tried before the index.
    fn column(&self, name: &str, expected: usize) -> Option<usize> {
        match self.schema.columns.get(expected) {
            Some(column) if column.name == name => Some(expected),
            _ => self.index.get(name).copied(),
        }
    }
}

struct TableVisitor<'r, 'a, T>(&'r mut Reader<'a, T>);

impl<'de, T: Number> Visitor<'de> for TableVisitor<'_, '_, T> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows, or one row as an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Shape, A::Error> {
        while rows.next_element_seed(RowSeed(&mut *self.0))?.is_some() {}
        Ok(Shape::Rows)
    }

    fn visit_map<A: MapAccess<'de>>(self, row: A) -> Result<Shape, A::Error> {
        RowSeed(&mut *self.0).visit_map(row)?;
        Ok(Shape::Single)
    }

    // serde's own message would quote the value.
    fn visit_str<E: Error>(self, _: &str) -> Result<Shape, E> {
        Err(E::custom("an array of rows was expected, not a text"))
    }
}

struct RowSeed<'r, 'a, T>(&'r mut Reader<'a, T>);

impl<'de, T: Number> DeserializeSeed<'de> for RowSeed<'_, '_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<T> RowSeed<'_, '_, T> {
    fn not_a_row<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("row {} must be an object of named columns, not {what}", self.0.rows + 1))
    }
}

impl<'de, T: Number> Visitor<'de> for RowSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} as an object of named columns", self.0.rows + 1)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut cells: A) -> Result<(), A::Error> {
        let reader = self.0;
        let row = reader.rows + 1;
        if row > reader.max_rows {
            reader.too_many = true;
            return Err(A::Error::custom("too many rows"));
        }
        let width = reader.schema.columns.len();
        let start = reader.values.len();
        reader.values.resize(start + width, T::MISSING);
        // A bit a column; wide tables are rare and a row is short.
        let mut seen = vec![false; width];
        let mut expected = 0;
        while let Some(name) = cells.next_key::<std::borrow::Cow<'de, str>>()? {
            let Some(at) = reader.column(&name, expected) else {
                return Err(A::Error::custom(format_args!(
                    "row {row} has a column {} that the model does not know",
                    quote(&name)
                )));
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(A::Error::custom(format_args!("row {row} has the column {} twice", quote(&name))));
            }
            let column = &reader.schema.columns[at];
            reader.values[start + at] = cells.next_value_seed(Cell { column, row, number: PhantomData })?;
            expected = at + 1;
        }
        let missing: Vec<String> = seen
            .iter()
            .zip(&reader.schema.columns)
            .filter(|(seen, _)| !**seen)
            .map(|(_, column)| quote(&column.name))
            .collect();
        if !missing.is_empty() {
            let shown = missing[..missing.len().min(5)].join(", ");
            let more = missing.len().saturating_sub(5);
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(A::Error::custom(format_args!("row {row} lacks the column {shown}{tail}")));
        }
        reader.rows = row;
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.not_a_row("a text"))
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(self.not_a_row("true or false"))
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.not_a_row("a number"))
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.not_a_row("a number"))
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.not_a_row("a number"))
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.not_a_row("null"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.not_a_row("an array"))
    }
}

struct Cell<'a, T> {
    column: &'a Column,
    row: usize,
    number: PhantomData<T>,
}

impl<T: Number> Cell<'_, T> {
    fn fault<E: Error>(&self, why: fmt::Arguments<'_>) -> E {
        E::custom(format_args!("row {}, column {}: {why}", self.row, quote(&self.column.name)))
    }

    fn wrong<E: Error>(&self, what: &str) -> E {
        let kind = match self.column.kind {
            ColumnKind::Number => "a number",
            ColumnKind::Integer => "a whole number",
        };
        let or_null = if self.column.missing { " or null" } else { "" };
        self.fault(format_args!("{kind}{or_null} was expected, not {what}"))
    }

    fn number<E: Error>(self, value: f64) -> Result<T, E> {
        if self.column.kind == ColumnKind::Integer && value.fract() != 0.0 {
            return Err(self.wrong("a fraction"));
        }
        if let Some(min) = self.column.min.filter(|min| value < *min) {
            return Err(self.fault(format_args!("the value must be at least {min}")));
        }
        if let Some(max) = self.column.max.filter(|max| value > *max) {
            return Err(self.fault(format_args!("the value must be at most {max}")));
        }
        T::nearest(value).ok_or_else(|| self.fault(format_args!("the number does not fit a {}", T::NAME)))
    }
}

impl<'de, T: Number> DeserializeSeed<'de> for Cell<'_, T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Number> Visitor<'de> for Cell<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number in row {}, column {}", self.row, quote(&self.column.name))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.number(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.number(value as f64)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.number(value as f64)
    }
    fn visit_unit<E: Error>(self) -> Result<T, E> {
        if self.column.missing { Ok(T::MISSING) } else { Err(self.wrong("null")) }
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(self.wrong("a text"))
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(self.wrong("true or false"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.wrong("an array"))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.wrong("an object"))
    }
}

/// A client's own name, quoted and cut to a readable length.
pub(crate) fn quote(name: &str) -> String {
    let cut: String = name.chars().take(64).collect();
    if cut.len() < name.len() { format!("{:?}", cut + "…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> TableSchema {
        let text =
            r#"{"columns":[{"name":"a"},{"name":"b","type":"integer","min":0,"max":9,"missing":false},{"name":"c"}]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn read(text: &str) -> Result<Table, InputError> {
        Table::from_json(&schema(), 3, text.as_bytes())
    }

    #[test]
    fn columns_are_matched_by_name() {
        let table = read(r#" [{"c":null,"a":1.5,"b":2},{"a":-0.0,"b":0,"c":1e-3}] "#).unwrap();
        assert_eq!((table.rows, table.shape), (2, Shape::Rows));
        let bits: Vec<u32> = table.values.iter().map(|v| v.to_bits()).collect();
        let expected = [1.5, 2.0, f32::NAN, -0.0, 0.0, 1e-3].map(f32::to_bits);
        assert_eq!(bits, expected);
        assert_eq!(read("\u{feff}{\"a\":1,\"b\":2,\"c\":3}").unwrap().shape, Shape::Single);
    }

    #[test]
    fn double_precision_is_kept() {
        let text = r#"{"a":0.1,"b":2,"c":1e300}"#;
        assert_eq!(Table::<f64>::from_json(&schema(), 3, text.as_bytes()).unwrap().values, [0.1, 2.0, 1e300]);
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("does not fit a 32-bit float"), "{error}");
    }

    #[test]
    fn faults_are_named() {
        let deep = "[".repeat(10_000);
        let deep_value = format!(r#"[{{"a":{deep}"#);
        let cases = [
            "",
            "  \n",
            "[]",
            "[",
            "[{\"a\":NaN}]",
            "[{\"a\":1,}]",
            "nonsense",
            &deep,
            &deep_value,
            r#"[{"a":1,"b":2,"c":3}] x"#,
            r#"[{"a":1,"b":2}]"#,
            "[{}]",
            r#"[{"a":1,"b":2,"c":3,"d":4}]"#,
            r#"[{"a":1,"a":1,"b":2,"c":3}]"#,
            r#"[{"a":"1","b":2,"c":3}]"#,
            r#"[{"a":true,"b":2,"c":3}]"#,
            r#"[{"a":[1],"b":2,"c":3}]"#,
            r#"[{"a":{},"b":2,"c":3}]"#,
            r#"[{"a":1,"b":null,"c":3}]"#,
            r#"[{"a":1,"b":1.5,"c":3}]"#,
            r#"[{"a":1,"b":-1,"c":3}]"#,
            r#"[{"a":1,"b":10,"c":3}]"#,
            r#"[{"a":1e39,"b":1,"c":3}]"#,
            r#"[{"a":1e999,"b":1,"c":3}]"#,
            "[1]",
            "[null]",
            "[[1,2,3]]",
            "[\"x\"]",
            "\"secret\"",
            "3",
            "null",
            "true",
        ];
        let many = format!("[{}]", [r#"{"a":1,"b":2,"c":3}"#; 4].join(","));
        let lines: Vec<String> = cases
            .iter()
            .copied()
            .chain([many.as_str()])
            .map(|text| {
                let shown: String = text.chars().take(32).collect();
                format!("{shown:<34} {:?}", read(text).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Table::<f32>::from_json(&schema(), 3, &bytes);
        }

        #[test]
        fn finite_numbers_survive(a: f32) {
            prop_assume!(a.is_finite());
            let table = read(&format!(r#"{{"a":{},"b":1,"c":null}}"#, serde_json::to_string(&f64::from(a)).unwrap())).unwrap();
            prop_assert_eq!(table.values[0].to_bits(), a.to_bits());
        }
    }
}
