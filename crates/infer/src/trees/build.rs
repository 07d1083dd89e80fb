//! From trees as model files describe them to the packed nodes that are walked.

use std::sync::OnceLock;

use super::column::Column;
use super::layout::Layout;
use super::leaves::{All, Leaves};
use super::walk::{LANES, Nodes, Packed, Tree, Turn, turns};
use super::{Forest, Lazy, Scalar};

/// What a split asks of a feature's value; a "yes" goes left.
#[derive(Clone, Debug, PartialEq)]
pub enum Test<X = f32> {
    /// `x < threshold` (XGBoost). Never true if the threshold is NaN.
    Below(X),
    /// `x <= threshold` (scikit-learn, LightGBM). Never true if the threshold is NaN.
    AtMost(X),
    /// `x != value` (ONNX).
    NotEqual(X),
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
    /// More nodes than a u32 counts, or than there may be memory for.
    #[error("the forest has too many nodes, or too many for its file's size")]
    TooLarge,
}

/// Which node of a tree is asked for, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// Its place in the tree's own list.
    pub(crate) node: usize,
    /// Its place among the tree's nodes that were reached.
    own: usize,
}

/// Collects trees, checks them, and lays them out as a [`Forest`].
#[derive(Debug)]
pub struct Builder<X: Scalar = f32, V = f32> {
    features: usize,
    max_bytes: usize,
    base: Vec<V>,
    columns: Vec<Column>,
    /// By feature, its columns, by missing-goes-left; 0 for none, for that is [`Column::Lowest`].
    column_of: Vec<[u32; 2]>,
    trees: Vec<Tree>,
    nodes: Vec<Packed<X::Key, u32>>,
    /// By node, a leaf's value, if leaves have one.
    values: Vec<V>,
    /// By node, which list is a leaf's, if leaves have one for each output.
    lists: Vec<u32>,
    listed: Vec<V>,
    /// Categories in all columns' sets.
    set_items: usize,
    /// Of the tree that is being added: which nodes were reached, and in which order.
    reached: Vec<bool>,
    order: Vec<u32>,
}

impl<X: Scalar, V: Scalar> Builder<X, V> {
    /// For rows of `features` values, with one output for each of the base scores, to which the leaves are added.
    #[must_use]
    pub fn new(features: usize, base: Vec<V>) -> Self {
        Self {
            features,
            max_bytes: usize::MAX,
            base,
            columns: vec![Column::Lowest],
            column_of: Vec::new(),
            trees: Vec::new(),
            nodes: Vec::new(),
            values: Vec::new(),
            lists: Vec::new(),
            listed: Vec::new(),
            set_items: 0,
            reached: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Limits the memory that building, and predicting for a few rows, takes: to about that much, beside some 16 MB.
    #[must_use]
    pub fn limited_to(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Makes rows longer, for who learns only from the trees how long they are.
    pub fn widen(&mut self, features: usize) {
        self.features = self.features.max(features);
    }

    /// Adds a tree whose root is `nodes[0]` and whose leaves are added to `output`, or, if they have a value for each output, to
    /// all of them. Nodes that the root doesn't reach are left out.
    ///
    /// # Errors
    ///
    /// [`TreeError`]; the builder is then of no use.
    pub fn add(&mut self, output: usize, nodes: &[Node<X, V>]) -> Result<(), TreeError>
    where
        X: Clone,
        V: Clone,
    {
        self.add_with(output, nodes.len(), |place| Ok(nodes[place].clone()))
    }

    /// Adds a tree as [`add`](Self::add) does, asking for each of its `count` nodes once at most, so that no list of them need be made.
    ///
    /// # Errors
    ///
    /// [`TreeError`], or `node`'s own; the builder is then of no use.
    pub fn add_with<E: From<TreeError>>(
        &mut self,
        output: usize,
        count: usize,
        mut node: impl FnMut(usize) -> Result<Node<X, V>, E>,
    ) -> Result<(), E> {
        self.add_by(output, count, |builder, spot| {
            match node(spot.node)? {
                Node::Leaf(value) => builder.add_leaf(spot, value),
                Node::Leaves(values) => builder.add_leaves(spot, &values),
                Node::Split { feature, test, missing_left, left, right } => {
                    builder.add_split(spot, feature, test, missing_left, [left, right])
                }
            }
            .map_err(E::from)
        })
    }

    /// Adds a tree as [`add_with`](Self::add_with) does, where `put` adds the node that it is asked for itself, by
    /// [`add_leaf`](Self::add_leaf), [`add_leaves`](Self::add_leaves) or [`add_split`](Self::add_split): a [`Node`] in between takes as long as
    /// the adding.
    ///
    /// # Errors
    ///
    /// Those of [`add_with`](Self::add_with).
    pub(crate) fn add_by<E: From<TreeError>>(
        &mut self,
        output: usize,
        count: usize,
        mut put: impl FnMut(&mut Self, Spot) -> Result<(), E>,
    ) -> Result<(), E> {
        let outputs = self.base.len();
        if output >= outputs {
            return Err(TreeError::NoSuchOutput { output, outputs }.into());
        }
        if count == 0 {
            return Err(TreeError::Empty.into());
        }
        let start = self.nodes.len();
        if u32::try_from(start.saturating_add(count)).is_err() {
            return Err(TreeError::TooLarge.into());
        }
        self.check_size(count)?;
        // Breadth first, so that siblings lie side by side and the hot top levels share cache lines.
        self.reached.clear();
        self.reached.resize(count, false);
        self.reached[0] = true;
        self.order.clear();
        self.order.push(0);
        let (mut own, mut depth, mut level_end) = (0, 0, 1);
        while let Some(node) = self.order.get(own).map(|node| *node as usize) {
            if own == level_end {
                depth += 1;
                level_end = self.order.len();
            }
            put(self, Spot { node, own })?;
            debug_assert_eq!(self.nodes.len(), start + own + 1, "one node for each that is asked for");
            own += 1;
        }
        let nodes = (self.nodes.len() - start) as u32;
        self.trees.push(Tree { start: start as u32, nodes, depth, output: output as u32 });
        self.check_size(0)?;
        Ok(())
    }

    /// Adds a leaf with one value.
    #[inline(always)]
    pub(crate) fn add_leaf(&mut self, spot: Spot, value: V) -> Result<(), TreeError> {
        if !self.listed.is_empty() {
            return Err(TreeError::UnlikeLeaves { node: spot.node });
        }
        // Splits since the last leaf have none.
        self.values.resize(self.nodes.len(), V::ZERO);
        self.values.push(value);
        self.nodes.push(Packed { key: X::HIGHEST, column: 0, left: 0 });
        Ok(())
    }

    /// Adds a leaf with a value for each output.
    pub(crate) fn add_leaves(&mut self, spot: Spot, values: &[V]) -> Result<(), TreeError> {
        let outputs = self.base.len();
        if values.len() != outputs || !self.values.is_empty() {
            return Err(TreeError::UnlikeLeaves { node: spot.node });
        }
        self.lists.resize(self.nodes.len(), 0);
        self.nodes.push(Packed { key: X::HIGHEST, column: 0, left: 0 });
        // Never more lists than nodes.
        self.lists.push((self.listed.len() / outputs) as u32);
        self.listed.extend_from_slice(values);
        Ok(())
    }

    /// Adds an inner node: see [`Node::Split`].
    #[inline(always)]
    pub(crate) fn add_split(
        &mut self,
        spot: Spot,
        feature: usize,
        test: Test<X>,
        missing_left: bool,
        children: [usize; 2],
    ) -> Result<(), TreeError> {
        let Spot { node, own } = spot;
        if feature >= self.features {
            return Err(TreeError::NoSuchFeature { node, feature, features: self.features });
        }
        let placed = self.order.len();
        for child in children {
            match self.reached.get_mut(child) {
                None => return Err(TreeError::NoSuchChild { node, child }),
                Some(true) => return Err(TreeError::ReachedTwice { node: child }),
                Some(reached) => *reached = true,
            }
            // As many as fit a u32, or less.
            self.order.push(child as u32);
        }
        let (column, key) = self.compile(feature, test, missing_left)?;
        self.nodes.push(Packed { key, column, left: (placed - own) as u32 });
        Ok(())
    }

    /// The first `trees` of the trees, for rows of `features` values and summed onto other base scores than it was made with; none
    /// if [`add`](Self::add) would not have taken one of the trees then.
    pub(crate) fn refit(mut self, features: usize, base: &[V], trees: usize) -> Option<Self> {
        let too_few = if self.listed.is_empty() { self.base.len() > base.len() } else { self.base.len() != base.len() };
        if too_few || self.trees.len() < trees || self.columns.iter().any(|column| column.feature() >= Some(features)) {
            return None;
        }
        if let Some(tree) = self.trees.get(trees) {
            let nodes = tree.start as usize;
            self.nodes.truncate(nodes);
            self.values.truncate(nodes);
            self.lists.truncate(nodes);
            self.trees.truncate(trees);
            // They are in the order of their first use.
            let columns = self.nodes.iter().map(|node| node.column as usize + 1).max();
            self.columns.truncate(columns.unwrap_or(1));
        }
        self.features = features;
        self.base = base.to_vec();
        Some(self)
    }

    /// How many trees there are.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many nodes they have, those left out not counted.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Refuses to take more memory than allowed, with a tree of `nodes` nodes that is about to come.
    fn check_size(&self, nodes: usize) -> Result<(), TreeError> {
        // Lists double as they grow; lists of nodes are made a power of two long.
        let all = (self.nodes.len() + nodes).next_power_of_two();
        let leaf = if self.listed.is_empty() { size_of::<V>() } else { size_of::<u32>() };
        // In a batch, each column has a key for each lane.
        let column = size_of::<Column>() + LANES * size_of::<X::Key>();
        let bytes = [
            // While nodes are made narrow, there are both.
            all.saturating_mul(size_of::<Packed<X::Key, u16>>() + size_of::<Packed<X::Key, u32>>() + leaf),
            // While a tree is added.
            nodes.saturating_mul(size_of::<bool>() + 2 * size_of::<u32>()),
            self.columns.len().saturating_mul(2 * column),
            self.column_of.len().saturating_mul(2 * size_of::<[u32; 2]>()),
            self.set_items.saturating_mul(size_of::<u32>()),
            self.trees.len().saturating_mul(2 * size_of::<Tree>() + size_of::<Turn>()),
            self.listed.len().saturating_mul(2 * size_of::<V>()),
        ];
        let bytes = bytes.into_iter().fold(0_usize, usize::saturating_add);
        if bytes <= self.max_bytes { Ok(()) } else { Err(TreeError::TooLarge) }
    }

    /// The column that a split compares, and the key that goes left if the column's is below it.
    #[inline(always)]
    fn compile(&mut self, feature: usize, test: Test<X>, missing_left: bool) -> Result<(u32, X::Key), TreeError> {
        let key = match test {
            // No number's key is below this, a missing one's is.
            Test::Below(threshold) | Test::AtMost(threshold) if threshold.is_nan() => X::LOW,
            Test::Below(threshold) => threshold.key(),
            Test::AtMost(threshold) => threshold.key_above(),
            Test::NotEqual(value) => {
                self.columns.push(Column::Equal { feature, key: value.key().into(), missing_left });
                self.check_size(0)?;
                return Ok(((self.columns.len() - 1) as u32, X::LOW));
            }
            Test::NotIn(mut set) => {
                set.sort_unstable();
                self.set_items += set.len();
                self.columns.push(Column::Categories { feature, set: set.into(), missing_left });
                self.check_size(0)?;
                return Ok(((self.columns.len() - 1) as u32, X::LOW));
            }
        };
        if self.column_of.len() <= feature {
            self.column_of.resize(feature + 1, [0; 2]);
        }
        let column = &mut self.column_of[feature][usize::from(missing_left)];
        if *column == 0 {
            *column = self.columns.len() as u32;
            self.columns.push(if missing_left { Column::MissingLow(feature) } else { Column::MissingHigh(feature) });
        }
        let column = *column;
        Ok((column, key))
    }

    /// The forest.
    #[must_use]
    pub fn build(self) -> Forest<X, V> {
        let Self { features, max_bytes, base, columns, trees, nodes, mut values, mut lists, listed, .. } = self;
        let len = nodes.len().next_power_of_two();
        let nodes = Nodes::of(nodes, columns.len(), &trees);
        let leaves = if listed.is_empty() {
            values.resize(len, V::ZERO);
            Leaves::One(values)
        } else {
            lists.resize(len, 0);
            Leaves::All(All { lists, values: listed })
        };
        let turns = turns(&trees);
        let (layout, blend) = (Layout::Walk, Lazy(OnceLock::new()));
        let forest = Forest { features, base, columns, trees, turns, nodes, leaves, layout, blend_bytes: 0, blend };
        forest.laid_out_within(Layout::best(), max_bytes)
    }
}
