//! Nets as ONNX: what is added, asked and refused, and how near the answers are to ONNX Runtime's.

#[path = "../common/mod.rs"]
mod common;
mod proto;
mod reference;
mod robustness;
mod tensors;

use std::collections::HashMap;

use bundle::Manifest;
use infer::draft::{Choices, DraftError, Task, prepare};
use infer::{Control, Model, RunError, draft};
use serde_json::Value;

/// All memory is counted, for the tests that bound it.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(common::folder("onnx").join(name)).expect("the models are committed")
}

/// What `models add --task tensors` makes of a file.
fn add(bytes: &[u8]) -> Result<(Manifest, HashMap<String, Vec<u8>>), DraftError> {
    let choices = Choices { name: "net".into(), version: "1".into(), task: Some(Task::Tensors), ..Choices::default() };
    let (file, bytes) = prepare(bytes, &choices)?;
    let manifest = draft(file, &bytes, &choices)?;
    Ok((manifest, HashMap::from([(file.to_owned(), bytes.into_owned())])))
}

fn ask(model: &dyn Model, input: &Value) -> Result<Value, RunError> {
    let params = bundle::Params::default();
    let answer = model.run(input.to_string().as_bytes(), &params, &Control::default())?;
    Ok(serde_json::from_slice(&answer.body).expect("an answer is JSON"))
}

/// An error's whole chain.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
