//! The attributes of `TreeEnsembleRegressor` and `TreeEnsembleClassifier`
//! (<https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html>), as parallel lists of nodes and of leaves' weights.

use super::graph::attributes;
use super::wire::{Fields, Value};
use crate::load_error::{LoadError, NodeError};
use crate::source::Budget;
use crate::torch::short;
use crate::trees::{Builder, Node, Test};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
    Leaf,
}

/// All attributes that bear on an answer.
#[derive(Debug, Default)]
pub(super) struct Ensemble {
    node_trees: Vec<i32>,
    node_ids: Vec<i32>,
    features: Vec<u32>,
    values: Vec<f32>,
    modes: Vec<Mode>,
    yes: Vec<i32>,
    no: Vec<i32>,
    missing_yes: Vec<u8>,
    weight_trees: Vec<i32>,
    weight_nodes: Vec<i32>,
    /// Which target or class each weight is of.
    weight_ids: Vec<u32>,
    weights: Vec<f32>,
    pub(super) base: Vec<f32>,
    pub(super) targets: usize,
    pub(super) labels: Vec<String>,
    pub(super) transform: String,
    pub(super) aggregate: String,
}

impl Ensemble {
    pub(super) fn read(node: Fields<'_>, budget: &mut Budget) -> Result<Self, LoadError> {
        let mut all = Self::default();
        attributes(node, |name, attribute| {
            match name {
                "nodes_treeids" => integers(attribute, &mut all.node_trees, budget),
                "nodes_nodeids" => integers(attribute, &mut all.node_ids, budget),
                "nodes_featureids" => integers(attribute, &mut all.features, budget),
                "nodes_truenodeids" => integers(attribute, &mut all.yes, budget),
                "nodes_falsenodeids" => integers(attribute, &mut all.no, budget),
                "nodes_missing_value_tracks_true" => integers(attribute, &mut all.missing_yes, budget),
                "nodes_values" => floats(attribute, &mut all.values, budget),
                "nodes_modes" => texts(attribute, |text| Ok(budget.push(&mut all.modes, mode(text)?)?)),
                "target_treeids" | "class_treeids" => integers(attribute, &mut all.weight_trees, budget),
                "target_nodeids" | "class_nodeids" => integers(attribute, &mut all.weight_nodes, budget),
                "target_ids" | "class_ids" => integers(attribute, &mut all.weight_ids, budget),
                "target_weights" | "class_weights" => floats(attribute, &mut all.weights, budget),
                "base_values" => floats(attribute, &mut all.base, budget),
                "n_targets" => single(attribute, |value| all.targets = usize::try_from(value).unwrap_or(usize::MAX)),
                "classlabels_int64s" => each(attribute, 8, |value| {
                    value.integers(|label| {
                        budget.take(32)?;
                        Ok(budget.push(&mut all.labels, label.to_string())?)
                    })
                }),
                "classlabels_strings" => texts(attribute, |text| {
                    budget.take(text.len() + 16)?;
                    Ok(budget.push(&mut all.labels, text.to_owned())?)
                }),
                "post_transform" => each(attribute, 4, |value| {
                    all.transform = value.text().chars().take(64).collect();
                    Ok(())
                }),
                "aggregate_function" => each(attribute, 4, |value| {
                    all.aggregate = value.text().chars().take(64).collect();
                    Ok(())
                }),
                // Says nothing about an answer.
                "nodes_hitrates" | "nodes_hitrates_as_tensor" => Ok(()),
                other => Err(LoadError::Unsupported(format!("an ensemble of trees with {}", short(other)))),
            }
        })?;
        all.check()?;
        all.sort_weights(budget)?;
        Ok(all)
    }

    /// Puts the leaves' weights into the nodes' order. Some converters write them class by class.
    fn sort_weights(&mut self, budget: &mut Budget) -> Result<(), LoadError> {
        let key = |at: usize| (self.weight_trees[at], self.weight_nodes[at]);
        let count = self.weights.len();
        if (1..count).all(|at| key(at - 1) <= key(at)) {
            return Ok(());
        }
        let mut order: Vec<u32> = budget.list(count)?;
        let end = u32::try_from(count).map_err(|_| LoadError::Unsupported("so many weights of leaves".into()))?;
        order.extend(0..end);
        order.sort_unstable_by_key(|at| (key(*at as usize), *at));
        fn permuted<T: Copy>(list: &[T], order: &[u32], budget: &mut Budget) -> Result<Vec<T>, LoadError> {
            let mut permuted = budget.list(list.len())?;
            permuted.extend(order.iter().map(|at| list[*at as usize]));
            Ok(permuted)
        }
        self.weight_trees = permuted(&self.weight_trees, &order, budget)?;
        self.weight_nodes = permuted(&self.weight_nodes, &order, budget)?;
        self.weight_ids = permuted(&self.weight_ids, &order, budget)?;
        self.weights = permuted(&self.weights, &order, budget)?;
        Ok(())
    }

    fn check(&self) -> Result<(), LoadError> {
        let nodes = self.node_trees.len();
        let lengths = [
            self.node_ids.len(),
            self.features.len(),
            self.values.len(),
            self.modes.len(),
            self.yes.len(),
            self.no.len(),
        ];
        let missing = self.missing_yes.len();
        if nodes == 0 || lengths != [nodes; 6] || (missing != nodes && missing != 0) {
            return Err(LoadError::Invalid("the lists of nodes have different lengths, or are empty".into()));
        }
        let weights = self.weights.len();
        if [self.weight_trees.len(), self.weight_nodes.len(), self.weight_ids.len()] != [weights; 3] {
            return Err(LoadError::Invalid("the lists of the leaves' weights have different lengths".into()));
        }
        let finite = |list: &[f32]| list.iter().all(|value| value.is_finite());
        if !finite(&self.weights) || !finite(&self.base) || self.values.iter().any(|value| value.is_nan()) {
            return Err(LoadError::Invalid("a weight, base value or threshold is no number".into()));
        }
        Ok(())
    }

    /// One more than the highest feature that is tested.
    pub(super) fn features(&self) -> usize {
        let tested = self.features.iter().zip(&self.modes).filter(|(_, mode)| **mode != Mode::Leaf);
        tested.map(|(feature, _)| *feature as usize + 1).max().unwrap_or(1)
    }

    /// Whether every weight is of the first target or class.
    pub(super) fn only_first_id(&self) -> bool {
        self.weight_ids.iter().all(|id| *id == 0)
    }

    /// Whether no weight is negative.
    pub(super) fn all_positive(&self) -> bool {
        self.weights.iter().all(|weight| *weight >= 0.0)
    }

    /// Adds all trees. Weights are added to the outputs of their ids, or all to the only one.
    ///
    /// Returns how many trees there are, and whether every row surely gets a weight for every output.
    pub(super) fn build(&self, outputs: usize, builder: &mut Builder) -> Result<(usize, bool), LoadError> {
        let mut scored = vec![false; outputs];
        let one_output = outputs == 1 || self.one_output_a_tree();
        let mut begin = 0;
        let mut last = None;
        for tree in self.node_trees.chunk_by(|a, b| a == b) {
            // In ascending order, and each in one piece.
            if last.is_some_and(|last| last >= tree[0]) {
                return Err(LoadError::Unsupported("a list of nodes that is not in the trees' order".into()));
            }
            last = Some(tree[0]);
            self.add_tree(begin..begin + tree.len(), one_output, &mut scored, builder)?;
            begin += tree.len();
        }
        Ok((builder.trees(), scored.iter().all(|scored| *scored)))
    }

    fn add_tree(
        &self,
        nodes: std::ops::Range<usize>,
        one_output: bool,
        scored: &mut [bool],
        builder: &mut Builder,
    ) -> Result<(), LoadError> {
        let outputs = scored.len();
        let place = builder.trees();
        let invalid = |why: String| LoadError::Invalid(format!("tree {place} {why}"));
        let (start, count) = (nodes.start, nodes.len());
        // Every converter numbers a tree's nodes from 0.
        let numbered = self.node_ids[nodes.clone()].iter().enumerate().all(|(at, id)| usize::try_from(*id) == Ok(at));
        if !numbered {
            return Err(LoadError::Unsupported("a tree whose nodes are not numbered from 0".into()));
        }
        let weights = self.weights_of(self.node_trees[start]);
        // Which output the tree's leaves are of, if they are of one.
        let ids = &self.weight_ids[weights.clone()];
        let own = |id: u32| if outputs == 1 { 0 } else { id as usize };
        let output = ids.first().map_or(0, |id| own(*id));
        if ids.iter().any(|id| own(*id) >= outputs) {
            return Err(invalid(format!("has a weight for an output beyond the last of {outputs}")));
        }
        let leaves = self.modes[nodes.clone()].iter().filter(|mode| **mode == Mode::Leaf).count();
        let mut seen = vec![0; if one_output { 0 } else { outputs }];
        let before = builder.nodes();
        let added = builder.add_with(output, count, |at| {
            let node = start + at;
            if self.modes[node] != Mode::Leaf {
                return self.split(node, place).map_err(NodeError::from);
            }
            let mine = self.weights_of_node(&weights, at);
            if one_output {
                return match &self.weights[mine] {
                    [weight] => Ok(Node::Leaf(*weight)),
                    list => Err(invalid(format!("has a leaf {at} with {} weights", list.len())).into()),
                };
            }
            let mut values = vec![0.0; outputs];
            for weight in mine {
                let id = self.weight_ids[weight] as usize;
                values[id] += self.weights[weight];
                seen[id] += 1;
            }
            Ok(Node::Leaves(values))
        });
        added.map_err(|error: NodeError| error.of(place))?;
        // What the first node doesn't reach, another one may: ONNX doesn't say which is the root.
        if builder.nodes() - before != count {
            return Err(invalid("has nodes that its first one does not reach".into()));
        }
        if one_output {
            scored[output] = true;
        }
        for (scored, seen) in scored.iter_mut().zip(seen) {
            *scored |= seen == leaves;
        }
        Ok(())
    }

    /// Whether each leaf has one weight, and all of a tree are of the same output: then leaves need no list of weights.
    fn one_output_a_tree(&self) -> bool {
        (1..self.weights.len()).all(|at| {
            let same_tree = self.weight_trees[at - 1] == self.weight_trees[at];
            let same_leaf = self.weight_nodes[at - 1] == self.weight_nodes[at];
            !same_tree || (!same_leaf && self.weight_ids[at - 1] == self.weight_ids[at])
        })
    }

    /// The places of a tree's weights.
    fn weights_of(&self, tree: i32) -> std::ops::Range<usize> {
        let begin = self.weight_trees.partition_point(|other| *other < tree);
        begin..self.weight_trees.partition_point(|other| *other <= tree)
    }

    /// The places of a leaf's weights, among its tree's.
    fn weights_of_node(&self, tree: &std::ops::Range<usize>, node: usize) -> std::ops::Range<usize> {
        let nodes = &self.weight_nodes[tree.clone()];
        let is_before = |other: &i32| usize::try_from(*other).is_ok_and(|other| other < node);
        let begin = nodes.partition_point(|other| *other < 0 || is_before(other));
        let count = nodes[begin..].iter().take_while(|other| usize::try_from(**other) == Ok(node)).count();
        tree.start + begin..tree.start + begin + count
    }

    /// A node that is no leaf. ONNX asks what sends a row to its "true" child; a missing value only passes [`Mode::Neq`], unless
    /// the node says otherwise.
    fn split(&self, node: usize, tree: usize) -> Result<Node, LoadError> {
        let child = |id: i32| {
            usize::try_from(id)
                .map_err(|_| LoadError::Invalid(format!("tree {tree} has a child {id}, which is negative")))
        };
        let (yes, no) = (child(self.yes[node])?, child(self.no[node])?);
        let value = self.values[node];
        let mode = self.modes[node];
        let missing_yes = self.missing_yes.get(node).is_some_and(|missing| *missing != 0) || mode == Mode::Neq;
        // Our tests send left what is below, at most, or other than the value.
        let (test, yes_is_left) = match mode {
            Mode::Leq | Mode::Leaf => (Test::AtMost(value), true),
            Mode::Gt => (Test::AtMost(value), false),
            Mode::Lt => (Test::Below(value), true),
            Mode::Gte => (Test::Below(value), false),
            Mode::Neq => (Test::NotEqual(value), true),
            Mode::Eq => (Test::NotEqual(value), false),
        };
        let (left, right) = if yes_is_left { (yes, no) } else { (no, yes) };
        let feature = self.features[node] as usize;
        Ok(Node::Split { feature, test, missing_left: missing_yes == yes_is_left, left, right })
    }
}

fn mode(text: &str) -> Result<Mode, LoadError> {
    Ok(match text {
        "BRANCH_LEQ" => Mode::Leq,
        "BRANCH_LT" => Mode::Lt,
        "BRANCH_GTE" => Mode::Gte,
        "BRANCH_GT" => Mode::Gt,
        "BRANCH_EQ" => Mode::Eq,
        "BRANCH_NEQ" => Mode::Neq,
        "LEAF" => Mode::Leaf,
        other => return Err(LoadError::Unsupported(format!("a node of mode {}", short(other)))),
    })
}

/// Calls `read` with each value of an attribute's field of this number.
fn each<'a>(
    mut attribute: Fields<'a>,
    wanted: u64,
    mut read: impl FnMut(Value<'a>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    while let Some((number, value)) = attribute.next()? {
        if number == wanted {
            read(value)?;
        }
    }
    Ok(())
}

fn single(attribute: Fields<'_>, mut read: impl FnMut(i64)) -> Result<(), LoadError> {
    each(attribute, 3, |value| {
        value.integers(|value| {
            read(value);
            Ok(())
        })
    })
}

fn integers<T: TryFrom<i64>>(attribute: Fields<'_>, list: &mut Vec<T>, budget: &mut Budget) -> Result<(), LoadError> {
    each(attribute, 8, |value| {
        value.integers(|value| {
            let value = value.try_into().map_err(|_| LoadError::Invalid(format!("an id or a flag is {value}")))?;
            Ok(budget.push(list, value)?)
        })
    })
}

pub(super) fn floats(attribute: Fields<'_>, list: &mut Vec<f32>, budget: &mut Budget) -> Result<(), LoadError> {
    each(attribute, 7, |value| value.floats(|value| Ok(budget.push(list, value)?)))
}

fn texts<'a>(attribute: Fields<'a>, mut read: impl FnMut(&'a str) -> Result<(), LoadError>) -> Result<(), LoadError> {
    each(attribute, 9, |value| read(value.text()))
}
