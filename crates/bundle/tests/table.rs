//! Tables against a second, naive reading of the same JSON, and against the schema that the API shows.

use bundle::{ColumnKind, Manifest, Shape, Table, TableSchema, schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const MAX_ROWS: usize = 3;

fn manifest() -> Manifest {
    Manifest::parse(
        r#"
format = 1
name = "m"
version = "1"
title = "A model"
engine = { format = "xgboost", file = "model.ubj" }
limits = { max_rows = 3 }
output = { kind = "number" }
[input]
kind = "table"
columns = [
    { name = "a" },
    { name = "b", type = "integer", min = -2.0, max = 9.0, missing = false },
    { name = "한\n\"", max = 1e30 },
]
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#,
    )
    .expect("a manifest")
}

fn columns(manifest: &Manifest) -> TableSchema {
    match &manifest.input {
        bundle::manifest::Input::Table(table) => table.clone(),
        other => panic!("{other:?}"),
    }
}

/// Mostly what some column takes; a quarter is what none does.
fn cell() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-3_i64..11).prop_map(Value::from),
        2 => any::<f32>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (-3_i64..11).prop_map(|number| json!(number as f64)),
        2 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => "[a-z0-9]{0,3}".prop_map(Value::from),
        1 => prop_oneof![Just(json!([])), Just(json!({})), Just(json!([1]))],
    ]
}

fn row() -> impl Strategy<Value = Value> {
    let name = prop_oneof![8 => Just("a"), 8 => Just("b"), 8 => Just("한\n\""), 1 => Just("c")];
    let any = proptest::collection::vec((name, cell()), 0..5).prop_map(|cells| {
        Value::Object(cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect::<Map<_, _>>())
    });
    let whole = (cell(), -3_i64..11, cell()).prop_map(|(a, b, c)| json!({"한\n\"": c, "a": a, "b": b}));
    prop_oneof![1 => any, 6 => whole, 1 => cell()]
}

fn input() -> impl Strategy<Value = Value> {
    prop_oneof![1 => row(), 4 => proptest::collection::vec(row(), 0..5).prop_map(Value::from)]
}

/// The table's numbers, if there is nothing wrong with it, read as plainly as can be.
fn naive(columns: &TableSchema, input: &Value) -> Option<(Shape, Vec<f64>)> {
    let (shape, rows) = match input {
        Value::Array(rows) => (Shape::Rows, rows.clone()),
        row => (Shape::Single, vec![row.clone()]),
    };
    if rows.is_empty() || rows.len() > MAX_ROWS {
        return None;
    }
    let mut numbers = Vec::new();
    for row in &rows {
        let row = row.as_object()?;
        if row.len() != columns.columns.len() {
            return None;
        }
        for column in &columns.columns {
            let cell = row.get(&column.name)?;
            if cell.is_null() && column.missing {
                numbers.push(f64::NAN);
                continue;
            }
            let number = cell.as_f64()?;
            let whole = column.kind == ColumnKind::Number || number.fract() == 0.0;
            let within = column.min.is_none_or(|min| number >= min) && column.max.is_none_or(|max| number <= max);
            if !whole || !within {
                return None;
            }
            numbers.push(number);
        }
    }
    Some((shape, numbers))
}

fn bits(numbers: impl IntoIterator<Item = f64>) -> Vec<u64> {
    numbers.into_iter().map(|number| if number.is_nan() { u64::MAX } else { number.to_bits() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_table_is_what_a_naive_reading_makes_of_it(input in input()) {
        let columns = columns(&manifest());
        let text = input.to_string();
        let naive = naive(&columns, &input);
        let double = Table::<f64>::from_json(&columns, MAX_ROWS, text.as_bytes()).ok();
        let read = double.map(|table| (table.shape, bits(table.values)));
        prop_assert_eq!(read, naive.clone().map(|(shape, numbers)| (shape, bits(numbers))));

        let single = Table::<f32>::from_json(&columns, MAX_ROWS, text.as_bytes()).ok();
        let fits = naive.filter(|(_, numbers)| numbers.iter().all(|number| number.is_nan() || (*number as f32).is_finite()));
        let read = single.map(|table| (table.shape, bits(table.values.into_iter().map(f64::from))));
        let rounded = |numbers: Vec<f64>| bits(numbers.into_iter().map(|number| f64::from(number as f32)));
        prop_assert_eq!(read, fits.map(|(shape, numbers)| (shape, rounded(numbers))));
    }

    #[test]
    fn what_is_taken_is_what_the_schema_says(input in input()) {
        let manifest = manifest();
        let valid = jsonschema::draft202012::is_valid(&schema::input_schema(&manifest), &input);
        let taken = manifest.check_input(input.to_string().as_bytes()).is_ok();
        prop_assert!(!taken || valid, "taken, but it does not fit the schema: {}", input);
        // Alone that a number is beyond an f32 cannot be said in a schema.
        let fits = naive(&columns(&manifest), &input)
            .is_none_or(|(_, numbers)| numbers.iter().all(|number| number.is_nan() || (*number as f32).is_finite()));
        prop_assert!(taken || !valid || !fits, "refused, but it fits the schema: {}", input);
    }
}
