//! From a bundle's manifest and files to a loaded model.

use std::collections::HashMap;

use bundle::manifest::Input;
use bundle::{Manifest, ModelFormat};

use crate::engine::Engine;
use crate::model::{LoadError, Model};
use crate::onnx::Net;
use crate::text_model::{self, TextEngine};
use crate::text_net::TextNet;
use crate::tfidf::TfidfModel;

/// Loads the model that `manifest` describes. `files` maps names to bytes whose digests have been checked.
pub fn load<B: AsRef<[u8]>>(manifest: &Manifest, files: &HashMap<String, B>) -> Result<Box<dyn Model>, LoadError> {
    let file = &manifest.engine.file;
    let bytes = bytes_of(file, files)?;
    match manifest.engine.format {
        format @ (ModelFormat::Xgboost
        | ModelFormat::XgboostDump
        | ModelFormat::SklearnTrees
        | ModelFormat::Lightgbm
        | ModelFormat::OnnxTrees) => {
            let read = Engine::read(format, bytes);
            let engine = read.map_err(|source| LoadError::Engine { file: file.clone(), source })?;
            engine.into_model(manifest, bytes.len())
        }
        ModelFormat::CharRnn => crate::char_rnn::load(manifest, file, bytes),
        ModelFormat::Onnx => {
            let read = Net::read(bytes);
            let net = read.map_err(|source| LoadError::Engine { file: file.clone(), source: Box::new(source) })?;
            match &manifest.input {
                Input::Tensors(_) => crate::tensors::load(manifest, net),
                Input::Texts(schema) => {
                    let Some(tokenizer) = &manifest.engine.tokenizer else {
                        return Err(LoadError::Contradiction("a net that takes texts needs a tokenizer".to_owned()));
                    };
                    let engine = TextNet::new(net, bytes_of(tokenizer, files)?, schema.max_tokens)
                        .map_err(|source| LoadError::Engine { file: file.clone(), source: Box::new(source) })?;
                    text_model::model(manifest, Box::new(engine), fast_engine(manifest, files)?)
                }
                Input::Image(schema) => crate::images::load(manifest, schema, net),
                Input::Table(_) | Input::StartLetters(_) => {
                    Err(LoadError::Contradiction("an ONNX model takes tensors, texts or pictures".to_owned()))
                }
            }
        }
        ModelFormat::TfidfLinear => {
            text_model::model(manifest, text_features(file, bytes)?, fast_engine(manifest, files)?)
        }
    }
}

/// The bundle's second engine, if it has one.
fn fast_engine<B: AsRef<[u8]>>(
    manifest: &Manifest,
    files: &HashMap<String, B>,
) -> Result<Option<Box<dyn TextEngine>>, LoadError> {
    // The manifest's check has seen that its format is this one.
    manifest.engine.fast.as_ref().map(|fast| text_features(&fast.file, bytes_of(&fast.file, files)?)).transpose()
}

fn text_features(file: &str, bytes: &[u8]) -> Result<Box<dyn TextEngine>, LoadError> {
    let read = TfidfModel::read(bytes);
    Ok(Box::new(read.map_err(|source| LoadError::Engine { file: file.to_owned(), source: Box::new(source) })?))
}

fn bytes_of<'a, B: AsRef<[u8]>>(file: &str, files: &'a HashMap<String, B>) -> Result<&'a [u8], LoadError> {
    Ok(files.get(file).ok_or_else(|| LoadError::FileMissing(file.to_owned()))?.as_ref())
}
