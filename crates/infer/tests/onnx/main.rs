//! Nets as ONNX: what is added, asked and refused.

mod tensors;
