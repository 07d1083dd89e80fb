//! A tree model behind a table schema: JSON rows in, one JSON answer a row out.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bundle::manifest::Input;
use bundle::{Column, Manifest, ModelFormat, Number, Output, ParamKind, Params, Precision, Shape, Table, TableSchema};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::trees::PredictError;

/// Rows between two looks at the control.
const BLOCK_ROWS: usize = 4096;
/// Rows that a thread of their own is worth: it takes some 20 µs to start, and a small forest 1 ms for them.
const THREAD_ROWS: usize = 4 * BLOCK_ROWS;

/// The parameter that asks for each label's probability.
pub(crate) const PROBABILITIES: &str = "probabilities";

/// A trained model of tables, in whichever precision.
pub(crate) trait TableEngine: Send + Sync {
    /// What rows are made of.
    type Input: Number + Sync;
    /// What is predicted.
    type Output: Copy + Send + Sync;

    /// What its file says.
    fn facts(&self) -> Facts;

    /// How much memory the engine holds, in bytes; if it cannot tell, it is taken for as much as its file.
    fn memory_bytes(&self) -> Option<usize> {
        None
    }

    /// How many values [`predict`](Self::predict) gives for a row.
    fn width(&self) -> usize;

    /// Predicts for n rows, row-major. `out` is cleared and gets n × [`width`](Self::width).
    fn predict(
        &self,
        rows: &[Self::Input],
        out: &mut Vec<Self::Output>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError>;

    /// Of a row's values, its class.
    fn class(&self, values: &[Self::Output]) -> usize;

    /// Of a row's values, the first number of [`numbers`](Self::numbers).
    fn number(&self, values: &[Self::Output]) -> f64;

    /// Of a row's values, the answer as numbers: [`Facts::numbers`] of them.
    fn numbers(&self, values: &[Self::Output]) -> Vec<f64>;

    /// Of a row's values, each class's probability; empty if the model has none.
    fn probabilities(&self, values: &[Self::Output]) -> Vec<f64>;
}

/// What a trained model's file says of it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) format: ModelFormat,
    /// How many values make a row.
    pub(crate) features: usize,
    pub(crate) feature_names: Option<Vec<String>>,
    /// Which features are whole numbers; false for those beyond its end.
    pub(crate) integers: Vec<bool>,
    /// Whether values may be missing.
    pub(crate) missing: bool,
    pub(crate) precision: Precision,
    pub(crate) answers: Answers,
    /// How many numbers an answer has, if it is asked for as numbers.
    pub(crate) numbers: usize,
    /// The classes' labels, if the file has them.
    pub(crate) labels: Option<Vec<String>>,
    /// What it is, for sentences: "objective binary:logistic".
    pub(crate) kind: String,
    /// For the manifest.
    pub(crate) training: toml::Table,
}

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Numbers alone.
    Numbers,
    /// One of some classes.
    Labels {
        /// How many there are.
        classes: usize,
        /// Whether their probabilities are known.
        probabilities: bool,
    },
}

struct TableModel<E> {
    schema: TableSchema,
    max_rows: usize,
    output: Output,
    engine: E,
    file_bytes: usize,
}

/// A model around an engine that has read the file.
pub(crate) fn model<E: TableEngine + 'static>(
    manifest: &Manifest,
    file_bytes: usize,
    engine: E,
) -> Result<Box<dyn Model>, LoadError> {
    let facts = engine.facts();
    let Input::Table(schema) = &manifest.input else {
        return Err(LoadError::Contradiction(format!("a model with {} takes a table", facts.kind)));
    };
    check_input(schema, &facts)?;
    check_output(&manifest.output, &facts)?;
    if manifest.params.get(PROBABILITIES).is_some_and(|param| param.kind != ParamKind::Boolean) {
        return Err(LoadError::Contradiction(format!("[params.{PROBABILITIES}] must be a boolean")));
    }
    Ok(Box::new(TableModel {
        schema: schema.clone(),
        max_rows: manifest.limits.max_rows,
        output: manifest.output.clone(),
        engine,
        file_bytes,
    }))
}

fn check_input(schema: &TableSchema, facts: &Facts) -> Result<(), LoadError> {
    let contradiction = |why: String| Err(LoadError::Contradiction(why));
    let (ours, theirs) = (schema.columns.len(), facts.features);
    if ours != theirs {
        return contradiction(format!("it has {ours} columns, the model file {theirs} features"));
    }
    if schema.precision != facts.precision {
        let (ours, theirs) = (schema.precision, facts.precision);
        return contradiction(format!("its precision is {}, the model file's {}", word(ours), word(theirs)));
    }
    let names = facts.feature_names.iter().flatten();
    let named = |(column, name): (&Column, &String)| column.name != *name;
    if let Some(at) = schema.columns.iter().zip(names).position(named) {
        return contradiction(format!("column {} is not named as the model file's feature", at + 1));
    }
    if let Some(at) = schema.columns.iter().position(|column| column.missing && !facts.missing) {
        let kind = &facts.kind;
        return contradiction(format!("column {} may be missing, but {kind} takes no missing values", at + 1));
    }
    Ok(())
}

fn word(precision: Precision) -> &'static str {
    match precision {
        Precision::Single => "single",
        Precision::Double => "double",
    }
}

fn check_output(output: &Output, facts: &Facts) -> Result<(), LoadError> {
    let fits = match output {
        Output::Number { .. } => facts.numbers == 1,
        Output::Numbers { names } => facts.numbers == names.len(),
        Output::Label { labels } => match facts.answers {
            Answers::Labels { classes, .. } => labels.len() == classes,
            Answers::Numbers => false,
        },
        Output::Text { .. } | Output::Tensors { .. } | Output::Image { .. } => false,
    };
    if fits {
        return match output {
            // Other names than the file's are a translation; its own in another order would swap the answers.
            Output::Label { labels } if swapped(labels, facts.labels.as_deref().unwrap_or(labels)) => {
                Err(LoadError::Contradiction("its labels are the model file's in another order".to_owned()))
            }
            _ => Ok(()),
        };
    }
    let Facts { kind, numbers, .. } = facts;
    Err(LoadError::Contradiction(format!("its [output] does not fit {kind}, which answers {numbers} a row")))
}

/// Whether these are the same labels, but not in the same order.
pub(crate) fn swapped(ours: &[String], theirs: &[String]) -> bool {
    let sorted = |labels: &[String]| {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels
    };
    ours != theirs && sorted(ours) == sorted(theirs)
}

impl<E: TableEngine> TableModel<E> {
    /// Predicts all rows, with as many threads as there are cores and the rows are worth.
    fn predict(&self, table: &Table<E::Input>, control: &Control) -> Result<Vec<E::Output>, RunError> {
        let (columns, width) = (self.schema.columns.len(), self.engine.width());
        let block = BLOCK_ROWS * columns;
        let done = AtomicUsize::new(0);
        let predict = |values: &[E::Input]| {
            let mut answers = Vec::with_capacity(values.len() / columns * width);
            let mut some = Vec::new();
            for values in values.chunks(block) {
                if control.is_cancelled() {
                    return Err(RunError::Cancelled);
                }
                let predicted = self.engine.predict(values, &mut some, &|| control.is_cancelled());
                predicted.map_err(|error| match error {
                    PredictError::Cancelled => RunError::Cancelled,
                    other => RunError::Failed(other.to_string()),
                })?;
                answers.extend_from_slice(&some);
                let rows = values.len() / columns;
                control.report((done.fetch_add(rows, Ordering::Relaxed) + rows) as u64, table.rows as u64);
            }
            Ok(answers)
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(table.rows / THREAD_ROWS);
        if threads < 2 {
            return predict(&table.values);
        }
        let blocks = table.rows.div_ceil(BLOCK_ROWS).div_ceil(threads);
        thread::scope(|scope| {
            let parts = table.values.chunks(blocks * block).map(|part| scope.spawn(move || predict(part)));
            // Collected, so that all are started before the first is waited for.
            let parts: Vec<_> = parts.collect();
            let mut answers = Vec::with_capacity(table.rows * width);
            for part in parts {
                answers.extend(part.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(answers)
        })
    }
}

impl<E: TableEngine> Model for TableModel<E> {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        let table = Table::<E::Input>::from_json(&self.schema, self.max_rows, input)?;
        let answers = self.predict(&table, control)?;
        let answer = TableAnswer { model: self, values: &answers, shape: table.shape, all: params.flag(PROBABILITIES) };
        let body = serde_json::to_vec(&answer).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        // The schema is small beside it.
        self.engine.memory_bytes().unwrap_or(self.file_bytes) as u64
    }
}

/// What a table's rows are answered with. An f32 is written as the f64 that equals it; one that is not finite, as `null`.
struct TableAnswer<'a, E: TableEngine> {
    model: &'a TableModel<E>,
    values: &'a [E::Output],
    shape: Shape,
    all: bool,
}

impl<E: TableEngine> Serialize for TableAnswer<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = self.values.chunks(self.model.engine.width()).map(|values| RowAnswer {
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

struct RowAnswer<'a, E: TableEngine> {
    model: &'a TableModel<E>,
    values: &'a [E::Output],
    all: bool,
}

impl<E: TableEngine> Serialize for RowAnswer<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let engine = &self.model.engine;
        let labels = match &self.model.output {
            Output::Number { .. } => return serializer.serialize_f64(engine.number(self.values)),
            Output::Numbers { .. } => return serializer.collect_seq(engine.numbers(self.values)),
            Output::Label { labels } => labels,
            // Refused when the bundle was loaded.
            Output::Text { .. } | Output::Tensors { .. } | Output::Image { .. } => return serializer.serialize_none(),
        };
        let class = engine.class(self.values);
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("prediction", &labels[class.min(labels.len() - 1)])?;
        if self.all {
            let probabilities = engine.probabilities(self.values);
            if !probabilities.is_empty() {
                row.serialize_entry("probabilities", &Pairs(labels.iter().zip(probabilities).collect()))?;
            }
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
