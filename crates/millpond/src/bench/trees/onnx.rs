//! Trees as ONNX, in the protocol buffers of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>, as converters write them: one
//! `TreeEnsembleRegressor` of the domain `ai.onnx.ml`.

use super::forest::{Forest, Node, Tree};

/// The names that the graph gives to rows and answers.
pub const ROWS: &str = "rows";
pub const ANSWERS: &str = "answers";

/// `TensorProto.FLOAT`
const FLOAT: u64 = 1;
// `AttributeProto.AttributeType`
const INT: u64 = 2;
const STRING: u64 = 3;
const FLOATS: u64 = 6;
const INTS: u64 = 7;
const STRINGS: u64 = 8;

/// The model's file.
pub fn model(forest: &Forest) -> Vec<u8> {
    let domain = Message::default().text(1, "ai.onnx.ml").number(2, 3);
    Message::default()
        .number(1, 8)
        .message(8, Message::default().text(1, "").number(2, 15))
        .message(8, domain)
        .message(7, graph(forest))
        .0
}

fn graph(forest: &Forest) -> Message {
    let port = |name: &str, columns: usize| {
        let rows = Message::default().text(2, "N");
        let columns = Message::default().number(1, columns as u64);
        let shape = Message::default().message(1, rows).message(1, columns);
        let tensor = Message::default().number(1, FLOAT).message(2, shape);
        Message::default().text(1, name).message(2, Message::default().message(1, tensor))
    };
    Message::default()
        .message(1, ensemble(forest))
        .text(2, "trees")
        .message(11, port(ROWS, forest.features))
        .message(12, port(ANSWERS, forest.base.len()))
}

fn ensemble(forest: &Forest) -> Message {
    /// A tree's number, a node's number in it, the tree and the node.
    type Place<'a> = (usize, usize, &'a Tree, &'a Node);
    let nodes: Vec<Place<'_>> = forest
        .trees
        .iter()
        .enumerate()
        .flat_map(|(number, tree)| tree.nodes.iter().enumerate().map(move |(at, node)| (number, at, tree, node)))
        .collect();
    let leaves: Vec<Place<'_>> = nodes.iter().copied().filter(|(_, _, _, node)| node.split.is_none()).collect();
    let of_nodes = |name: &str, of: fn(&Place<'_>) -> usize| integers(name, nodes.iter().map(of));
    let of_leaves = |name: &str, of: fn(&Place<'_>) -> usize| integers(name, leaves.iter().map(of));
    let modes = nodes.iter().map(|(_, _, _, node)| if node.split.is_some() { "BRANCH_LT" } else { "LEAF" });
    let attributes = [
        of_nodes("nodes_treeids", |(tree, ..)| *tree),
        of_nodes("nodes_nodeids", |(_, at, ..)| *at),
        of_nodes("nodes_featureids", |(_, _, _, node)| node.split.as_ref().map_or(0, |split| split.feature)),
        of_nodes("nodes_truenodeids", |(_, _, _, node)| node.split.as_ref().map_or(0, |split| split.left)),
        of_nodes("nodes_falsenodeids", |(_, _, _, node)| node.split.as_ref().map_or(0, |split| split.right)),
        of_nodes("nodes_missing_value_tracks_true", |(_, _, _, node)| {
            node.split.as_ref().map_or(0, |split| split.missing_left.into())
        }),
        floats("nodes_values", nodes.iter().map(|(_, _, _, node)| node.value)),
        modes.fold(attribute("nodes_modes", STRINGS), |list, mode| list.text(9, mode)),
        of_leaves("target_treeids", |(tree, ..)| *tree),
        of_leaves("target_nodeids", |(_, at, ..)| *at),
        of_leaves("target_ids", |(_, _, tree, _)| tree.output),
        floats("target_weights", leaves.iter().map(|(_, _, _, node)| node.value)),
        floats("base_values", forest.base.iter().copied()),
        attribute("n_targets", INT).number(3, forest.base.len() as u64),
        attribute("post_transform", STRING).text(4, if forest.softmax { "SOFTMAX" } else { "NONE" }),
    ];
    let node = Message::default().text(1, ROWS).text(2, ANSWERS).text(4, "TreeEnsembleRegressor").text(7, "ai.onnx.ml");
    attributes.into_iter().fold(node, |node, attribute| node.message(5, attribute))
}

fn attribute(name: &str, kind: u64) -> Message {
    Message::default().text(1, name).number(20, kind)
}

fn integers(name: &str, values: impl Iterator<Item = usize>) -> Message {
    values.fold(attribute(name, INTS), |list, value| list.number(8, value as u64))
}

fn floats(name: &str, values: impl Iterator<Item = f32>) -> Message {
    values.fold(attribute(name, FLOATS), |list, value| list.float(7, value))
}

/// A message's fields, written one after another.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}
