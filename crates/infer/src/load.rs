//! From a bundle's manifest and files to a loaded model.

use std::collections::HashMap;

use bundle::manifest::Input;
use bundle::{Manifest, ModelFormat};

use crate::engine::Engine;
use crate::model::{LoadError, Model};
use crate::onnx::Net;

/// Loads the model that `manifest` describes. `files` maps names to bytes whose digests have been checked.
pub fn load<B: AsRef<[u8]>>(manifest: &Manifest, files: &HashMap<String, B>) -> Result<Box<dyn Model>, LoadError> {
    let file = &manifest.engine.file;
    let bytes = files.get(file).ok_or_else(|| LoadError::FileMissing(file.clone()))?.as_ref();
    match manifest.engine.format {
        format @ (ModelFormat::Xgboost | ModelFormat::SklearnTrees | ModelFormat::Lightgbm) => {
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
                Input::Table(_) | Input::StartLetters(_) => {
                    Err(LoadError::Contradiction("an ONNX model takes tensors".to_owned()))
                }
            }
        }
    }
}
