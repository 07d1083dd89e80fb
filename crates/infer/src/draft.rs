//! From a trained model's file to a bundle's manifest: what `models add` writes.

mod images;
mod names;
mod nets;
mod tensors;
mod texts;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use bundle::manifest::Input;
use bundle::{Column, ColumnKind, Golden, Limits, Manifest, ModelFormat, Output, Param, ParamKind, TableSchema};
use serde_json::{Map, Value};

use crate::engine::{Engine, ReadError, file_name, recognise};
use crate::model::{Control, LoadError, RunError};
use crate::table_model::{Answers, Facts, PROBABILITIES};
use crate::xgboost::dump;
use crate::{char_rnn, torch};

/// What a person says about a model beside its file.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The model's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A few words; the name if absent.
    pub title: Option<String>,
    /// The labels of its classes, in order; if absent, the file's own, or `0`, `1`, ...
    pub labels: Option<Vec<String>>,
    /// The names of its features, for a file that has none.
    pub features: Option<Vec<String>>,
    /// Under which terms it may be used.
    pub licence: Option<String>,
    /// What it does, for a file of weights that could be any network's.
    pub task: Option<Task>,
    /// The letters of a model that writes names, in its order.
    pub alphabet: Option<String>,
    /// The categories of a model that writes names, in its order.
    pub categories: Option<Vec<String>>,
    /// How samples of pictures become a net's numbers.
    pub pixels: Option<Pixels>,
    /// A net's `tokenizer.json`, which makes texts the numbers that it takes.
    pub tokenizer: Option<Vec<u8>>,
    /// What an XGBoost model was trained for, where its file is a dump.
    pub objective: Option<String>,
    /// Where its sums start, in the space of its answers: one number, or one for each class, separated by commas.
    pub base_score: Option<String>,
}

impl Choices {
    /// A manifest of this name, version, title and licence, without files.
    fn manifest(&self, engine: bundle::Engine, input: Input, output: Output) -> Manifest {
        Manifest {
            format: 1,
            name: self.name.clone(),
            version: self.version.clone(),
            title: self.title.clone().unwrap_or_else(|| self.name.clone()),
            description: String::new(),
            licence: self.licence.clone().unwrap_or_default(),
            engine,
            input,
            output,
            limits: Limits::default(),
            params: BTreeMap::new(),
            training: toml::Table::new(),
            goldens: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// The files that go into the bundle beside the model's: their names there and their bytes.
    pub fn files(&self) -> Vec<(&'static str, &[u8])> {
        self.tokenizer.iter().map(|bytes| (TOKENIZER_FILE, &bytes[..])).collect()
    }

    /// Refuses the flags that say nothing of a model of this kind.
    fn refuse_for(&self, kind: &str, flags: &[&str]) -> Result<(), DraftError> {
        let given = |flag: &&&str| match **flag {
            "labels" => self.labels.is_some(),
            "features" => self.features.is_some(),
            "alphabet" => self.alphabet.is_some(),
            "categories" => self.categories.is_some(),
            "tokenizer" => self.tokenizer.is_some(),
            "pixels" => self.pixels.is_some(),
            "objective" => self.objective.is_some(),
            "base-score" => self.base_score.is_some(),
            _ => false,
        };
        match flags.iter().find(given) {
            Some(flag) => Err(DraftError::Contradiction(format!("{kind} has no {flag}; leave --{flag} out"))),
            None => Ok(()),
        }
    }
}

/// What a network does. (What trees do, their file says.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Writes names letter by letter: the character RNN of the PyTorch tutorial.
    Names,
    /// Makes a picture of a picture.
    ImageToImage,
    /// Gives a picture a label.
    ImageClassification,
    /// Gives a text a label.
    TextClassification,
    /// Takes and answers named tensors.
    Tensors,
}

impl Task {
    const ALL: [Self; 5] =
        [Self::Names, Self::ImageToImage, Self::ImageClassification, Self::TextClassification, Self::Tensors];

    fn name(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::ImageToImage => "image-to-image",
            Self::ImageClassification => "image-classification",
            Self::TextClassification => "text-classification",
            Self::Tensors => "tensors",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = UnknownTask;
    fn from_str(text: &str) -> Result<Self, UnknownTask> {
        Self::ALL.into_iter().find(|task| task.name() == text).ok_or(UnknownTask)
    }
}

/// No task has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tasks are names, image-to-image, image-classification, text-classification and tensors")]
pub struct UnknownTask;

/// Why no manifest could be drafted.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The file isn't a model that an engine reads.
    #[error("the file is not a model that Millpond can serve")]
    Load(#[source] ReadError),
    /// The file doesn't say it, so the person must.
    #[error("the model file does not name its {count} features; name them with --features a,b,...")]
    FeaturesNeeded {
        /// How many there are.
        count: usize,
    },
    /// The same of other things than features.
    #[error("{0}")]
    Unsaid(String),
    /// What the person said contradicts the file.
    #[error("{0}")]
    Contradiction(String),
    /// The finished bundle doesn't run.
    #[error("the model was read, but could not answer an example")]
    Example(#[source] Box<dyn std::error::Error + Send + Sync>),
}

const TASK_UNSAID: &str = "the file holds a network's weights, but not what it does; say so with --task names";

const DUMP_UNSAID: &str = "an XGBoost dump holds trees alone; say with --objective reg:squarederror, for one, what it was trained for, and \
     with --base-score 0.5 where its sums start (`booster.save_config()` has both)";

const DUMP_LABELS_UNSAID: &str =
    "an XGBoost dump does not say how many classes there are; name them with --labels a,b,...";

/// The file as a bundle keeps it, and its name there: what is not plain data is turned into what is.
pub fn prepare<'a>(bytes: &'a [u8], choices: &Choices) -> Result<(&'static str, Cow<'a, [u8]>), DraftError> {
    if torch::recognises(bytes) {
        let tensors = torch::read(bytes).map_err(|error| DraftError::Load(Box::new(error)))?;
        if choices.task.is_none() {
            return Err(DraftError::Unsaid(TASK_UNSAID.to_owned()));
        }
        let weights = char_rnn::to_safetensors(&tensors).map_err(|error| DraftError::Load(Box::new(error)))?;
        return Ok(("model.safetensors", weights.into()));
    }
    if dump::is_dump(bytes) {
        return Ok(("model.json", complete_dump(bytes, choices)?.into()));
    }
    if choices.objective.is_some() || choices.base_score.is_some() {
        let fault = "only an XGBoost dump needs --objective and --base-score; leave them out";
        return Err(DraftError::Contradiction(fault.to_owned()));
    }
    Ok((file_name(bytes), bytes.into()))
}

/// A dump with what was said beside it.
fn complete_dump(bytes: &[u8], choices: &Choices) -> Result<Vec<u8>, DraftError> {
    let (Some(objective), Some(base_score)) = (&choices.objective, &choices.base_score) else {
        return Err(DraftError::Unsaid(DUMP_UNSAID.to_owned()));
    };
    let num_class = match (objective.starts_with("multi:"), &choices.labels) {
        (true, Some(labels)) => labels.len(),
        (true, None) => return Err(DraftError::Unsaid(DUMP_LABELS_UNSAID.to_owned())),
        (false, _) => 0,
    };
    let beside = dump::Beside { objective, base_score, num_class, features: choices.features.as_deref() };
    dump::complete(bytes, &beside).map_err(|error| DraftError::Load(Box::new(error)))
}

/// What a tokenizer's file is called in a bundle.
pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";

pub use images::{Pixels, UnknownPixels};

/// What is drafted for a model of some task.
struct Drafted {
    /// The manifest without its files and its golden example.
    manifest: Manifest,
    /// The example's input; empty for a model of pictures.
    input: String,
    /// How far numbers of the example's answer may be off elsewhere.
    tolerance: f64,
}

/// Drafts the manifest of a bundle around the model file `bytes`, which will be called `file` there; [`prepare`] gives both. Files
/// beside it are the choices' ([`Choices::files`]).
///
/// The manifest has one golden example, such as a row of zeros, and this engine's own answer to it. It shows clients what to send,
/// and shows that the bundle loads; that the answer is the training library's is for whoever trained it to add.
pub fn draft(file: &str, bytes: &[u8], choices: &Choices) -> Result<Manifest, DraftError> {
    let Drafted { mut manifest, input, tolerance } = match (recognise(bytes), choices.task) {
        (ModelFormat::Onnx, _) => nets::draft(file, bytes, choices)?,
        (ModelFormat::TfidfLinear, None | Some(Task::TextClassification)) => texts::of_features(file, bytes, choices)?,
        (ModelFormat::TfidfLinear, Some(task)) => {
            return Err(DraftError::Contradiction(format!(
                "a classifier of text features does not serve the task {task}"
            )));
        }
        (ModelFormat::CharRnn, Some(Task::Names)) => names::draft(file, bytes, choices)?,
        (ModelFormat::CharRnn, _) => return Err(DraftError::Unsaid(TASK_UNSAID.to_owned())),
        (
            format @ (ModelFormat::Xgboost
            | ModelFormat::XgboostDump
            | ModelFormat::SklearnTrees
            | ModelFormat::Lightgbm
            | ModelFormat::OnnxTrees),
            _,
        ) => trees(format, file, bytes, choices)?,
    };
    let files: HashMap<String, &[u8]> =
        choices.files().into_iter().chain([(file, bytes)]).map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    manifest.files = files.iter().map(|(name, bytes)| (name.clone(), bundle::digest(bytes))).collect();
    // What is written must be read again: names, labels and digests all go through the same checks.
    Manifest::parse(&manifest.to_toml()).map_err(|error| DraftError::Contradiction(error.to_string()))?;
    if images::is_of(&manifest) {
        // The example is a file that no one needs: it is answered, and left out.
        images::answer(&manifest, &files).map_err(DraftError::Example)?;
        return Ok(manifest);
    }
    let output = answer(&manifest, &files, &input).map_err(DraftError::Example)?;
    manifest.goldens.push(Golden { input, output, tolerance, params: "{}".to_owned(), ..Golden::default() });
    Ok(manifest)
}

fn trees(format: ModelFormat, file: &str, bytes: &[u8], choices: &Choices) -> Result<Drafted, DraftError> {
    let facts = Engine::read(format, bytes).map_err(DraftError::Load)?.facts();
    choices.refuse_for("a model of trees", &["tokenizer", "pixels"])?;
    if choices.task.is_some() || choices.alphabet.is_some() || choices.categories.is_some() {
        let fault = format!("a model with {} takes a table; leave --task, --alphabet and --categories out", facts.kind);
        return Err(DraftError::Contradiction(fault));
    }
    let columns = columns(&facts, choices)?;
    let row: Map<String, Value> = columns.iter().map(|column| (column.name.clone(), Value::from(0))).collect();
    let (output, params) = output(&facts, choices)?;
    let input = Input::Table(TableSchema { columns, precision: facts.precision });
    let mut manifest = choices.manifest(bundle::Engine::new(facts.format, file), input, output);
    manifest.params = params;
    manifest.training = facts.training;
    Ok(Drafted { manifest, input: Value::from(vec![Value::Object(row)]).to_string(), tolerance: 0.0 })
}

fn columns(facts: &Facts, choices: &Choices) -> Result<Vec<Column>, DraftError> {
    let count = facts.features;
    let names = match (&facts.feature_names, &choices.features) {
        (Some(own), Some(given)) if own != given => {
            return Err(DraftError::Contradiction(
                "the model file names its features itself; leave --features out".into(),
            ));
        }
        (Some(names), _) | (None, Some(names)) if names.len() == count => names,
        (_, Some(given)) => {
            let given = given.len();
            return Err(DraftError::Contradiction(format!(
                "the model has {count} features, but --features names {given}"
            )));
        }
        _ => return Err(DraftError::FeaturesNeeded { count }),
    };
    let column = |(at, name): (usize, &String)| Column {
        name: name.clone(),
        kind: if facts.integers.get(at) == Some(&true) { ColumnKind::Integer } else { ColumnKind::Number },
        min: None,
        max: None,
        missing: facts.missing,
        description: String::new(),
    };
    Ok(names.iter().enumerate().map(column).collect())
}

fn output(facts: &Facts, choices: &Choices) -> Result<(Output, BTreeMap<String, Param>), DraftError> {
    let (classes, probabilities) = match facts.answers {
        Answers::Numbers if choices.labels.is_some() => {
            let fault = format!("a model with {} answers numbers; leave --labels out", facts.kind);
            return Err(DraftError::Contradiction(fault));
        }
        Answers::Numbers if facts.numbers == 1 => {
            return Ok((Output::Number { description: String::new() }, BTreeMap::new()));
        }
        Answers::Numbers => {
            let names = (0..facts.numbers).map(|at| at.to_string()).collect();
            return Ok((Output::Numbers { names }, BTreeMap::new()));
        }
        Answers::Labels { classes, probabilities } => (classes, probabilities),
    };
    let labels = match choices.labels.as_ref().or(facts.labels.as_ref()) {
        Some(labels) if labels.len() != classes => {
            let given = labels.len();
            return Err(DraftError::Contradiction(format!(
                "the model has {classes} classes, but --labels names {given}"
            )));
        }
        Some(labels) => labels.clone(),
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
    let mut params = BTreeMap::new();
    if probabilities {
        params.insert(PROBABILITIES.to_owned(), probabilities_param());
    }
    Ok((Output::Label { labels }, params))
}

/// The parameter that asks for each label's probability.
fn probabilities_param() -> Param {
    let description = "answer each label's probability as well".to_owned();
    let (min, max, choices) = (None, None, Vec::new());
    Param { kind: ParamKind::Boolean, default: Value::from(false), min, max, choices, description }
}

fn answer(
    manifest: &Manifest,
    files: &HashMap<String, &[u8]>,
    input: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let params = manifest.read_params("")?;
    let answer = crate::load(manifest, files)?.run(input.as_bytes(), &params, &Control::default())?;
    Ok(String::from_utf8(answer.body)?)
}

/// A golden example that does not come out as recorded.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The bundle can't be loaded.
    #[error("the bundle cannot be loaded")]
    Load(#[from] LoadError),
    /// An example isn't what it should be.
    #[error("golden example {number} is not usable: {why}")]
    Unusable {
        /// Its place, from 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// The model refuses it.
    #[error("golden example {number} fails")]
    Run {
        /// Its place, from 1.
        number: usize,
        /// Why.
        #[source]
        source: RunError,
    },
    /// The answer is another.
    #[error("golden example {number} is answered {got}, not {expected}")]
    Differs {
        /// Its place, from 1.
        number: usize,
        /// This engine's answer.
        got: String,
        /// The recorded one.
        expected: String,
    },
}

/// Loads the bundle and runs all of its golden examples.
pub fn check_goldens<B: AsRef<[u8]>>(manifest: &Manifest, files: &HashMap<String, B>) -> Result<(), GoldenError> {
    let model = crate::load(manifest, files)?;
    for (at, golden) in manifest.goldens.iter().enumerate() {
        let number = at + 1;
        let unusable = |why: String| GoldenError::Unusable { number, why };
        let params = manifest.read_params(&golden.params).map_err(|error| unusable(error.to_string()))?;
        let file = |name: &String| {
            files.get(name).map(AsRef::as_ref).ok_or_else(|| unusable(format!("the bundle lacks its file {name}")))
        };
        let input = golden.input_file.as_ref().map_or(Ok(golden.input.as_bytes()), file)?;
        let answer =
            model.run(input, &params, &Control::default()).map_err(|source| GoldenError::Run { number, source })?;
        if let Some(name) = &golden.output_file {
            let difference = picture_difference(&answer.body, file(name)?).map_err(unusable)?;
            if difference > golden.tolerance {
                let got = format!("by a picture whose samples differ by {difference:.3} in the mean");
                return Err(GoldenError::Differs {
                    number,
                    got,
                    expected: format!("{name} within {}", golden.tolerance),
                });
            }
            continue;
        }
        let expected: Value = serde_json::from_str(&golden.output).map_err(|error| unusable(error.to_string()))?;
        let got: Value = serde_json::from_slice(&answer.body).map_err(|error| unusable(error.to_string()))?;
        if !within(&got, &expected, golden.tolerance) {
            let (got, expected) = (got.to_string(), golden.output.clone());
            return Err(GoldenError::Differs { number, got, expected });
        }
    }
    Ok(())
}

/// The mean difference of two pictures' samples, which are from 0 to 255; infinite if they differ in size.
///
/// # Errors
///
/// One of the files is no picture.
pub fn picture_difference(a: &[u8], b: &[u8]) -> Result<f64, String> {
    let read = |bytes: &[u8]| {
        let decoded = crate::picture::decode(bytes, bundle::ImageSchema::DEFAULT_MAX_PIXELS);
        decoded.map(crate::picture::Decoded::upright).map_err(|error| error.to_string())
    };
    let (a, b) = (read(a)?, read(b)?);
    if (a.width, a.height) != (b.width, b.height) {
        return Ok(f64::INFINITY);
    }
    let sum: u64 = a.samples.iter().zip(&b.samples).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    Ok(sum as f64 / a.samples.len() as f64)
}

/// Whether two JSON values are equal but for numbers that are at most `tolerance` apart.
pub fn within(a: &Value, b: &Value, tolerance: f64) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= tolerance,
            _ => false,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| within(a, b, tolerance))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| within(a, b, tolerance)))
        }
        _ => a == b,
    }
}
