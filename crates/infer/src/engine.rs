//! Which engine reads a trained model's file.

use bundle::{Manifest, ModelFormat};

use crate::char_rnn;
use crate::lightgbm::{self, LightGbmModel};
use crate::model::{LoadError, Model};
use crate::onnx;
use crate::onnx_trees::{self, OnnxTrees};
use crate::sklearn::{self, SklearnModel};
use crate::table_model::{self, Facts, TableEngine};
use crate::tfidf;
use crate::xgboost::{self, XgbModel, dump};

/// An engine that has read a file of one of the table formats.
pub(crate) enum Engine {
    Xgboost(XgbModel),
    SklearnSingle(SklearnModel<f32>),
    SklearnDouble(SklearnModel<f64>),
    Lightgbm(LightGbmModel),
    OnnxTrees(OnnxTrees),
}

/// What is wrong with a file that has the signs of no known format.
#[derive(Debug, thiserror::Error)]
#[error(
    "neither an XGBoost model in JSON or UBJ (`save_model` with a name that ends in .json or .ubj writes one), nor LightGBM's \
     text (`booster.save_model` writes it), nor scikit-learn trees or text classifiers as models/train/export_sklearn.py and \
     export_tfidf.py write them, nor a net or trees as ONNX (`torch.onnx.export` and skl2onnx write them); pickles are never read"
)]
struct NotAModel;

/// Any engine's reason to refuse a file.
pub(crate) type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// The format that the file's first bytes promise.
pub(crate) fn recognise(bytes: &[u8]) -> ModelFormat {
    // Before the other safetensors.
    if tfidf::is_model(bytes) {
        ModelFormat::TfidfLinear
    } else if char_rnn::recognises(bytes) {
        ModelFormat::CharRnn
    } else if onnx_trees::is_model(bytes) {
        ModelFormat::OnnxTrees
    } else if onnx::recognises(bytes) {
        ModelFormat::Onnx
    } else if sklearn::is_model(bytes) {
        ModelFormat::SklearnTrees
    } else if lightgbm::is_model(bytes) {
        ModelFormat::Lightgbm
    } else if dump::is_model(bytes) {
        ModelFormat::XgboostDump
    } else {
        ModelFormat::Xgboost
    }
}

/// The name that a model file of this content usually has.
pub(crate) fn file_name(bytes: &[u8]) -> &'static str {
    match recognise(bytes) {
        ModelFormat::CharRnn => "model.safetensors",
        ModelFormat::Lightgbm => "model.txt",
        ModelFormat::Onnx | ModelFormat::OnnxTrees => "model.onnx",
        ModelFormat::TfidfLinear => "model.tfidf",
        // UBJ cannot be text: its strings carry binary lengths.
        ModelFormat::Xgboost if std::str::from_utf8(bytes).is_err() => "model.ubj",
        ModelFormat::Xgboost | ModelFormat::XgboostDump | ModelFormat::SklearnTrees => "model.json",
    }
}

impl Engine {
    /// Reads a file of the format.
    pub(crate) fn read(format: ModelFormat, bytes: &[u8]) -> Result<Self, ReadError> {
        Ok(match format {
            ModelFormat::Xgboost => match xgboost::load(bytes) {
                Err(xgboost::LoadError::NotAModel) => return Err(Box::new(NotAModel)),
                read => Self::Xgboost(read?),
            },
            ModelFormat::SklearnTrees => match sklearn::load(bytes)? {
                sklearn::AnyModel::Single(model) => Self::SklearnSingle(model),
                sklearn::AnyModel::Double(model) => Self::SklearnDouble(model),
            },
            ModelFormat::Lightgbm => Self::Lightgbm(lightgbm::load(bytes)?),
            ModelFormat::XgboostDump => Self::Xgboost(dump::load(bytes)?),
            ModelFormat::OnnxTrees => Self::OnnxTrees(onnx_trees::load(bytes)?),
            // No formats of tables; `load` has others for them.
            ModelFormat::CharRnn | ModelFormat::Onnx | ModelFormat::TfidfLinear => return Err(Box::new(NotAModel)),
        })
    }

    pub(crate) fn facts(&self) -> Facts {
        match self {
            Self::Xgboost(model) => model.facts(),
            Self::SklearnSingle(model) => model.facts(),
            Self::SklearnDouble(model) => model.facts(),
            Self::Lightgbm(model) => model.facts(),
            Self::OnnxTrees(model) => model.facts(),
        }
    }

    pub(crate) fn into_model(self, manifest: &Manifest, file_bytes: usize) -> Result<Box<dyn Model>, LoadError> {
        match self {
            Self::Xgboost(model) => table_model::model(manifest, file_bytes, model),
            Self::SklearnSingle(model) => table_model::model(manifest, file_bytes, model),
            Self::SklearnDouble(model) => table_model::model(manifest, file_bytes, model),
            Self::Lightgbm(model) => table_model::model(manifest, file_bytes, model),
            Self::OnnxTrees(model) => table_model::model(manifest, file_bytes, model),
        }
    }
}
