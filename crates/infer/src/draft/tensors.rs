//! From a net to the manifest of a model of tensors.

use bundle::manifest::Input;
use bundle::{Data, Dim, Engine, Limits, ModelFormat, Output, Port, TensorsSchema};
use serde_json::{Value, json};

use super::{Choices, DraftError, Drafted};
use crate::onnx::Net;

/// The largest input, in bytes: [`TensorsSchema::DEFAULT_MAX_ELEMENTS`] with a few digits each.
const MAX_INPUT_BYTES: u64 = 256 << 20;

pub(super) fn draft(file: &str, net: &Net, choices: &Choices) -> Result<Drafted, DraftError> {
    choices.refuse_for("a model of tensors", &["labels", "features", "alphabet", "categories", "tokenizer"])?;
    let schema = TensorsSchema { inputs: net.inputs().to_vec(), max_elements: TensorsSchema::DEFAULT_MAX_ELEMENTS };
    let inputs: Vec<Value> = schema.inputs.iter().map(zeros).collect();
    let input = json!({"inputs": inputs}).to_string();
    let mut manifest = choices.manifest(
        Engine::new(ModelFormat::Onnx, file),
        Input::Tensors(schema),
        Output::Tensors { outputs: net.outputs().to_vec() },
    );
    manifest.limits = Limits { max_input_bytes: MAX_INPUT_BYTES, ..Limits::default() };
    // Processors with other vector units add in another order.
    Ok(Drafted { manifest, input, tolerance: 1e-5 })
}

/// An example's tensor: each size that the net leaves open is 1.
fn zeros(port: &Port) -> Value {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 1 };
    let shape: Vec<usize> = port.shape.iter().flatten().map(size).collect();
    let data = Data::zeros(port.datatype, shape.iter().product());
    json!({"name": port.name, "shape": shape, "datatype": port.datatype, "data": data})
}
