//! The models that inputs are checked against: those of the repository, and two that take what those don't.

/// `model.toml`s. The first byte of the target `input` is a place in this list, so new ones go last.
pub const MANIFESTS: [&str; 7] = [
    include_str!("../../../../models/wine-quality/1/model.toml"),
    include_str!("../../../../models/moons/1/model.toml"),
    include_str!("../../../../models/names/1/model.toml"),
    include_str!("../../../../models/reviews/1/model.toml"),
    include_str!("../../../../models/line-art/1/model.toml"),
    // Tables of doubles, bounds and required values.
    r#"
format = 1
name = "table"
version = "1"
title = "A table"
engine = { format = "lightgbm", file = "model.txt" }
limits = { max_rows = 3 }
output = { kind = "number" }
[input]
kind = "table"
precision = "double"
columns = [
    { name = "a" },
    { name = "b", type = "integer", min = 0.0, max = 9.0, missing = false },
    { name = "한\n\"", min = -1e300, max = 1e-300 },
]
[files]
"model.txt" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#,
    // Every datatype, fixed, named and free sizes.
    r#"
format = 1
name = "tensors"
version = "1"
title = "Tensors"
engine = { format = "onnx", file = "model.onnx" }
[input]
kind = "tensors"
max_elements = 4096
inputs = [
    { name = "f", datatype = "FP32", shape = ["n", 2] },
    { name = "d", datatype = "FP64", shape = ["?"] },
    { name = "i", datatype = "INT64", shape = ["n", "?", "?"] },
    { name = "s", datatype = "INT32", shape = [] },
    { name = "t", datatype = "INT8", shape = [1] },
    { name = "u", datatype = "UINT8", shape = [1] },
    { name = "b", datatype = "BOOL" },
]
[output]
kind = "tensors"
outputs = [{ name = "y", datatype = "FP32", shape = ["n"] }, { name = "z", datatype = "FP32" }]
[files]
"model.onnx" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#,
];
