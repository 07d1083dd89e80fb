//! A model bundle: the folder `<name>/<version>/` with a `model.toml` and the files that it names.
//!
//! This crate knows what a bundle says: the manifest ([`Manifest`]), the schema of its inputs and the check of an input
//! against it ([`table`], [`letters`], [`tensors`], [`texts`]), the parameters ([`params`]). It reads no files and runs no model, so that
//! the API can refuse a bad input at once without carrying an engine.

pub mod image;
mod input_error;
pub mod letters;
pub mod manifest;
pub mod params;
pub mod schema;
pub mod table;
pub mod tensors;
pub mod texts;

pub use image::ImageSchema;
pub use input_error::InputError;
pub use letters::{Letters, LettersSchema};
pub use manifest::{Engine, FastEngine, Golden, Limits, Manifest, ManifestError, ModelFormat, Output, digest};
pub use params::{Param, ParamKind, Params};
pub use table::{Column, ColumnKind, Number, Precision, Shape, Table, TableSchema};
pub use tensors::{Data, Datatype, Dim, Port, Tensor, Tensors, TensorsSchema};
pub use texts::{Texts, TextsForm, TextsSchema};
