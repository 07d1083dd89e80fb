//! Writes ONNX files by hand, good and bad. Field numbers are of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>.

/// A field that is a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field that is bytes, a text or a message.
pub fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [&varint(field << 3 | 2), &varint(value.len() as u64), value].concat()
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A file around a graph's fields.
pub fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let opset = [bytes(1, ""), number(2, 17)].concat();
    [number(1, 8), bytes(7, graph.concat()), bytes(8, opset)].concat()
}

/// A graph's input (11) or output (12): a tensor of f32 (1), i64 (7), ... with these dimensions; names for those below zero.
pub fn port(field: u64, name: &str, kind: u64, dims: &[i64]) -> Vec<u8> {
    let dim = |size: &i64| bytes(1, if *size >= 0 { number(1, *size as u64) } else { bytes(2, format!("n{}", -size)) });
    let shape = bytes(2, dims.iter().flat_map(dim).collect::<Vec<u8>>());
    bytes(field, [bytes(1, name), bytes(2, bytes(1, [number(1, kind), shape].concat()))].concat())
}

/// A node of a graph.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = inputs.iter().map(|name| bytes(1, name)).collect();
    fields.extend(outputs.iter().map(|name| bytes(2, name)));
    fields.push(bytes(4, operator));
    fields.extend(attributes.iter().map(|attribute| bytes(5, attribute)));
    bytes(1, fields.concat())
}

/// An attribute: one field with its value, and the type that says which.
pub fn attribute(name: &str, value: Vec<u8>, kind: u64) -> Vec<u8> {
    [bytes(1, name), value, number(20, kind)].concat()
}

/// The fields of a tensor with raw data.
pub fn tensor(name: &str, kind: u64, dims: &[u64], raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    [dims, number(2, kind), bytes(8, name), bytes(9, raw)].concat()
}

/// A graph's initial value of i64.
pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes(5, tensor(name, 7, &[values.len() as u64], &raw))
}
