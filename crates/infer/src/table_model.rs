//! A tree model behind a table schema: JSON rows in, one JSON answer a row out.

use bundle::manifest::Input;
use bundle::{Column, Manifest, Output, Params, Shape, Table, TableSchema};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::xgboost::{self, XgbModel};

/// Rows between two looks at the control.
const BLOCK_ROWS: usize = 4096;

/// The parameter that asks for each label's probability.
pub(crate) const PROBABILITIES: &str = "probabilities";

struct TableModel {
    schema: TableSchema,
    max_rows: usize,
    output: Output,
    model: XgbModel,
    file_bytes: usize,
}

pub(crate) fn load(manifest: &Manifest, file: &str, bytes: &[u8]) -> Result<Box<dyn Model>, LoadError> {
    let model =
        xgboost::load(bytes).map_err(|source| LoadError::Engine { file: file.to_owned(), source: Box::new(source) })?;
    let Input::Table(schema) = &manifest.input else {
        return Err(LoadError::Contradiction("an XGBoost model takes a table".to_owned()));
    };
    check_columns(&schema.columns, &model)?;
    check_output(&manifest.output, &model)?;
    Ok(Box::new(TableModel {
        schema: schema.clone(),
        max_rows: manifest.limits.max_rows,
        output: manifest.output.clone(),
        model,
        file_bytes: bytes.len(),
    }))
}

fn check_columns(columns: &[Column], model: &XgbModel) -> Result<(), LoadError> {
    if columns.len() != model.num_features {
        let (ours, theirs) = (columns.len(), model.num_features);
        return Err(LoadError::Contradiction(format!("it has {ours} columns, the model file {theirs} features")));
    }
    let names = model.feature_names.iter().flatten();
    match columns.iter().zip(names).position(|(column, name)| column.name != *name) {
        Some(at) => {
            Err(LoadError::Contradiction(format!("column {} is not named as the model file's feature", at + 1)))
        }
        None => Ok(()),
    }
}

fn check_output(output: &Output, model: &XgbModel) -> Result<(), LoadError> {
    let outputs = model.outputs_per_row();
    let fits = match output {
        Output::Number { .. } => outputs == 1,
        Output::Numbers { names } => outputs == names.len(),
        Output::Label { labels } => match answers(model) {
            Answers::Probability => labels.len() == 2,
            Answers::Probabilities | Answers::ClassNumber => labels.len() == model.num_class.max(2),
            Answers::Number => false,
        },
        Output::Text { .. } => false,
    };
    if fits {
        return Ok(());
    }
    let objective = &model.objective;
    Err(LoadError::Contradiction(format!(
        "its [output] does not fit objective {objective}, which answers {outputs} a row"
    )))
}

/// What the numbers of an answer mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Numbers.
    Number,
    /// The second class's probability.
    Probability,
    /// Each class's probability.
    Probabilities,
    /// A class's number.
    ClassNumber,
}

/// What this model's objective answers. (Several targets under `binary:logistic` are labels of their own, so numbers here.)
pub(crate) fn answers(model: &XgbModel) -> Answers {
    match (model.objective.as_str(), model.outputs_per_row()) {
        ("binary:logistic", 1) => Answers::Probability,
        ("multi:softprob", _) => Answers::Probabilities,
        ("multi:softmax" | "binary:hinge", 1) => Answers::ClassNumber,
        _ => Answers::Number,
    }
}

impl Model for TableModel {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let table = Table::from_json(&self.schema, self.max_rows, input)?;
        let total = table.rows as u64;
        let mut answers = Vec::with_capacity(table.rows * self.model.outputs_per_row());
        let mut block = Vec::new();
        for rows in table.values.chunks(BLOCK_ROWS * self.model.num_features) {
            if control.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            let predicted = self.model.predict(rows, &mut block, &|| control.is_cancelled());
            predicted.map_err(|error| match error {
                crate::trees::PredictError::Cancelled => RunError::Cancelled,
                other => RunError::Failed(other.to_string()),
            })?;
            answers.extend_from_slice(&block);
            control.report((answers.len() / self.model.outputs_per_row()) as u64, total);
        }
        let answer = TableAnswer { model: self, values: &answers, shape: table.shape, all: params.flag(PROBABILITIES) };
        let body = serde_json::to_vec(&answer).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        // Nodes take less than the text or the UBJ that they came from; the schema is small beside them.
        self.file_bytes as u64
    }
}

/// What a table's rows are answered with. An f32 is written as the f64 that equals it; one that is not finite, as `null`.
struct TableAnswer<'a> {
    model: &'a TableModel,
    values: &'a [f32],
    shape: Shape,
    all: bool,
}

impl Serialize for TableAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = self.values.chunks(self.model.model.outputs_per_row()).map(|values| RowAnswer {
            model: self.model,
            values,
            all: self.all,
        });
        match (self.shape, rows.next()) {
            (Shape::Single, Some(row)) => row.serialize(serializer),
            (_, first) => {
                let mut list = serializer.serialize_seq(Some(rows.len() + 1))?;
                for row in first.into_iter().chain(rows) {
                    list.serialize_element(&row)?;
                }
                list.end()
            }
        }
    }
}

struct RowAnswer<'a> {
    model: &'a TableModel,
    values: &'a [f32],
    all: bool,
}

impl Serialize for RowAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let labels = match &self.model.output {
            Output::Number { .. } => return serializer.serialize_f64(f64::from(self.values[0])),
            Output::Numbers { .. } => return serializer.collect_seq(self.values.iter().map(|v| f64::from(*v))),
            Output::Label { labels } => labels,
            // Refused when the bundle was loaded.
            Output::Text { .. } => return serializer.serialize_none(),
        };
        let both;
        let (class, probabilities): (usize, &[f32]) = match answers(&self.model.model) {
            Answers::Probability => {
                // As XGBClassifier does: the other class has the rest, in f32.
                both = [1.0 - self.values[0], self.values[0]];
                (usize::from(self.values[0] > 0.5), &both)
            }
            Answers::Probabilities => (first_largest(self.values), self.values),
            Answers::ClassNumber | Answers::Number => (self.values[0] as usize, &[]),
        };
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("prediction", &labels[class.min(labels.len() - 1)])?;
        if self.all && !probabilities.is_empty() {
            let pairs = labels.iter().zip(probabilities.iter().map(|p| f64::from(*p)));
            row.serialize_entry("probabilities", &Pairs(pairs.collect()))?;
        }
        row.end()
    }
}

struct Pairs<'a>(Vec<(&'a String, f64)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, p)| (label, p)))
    }
}

/// Like NumPy's argmax: of equal ones the first.
fn first_largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}
