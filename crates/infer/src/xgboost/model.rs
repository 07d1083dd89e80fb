//! The structure of XGBoost's model files
//! (<https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html>, `doc/model.schema`), from 1.0 to 3.x.

use crate::load_error::{LoadError, NodeError};
use crate::source::{Source, field};
use crate::trees::{Builder, MAX_FEATURES, Spot, Test};

/// Margins a row may have: bounds what a row's answer takes.
pub(super) const MAX_OUTPUTS: usize = 1 << 16;

/// A model file's content as far as prediction needs it, not yet checked for sense.
#[derive(Debug, Default)]
pub(super) struct RawModel {
    pub(super) version: Vec<i64>,
    pub(super) feature_names: Vec<String>,
    pub(super) feature_types: Vec<String>,
    pub(super) best_iteration: Option<String>,
    pub(super) objective: String,
    pub(super) base_score: String,
    pub(super) num_class: String,
    pub(super) num_feature: String,
    pub(super) num_target: String,
    pub(super) booster: RawBooster,
}

/// A booster; DART's lies around a gbtree.
#[derive(Debug, Default)]
pub(super) struct RawBooster {
    pub(super) name: String,
    pub(super) num_parallel_tree: String,
    /// Where each boosting round's trees begin, and where the last one's end; since 2.0.
    pub(super) iteration_indptr: Vec<i64>,
    /// The class or target that each tree adds to.
    pub(super) tree_info: Vec<u32>,
    /// How many trees there are; [`each_tree`] reads them.
    pub(super) trees: usize,
    /// The same trees, if they could be added at once.
    pub(super) early: Option<EarlyTrees>,
    /// DART's factor for each tree.
    pub(super) weight_drop: Vec<f32>,
    /// gblinear's: by feature and then by output, and at last the biases.
    pub(super) weights: Vec<f32>,
}

/// Trees that were added while they were passed over, before what they need to be checked against was known: nearly always it comes
/// out that they were right, and the file need not be read again.
#[derive(Debug)]
pub(super) struct EarlyTrees {
    pub(super) builder: Builder,
    /// Whether any split is on categories.
    pub(super) categories: bool,
}

/// A tree as parallel arrays, one entry a node.
#[derive(Debug, Default)]
pub(super) struct RawTree {
    left: Vec<i32>,
    /// With vectors in the leaves, a leaf has its vector's place here.
    right: Vec<i32>,
    feature: Vec<i32>,
    /// A split's threshold, or a leaf's value.
    condition: Vec<f32>,
    default_left: Vec<u8>,
    /// 1 for a split on categories; absent before 1.5.
    split_type: Vec<u8>,
    /// The categories of all such splits, one after another.
    categories: Vec<i32>,
    /// Which nodes they belong to, and where each one's begin and how many they are.
    category_nodes: Vec<u32>,
    category_starts: Vec<u32>,
    category_counts: Vec<u32>,
    /// By node, its place in those three, from 1; empty if no split is on categories.
    set_of: Vec<u32>,
    /// How many values a leaf has; 0 if it isn't said, which is one.
    leaf_width: usize,
    /// The leaves' vectors, one after another.
    leaf_weights: Vec<f32>,
}

impl RawModel {
    /// Reads a file from which a forest of at most `forest_bytes` may be made.
    pub(super) fn read(source: &mut impl Source, forest_bytes: usize) -> Result<Self, LoadError> {
        let mut model = Self::default();
        let mut found = false;
        source.object(|source, key| match key {
            "version" => {
                model.version = source.numbers()?;
                Ok(())
            }
            "learner" => {
                found = true;
                model.read_learner(source, forest_bytes)
            }
            _ => source.skip(),
        })?;
        source.finish()?;
        if found { Ok(model) } else { Err(LoadError::Missing("learner")) }
    }

    fn read_learner<S: Source>(&mut self, source: &mut S, forest_bytes: usize) -> Result<(), LoadError> {
        source.object(|source, key| {
            match key {
                "attributes" => source.object(|source, key| match key {
                    "best_iteration" => {
                        self.best_iteration = Some(source.string()?);
                        Ok(())
                    }
                    _ => source.skip(),
                })?,
                "feature_names" => self.feature_names = source.strings()?,
                "feature_types" => self.feature_types = source.strings()?,
                "learner_model_param" => source.object(|source, key| {
                    match key {
                        "base_score" => self.base_score = source.string()?,
                        "num_class" => self.num_class = source.string()?,
                        "num_feature" => self.num_feature = source.string()?,
                        "num_target" => self.num_target = source.string()?,
                        _ => source.skip()?,
                    }
                    Ok(())
                })?,
                "objective" => source.object(|source, key| match key {
                    "name" => {
                        self.objective = source.string()?;
                        Ok(())
                    }
                    _ => source.skip(),
                })?,
                "gradient_booster" => self.booster = RawBooster::read(source, forest_bytes)?,
                _ => source.skip()?,
            }
            Ok(())
        })
    }
}

impl RawBooster {
    fn read<S: Source>(source: &mut S, forest_bytes: usize) -> Result<Self, LoadError> {
        let mut booster = Self::default();
        source.object(|source, key| {
            match key {
                "name" => booster.name = source.string()?,
                "weight_drop" => booster.weight_drop = source.numbers()?,
                "model" => booster.read_model(source, forest_bytes)?,
                // In DART's, which names itself outside.
                "gbtree" => source.object(|source, key| match key {
                    "model" => booster.read_model(source, forest_bytes),
                    _ => source.skip(),
                })?,
                _ => source.skip()?,
            }
            Ok(())
        })?;
        Ok(booster)
    }

    fn read_model<S: Source>(&mut self, source: &mut S, forest_bytes: usize) -> Result<(), LoadError> {
        source.object(|source, key| {
            match key {
                "gbtree_model_param" => source.object(|source, key| match key {
                    "num_parallel_tree" => {
                        self.num_parallel_tree = source.string()?;
                        Ok(())
                    }
                    _ => source.skip(),
                })?,
                "iteration_indptr" => self.iteration_indptr = source.numbers()?,
                "tree_info" => {
                    self.tree_info = source.numbers()?;
                    // Trees that came before were added to other outputs, if any did.
                    self.early = None;
                }
                "weights" => self.weights = source.numbers()?,
                "trees" => self.pass_over_trees(source, forest_bytes)?,
                _ => source.skip()?,
            }
            Ok(())
        })
    }

    /// Counts the trees, and adds them to a forest if what comes before them says which of a row's outputs they belong to.
    fn pass_over_trees<S: Source>(&mut self, source: &mut S, forest_bytes: usize) -> Result<(), LoadError> {
        let outputs = self.tree_info.iter().max().map_or(MAX_OUTPUTS, |last| *last as usize) + 1;
        self.trees = 0;
        self.early = (outputs <= MAX_OUTPUTS).then(|| EarlyTrees {
            builder: Builder::new(MAX_FEATURES, vec![0.0; outputs]).limited_to(forest_bytes),
            categories: false,
        });
        let mut tree = RawTree::default();
        source.array(|source| {
            let place = self.trees;
            self.trees += 1;
            let Some(early) = &mut self.early else { return source.skip() };
            tree.read(source)?;
            let added = tree.check(source, place).map_err(NodeError::from).and_then(|()| {
                let output = self.tree_info.get(place).map_or(usize::MAX, |output| *output as usize);
                tree.add_to(&mut early.builder, output, None)
            });
            early.categories |= tree.has_categories();
            if added.is_err() {
                // What is wrong with it, if it is needed, is said when the trees are read again.
                self.early = None;
            }
            Ok(())
        })
    }
}

/// Calls `each` with every tree, and its place.
///
/// This is a second pass over the file, for what trees need to be checked against comes after them, and all of them together would
/// take more memory than the forest made of them.
pub(super) fn each_tree<S: Source>(
    source: &mut S,
    mut each: impl FnMut(usize, &RawTree) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let (mut place, mut tree) = (0, RawTree::default());
    let mut trees = |source: &mut S| {
        source.array(|source| {
            tree.read(source)?;
            tree.check(source, place)?;
            place += 1;
            each(place - 1, &tree)
        })
    };
    let mut model = |source: &mut S| within(source, "trees", &mut trees);
    within(source, "learner", &mut |source| {
        within(source, "gradient_booster", &mut |source| {
            source.object(|source, key| match key {
                "model" => model(source),
                "gbtree" => within(source, "model", &mut model),
                _ => source.skip(),
            })
        })
    })
}

/// Of an object, only this key's value.
fn within<S: Source>(
    source: &mut S,
    wanted: &str,
    read: &mut impl FnMut(&mut S) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    source.object(|source, key| if key == wanted { read(source) } else { source.skip() })
}

impl RawTree {
    /// Reads a tree in place of the one before, whose lists' room is used again.
    fn read<S: Source>(&mut self, source: &mut S) -> Result<(), LoadError> {
        self.clear();
        source.fields_after(|source, key| match key {
            None => self.read_usual(source),
            Some(b"left_children") => source.numbers_into(&mut self.left),
            Some(b"right_children") => source.numbers_into(&mut self.right),
            Some(b"split_indices") => source.numbers_into(&mut self.feature),
            Some(b"split_conditions") => source.numbers_into(&mut self.condition),
            Some(b"default_left") => source.numbers_into(&mut self.default_left),
            Some(b"split_type") => source.numbers_into(&mut self.split_type),
            Some(b"categories") => source.numbers_into(&mut self.categories),
            Some(b"categories_nodes") => source.numbers_into(&mut self.category_nodes),
            Some(b"categories_segments") => source.numbers_into(&mut self.category_starts),
            Some(b"categories_sizes") => source.numbers_into(&mut self.category_counts),
            Some(b"leaf_weights") => source.numbers_into(&mut self.leaf_weights),
            Some(b"tree_param") => {
                source.fields_after(|source, key| read_leaf_width(source, key, &mut self.leaf_width))
            }
            Some(_) => source.skip(),
        })
    }

    /// Reads the fields that come in the order in which XGBoost writes them, up to the first that doesn't: telling keys apart would take
    /// half of the time.
    fn read_usual<S: Source>(&mut self, source: &mut S) -> Result<(), LoadError> {
        let _ = source.skip_first(field!("base_weights", Singles))?
            && source.next_numbers(field!("categories", Integers), &mut self.categories)?
            && source.next_numbers(field!("categories_nodes", Integers), &mut self.category_nodes)?
            && source.next_numbers(field!("categories_segments", Longs), &mut self.category_starts)?
            && source.next_numbers(field!("categories_sizes", Longs), &mut self.category_counts)?
            && source.next_numbers(field!("default_left", Bytes), &mut self.default_left)?
            && source.skip_next(field!("id", Integer))?
            && source.next_numbers(field!("left_children", Integers), &mut self.left)?
            && source.skip_next(field!("loss_changes", Singles))?
            && source.skip_next(field!("parents", Integers))?
            && source.next_numbers(field!("right_children", Integers), &mut self.right)?
            && source.next_numbers(field!("split_conditions", Singles), &mut self.condition)?
            && source.next_numbers(field!("split_indices", Integers), &mut self.feature)?
            && source.next_numbers(field!("split_type", Bytes), &mut self.split_type)?
            && source.skip_next(field!("sum_hessian", Singles))?
            && source.last_fields(field!("tree_param", Object), |source, key| {
                read_leaf_width(source, key, &mut self.leaf_width)
            })?;
        Ok(())
    }

    /// What a tree lacks may not be left from the one before.
    fn clear(&mut self) {
        let Self {
            left,
            right,
            feature,
            condition,
            default_left,
            split_type,
            categories,
            category_nodes,
            category_starts,
            category_counts,
            set_of,
            leaf_width,
            leaf_weights,
        } = self;
        for list in [left, right, feature, categories] {
            list.clear();
        }
        for list in [category_nodes, category_starts, category_counts, set_of] {
            list.clear();
        }
        for list in [condition, leaf_weights] {
            list.clear();
        }
        for list in [default_left, split_type] {
            list.clear();
        }
        *leaf_width = 0;
    }

    /// Whether the lists fit together.
    fn check<S: Source>(&mut self, source: &mut S, place: usize) -> Result<(), LoadError> {
        let nodes = self.left.len();
        let lengths = [self.right.len(), self.feature.len(), self.condition.len(), self.default_left.len()];
        let types = self.split_type.len();
        if nodes == 0 || lengths != [nodes; 4] || (types != nodes && types != 0) {
            return Err(LoadError::Invalid(format!("tree {place} has arrays of different lengths, or no nodes")));
        }
        if !self.category_nodes.is_empty() {
            source.budget().reserve(&mut self.set_of, nodes)?;
            self.place_sets()?;
        }
        if !self.leaf_weights.is_empty() || self.leaf_width > 1 {
            self.check_vectors()?;
        }
        Ok(())
    }

    fn check_vectors(&self) -> Result<(), LoadError> {
        let leaves = self.left.iter().filter(|left| **left == -1).count();
        if self.leaf_weights.is_empty() {
            let old = "trees with a vector in each leaf (multi_strategy=multi_output_tree) but no leaf_weights, as by XGBoost before 3.2,";
            return Err(LoadError::Unsupported(old.into()));
        }
        if leaves.checked_mul(self.leaf_width.max(1)) != Some(self.leaf_weights.len()) {
            return Err(LoadError::Invalid("a tree's leaf_weights are not as many as its leaves need".into()));
        }
        Ok(())
    }

    /// Whether any split is on categories.
    pub(super) fn has_categories(&self) -> bool {
        self.split_type.contains(&1)
    }

    /// Adds the tree to a forest, its leaves weighted as DART does.
    pub(super) fn add_to(&self, builder: &mut Builder, output: usize, weight: Option<f32>) -> Result<(), NodeError> {
        builder.add_by(output, self.left.len(), |builder, spot| self.add_node(builder, spot, weight))
    }

    #[inline(always)]
    fn add_node(&self, builder: &mut Builder, spot: Spot, weight: Option<f32>) -> Result<(), NodeError> {
        let node = spot.node;
        if self.left[node] == -1 {
            if !self.leaf_weights.is_empty() {
                return self.add_vector(builder, spot, weight);
            }
            return Ok(builder.add_leaf(spot, weighted(self.condition[node], weight))?);
        }
        let index = |value: i32| usize::try_from(value).map_err(|_| negative(node, value));
        let (feature, children) = (index(self.feature[node])?, [index(self.left[node])?, index(self.right[node])?]);
        let missing_left = self.default_left[node] != 0;
        // A call for each kind: one call with either would put the test into memory, and wait for it to come back.
        match self.split_type.get(node) {
            None | Some(0) => {
                builder.add_split(spot, feature, Test::Below(self.condition[node]), missing_left, children)?;
            }
            Some(1) => builder.add_split(spot, feature, Test::NotIn(self.set(node)?), missing_left, children)?,
            Some(other) => return Err(LoadError::Unsupported(format!("split type {other}")).into()),
        }
        Ok(())
    }

    /// Adds a leaf with a vector.
    fn add_vector(&self, builder: &mut Builder, spot: Spot, weight: Option<f32>) -> Result<(), NodeError> {
        let width = self.leaf_width.max(1);
        let leaf = usize::try_from(self.right[spot.node]).ok().and_then(|leaf| leaf.checked_mul(width));
        let values = leaf.and_then(|start| self.leaf_weights.get(start..)?.get(..width));
        let values =
            values.ok_or_else(|| LoadError::Invalid(format!("node {} has a vector that doesn't exist", spot.node)))?;
        let values: Vec<f32> = values.iter().map(|value| weighted(*value, weight)).collect();
        Ok(builder.add_leaves(spot, &values)?)
    }

    /// Finds each node's set of categories.
    fn place_sets(&mut self) -> Result<(), LoadError> {
        self.set_of.resize(self.left.len(), 0);
        let counts = [self.category_starts.len(), self.category_counts.len()];
        if counts != [self.category_nodes.len(); 2] {
            return Err(bad_categories());
        }
        // Sets may not overlap, lest many long ones take much more memory than the file.
        let mut end = 0_u32;
        for (at, &node) in self.category_nodes.iter().enumerate() {
            let start = self.category_starts[at];
            if start < end {
                return Err(bad_categories());
            }
            end = start.checked_add(self.category_counts[at]).ok_or_else(bad_categories)?;
            let slot = self.set_of.get_mut(node as usize).ok_or_else(bad_categories)?;
            *slot = at as u32 + 1;
        }
        if end as usize > self.categories.len() { Err(bad_categories()) } else { Ok(()) }
    }

    #[cold]
    fn set(&self, node: usize) -> Result<Vec<u32>, LoadError> {
        let Some(at) = self.set_of.get(node).and_then(|at| at.checked_sub(1)) else {
            return Err(LoadError::Invalid(format!("node {node} has no categories")));
        };
        let (start, count) = (self.category_starts[at as usize], self.category_counts[at as usize]);
        let categories = &self.categories[start as usize..][..count as usize];
        categories.iter().map(|&category| u32::try_from(category).map_err(|_| bad_categories())).collect()
    }
}

/// Reads a field of a tree's parameters, or those that come in XGBoost's order.
#[inline(always)]
fn read_leaf_width<S: Source>(source: &mut S, key: Option<&[u8]>, width: &mut usize) -> Result<(), LoadError> {
    match key {
        None => {
            let _ = source.skip_next(field!("num_deleted", Text))?
                && source.skip_next(field!("num_feature", Text))?
                && source.skip_next(field!("num_nodes", Text))?
                && source.last_text(field!("size_leaf_vector", Text), |text| *width = leaf_width(text))?;
            Ok(())
        }
        Some(b"size_leaf_vector") => {
            *width = source.with_text(leaf_width)?;
            Ok(())
        }
        Some(_) => source.skip(),
    }
}

fn leaf_width(text: &[u8]) -> usize {
    match text {
        b"0" => 0,
        b"1" => 1,
        // What is no number is no size that fits.
        _ => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX),
    }
}

fn weighted(value: f32, weight: Option<f32>) -> f32 {
    weight.map_or(value, |weight| value * weight)
}

#[cold]
fn negative(node: usize, index: i32) -> LoadError {
    LoadError::Invalid(format!("node {node} has the negative index {index}"))
}

fn bad_categories() -> LoadError {
    LoadError::Invalid("the categories of a tree's splits don't fit together".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Json, Ubj};

    /// What is left of the first tree after the fields that are read at once: nothing may be wrong with the others, only slow.
    fn left_over<S: Source>(mut source: S) -> Vec<String> {
        let mut left = Vec::new();
        let mut trees = 0;
        let mut tree = |source: &mut S| {
            trees += 1;
            source.fields_after(|source, key| match key {
                None => RawTree::default().read_usual(source),
                Some(key) => {
                    left.push(String::from_utf8_lossy(key).into_owned());
                    source.skip()
                }
            })
        };
        let mut trees_of = |source: &mut S| source.array(&mut tree);
        let mut model = |source: &mut S| within(source, "trees", &mut trees_of);
        let mut booster = |source: &mut S| within(source, "model", &mut model);
        let mut learner = |source: &mut S| within(source, "gradient_booster", &mut booster);
        within(&mut source, "learner", &mut learner).expect("a model");
        assert!(trees > 1);
        left.sort();
        left.dedup();
        left
    }

    #[test]
    fn xgboosts_own_files_are_read_without_telling_keys_apart() {
        assert_eq!(left_over(Ubj::new(include_bytes!("../../tests/reference/3.2.0/softprob.ubj"))), [""; 0]);
        // An object's last field is left in JSON.
        assert_eq!(left_over(Json::new(include_bytes!("../../tests/reference/3.2.0/softprob.json"))), ["tree_param"]);
    }
}
