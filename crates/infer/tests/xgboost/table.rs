//! The same predictions once more, the whole way that a job's input goes: JSON rows with `null` for a missing value in, a
//! JSON answer out.

use std::collections::HashMap;
use std::fmt::Write;

use bundle::{Manifest, Output};
use infer::draft::{Choices, DraftError};
use infer::{Control, draft, load};
use serde_json::Value;

use super::predict;
use super::reference::{inputs, records};

/// A manifest whose answers are plain numbers, whatever the objective.
fn manifest(file: &str, bytes: &[u8], outputs: usize) -> Manifest {
    let choices = Choices { name: "m".into(), version: "1".into(), ..Choices::default() };
    let mut manifest = match draft(file, bytes, &choices) {
        Err(DraftError::FeaturesNeeded { count }) => {
            let features = Some((0..count).map(|at| format!("feature {at}")).collect());
            draft(file, bytes, &Choices { features, ..choices }).unwrap()
        }
        other => other.unwrap(),
    };
    manifest.output = match outputs {
        1 => Output::Number { description: String::new() },
        _ => Output::Numbers { names: (0..outputs).map(|at| at.to_string()).collect() },
    };
    manifest
}

fn json(columns: &[bundle::Column], rows: &[f32]) -> String {
    let mut text = String::from("[");
    for row in rows.chunks(columns.len()) {
        text.push('{');
        for (column, value) in columns.iter().zip(row) {
            let name = Value::from(column.name.as_str());
            let _ = if value.is_nan() {
                write!(text, "{name}:null,")
            } else {
                write!(text, "{name}:{},", Value::from(f64::from(*value)))
            };
        }
        text.pop();
        text.push_str("},");
    }
    text.pop();
    text.push(']');
    text
}

fn numbers(answer: &Value, into: &mut Vec<f32>) {
    match answer {
        Value::Array(list) => list.iter().for_each(|value| numbers(value, into)),
        Value::Null => into.push(f32::NAN),
        number => into.push(number.as_f64().expect("a number") as f32),
    }
}

#[test]
fn every_bit_through_json() {
    let mut total = 0;
    for (folder, record) in records() {
        let file = &record.files[0];
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let rows = inputs(&record);
        let engine = infer::xgboost::load(&bytes).unwrap();
        let mut manifest = manifest(file, &bytes, engine.outputs_per_row());
        let bundle::manifest::Input::Table(schema) = &mut manifest.input else { panic!("{file} takes a table") };
        // A column that the file says is whole refuses the generator's fractions; that check has tests of its own.
        schema.columns.iter_mut().for_each(|column| column.kind = bundle::ColumnKind::Number);
        let input = json(&schema.columns, &rows);

        let model = load(&manifest, &HashMap::from([(file.clone(), bytes)])).unwrap();
        let params = manifest.read_params("").unwrap();
        let answer = model.run(input.as_bytes(), &params, &Control::default()).unwrap();
        let mut got = Vec::new();
        numbers(&serde_json::from_slice(&answer.body).unwrap(), &mut got);

        // `reference.rs` has shown that these are XGBoost's, by their digest.
        let expected = predict(&engine, &rows);
        assert_eq!(got.len(), expected.len(), "{file}");
        let differs = got.iter().zip(&expected).position(|(got, expected)| {
            // JSON has no infinity: `null` stands for what is not finite.
            got.to_bits() != expected.to_bits() && expected.is_finite()
        });
        assert_eq!(differs, None, "{file}");
        total += got.len();
    }
    assert!(total > 2_000_000, "only {total} predictions");
}
