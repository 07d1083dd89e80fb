//! From a net to the manifest of a model of tensors.

use bundle::manifest::Input;
use bundle::{Data, Dim, Engine, Limits, ModelFormat, Output, Port, Tensor, TensorsSchema};
use serde_json::{Value, json};

use super::{Choices, DraftError, Drafted};
use crate::onnx::Net;

/// The largest input, in bytes: [`TensorsSchema::DEFAULT_MAX_ELEMENTS`] with a few digits each.
const MAX_INPUT_BYTES: u64 = 256 << 20;

pub(super) fn draft(file: &str, net: &Net, choices: &Choices) -> Result<Drafted, DraftError> {
    choices
        .refuse_for("a model of tensors", &["labels", "features", "alphabet", "categories", "tokenizer", "pixels"])?;
    let schema = TensorsSchema { inputs: net.inputs().to_vec(), max_elements: TensorsSchema::DEFAULT_MAX_ELEMENTS };
    let input = json!({"inputs": example(net)}).to_string();
    let mut manifest = choices.manifest(
        Engine::new(ModelFormat::Onnx, file),
        Input::Tensors(schema),
        Output::Tensors { outputs: net.outputs().to_vec() },
    );
    manifest.limits = Limits { max_input_bytes: MAX_INPUT_BYTES, ..Limits::default() };
    // Processors with other vector units add in another order.
    Ok(Drafted { manifest, input, tolerance: 1e-5 })
}

/// An example's tensors, all zero: as small as the net runs on. Of the sizes that it leaves open, batches are 1.
fn example(net: &Net) -> Vec<Value> {
    // A net that halves its picture a few times takes no smaller one.
    let fits = |size: &usize| net.run(zeros(net, *size).collect()).is_ok();
    let size = [1, 4, 16, 64].into_iter().find(fits).unwrap_or(1);
    let tensor = |(name, Tensor { shape, data }): (&str, Tensor)| json!({"name": name, "shape": shape, "datatype": data.datatype(), "data": data});
    zeros(net, size).map(tensor).collect()
}

fn zeros(net: &Net, open: usize) -> impl Iterator<Item = (&str, Tensor)> {
    let first = |port: &Port| port.shape.as_ref().and_then(|dims| dims.first().cloned());
    let batches: Vec<Dim> = net.inputs().iter().filter_map(first).collect();
    net.inputs().iter().map(move |port| {
        let size = |(at, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => *size,
            Dim::Named(name) if at == 0 || (name != Dim::ANY && batches.contains(dim)) => 1,
            Dim::Named(_) => open,
        };
        let shape: Vec<usize> = port.shape.iter().flatten().enumerate().map(size).collect();
        let count = shape.iter().fold(1_usize, |count, size| count.saturating_mul(*size));
        // A fixed size can be anything; what is too large is refused when it runs.
        let data = Data::zeros(port.datatype, count.min(TensorsSchema::DEFAULT_MAX_ELEMENTS));
        (port.name.as_str(), Tensor { shape, data })
    })
}
