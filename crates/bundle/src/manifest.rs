//! `model.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::image::{ImageKind, ImageSchema};
use crate::letters::{Letters, LettersSchema};
use crate::params::{Param, Params};
use crate::table::{Precision, Table, TableSchema};
use crate::tensors::{self, Port, Tensors, TensorsSchema};
use crate::texts::{Texts, TextsSchema};

/// The only manifest format that this program knows.
const FORMAT: u32 = 1;

/// 11 hours: SQS keeps a message hidden for 12 at most, after which the job would run a second time.
const MAX_SECONDS: u64 = 11 * 60 * 60;

/// What `model.toml` says. [`Manifest::parse`] has checked it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The manifest's own format: 1.
    pub format: u32,
    /// The model's name: the bundle's parent folder.
    pub name: String,
    /// The version's label: the bundle's folder.
    pub version: String,
    /// A few words for people.
    pub title: String,
    /// What it answers, and on what it was trained.
    #[serde(default)]
    pub description: String,
    /// Under which terms model and training data may be used.
    #[serde(default)]
    pub licence: String,
    /// What runs it.
    pub engine: Engine,
    /// What it takes.
    pub input: Input,
    /// What it answers.
    pub output: Output,
    /// What it refuses.
    #[serde(default)]
    pub limits: Limits,
    /// What a client can set, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// How it was trained and how well it does: numbers and texts of whoever trained it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub training: toml::Table,
    /// Inputs whose answers are known; checked whenever the bundle is.
    #[serde(default, rename = "golden", skip_serializing_if = "Vec::is_empty")]
    pub goldens: Vec<Golden>,
    /// SHA-256 of every file of the bundle but `model.toml`, in lower-case hexadecimal.
    pub files: BTreeMap<String, String>,
}

/// Which engine runs the model, from which file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// The file's format, which decides the engine.
    pub format: ModelFormat,
    /// The model file, in the bundle's folder.
    pub file: String,
    /// What makes texts the net's numbers: a `tokenizer.json`, in the bundle's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// A second engine for those who would rather have an answer soon: inputs that say `"do_fast": true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<FastEngine>,
}

/// A bundle's second engine: it takes and answers the same as the first, sooner and less well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FastEngine {
    /// The file's format.
    pub format: ModelFormat,
    /// The model file, in the bundle's folder.
    pub file: String,
}

impl Engine {
    /// An engine of this one file.
    pub fn new(format: ModelFormat, file: impl Into<String>) -> Self {
        Self { format, file: file.into(), tokenizer: None, fast: None }
    }
}

/// The formats of model files that engines read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// XGBoost's own model file, JSON or UBJSON (`Booster.save_model`); the file itself tells which.
    Xgboost,
    /// XGBoost's JSON dump (`Booster.dump_model`) inside a JSON object that says what a dump leaves out.
    XgboostDump,
    /// Trees of a scikit-learn estimator as `models/train/export_sklearn.py` writes them.
    SklearnTrees,
    /// LightGBM's own text model (`Booster.save_model`).
    Lightgbm,
    /// Trees in an ONNX file (`TreeEnsembleRegressor`, `TreeEnsembleClassifier`), as converters write them.
    OnnxTrees,
    /// A character RNN's weights as safetensors: the network of the PyTorch tutorial that generates names.
    CharRnn,
    /// A net as ONNX.
    Onnx,
    /// Text features and a linear classifier of scikit-learn's, as `models/train/export_tfidf.py` writes them.
    TfidfLinear,
}

/// What a model takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// Rows of named numbers.
    Table(TableSchema),
    /// A category and start letters.
    StartLetters(LettersSchema),
    /// Named tensors, as the Open Inference Protocol writes them.
    Tensors(TensorsSchema),
    /// Texts to classify.
    Texts(TextsSchema),
    /// The bytes of a picture.
    Image(ImageSchema),
}

/// What a model answers: for each row or start letter, or for the whole input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Output {
    /// One number.
    Number {
        /// What it is, in words.
        #[serde(default)]
        description: String,
    },
    /// Several numbers, as an array.
    Numbers {
        /// What each of them is, in the model's order.
        names: Vec<String>,
    },
    /// One label; with the parameter `probabilities`, each label's probability as well.
    Label {
        /// The labels in the order of the model's classes; two for a binary model.
        labels: Vec<String>,
    },
    /// One text.
    Text {
        /// What it is, in words.
        #[serde(default)]
        description: String,
    },
    /// Named tensors, as the Open Inference Protocol writes them.
    Tensors {
        /// The model's outputs, in its order.
        outputs: Vec<Port>,
    },
    /// A picture.
    Image {
        /// What it shows, in words.
        #[serde(default)]
        description: String,
        /// The net's number for black.
        #[serde(default)]
        black: f64,
        /// The net's number for white.
        #[serde(default = "one")]
        white: f64,
    },
}

fn one() -> f64 {
    1.0
}

/// What a model refuses. The defaults suit a model of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest input, in bytes.
    pub max_input_bytes: u64,
    /// The most rows of one input.
    pub max_rows: usize,
    /// The longest that one call may take, in seconds.
    pub max_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_input_bytes: 64 << 20, max_rows: 1_000_000, max_seconds: 60 }
    }
}

/// An input whose answer is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The input's text; empty if it is a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input: String,
    /// The file of the bundle that the input is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_file: Option<String>,
    /// The answer's text: JSON; empty if it is a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The file of the bundle that the answer is: a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
    /// The parameters it is asked with: JSON.
    #[serde(default = "no_params", skip_serializing_if = "is_no_params")]
    pub params: String,
    /// How far each number may be off; 0 means to the bit. Of a picture, the mean difference of its samples, which are from 0 to 255.
    #[serde(default)]
    pub tolerance: f64,
}

fn no_params() -> String {
    "{}".to_owned()
}

fn is_no_params(params: &String) -> bool {
    params == "{}"
}

/// Why a `model.toml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("model.toml cannot be read: {0}")]
    Form(String),
    /// It is of another format.
    #[error("model.toml has format {0}; this program reads format 1")]
    Format(u32),
    /// It contradicts itself.
    #[error("model.toml: {0}")]
    Content(String),
}

impl Manifest {
    /// Reads and checks a `model.toml`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let form =
            |error: toml::de::Error| ManifestError::Form(error.message().to_owned() + &place(text, error.span()));
        let Probe { format } = toml::from_str(text).map_err(form)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        let manifest: Manifest = toml::from_str(text).map_err(form)?;
        manifest.check().map_err(ManifestError::Content)?;
        Ok(manifest)
    }

    /// The manifest as TOML text, for bundles that this program makes.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a manifest is a TOML table")
    }

    fn check(&self) -> Result<(), String> {
        match &self.input {
            Input::Table(schema) => schema.check(),
            Input::StartLetters(schema) => schema.check(),
            Input::Tensors(schema) => schema.check(),
            Input::Texts(schema) => schema.check(),
            Input::Image(schema) => schema.check(),
        }?;
        if !self.files.contains_key(&self.engine.file) {
            return Err(format!("[files] lacks the model file {:?}", self.engine.file));
        }
        if let Some(tokenizer) = self.engine.tokenizer.as_ref().filter(|file| !self.files.contains_key(*file)) {
            return Err(format!("[files] lacks the tokenizer {tokenizer:?}"));
        }
        if let Some(fast) = &self.engine.fast {
            if !self.files.contains_key(&fast.file) {
                return Err(format!("[files] lacks the fast engine's file {:?}", fast.file));
            }
            if fast.format != ModelFormat::TfidfLinear || !matches!(self.input, Input::Texts(_)) {
                return Err("[engine.fast] is for texts, and its format must be tfidf-linear".to_owned());
            }
        }
        if let Output::Tensors { outputs } = &self.output {
            tensors::check_ports("[output]", outputs)?;
        }
        if matches!(self.input, Input::Tensors(_)) != matches!(self.output, Output::Tensors { .. }) {
            return Err(
                "a model of tensors takes and answers tensors: [input] and [output] contradict each other".into()
            );
        }
        for (file, digest) in &self.files {
            if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\']) || file == "model.toml" {
                return Err(format!("[files] names {file:?}, which is not a plain file beside model.toml"));
            }
            if digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(format!("[files] {file:?} has no SHA-256 of 64 lower-case hexadecimal digits"));
            }
        }
        if let Output::Label { labels } = &self.output {
            let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
            if labels.len() < 2 || distinct.len() != labels.len() {
                return Err("[output] labels must be two or more, each another".to_owned());
            }
        }
        if let Output::Image { black, white, .. } = &self.output
            && !(black.is_finite() && white.is_finite() && black != white)
        {
            return Err("[output] black and white must be two numbers".to_owned());
        }
        for (at, golden) in self.goldens.iter().enumerate() {
            golden.check(&self.files).map_err(|why| format!("golden example {} {why}", at + 1))?;
        }
        if self.limits.max_rows == 0 || self.limits.max_input_bytes == 0 || self.limits.max_seconds == 0 {
            return Err("[limits] must not be zero".to_owned());
        }
        if self.limits.max_seconds > MAX_SECONDS {
            return Err(format!("[limits] max_seconds must be at most {MAX_SECONDS}"));
        }
        for (name, param) in &self.params {
            param.check(name)?;
        }
        Ok(())
    }

    /// Checks a client's parameters and fills in the defaults. `text` is a JSON object, or empty for none.
    pub fn read_params(&self, text: &str) -> Result<Params, crate::InputError> {
        Params::read(&self.params, text)
    }

    /// Checks an input as the worker will, without running it.
    pub fn check_input(&self, bytes: &[u8]) -> Result<(), crate::InputError> {
        match &self.input {
            Input::Table(schema) => match schema.precision {
                Precision::Single => Table::<f32>::from_json(schema, self.limits.max_rows, bytes).map(drop),
                Precision::Double => Table::<f64>::from_json(schema, self.limits.max_rows, bytes).map(drop),
            },
            Input::StartLetters(schema) => Letters::from_json(schema, bytes).map(drop),
            Input::Tensors(schema) => {
                // The manifest's check has seen that tensors are answered with tensors.
                let Output::Tensors { outputs } = &self.output else { return Ok(()) };
                Tensors::from_json(schema, outputs, bytes).map(drop)
            }
            Input::Texts(schema) => Texts::from_json(schema, self.engine.fast.is_some(), bytes).map(drop),
            // Its pixels are the worker's.
            Input::Image(_) => ImageKind::of(bytes).map(drop),
        }
    }

    /// Checks the media type that an upload is announced with, as far as it says anything.
    pub fn check_content_type(&self, content_type: &str) -> Result<(), crate::InputError> {
        match &self.input {
            Input::Image(_) => ImageKind::check_content_type(content_type),
            Input::Table(_) | Input::StartLetters(_) | Input::Tensors(_) | Input::Texts(_) => Ok(()),
        }
    }
}

impl Golden {
    fn check(&self, files: &BTreeMap<String, String>) -> Result<(), String> {
        for (name, text, file) in
            [("input", &self.input, &self.input_file), ("output", &self.output, &self.output_file)]
        {
            match file {
                Some(_) if !text.is_empty() => return Err(format!("has both {name} and {name}_file")),
                Some(file) if !files.contains_key(file) => {
                    return Err(format!("names the file {file:?}, which [files] lacks"));
                }
                None if text.is_empty() => return Err(format!("has no {name}")),
                _ => {}
            }
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return Err("has a tolerance that is no number from 0".to_owned());
        }
        Ok(())
    }
}

/// `" (line 3)"`, if the place is known.
fn place(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let line = span.and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// SHA-256 in lower-case hexadecimal, as `[files]` has it.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
format = 1
name = "m"
version = "1"
title = "A model"
[engine]
format = "xgboost"
file = "model.ubj"
[input]
kind = "table"
columns = [{ name = "a" }, { name = "b", type = "integer", min = 0.0, max = 1.0, missing = false }]
[output]
kind = "label"
labels = ["no", "yes"]
[params.probabilities]
type = "boolean"
default = false
[[golden]]
input = '[{"a":1,"b":0}]'
output = '[{"prediction":"no"}]'
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#;

    #[test]
    fn a_manifest_survives_its_text() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
    }

    #[test]
    fn contradictions_are_named() {
        let cases = [
            ("format = 1", "format = 2"),
            ("title = \"A model\"", ""),
            ("title = \"A model\"", "titel = \"A model\"\ntitle = \"\""),
            ("\"xgboost\"", "\"pickle\""),
            ("file = \"model.ubj\"", "file = \"other.ubj\""),
            ("\"model.ubj\" = ", "\"../model.ubj\" = \"\"\n\"model.ubj\" = "),
            ("e3b0c4", "E3B0C4"),
            ("{ name = \"a\" }", "{ name = \"b\" }"),
            ("max = 1.0", "max = nan"),
            ("max = 1.0", "max = -1.0"),
            ("labels = [\"no\", \"yes\"]", "labels = [\"no\", \"no\"]"),
            ("default = false", "default = 3"),
            ("[engine]", "[limits]\nmax_seconds = 39601\n[engine]"),
            ("[engine]", "[limits]\nmax_rows = 0\n[engine]"),
            ("[input]", "[engine.fast]\nformat = \"tfidf-linear\"\nfile = \"fast.tfidf\"\n[input]"),
            ("[input]", "[engine.fast]\nformat = \"tfidf-linear\"\nfile = \"model.ubj\"\n[input]"),
            ("input = '[{\"a\":1,\"b\":0}]'", "input_file = \"a.png\""),
            ("[[golden]]\n", "[[golden]]\ninput_file = \"model.ubj\"\n"),
            ("[[golden]]\n", "[[golden]]\ntolerance = nan\n"),
            ("output = '[{\"prediction\":\"no\"}]'", ""),
            ("kind = \"label\"\nlabels = [\"no\", \"yes\"]", "kind = \"image\"\nwhite = 0.0"),
        ];
        let errors: Vec<String> = cases
            .iter()
            .map(|(from, to)| {
                assert!(GOOD.contains(from), "{from}");
                Manifest::parse(&GOOD.replace(from, to)).unwrap_err().to_string()
            })
            .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
