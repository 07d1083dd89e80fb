//! A net that takes and answers named tensors, as the Open Inference Protocol writes them.

use bundle::manifest::Input;
use bundle::{Manifest, Output, Params, Port, Tensors, TensorsSchema};
use serde::Serialize;

use crate::model::{Answer, Control, LoadError, Model, RunError};
use crate::onnx::{Data, Net, Tensor};

struct TensorsModel {
    name: String,
    version: String,
    schema: TensorsSchema,
    outputs: Vec<Port>,
    net: Net,
}

pub(crate) fn load(manifest: &Manifest, net: Net) -> Result<Box<dyn Model>, LoadError> {
    let (Input::Tensors(schema), Output::Tensors { outputs }) = (&manifest.input, &manifest.output) else {
        return Err(LoadError::Contradiction("a model of tensors takes and answers tensors".to_owned()));
    };
    for (side, ours, theirs) in [("inputs", &schema.inputs[..], net.inputs()), ("outputs", &outputs[..], net.outputs())]
    {
        let fits = |(ours, theirs): (&Port, &Port)| ours.name == theirs.name && ours.datatype == theirs.datatype;
        if ours.len() != theirs.len() || !ours.iter().zip(theirs).all(fits) {
            let theirs: Vec<String> = theirs.iter().map(|port| format!("{} {}", port.datatype, port.name)).collect();
            let theirs = theirs.join(", ");
            return Err(LoadError::Contradiction(format!("the model file's {side} are {theirs}")));
        }
    }
    Ok(Box::new(TensorsModel {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        schema: schema.clone(),
        outputs: outputs.clone(),
        net,
    }))
}

#[derive(Serialize)]
struct Response<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<OutputTensor<'a>>,
}

#[derive(Serialize)]
struct OutputTensor<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    data: &'a Data,
}

impl Model for TensorsModel {
    fn run(&self, input: &[u8], _: &Params, control: &Control) -> Result<Answer, RunError> {
        let Tensors { id, tensors, outputs } = Tensors::from_json(&self.schema, &self.outputs, input)?;
        if control.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let names = self.schema.inputs.iter().map(|port| port.name.as_str());
        let answers = self.net.run(names.zip(tensors).collect())?;
        let places = outputs.unwrap_or_else(|| (0..answers.len()).collect());
        let output = |at: &usize| {
            let Tensor { shape, data } = &answers[*at];
            OutputTensor { name: &self.outputs[*at].name, shape, datatype: data.datatype().name(), data }
        };
        let outputs = places.iter().map(output).collect();
        let response = Response { model_name: &self.name, model_version: &self.version, id: id.as_deref(), outputs };
        let body = serde_json::to_vec(&response).map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Answer { body, content_type: "application/json", extension: "json" })
    }

    fn memory_bytes(&self) -> u64 {
        self.net.memory_bytes()
    }
}
