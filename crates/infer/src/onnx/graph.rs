//! What an ONNX file says of itself (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>), read before an engine does.
//!
//! The engines keep less than the file says: rten takes i64 and bool for i32. And they trust it more: a length prefix or a nesting that the
//! file doesn't have room for is found here, before anyone reserves memory for it.

use std::collections::{HashMap, HashSet};

use bundle::{Datatype, Dim, Port};

use super::NetError;
use super::growth::{self, Attributes, Growth};
use super::prefix::{MAX_TENSOR_BYTES, Parts};
use super::proto::{Fields, Malformed, Value};
use super::rten;

/// How deep graphs may lie within graphs (of `If`, `Loop`, `Scan`), and types within types.
const MAX_DEPTH: usize = 8;
/// The most nodes, names, attributes and values together. Engines take some hundred bytes for each, however short it is.
const MAX_PARTS: usize = 200_000;
/// The most integers that are written one by one instead of as raw bytes. In memory, each takes up to 16 times its byte in the file.
const MAX_INTEGERS: usize = 2_000_000;
/// The most nodes one after another. rten follows them with a call within a call.
const MAX_PATH: usize = 4_000;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 32;

/// What is known of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// The operators that write each output, from the last one backwards through those that only reshape.
    pub(super) last_operators: Vec<Vec<String>>,
    /// The names of all values that nodes of the outermost graph write.
    pub(super) values: Vec<String>,
}

/// Whether a file looks like ONNX: a message with the fields of a `ModelProto`, or the beginning of one.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    const IR_VERSION: u8 = 0x08;
    let begins =
        matches!(bytes, [IR_VERSION, 1..=31, tag, ..] if matches!(tag >> 3, 1..=25) && matches!(tag & 7, 0 | 2));
    begins || {
        let fields: Result<Vec<u64>, Malformed> =
            Fields(bytes).take(64).map(|field| field.map(|(number, _)| number)).collect();
        fields.is_ok_and(|fields| fields.contains(&7) && fields.iter().all(|number| (1..=25).contains(number)))
    }
}

/// What has been counted so far.
#[derive(Default)]
struct Counted<'a> {
    parts: usize,
    integers: usize,
    growth: Growth<'a>,
    /// The parts of the outermost graph so far, once all of it has been checked; from then on `growth` is told of the nodes.
    parts_so_far: Option<Parts<'a>>,
}

impl Counted<'_> {
    fn part(&mut self) -> Result<(), NetError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(NetError::TooLarge(format!("its graph has more than {MAX_PARTS} parts")));
        }
        Ok(())
    }
}

/// A graph's ports, and what names its values have.
#[derive(Default)]
struct Graph<'a> {
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    initializers: HashSet<&'a str>,
    /// What is known before any node: names of inputs and initial values.
    given: HashSet<&'a str>,
    nodes: Vec<Node<'a>>,
    /// The operator that writes a value, and its first input.
    writers: HashMap<&'a str, (&'a str, &'a str)>,
}

/// A node as far as it matters here.
struct Node<'a> {
    operator: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    attributes: Attributes<'a>,
}

impl Facts {
    /// Reads and checks a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NetError> {
        let mut counted = Counted::default();
        let (mut graph, mut graph_bytes, mut parts) = (None, &[][..], Parts::default());
        for field in Fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => parts.ir_version = value.number()?,
                7 => {
                    graph_bytes = value.bytes()?;
                    graph = Some(read_graph(graph_bytes, 0, &mut counted)?);
                }
                8 => {
                    check_strings(value.bytes()?, &[1])?;
                    counted.part()?;
                    parts.imports.push(value.bytes()?);
                }
                14 => {
                    check_strings(value.bytes()?, &[1, 2])?;
                    counted.part()?;
                }
                20 => return Err(NetError::Unsupported("training information".to_owned())),
                25 => return Err(NetError::Unsupported("functions of its own".to_owned())),
                _ => {}
            }
        }
        let Some(graph) = graph.filter(|_| !parts.imports.is_empty()) else {
            return Err(NetError::Malformed(
                "it lacks a graph, or says not which version its operators have".to_owned(),
            ));
        };
        let mut facts = Self::default();
        for port in &graph.inputs {
            // Before version 4 of the format, initial values were listed as inputs.
            if !graph.initializers.contains(value_name(port)?) {
                facts.inputs.push(read_port("input", port)?);
            }
        }
        for port in &graph.outputs {
            facts.outputs.push(read_port("output", port)?);
            facts.last_operators.push(graph.last_operators(value_name(port)?));
        }
        let mut counted = Counted { parts_so_far: Some(parts), ..Counted::default() };
        read_graph(graph_bytes, 0, &mut counted)?;
        counted.growth.check(bytes.len())?;
        facts.values = graph.writers.keys().map(|name| (*name).to_owned()).collect();
        let mut names = HashSet::new();
        if let Some(twice) = facts.inputs.iter().find(|port| !names.insert(&port.name)) {
            return Err(NetError::Malformed(format!("it has two inputs of the name {:?}", twice.name)));
        }
        let mut names = HashSet::new();
        if let Some(twice) = facts.outputs.iter().find(|port| !names.insert(&port.name)) {
            return Err(NetError::Malformed(format!("it has two outputs of the name {:?}", twice.name)));
        }
        if facts.inputs.is_empty() || facts.outputs.is_empty() {
            return Err(NetError::Malformed("its graph takes or answers nothing".to_owned()));
        }
        Ok(facts)
    }
}

impl<'a> Graph<'a> {
    /// Checks that each node comes after those that write its inputs, as the format demands, and that no path is too long. A graph
    /// within a graph may take values of the outer one.
    fn check_order(&self, inner: bool) -> Result<(), NetError> {
        let mut paths: HashMap<&'a str, usize> = HashMap::new();
        for node in &self.nodes {
            let mut path = 0;
            for input in &node.inputs {
                match paths.get(input) {
                    Some(before) => path = path.max(*before),
                    None if input.is_empty() || self.given.contains(input) => {}
                    None if inner && !self.writers.contains_key(input) => {}
                    None => {
                        let input = crate::torch::short(input);
                        return Err(NetError::Malformed(format!(
                            "a node takes {input}, which nothing before it writes"
                        )));
                    }
                }
            }
            if path >= MAX_PATH {
                return Err(NetError::TooLarge(format!("more than {MAX_PATH} nodes follow one another")));
            }
            paths.extend(node.outputs.iter().map(|output| (*output, path + 1)));
        }
        Ok(())
    }

    fn last_operators(&self, output: &str) -> Vec<String> {
        const RESHAPING: [&str; 6] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"];
        let mut operators = Vec::new();
        let mut value = output;
        // More than any exporter puts there, and an end to a cycle.
        while operators.len() < 8 {
            let Some((operator, first)) = self.writers.get(value) else { break };
            operators.push((*operator).to_owned());
            if !RESHAPING.contains(operator) {
                break;
            }
            value = first;
        }
        operators
    }
}

fn read_graph<'a>(bytes: &'a [u8], depth: usize, counted: &mut Counted<'a>) -> Result<Graph<'a>, NetError> {
    if depth > MAX_DEPTH {
        return Err(NetError::Malformed(format!("its graphs lie more than {MAX_DEPTH} deep within each other")));
    }
    let mut graph = Graph::default();
    // First what the nodes may take: in the file it comes after them.
    for field in Fields(bytes) {
        let (number, value) = field?;
        if number == 5 {
            let tensor = value.bytes()?;
            let name = check_tensor(tensor, counted)?;
            counted.growth.constant(name, tensor, tensor.len() > MAX_TENSOR_BYTES)?;
            graph.initializers.insert(name);
            graph.given.insert(name);
        }
        if let Some(parts) = counted.parts_so_far.as_mut().filter(|_| depth == 0) {
            match number {
                5 => parts.initializers.push(value.bytes()?),
                11 => parts.inputs.push(value.bytes()?),
                13 => parts.values.push(value.bytes()?),
                _ => {}
            }
        }
    }
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => {
                let node = read_node(value.bytes()?, depth, counted)?;
                if counted.parts_so_far.is_some() {
                    follow(&node, depth, counted)?;
                }
                if let Some(parts) = counted.parts_so_far.as_mut().filter(|_| depth == 0) {
                    parts.nodes.push(value.bytes()?);
                }
                for output in &node.outputs {
                    graph.writers.insert(output, (node.operator, node.inputs.first().copied().unwrap_or("")));
                }
                graph.nodes.push(node);
            }
            11..=13 => {
                counted.part()?;
                let value = value.bytes()?;
                check_value(value, counted)?;
                match number {
                    11 => {
                        graph.given.insert(value_name(value)?);
                        graph.inputs.push(value);
                    }
                    12 => graph.outputs.push(value),
                    _ => {}
                }
            }
            15 => return Err(NetError::Unsupported("sparse weights".to_owned())),
            _ => {}
        }
    }
    graph.check_order(depth > 0)?;
    Ok(graph)
}

fn read_node<'a>(bytes: &'a [u8], depth: usize, counted: &mut Counted<'a>) -> Result<Node<'a>, NetError> {
    counted.part()?;
    let (mut operator, mut inputs, mut outputs, mut attributes) = ("", Vec::new(), Vec::new(), Attributes::default());
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 | 2 => {
                counted.part()?;
                let names = if number == 1 { &mut inputs } else { &mut outputs };
                names.push(value.text()?);
            }
            4 => operator = value.text()?,
            5 => check_attribute(value.bytes()?, depth, counted, &mut attributes)?,
            _ => {}
        }
    }
    // Everything else ends: a graph has no cycles.
    if matches!(operator, "Loop" | "Scan") {
        return Err(NetError::Unsupported(format!("the operator {operator}, which may never end")));
    }
    Ok(Node { operator, inputs, outputs, attributes })
}

/// Finds out how large a node's result is, if it follows from constants.
fn follow<'a>(node: &Node<'a>, depth: usize, counted: &mut Counted<'a>) -> Result<(), NetError> {
    let Node { operator, inputs, outputs, attributes } = node;
    if let ("Constant", Some(tensor), Some(name)) = (*operator, attributes.tensor, outputs.first()) {
        counted.growth.constant(name, tensor, false)?;
        return Ok(());
    }
    loop {
        let asked = counted.growth.node(operator, inputs, outputs, attributes);
        let Some(parts) = counted.parts_so_far.as_ref().filter(|_| !asked.is_empty()) else { return Ok(()) };
        if depth > 0 {
            // What lies before it is spread over several graphs.
            counted.growth.unbounded(operator);
            return Ok(());
        }
        counted.growth.ask(parts.nodes.len())?;
        match rten::constants(parts.write(&asked)?)? {
            Some(numbers) => counted.growth.answer(&asked, numbers),
            None => return Ok(()),
        }
    }
}

/// Checks an attribute, and keeps of it what sizes depend on.
fn check_attribute<'a>(
    bytes: &'a [u8],
    depth: usize,
    counted: &mut Counted<'a>,
    attributes: &mut Attributes<'a>,
) -> Result<(), NetError> {
    counted.part()?;
    let (mut name, mut kind, mut ints) = ("", 0, Vec::new());
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => name = value.text()?,
            3 => ints.push(value.number()? as i64),
            5 | 10 => {
                check_tensor(value.bytes()?, counted)?;
                attributes.tensor = Some(value.bytes()?);
            }
            6 | 11 => {
                read_graph(value.bytes()?, depth + 1, counted)?;
            }
            7 => attributes.count += if let Value::Bytes(floats) = value { floats.len().div_ceil(4) } else { 1 },
            8 => {
                count_integers(value, counted)?;
                value.numbers(|number| ints.push(number as i64))?;
            }
            9 => counted.part()?,
            20 => kind = value.number()?,
            22 | 23 => return Err(NetError::Unsupported("sparse weights".to_owned())),
            _ => {}
        }
    }
    check_kind(name, kind)?;
    growth::check_attribute(name, &ints)?;
    attributes.count += ints.len();
    match name {
        "axis" => attributes.axis = ints.first().copied(),
        "keepdims" => attributes.keepdims = ints.first().copied(),
        "perm" => attributes.perm = Some(ints),
        "start" | "end" => attributes.cut = true,
        "value_int" | "value_ints" => attributes.ints = Some(ints),
        _ => {}
    }
    Ok(())
}

/// Refuses an attribute of another type than every operator has it of; an engine might take its default instead. 0 is none given.
fn check_kind(name: &str, kind: u64) -> Result<(), NetError> {
    const FLOAT: u64 = 1;
    const INT: u64 = 2;
    const INTS: u64 = 7;
    let known = match name {
        "alpha" | "beta" | "epsilon" => FLOAT,
        "axis" | "keepdims" | "group" | "to" | "transA" | "transB" | "hidden_size" | "ceil_mode" => INT,
        "pads" | "strides" | "dilations" | "kernel_shape" | "output_padding" | "output_shape" | "perm" => INTS,
        _ => return Ok(()),
    };
    if kind != 0 && kind != known {
        return Err(NetError::Malformed(format!("an attribute {name} is of the wrong type")));
    }
    Ok(())
}

fn count_integers(value: Value<'_>, counted: &mut Counted<'_>) -> Result<(), NetError> {
    value.numbers(|_| counted.integers += 1)?;
    if counted.integers > MAX_INTEGERS {
        return Err(NetError::TooLarge(format!("it has more than {MAX_INTEGERS} integers that are not raw bytes")));
    }
    Ok(())
}

/// Checks a tensor of the file; answers its name.
fn check_tensor<'a>(bytes: &'a [u8], counted: &mut Counted<'_>) -> Result<&'a str, NetError> {
    counted.part()?;
    let (mut name, mut dims, mut negative) = ("", Vec::new(), false);
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            1 => value.numbers(|size| {
                negative |= size > i64::MAX as u64;
                // One more than is let pass is enough to see.
                if dims.len() <= MAX_RANK {
                    dims.push(size);
                }
            })?,
            5 | 7 | 11 => count_integers(value, counted)?,
            6 => counted.part()?,
            8 => name = value.text()?,
            13 => {
                return Err(NetError::Unsupported(
                    "weights in a file of their own; save the model with its weights inside".to_owned(),
                ));
            }
            _ => {}
        }
    }
    let count = dims.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
    // No element takes less than a byte. A zero could hide sizes that are too big to multiply.
    let room = bytes.len() as u64;
    if dims.len() > MAX_RANK
        || negative
        || count.is_none_or(|count| count > room)
        || dims.iter().any(|size| *size > room)
    {
        let name = crate::torch::short(name);
        return Err(NetError::Malformed(format!("the tensor {name} has a shape that its data has not")));
    }
    Ok(name)
}

/// Checks a `ValueInfoProto`.
fn check_value(bytes: &[u8], counted: &mut Counted<'_>) -> Result<(), NetError> {
    for field in Fields(bytes) {
        match field? {
            (1, name) => drop(name.text()?),
            (2, kind) => check_type(kind.bytes()?, 0, counted)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_type(bytes: &[u8], depth: usize, counted: &mut Counted<'_>) -> Result<(), NetError> {
    if depth > MAX_DEPTH {
        return Err(NetError::Malformed(format!("its types lie more than {MAX_DEPTH} deep within each other")));
    }
    for field in Fields(bytes) {
        let (number, value) = field?;
        match number {
            // Of a tensor, or of a sequence, a map, an optional value.
            1 => {
                for field in Fields(value.bytes()?) {
                    if let (2, shape) = field? {
                        let mut fixed = Vec::new();
                        for dim in Fields(shape.bytes()?) {
                            counted.part()?;
                            let dim = dim?.1;
                            check_strings(dim.bytes()?, &[2])?;
                            if let Dim::Fixed(size) = read_dim(dim)? {
                                fixed.push(size as u64);
                            }
                        }
                        growth::check_declared(fixed.into_iter())?;
                    }
                }
            }
            4 | 5 | 9 => {
                for field in Fields(value.bytes()?) {
                    if let (_, Value::Bytes(inner)) = field? {
                        check_type(inner, depth + 1, counted)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that these fields of a message, where they are, are texts.
fn check_strings(bytes: &[u8], numbers: &[u64]) -> Result<(), NetError> {
    for field in Fields(bytes) {
        let (number, value) = field?;
        if numbers.contains(&number) {
            value.text()?;
        }
    }
    Ok(())
}

/// The name of a `ValueInfoProto`.
pub(super) fn value_name(bytes: &[u8]) -> Result<&str, Malformed> {
    let mut name = "";
    for field in Fields(bytes) {
        if let (1, value) = field? {
            name = value.text()?;
        }
    }
    Ok(name)
}

fn read_port(side: &str, bytes: &[u8]) -> Result<Port, NetError> {
    let name = value_name(bytes)?;
    let mut port = None;
    for field in Fields(bytes) {
        let (2, kind) = field? else { continue };
        for field in Fields(kind.bytes()?) {
            let (1, tensor) = field? else {
                let name = crate::torch::short(name);
                return Err(NetError::Unsupported(format!("{side} {name}, which is not a tensor")));
            };
            port = Some(read_tensor_type(side, name, tensor.bytes()?)?);
        }
    }
    port.ok_or_else(|| {
        let name = crate::torch::short(name);
        NetError::Malformed(format!("it does not say what its {side} {name} is"))
    })
}

fn read_tensor_type(side: &str, name: &str, bytes: &[u8]) -> Result<Port, NetError> {
    let (mut datatype, mut shape) = (0, None);
    for field in Fields(bytes) {
        match field? {
            (1, kind) => datatype = kind.number()?,
            (2, dims) => {
                let dims: Result<Vec<Dim>, NetError> = Fields(dims.bytes()?).map(|dim| read_dim(dim?.1)).collect();
                shape = Some(dims?);
            }
            _ => {}
        }
    }
    let known = match datatype {
        1 => Ok(Datatype::Fp32),
        2 => Ok(Datatype::Uint8),
        3 => Ok(Datatype::Int8),
        6 => Ok(Datatype::Int32),
        7 => Ok(Datatype::Int64),
        9 => Ok(Datatype::Bool),
        11 => Ok(Datatype::Fp64),
        4 => Err("UINT16"),
        5 => Err("INT16"),
        8 => Err("BYTES (texts)"),
        10 => Err("FP16"),
        12 => Err("UINT32"),
        13 => Err("UINT64"),
        16 => Err("BF16"),
        _ => Err("a type that is not known here"),
    };
    let name = name.to_owned();
    match known {
        Ok(datatype) => Ok(Port { name, datatype, shape }),
        Err(kind) => {
            let name = crate::torch::short(&name);
            Err(NetError::Unsupported(format!("{side} {name}, whose elements are {kind}; convert it to FP32 or INT64")))
        }
    }
}

fn read_dim(value: Value<'_>) -> Result<Dim, NetError> {
    let (mut fixed, mut named) = (None, Dim::ANY);
    for field in Fields(value.bytes()?) {
        match field? {
            // A negative size stands for any.
            (1, size) => fixed = i64::try_from(size.number()?).ok(),
            (2, name) if !name.text()?.is_empty() => named = name.text()?,
            _ => {}
        }
    }
    Ok(match fixed {
        Some(size) => Dim::Fixed(usize::try_from(size).map_err(|_| Malformed)?),
        None => Dim::Named(named.to_owned()),
    })
}
