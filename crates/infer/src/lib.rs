//! Inference engines: synchronous, without I/O, and exact.
//!
//! - [`Model`] is the one trait that everything else calls; [`load()`] makes one from a bundle's manifest and files, and
//!   [`draft()`] makes a manifest from a trained model's file.
//! - [`xgboost`] reads XGBoost's native model files, JSON and UBJ, and predicts with XGBoost's own arithmetic, bit for bit.
//! - [`sklearn`] reads scikit-learn's forests and boosted trees, exported as JSON, and predicts as scikit-learn does.
//! - [`lightgbm`] reads LightGBM's text models and predicts with LightGBM's own arithmetic.
//! - [`onnx_trees`] reads trees in ONNX files, as converters write them, and predicts as ONNX Runtime does.
//! - [`trees`] is the engine under them all: forests of decision trees, blended for batches and walked for single rows.
//! - [`tfidf`] makes scikit-learn's text features and runs its linear classifiers on them.
//! - [`char_rnn`] writes names letter by letter, as the PyTorch tutorial's network does; [`torch`] reads such a network's weights
//!   when it is added.
//! - [`onnx`] runs nets: any ONNX graph, on named tensors.
//! - [`picture`] decodes, resizes and encodes the pictures that some nets take and answer.
//! - [`math`] has the `exp` and `ln` that make a prediction the same bits on every platform, [`random`] the one generator.

mod caught;
pub mod char_rnn;
mod classes;
pub mod draft;
mod engine;
mod images;
pub mod lightgbm;
mod load;
mod load_error;
pub mod math;
pub mod model;
pub mod onnx;
pub mod onnx_trees;
pub mod picture;
pub mod random;
pub mod sklearn;
mod source;
mod table_model;
mod tensors;
mod text_model;
mod text_net;
pub mod tfidf;
mod tokens;
pub mod torch;
pub mod trees;
pub mod xgboost;

pub use draft::{check_goldens, draft, picture_difference};
pub use load::load;
pub use model::{Answer, Control, LoadError, Model, RunError};
