//! The graph around the trees: which node holds them, and whether what stands before and after it leaves their answer as it is.

use std::collections::HashSet;

use super::Scaler;
use super::wire::{Fields, Value};
use crate::load_error::LoadError;
use crate::torch::short;
use crate::trees::MAX_FEATURES;

/// The operators' domain.
const DOMAIN: &str = "ai.onnx.ml";
/// Nodes that may stand around the trees.
const MAX_NODES: usize = 16;
/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const STRING: i64 = 8;
const DOUBLE: i64 = 11;

/// Which of the two operators holds the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Regressor,
    Classifier,
}

/// What a graph says beside its trees.
pub(super) struct Graph<'a> {
    pub(super) operator: Operator,
    /// The node that holds them.
    pub(super) node: Fields<'a>,
    /// How many values make a row, if it says so.
    pub(super) features: Option<usize>,
    /// What is done to a row before.
    pub(super) scaler: Option<Scaler>,
}

/// A node as far as it is not its attributes.
struct Node<'a> {
    fields: Fields<'a>,
    operator: &'a str,
    domain: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
}

/// Whether the bytes are meant to be an ONNX file with trees in it. Looks at the graph's nodes, not into them.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    let mut model = Fields::new(bytes, 0);
    // The first field is the format's version.
    if bytes.first() != Some(&0x08) {
        return false;
    }
    while let Ok(Some((number, value))) = model.next() {
        if number != 7 {
            continue;
        }
        let mut graph = value.message();
        while let Ok(Some((number, value))) = graph.next() {
            if number == 1 && tree_operator(value.message()) {
                return true;
            }
        }
    }
    false
}

fn tree_operator(mut node: Fields<'_>) -> bool {
    let (mut trees, mut domain) = (false, false);
    while let Ok(Some((number, value))) = node.next() {
        match number {
            4 => trees = value.text().starts_with("TreeEnsemble"),
            7 => domain = value.text() == DOMAIN,
            _ => {}
        }
    }
    trees && domain
}

pub(super) fn read(bytes: &[u8]) -> Result<Graph<'_>, LoadError> {
    let mut graph = None;
    let mut model = Fields::new(bytes, 0);
    while let Some((number, value)) = model.next()? {
        if number == 7 {
            graph = Some(value.message());
        }
    }
    let mut nodes = Vec::new();
    let mut inputs = Vec::new();
    let mut graph = graph.ok_or(LoadError::Missing("graph"))?;
    while let Some((number, value)) = graph.next()? {
        match number {
            1 if nodes.len() == MAX_NODES => return Err(unsupported("a graph of many nodes around its trees")),
            1 => nodes.push(node(value.message())?),
            5 => return Err(unsupported("a graph with tensors beside its trees")),
            11 if inputs.is_empty() => inputs.push(value.message()),
            11 => {
                return Err(unsupported(
                    "a graph with several inputs; convert it with one input of all features, which",
                ));
            }
            _ => {}
        }
    }
    let Some(input) = inputs.pop() else { return Err(LoadError::Missing("input")) };
    let (name, features) = input_of(input)?;
    around(&nodes, name, features)
}

fn node<'a>(fields: Fields<'a>) -> Result<Node<'a>, LoadError> {
    let mut node = Node { fields, operator: "", domain: "", inputs: Vec::new(), outputs: Vec::new() };
    let mut rest = fields;
    while let Some((number, value)) = rest.next()? {
        match number {
            1 | 2 => {
                let list = if number == 1 { &mut node.inputs } else { &mut node.outputs };
                if list.len() == MAX_NODES {
                    return Err(unsupported("a node with many inputs or outputs"));
                }
                list.push(value.text());
            }
            4 => node.operator = value.text(),
            7 => node.domain = value.text(),
            _ => {}
        }
    }
    Ok(node)
}

/// The input's name and how many features its shape has: n × features of f32.
fn input_of(mut info: Fields<'_>) -> Result<(&str, Option<usize>), LoadError> {
    let (mut name, mut element, mut dims) = ("", 0, Vec::new());
    while let Some((number, value)) = info.next()? {
        match number {
            1 => name = value.text(),
            2 => {
                let mut tensor = field(value.message(), 1)?.map(Value::message).unwrap_or_else(|| Fields::new(&[], 0));
                while let Some((number, value)) = tensor.next()? {
                    match (number, value) {
                        (1, Value::Varint(kind)) => element = kind.cast_signed(),
                        (2, shape) => {
                            let mut shape = shape.message();
                            while let Some((_, dim)) = shape.next()? {
                                if dims.len() == MAX_NODES {
                                    return Err(unsupported("an input of many dimensions"));
                                }
                                dims.push(match field(dim.message(), 1)? {
                                    Some(Value::Varint(size)) => Some(size),
                                    _ => None,
                                });
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if element != FLOAT {
        return Err(unsupported("an input that is no tensor of f32"));
    }
    let features = match dims[..] {
        // Unknown, or so many that only the trees tell.
        [] | [_, None] => None,
        [_, Some(features)] => match usize::try_from(features) {
            Ok(features @ 1..=MAX_FEATURES) => Some(features),
            _ => return Err(LoadError::Unsupported(format!("{features} features, not 1 to {MAX_FEATURES},"))),
        },
        _ => return Err(unsupported("an input that is no matrix")),
    };
    Ok((name, features))
}

/// The last field of a number.
fn field(mut message: Fields<'_>, wanted: u64) -> Result<Option<Value<'_>>, LoadError> {
    let mut found = None;
    while let Some((number, value)) = message.next()? {
        if number == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Follows the input to the trees, and their answers from there.
fn around<'a>(nodes: &[Node<'a>], input: &str, features: Option<usize>) -> Result<Graph<'a>, LoadError> {
    let mut rows = HashSet::from([input]);
    let (mut labels, mut scores) = (HashSet::new(), HashSet::new());
    let mut scaler = None;
    let mut graph: Option<Graph<'a>> = None;
    for node in nodes {
        let [Some(from), Some(to)] = [node.inputs.first().copied(), node.outputs.first().copied()] else {
            return Err(LoadError::Invalid("a node has no input or no output".into()));
        };
        let trees = match (node.domain, node.operator) {
            (DOMAIN, "TreeEnsembleRegressor") => Some(Operator::Regressor),
            (DOMAIN, "TreeEnsembleClassifier") => Some(Operator::Classifier),
            _ => None,
        };
        let before = rows.contains(from) && graph.is_none();
        let after = labels.contains(from) || scores.contains(from);
        let cast = || attribute_integer(node.fields, "to");
        match (node.domain, node.operator) {
            _ if trees.is_some() && graph.is_some() => {
                return Err(unsupported("a graph with several ensembles of trees"));
            }
            _ if trees.is_some() && before => {
                let operator = trees.unwrap_or(Operator::Regressor);
                if operator == Operator::Classifier {
                    labels.insert(to);
                    scores.extend(node.outputs.get(1));
                } else {
                    scores.insert(to);
                }
                graph = Some(Graph { operator, node: node.fields, features, scaler: scaler.take() });
            }
            ("" | "ai.onnx", "Identity") if before => drop(rows.insert(to)),
            ("" | "ai.onnx", "Cast") if before && cast()? == Some(FLOAT) => drop(rows.insert(to)),
            (DOMAIN, "Scaler") if before && scaler.is_none() => {
                scaler = Some(Scaler::read(node.fields)?);
                rows = HashSet::from([to]);
            }
            ("" | "ai.onnx", "Identity") if after => {
                if labels.contains(from) {
                    labels.insert(to)
                } else {
                    scores.insert(to)
                };
            }
            ("" | "ai.onnx", "Cast") if labels.contains(from) && matches!(cast()?, Some(INT64 | STRING)) => {
                labels.insert(to);
            }
            ("" | "ai.onnx", "Cast") if scores.contains(from) && matches!(cast()?, Some(FLOAT | DOUBLE)) => {
                scores.insert(to);
            }
            // A map from the labels to the scores, for whoever asks for one.
            (DOMAIN, "ZipMap") if scores.contains(from) => {}
            (_, operator) => {
                return Err(LoadError::Unsupported(format!("a graph with {} beside its trees", short(operator))));
            }
        }
    }
    graph.ok_or(LoadError::Missing("TreeEnsembleRegressor or TreeEnsembleClassifier"))
}

/// An attribute by its name: its message.
pub(super) fn attributes<'a>(
    mut node: Fields<'a>,
    mut each: impl FnMut(&'a str, Fields<'a>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    while let Some((number, value)) = node.next()? {
        if number == 5 {
            let attribute = value.message();
            let name = field(attribute, 1)?.map_or("", Value::text);
            each(name, attribute)?;
        }
    }
    Ok(())
}

fn attribute_integer(node: Fields<'_>, wanted: &str) -> Result<Option<i64>, LoadError> {
    let mut found = None;
    attributes(node, |name, attribute| {
        if name == wanted
            && let Some(Value::Varint(value)) = field(attribute, 3)?
        {
            found = Some(value.cast_signed());
        }
        Ok(())
    })?;
    Ok(found)
}

fn unsupported(what: &str) -> LoadError {
    LoadError::Unsupported(what.to_owned())
}
