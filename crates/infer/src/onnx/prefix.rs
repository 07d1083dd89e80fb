//! The beginning of a graph as a file of its own, to find out what of it an engine computes while it loads it.

use super::NetError;
use super::graph::value_name;
use super::proto::{Fields, Value, write_bytes, write_number};

/// An initial value of more bytes becomes an input of the same shape: what follows from it is then not known, and the file stays small.
pub(super) const MAX_TENSOR_BYTES: usize = 1024;

/// Parts of a file, as they are written there.
#[derive(Default)]
pub(super) struct Parts<'a> {
    /// Which version of the format it has.
    pub(super) ir_version: u64,
    /// Which versions of the operators.
    pub(super) imports: Vec<&'a [u8]>,
    pub(super) initializers: Vec<&'a [u8]>,
    pub(super) inputs: Vec<&'a [u8]>,
    /// What is said of other values.
    pub(super) values: Vec<&'a [u8]>,
    pub(super) nodes: Vec<&'a [u8]>,
}

impl Parts<'_> {
    /// A file of these parts that answers these values.
    pub(super) fn write(&self, outputs: &[&str]) -> Result<Vec<u8>, NetError> {
        let mut graph = Vec::new();
        for node in &self.nodes {
            write_bytes(&mut graph, 1, node);
        }
        write_bytes(&mut graph, 2, b"prefix");
        let mut inputs: Vec<Vec<u8>> = self.inputs.iter().map(|input| input.to_vec()).collect();
        for tensor in &self.initializers {
            if tensor.len() <= MAX_TENSOR_BYTES {
                write_bytes(&mut graph, 5, tensor);
            } else {
                inputs.push(as_input(tensor)?);
            }
        }
        // Before version 4 of the format, initial values were listed as inputs, too.
        let mut names = std::collections::HashSet::new();
        for input in inputs {
            if names.insert(value_name(&input)?.to_owned()) {
                write_bytes(&mut graph, 11, &input);
            }
        }
        for output in outputs {
            let mut value = Vec::new();
            write_bytes(&mut value, 1, output.as_bytes());
            write_bytes(&mut graph, 12, &value);
        }
        for value in &self.values {
            write_bytes(&mut graph, 13, value);
        }
        let mut model = Vec::new();
        write_number(&mut model, 1, self.ir_version);
        write_bytes(&mut model, 7, &graph);
        for import in &self.imports {
            write_bytes(&mut model, 8, import);
        }
        Ok(model)
    }
}

/// A `ValueInfoProto` of a `TensorProto`'s name, type and shape.
fn as_input(tensor: &[u8]) -> Result<Vec<u8>, NetError> {
    let (mut name, mut kind, mut shape) = (&b""[..], 0, Vec::new());
    for field in Fields(tensor) {
        let (number, value) = field?;
        match (number, value) {
            (1, sizes) => sizes.numbers(|size| {
                let mut dim = Vec::new();
                write_number(&mut dim, 1, size);
                write_bytes(&mut shape, 1, &dim);
            })?,
            (2, Value::Number(number)) => kind = number,
            (8, text) => name = text.bytes()?,
            _ => {}
        }
    }
    let (mut tensor_type, mut value_type, mut value) = (Vec::new(), Vec::new(), Vec::new());
    write_number(&mut tensor_type, 1, kind);
    write_bytes(&mut tensor_type, 2, &shape);
    write_bytes(&mut value_type, 1, &tensor_type);
    write_bytes(&mut value, 1, name);
    write_bytes(&mut value, 2, &value_type);
    Ok(value)
}
