//! What an ONNX net is for: said by the person, or told from its inputs and outputs.

use bundle::{Datatype, Dim, Port};

use super::{Choices, DraftError, Drafted, Task, images, tensors, texts};
use crate::onnx::Net;

pub(super) fn draft(file: &str, bytes: &[u8], choices: &Choices) -> Result<Drafted, DraftError> {
    let net = Net::read(bytes).map_err(|error| DraftError::Load(Box::new(error)))?;
    match choices.task.map_or_else(|| tell(&net, choices), Ok)? {
        Task::Tensors => tensors::draft(file, &net, choices),
        Task::TextClassification => texts::of_net(file, net, choices),
        Task::ImageToImage => images::to_image(file, &net, choices),
        Task::ImageClassification => images::classification(file, &net, choices),
        Task::Names => {
            Err(DraftError::Contradiction("the task names is for a character RNN's weights, not for ONNX".to_owned()))
        }
    }
}

/// The task that the net's inputs and outputs are typical of.
fn tell(net: &Net, choices: &Choices) -> Result<Task, DraftError> {
    if choices.tokenizer.is_some() || net.inputs().iter().any(|port| port.name == "input_ids") {
        return Ok(Task::TextClassification);
    }
    let ([input], [output]) = (net.inputs(), net.outputs()) else { return Ok(Task::Tensors) };
    if !is_picture(input) {
        return Ok(Task::Tensors);
    }
    match output.shape.as_deref() {
        Some([_, _, _, _]) if is_picture(output) => Ok(Task::ImageToImage),
        Some([_, _]) if output.datatype == Datatype::Fp32 => Ok(Task::ImageClassification),
        Some(_) => Ok(Task::Tensors),
        None => {
            let (input, output) = (crate::torch::short(&input.name), crate::torch::short(&output.name));
            Err(DraftError::Unsaid(format!(
                "the net's input {input} looks like a picture, but the shape of its output {output} is not in the file; say \
                 what it does with --task image-to-image, image-classification or tensors"
            )))
        }
    }
}

/// Whether a port has the shape of pictures, N × channels × height × width, of one or three channels.
fn is_picture(port: &Port) -> bool {
    port.datatype == Datatype::Fp32 && matches!(port.shape.as_deref(), Some([_, Dim::Fixed(1 | 3), _, _]))
}
