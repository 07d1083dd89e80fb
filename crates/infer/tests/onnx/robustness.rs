//! Whatever the bytes are, they are refused with a reason or give a net that answers.

use infer::load;
use proptest::prelude::*;
use serde_json::json;

use super::proto::{attribute, bytes, integers, model, node, number, port, tensor, varint};
use super::{MEMORY, add, ask, chain, file};

const F32: u64 = 1;

/// x → Relu → y, with other fields of the graph between.
fn relu(fields: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = vec![port(11, "x", F32, &[-1]), port(12, "y", F32, &[-1]), node("Relu", &["x"], &["y"], &[])];
    graph.extend_from_slice(fields);
    model(&graph)
}

fn refusal(bytes: &[u8]) -> String {
    match add(bytes) {
        Ok(_) => "taken".to_owned(),
        Err(error) => chain(&error),
    }
}

#[test]
fn the_small_net_is_fine() {
    let (manifest, files) = add(&relu(&[])).unwrap();
    let input = json!({"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [-1, 0, 2.5]}]});
    let answer = ask(&*load(&manifest, &files).unwrap(), &input).unwrap();
    assert_eq!(answer["outputs"][0]["data"], json!([0.0, 0.0, 2.5]));
}

/// Graphs within graphs, `depth` of them.
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = [node("Identity", &["x"], &["z"], &[]), port(12, "z", F32, &[-1])].concat();
    for _ in 0..depth {
        let branches = ["then_branch", "else_branch"].map(|name| attribute(name, bytes(6, &graph), 5));
        // One branch goes deep; two would double the file each time.
        let other = attribute("else_branch", bytes(6, node("Identity", &["x"], &["z"], &[])), 5);
        graph = [node("If", &["c"], &["z"], &[branches[0].clone(), other]), port(12, "z", F32, &[-1])].concat();
    }
    relu(&[graph])
}

#[test]
fn crafted_files_are_refused_with_a_reason() {
    let unnamed_shape = |dims: &[u64]| relu(&[bytes(5, tensor("w", F32, dims, &[0; 16]))]);
    let mut long_prefix = number(1, 8);
    long_prefix.extend([varint(7 << 3 | 2), varint(2 << 30)].concat());
    // A message in a message that claims more than the outer one has: whoever trusts it reserves 2 GB.
    let inner = [varint(9 << 3 | 2), varint(2 << 30), vec![0; 8]].concat();
    let overlong_raw = relu(&[[varint(5 << 3 | 2), varint(u64::MAX >> 1), inner].concat()]);
    let cyclic = [
        port(11, "x", F32, &[-1]),
        port(12, "y", F32, &[-1]),
        node("Add", &["x", "b"], &["a"], &[]),
        node("Relu", &["a"], &["b"], &[]),
        node("Add", &["a", "b"], &["y"], &[]),
    ];
    let external = [bytes(13, [bytes(1, "location"), bytes(2, "/etc/passwd")].concat()), number(14, 1)].concat();
    let external = [tensor("w", F32, &[4], &[]), external].concat();
    let wrong_attribute = [
        port(11, "x", F32, &[-1]),
        port(12, "y", F32, &[-1]),
        node("Softmax", &["x"], &["y"], &[attribute("axis", bytes(4, "one"), 3)]),
    ];
    let constant = |size: i64| {
        model(&[
            port(11, "x", F32, &[-1]),
            port(12, "y", F32, &[-1]),
            integers("shape", &[size, size]),
            node("ConstantOfShape", &["shape"], &["big"], &[]),
            node("ReduceSum", &["big"], &["sum"], &[]),
            node("Add", &["x", "sum"], &["y"], &[]),
        ])
    };
    let looping = relu(&[node("Loop", &["n", "c"], &["z"], &[])]);
    let mut types = bytes(1, [number(1, F32)].concat());
    for _ in 0..10_000 {
        types = bytes(4, bytes(1, types));
    }
    let deep_type = relu(&[bytes(13, [bytes(1, "t"), bytes(2, types)].concat())]);
    let text_input = model(&[port(11, "x", 8, &[-1]), port(12, "y", 8, &[-1]), node("Identity", &["x"], &["y"], &[])]);
    let many = relu(&vec![node("Relu", &["x"], &["y"], &[]); 100_000]);
    let net = file("transformer.onnx");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing but a version", number(1, 8)),
        ("truncated in the middle", net[..net.len() / 2].to_vec()),
        ("truncated by a byte", net[..net.len() - 1].to_vec()),
        ("a length prefix of 2 GB", long_prefix),
        ("a length prefix beyond its message", overlong_raw),
        ("no graph", [number(1, 8), bytes(8, number(2, 17))].concat()),
        ("an empty graph", model(&[])),
        ("an unknown operator", relu(&[node("Frobnicate", &["x"], &["z"], &[])])),
        ("a cyclic graph", model(&cyclic)),
        ("an output that nothing writes", model(&[port(11, "x", F32, &[-1]), port(12, "y", F32, &[-1])])),
        ("a shape of 2^60", unnamed_shape(&[1 << 30, 1 << 30])),
        ("a shape that overflows", unnamed_shape(&[1 << 40, 1 << 40])),
        ("a zero beside a huge size", unnamed_shape(&[0, 1 << 62])),
        ("a negative size", unnamed_shape(&[u64::MAX])),
        ("fewer weights than the shape says", unnamed_shape(&[5])),
        ("a thousand dimensions", unnamed_shape(&[1; 1000])),
        ("weights in another file", relu(&[bytes(5, external)])),
        ("an attribute of the wrong type", model(&wrong_attribute)),
        ("graphs 10,000 deep", nested(10_000)),
        ("types 10,000 deep", deep_type),
        ("a loop", looping),
        ("a constant of 16 Tbyte", constant(1 << 21)),
        ("an input that no one can send", model(&[port(11, "x", F32, &[1 << 40]), port(12, "y", F32, &[])])),
        (
            "a size computed from constants",
            relu(&[
                integers("a", &[1 << 20, 1]),
                node("ReduceMax", &["a"], &["b"], &[]),
                node("ConstantOfShape", &["b"], &["c"], &[]),
            ]),
        ),
        (
            "a size put together from constants",
            relu(&[
                integers("a", &[1 << 20]),
                node("Concat", &["a", "a"], &["b"], &[attribute("axis", number(3, 0), 2)]),
                node("ConstantOfShape", &["b"], &["c"], &[]),
            ]),
        ),
        (
            "each element of a constant with each of another",
            relu(&[
                node("Mul", &["column", "row"], &["table"], &[]),
                // Exporters write initial values after the nodes that take them.
                bytes(5, tensor("column", F32, &[4000, 1], &[0; 16_000])),
                bytes(5, tensor("row", F32, &[1, 4000], &[0; 16_000])),
            ]),
        ),
        (
            "a constant taken from again and again",
            relu(&[
                node("Gather", &["rows", "places"], &["table"], &[]),
                bytes(5, tensor("rows", F32, &[2, 4000], &[0; 32_000])),
                bytes(5, tensor("places", 6, &[4000], &[0; 16_000])),
            ]),
        ),
        (
            "a constant that a convolution pads",
            relu(&[
                node(
                    "Conv",
                    &["image", "kernel"],
                    &["wide"],
                    &[attribute("pads", vec![number(8, 8000); 4].concat(), 7)],
                ),
                bytes(5, tensor("image", F32, &[1, 1, 1, 1], &[0; 4])),
                bytes(5, tensor("kernel", F32, &[1, 1, 1, 1], &[0; 4])),
            ]),
        ),
        (
            "a range in small steps",
            relu(&[
                node("Range", &["from", "to", "step"], &["numbers"], &[]),
                bytes(5, tensor("from", F32, &[], &0_f32.to_le_bytes())),
                bytes(5, tensor("to", F32, &[], &1_f32.to_le_bytes())),
                bytes(5, tensor("step", F32, &[], &1e-9_f32.to_le_bytes())),
            ]),
        ),
        ("a size that follows from a shape", inferred(&[1 << 20], "Shape", 1)),
        ("a size that follows from a reshaped tensor's shape", {
            relu(&[
                integers("to", &[1 << 13, -1, 1 << 12]),
                node("Reshape", &["x", "to"], &["r"], &[]),
                node("Shape", &["r"], &["all"], &[]),
                integers("first", &[0]),
                node("Gather", &["all", "first"], &["rows"], &[]),
                node("Concat", &["rows", "rows"], &["size"], &[attribute("axis", number(3, 0), 2)]),
                node("ConstantOfShape", &["size"], &["z"], &[]),
            ])
        }),
        ("a constant that is expanded to a shape", {
            let mut fields = vec![integers("one", &[1]), port(11, "wide", F32, &[3000, 3000])];
            fields.push(node("Shape", &["wide"], &["size"], &[]));
            fields.push(node("Expand", &["one", "size"], &["z"], &[]));
            relu(&fields)
        }),
        ("a size out of a large table", {
            relu(&[
                bytes(5, tensor("table", 7, &[500], &[7; 4000])),
                node("Shape", &["x"], &["rank"], &[]),
                node("Gather", &["table", "rank"], &["size"], &[]),
                node("ConstantOfShape", &["size"], &["z"], &[]),
            ])
        }),
        ("texts", text_input),
        ("100,000 nodes that write one value", many),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(name, bytes)| {
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            let why = refusal(bytes);
            // Other tests run beside this one.
            let used = MEMORY.peak_usage().saturating_sub(before);
            assert!(used < (256 << 20) + 4 * bytes.len(), "{name} took {used} bytes");
            format!("{name}: {why}")
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// A net with a constant as large as an input's shape says, so many times over.
fn inferred(shape: &[i64], operator: &str, times: i64) -> Vec<u8> {
    let mut fields = vec![port(11, "fixed", F32, shape), node(operator, &["fixed"], &["size"], &[])];
    fields.push(integers("times", &vec![times; shape.len()]));
    fields.push(node("Mul", &["size", "times"], &["more"], &[]));
    fields.push(node("Concat", &["more", "more"], &["both"], &[attribute("axis", number(3, 0), 2)]));
    fields.push(node("ConstantOfShape", &["both"], &["z"], &[]));
    relu(&fields)
}

/// As PyTorch begins a recurrent net, and expands a token of its own: the size follows from the input's.
#[test]
fn sizes_that_follow_from_shapes_are_taken() {
    let states = |batch: i64| {
        let (first, hidden) = (integers("first", &[0]), integers("hidden", &[1 << 12]));
        let net = model(&[
            port(11, "x", F32, &[batch, 4]),
            port(12, "y", F32, &[-1, 4]),
            first,
            hidden,
            node("Shape", &["x"], &["shape"], &[]),
            node("Gather", &["shape", "first"], &["batch"], &[]),
            node("Concat", &["batch", "hidden"], &["size"], &[attribute("axis", number(3, 0), 2)]),
            node("ConstantOfShape", &["size"], &["state"], &[]),
            node("ReduceSum", &["state", "last"], &["sum"], &[]),
            integers("last", &[1]),
            node("Add", &["x", "sum"], &["y"], &[]),
        ]);
        refusal(&net)
    };
    assert_eq!(states(-1), "taken", "known only when it runs");
    assert_eq!(states(8), "taken", "known before, and small");
    assert!(states(1 << 20).contains("what it computes from constants alone has"), "{}", states(1 << 20));
}

#[test]
fn an_input_that_would_grow_beyond_memory_is_refused() {
    // Each with each: 2^40 elements of 2^20.
    let net = model(&[
        port(11, "x", F32, &[-1, 1]),
        port(12, "y", F32, &[]),
        node("Transpose", &["x"], &["t"], &[attribute("perm", [number(8, 1), number(8, 0)].concat(), 7)]),
        node("Mul", &["x", "t"], &["all"], &[]),
        node("ReduceMax", &["all"], &["y"], &[attribute("keepdims", number(3, 0), 2)]),
    ]);
    let (manifest, files) = add(&net).unwrap();
    let model = load(&manifest, &files).unwrap();
    let ask_of = |count: usize| {
        let data = vec![0.5_f32; count];
        ask(&*model, &json!({"inputs": [{"name": "x", "shape": [count, 1], "datatype": "FP32", "data": data}]}))
    };
    assert_eq!(ask_of(1000).unwrap()["outputs"][0]["data"], json!([0.25]));
    let error = ask_of(1 << 20).unwrap_err().to_string();
    assert_eq!(error, "the net would compute a tensor of 1099511627776 elements; 268435456 are the most");
}

/// Adds, and asks whatever its own example is.
fn try_out(bytes: &[u8]) {
    let _ = add(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn mutated_nets_are_refused_or_answer(
        which in 0..4_usize,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..5),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = file(["mlp.onnx", "many.onnx", "lookup.onnx", "recurrent.onnx"][which]);
        try_out(&bytes[..cut.index(bytes.len())]);
        for (at, byte, kind) in &edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => { bytes.remove(at); }
            }
        }
        try_out(&bytes);
    }
}
