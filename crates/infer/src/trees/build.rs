//! From trees as model files describe them to the packed nodes that are walked.

use std::collections::{HashMap, VecDeque};

use super::{All, Column, Forest, Leaves, Nodes, Packed, Scalar, Tree};

/// What a split asks of a feature's value; a "yes" goes left.
#[derive(Clone, Debug, PartialEq)]
pub enum Test<X = f32> {
    /// `x < threshold` (XGBoost). Never true if the threshold is NaN.
    Below(X),
    /// `x <= threshold` (scikit-learn, LightGBM). Never true if the threshold is NaN.
    AtMost(X),
    /// x is none of these categories (XGBoost: what is in the set goes right). Values are truncated; negative ones are in no set.
    NotIn(Vec<u32>),
}

/// A node of a tree; children are places in the same list.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<X = f32, V = f32> {
    /// The value that a row ending here adds to the tree's output.
    Leaf(V),
    /// The values that a row ending here adds to all outputs, one each.
    Leaves(Vec<V>),
    /// An inner node.
    Split {
        /// Which value of the row is tested.
        feature: usize,
        /// How it is tested.
        test: Test<X>,
        /// Whether a missing value goes left.
        missing_left: bool,
        /// Where the rows go whose test is true.
        left: usize,
        /// Where the others go.
        right: usize,
    },
}

/// What is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There is no root.
    #[error("the tree has no nodes")]
    Empty,
    /// A child's place is not in the list.
    #[error("node {node} has a child {child} that doesn't exist")]
    NoSuchChild {
        /// The parent.
        node: usize,
        /// What it names.
        child: usize,
    },
    /// A node is reached twice: the tree has a cycle or shares a branch.
    #[error("node {node} is reached twice")]
    ReachedTwice {
        /// The node.
        node: usize,
    },
    /// A split tests a feature beyond the row's end.
    #[error("node {node} tests feature {feature}, but a row has only {features}")]
    NoSuchFeature {
        /// The split.
        node: usize,
        /// What it tests.
        feature: usize,
        /// How many there are.
        features: usize,
    },
    /// The tree adds to an output beyond the last.
    #[error("the tree belongs to output {output}, but there are only {outputs}")]
    NoSuchOutput {
        /// What the tree belongs to.
        output: usize,
        /// How many there are.
        outputs: usize,
    },
    /// A leaf has values for all outputs where others have one, or not as many as there are outputs.
    #[error("node {node} is a leaf of another kind or size than the forest's others")]
    UnlikeLeaves {
        /// The leaf.
        node: usize,
    },
    /// More nodes than a u32 counts.
    #[error("the forest has too many nodes")]
    TooLarge,
}

/// Collects trees, checks them, and lays them out as a [`Forest`].
#[derive(Debug)]
pub struct Builder<X: Scalar = f32, V = f32> {
    features: usize,
    base: Vec<V>,
    columns: Vec<Column>,
    /// Column of a feature, by missing-goes-left.
    column_of: HashMap<(usize, bool), u32>,
    trees: Vec<Tree>,
    nodes: Vec<Packed<X::Key, u32>>,
    /// By node, a leaf's value, if leaves have one.
    values: Vec<V>,
    /// By node, which list is a leaf's, if leaves have one for each output.
    lists: Vec<u32>,
    listed: Vec<V>,
}

impl<X: Scalar, V: Scalar> Builder<X, V> {
    /// For rows of `features` values, with one output for each of the base scores, to which the leaves are added.
    #[must_use]
    pub fn new(features: usize, base: Vec<V>) -> Self {
        Self {
            features,
            base,
            columns: vec![Column::Lowest],
            column_of: HashMap::new(),
            trees: Vec::new(),
            nodes: Vec::new(),
            values: Vec::new(),
            lists: Vec::new(),
            listed: Vec::new(),
        }
    }

    /// Adds a tree whose root is `nodes[0]` and whose leaves are added to `output`, or, if they have a value for each output, to
    /// all of them. Nodes that the root doesn't reach are left out.
    ///
    /// # Errors
    ///
    /// [`TreeError`]; the builder is then of no use.
    pub fn add(&mut self, output: usize, nodes: &[Node<X, V>]) -> Result<(), TreeError> {
        let outputs = self.base.len();
        if output >= outputs {
            return Err(TreeError::NoSuchOutput { output, outputs });
        }
        if nodes.is_empty() {
            return Err(TreeError::Empty);
        }
        let start = self.nodes.len();
        if u32::try_from(start + nodes.len()).is_err() {
            return Err(TreeError::TooLarge);
        }
        // Breadth first, so that siblings lie side by side and the hot top levels share cache lines.
        let mut reached = vec![false; nodes.len()];
        reached[0] = true;
        let mut queue = VecDeque::from([(0_usize, 0_u32)]);
        let mut placed = 1_u32;
        let mut deepest = 0;
        while let Some((place, depth)) = queue.pop_front() {
            deepest = deepest.max(depth);
            match &nodes[place] {
                Node::Leaf(value) => {
                    let own = (self.nodes.len() - start) as u32;
                    if !self.listed.is_empty() {
                        return Err(TreeError::UnlikeLeaves { node: place });
                    }
                    self.nodes.push(Packed { key: X::HIGHEST, column: 0, left: own });
                    // Splits since the last leaf have none.
                    self.values.resize(self.nodes.len() - 1, V::ZERO);
                    self.values.push(*value);
                }
                Node::Leaves(values) => {
                    let own = (self.nodes.len() - start) as u32;
                    if values.len() != outputs || !self.values.is_empty() {
                        return Err(TreeError::UnlikeLeaves { node: place });
                    }
                    self.nodes.push(Packed { key: X::HIGHEST, column: 0, left: own });
                    // Never more lists than nodes.
                    self.lists.resize(self.nodes.len() - 1, 0);
                    self.lists.push((self.listed.len() / outputs) as u32);
                    self.listed.extend_from_slice(values);
                }
                Node::Split { feature, test, missing_left, left, right } => {
                    if *feature >= self.features {
                        return Err(TreeError::NoSuchFeature {
                            node: place,
                            feature: *feature,
                            features: self.features,
                        });
                    }
                    for &child in [left, right] {
                        match reached.get_mut(child) {
                            None => return Err(TreeError::NoSuchChild { node: place, child }),
                            Some(true) => return Err(TreeError::ReachedTwice { node: child }),
                            Some(reached) => *reached = true,
                        }
                        queue.push_back((child, depth + 1));
                    }
                    let (column, key) = self.compile(*feature, test, *missing_left);
                    self.nodes.push(Packed { key, column, left: placed });
                    placed += 2;
                }
            }
        }
        self.trees.push(Tree { start: start as u32, depth: deepest, output: output as u32 });
        Ok(())
    }

    /// The column that a split compares, and the key that goes left if the column's is below it.
    fn compile(&mut self, feature: usize, test: &Test<X>, missing_left: bool) -> (u32, X::Key) {
        let key = match test {
            // No number's key is below this, a missing one's is.
            Test::Below(threshold) | Test::AtMost(threshold) if threshold.is_nan() => X::LOW,
            Test::Below(threshold) => threshold.key(),
            Test::AtMost(threshold) => threshold.key_above(),
            Test::NotIn(set) => {
                let mut set = set.clone();
                set.sort_unstable();
                self.columns.push(Column::Categories { feature, set, missing_left });
                return ((self.columns.len() - 1) as u32, X::LOW);
            }
        };
        let columns = &mut self.columns;
        let column = *self.column_of.entry((feature, missing_left)).or_insert_with(|| {
            columns.push(if missing_left { Column::MissingLow(feature) } else { Column::MissingHigh(feature) });
            (columns.len() - 1) as u32
        });
        (column, key)
    }

    /// The forest.
    #[must_use]
    pub fn build(self) -> Forest<X, V> {
        let Self { features, base, columns, trees, mut nodes, mut values, mut lists, listed, .. } = self;
        let len = nodes.len().next_power_of_two();
        let narrow = columns.len() <= 1 << 16 && nodes.iter().all(|node| node.left <= u32::from(u16::MAX));
        nodes.resize(len, Packed::default());
        let leaves = if listed.is_empty() {
            values.resize(len, V::ZERO);
            Leaves::One(values)
        } else {
            lists.resize(len, 0);
            Leaves::All(All { lists, values: listed })
        };
        let nodes = if narrow {
            let pack = |node: Packed<X::Key, u32>| Packed {
                key: node.key,
                column: node.column as u16,
                left: node.left as u16,
            };
            Nodes::Narrow(nodes.into_iter().map(pack).collect())
        } else {
            Nodes::Wide(nodes)
        };
        Forest { features, base, columns, trees, nodes, leaves }
    }
}
