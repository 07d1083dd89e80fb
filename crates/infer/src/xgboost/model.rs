//! The structure of XGBoost's model files
//! (<https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html>, `doc/model.schema`), from 1.0 to 3.x.

use super::LoadError;
use super::source::Source;
use crate::trees::{Node, Test};

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
    pub(super) tree_info: Vec<i64>,
    pub(super) trees: Vec<RawTree>,
    /// DART's factor for each tree.
    pub(super) weight_drop: Vec<f32>,
}

/// A tree as parallel arrays, one entry a node.
#[derive(Debug, Default)]
pub(super) struct RawTree {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<i64>,
    /// A split's threshold, or a leaf's value.
    condition: Vec<f32>,
    default_left: Vec<i64>,
    /// 1 for a split on categories; absent before 1.5.
    split_type: Vec<i64>,
    /// The categories of all such splits, one after another.
    categories: Vec<i64>,
    /// Which nodes they belong to, and where each one's begin and how many they are.
    category_nodes: Vec<i64>,
    category_starts: Vec<i64>,
    category_counts: Vec<i64>,
    size_leaf_vector: String,
}

impl RawModel {
    pub(super) fn read(source: &mut impl Source) -> Result<Self, LoadError> {
        let mut model = Self::default();
        let mut found = false;
        source.object(|source, key| match key {
            "version" => {
                model.version = source.integers()?;
                Ok(())
            }
            "learner" => {
                found = true;
                model.read_learner(source)
            }
            _ => source.skip(),
        })?;
        source.finish()?;
        if found { Ok(model) } else { Err(LoadError::Missing("learner")) }
    }

    fn read_learner<S: Source>(&mut self, source: &mut S) -> Result<(), LoadError> {
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
                "gradient_booster" => self.booster = RawBooster::read(source)?,
                _ => source.skip()?,
            }
            Ok(())
        })
    }
}

impl RawBooster {
    fn read<S: Source>(source: &mut S) -> Result<Self, LoadError> {
        let mut booster = Self::default();
        source.object(|source, key| {
            match key {
                "name" => booster.name = source.string()?,
                "weight_drop" => booster.weight_drop = source.floats()?,
                "model" => booster.read_model(source)?,
                // In DART's, which names itself outside.
                "gbtree" => source.object(|source, key| match key {
                    "model" => booster.read_model(source),
                    _ => source.skip(),
                })?,
                _ => source.skip()?,
            }
            Ok(())
        })?;
        Ok(booster)
    }

    fn read_model<S: Source>(&mut self, source: &mut S) -> Result<(), LoadError> {
        source.object(|source, key| {
            match key {
                "gbtree_model_param" => source.object(|source, key| match key {
                    "num_parallel_tree" => {
                        self.num_parallel_tree = source.string()?;
                        Ok(())
                    }
                    _ => source.skip(),
                })?,
                "iteration_indptr" => self.iteration_indptr = source.integers()?,
                "tree_info" => self.tree_info = source.integers()?,
                "trees" => {
                    self.trees.clear();
                    source.array(|source| {
                        self.trees.push(RawTree::read(source, self.trees.len())?);
                        Ok(())
                    })?;
                }
                _ => source.skip()?,
            }
            Ok(())
        })
    }
}

impl RawTree {
    fn read<S: Source>(source: &mut S, place: usize) -> Result<Self, LoadError> {
        let mut tree = Self::default();
        source.object(|source, key| {
            match key {
                "left_children" => tree.left = source.integers()?,
                "right_children" => tree.right = source.integers()?,
                "split_indices" => tree.feature = source.integers()?,
                "split_conditions" => tree.condition = source.floats()?,
                "default_left" => tree.default_left = source.integers()?,
                "split_type" => tree.split_type = source.integers()?,
                "categories" => tree.categories = source.integers()?,
                "categories_nodes" => tree.category_nodes = source.integers()?,
                "categories_segments" => tree.category_starts = source.integers()?,
                "categories_sizes" => tree.category_counts = source.integers()?,
                "tree_param" => source.object(|source, key| match key {
                    "size_leaf_vector" => {
                        tree.size_leaf_vector = source.string()?;
                        Ok(())
                    }
                    _ => source.skip(),
                })?,
                _ => source.skip()?,
            }
            Ok(())
        })?;
        if !matches!(tree.size_leaf_vector.as_str(), "" | "0" | "1") {
            return Err(LoadError::Unsupported(
                "trees with a vector in each leaf (multi_strategy=multi_output_tree)".into(),
            ));
        }
        // Checked at once, lest an array of empty trees takes much more memory than the file.
        let nodes = tree.left.len();
        let lengths = [tree.right.len(), tree.feature.len(), tree.condition.len(), tree.default_left.len()];
        let types = tree.split_type.len();
        if nodes == 0 || lengths != [nodes; 4] || (types != nodes && types != 0) {
            return Err(LoadError::Invalid(format!("tree {place} has arrays of different lengths, or no nodes")));
        }
        Ok(tree)
    }

    /// Whether any split is on categories.
    pub(super) fn has_categories(&self) -> bool {
        self.split_type.contains(&1)
    }

    /// The nodes, leaves weighted as DART does.
    pub(super) fn nodes(&self, weight: Option<f32>) -> Result<Vec<Node>, LoadError> {
        let mut sets = self.category_sets()?;
        let mut nodes = Vec::with_capacity(self.left.len());
        for place in 0..self.left.len() {
            if self.left[place] == -1 {
                let value = self.condition[place];
                nodes.push(Node::Leaf(weight.map_or(value, |weight| value * weight)));
                continue;
            }
            let index = |value: i64| {
                usize::try_from(value)
                    .map_err(|_| LoadError::Invalid(format!("node {place} has the negative index {value}")))
            };
            let test = match self.split_type.get(place) {
                None | Some(0) => Test::Below(self.condition[place]),
                Some(1) => {
                    let set = sets.get_mut(place).and_then(Option::take);
                    Test::NotIn(set.ok_or_else(|| LoadError::Invalid(format!("node {place} has no categories")))?)
                }
                Some(other) => return Err(LoadError::Unsupported(format!("split type {other}"))),
            };
            nodes.push(Node::Split {
                feature: index(self.feature[place])?,
                test,
                missing_left: self.default_left[place] != 0,
                left: index(self.left[place])?,
                right: index(self.right[place])?,
            });
        }
        Ok(nodes)
    }

    /// By node, its categories; empty if no split is on categories.
    fn category_sets(&self) -> Result<Vec<Option<Vec<u32>>>, LoadError> {
        if self.category_nodes.is_empty() {
            return Ok(Vec::new());
        }
        let invalid = || LoadError::Invalid("the categories of a tree's splits don't fit together".into());
        let mut sets = vec![None; self.left.len()];
        let counts = [self.category_starts.len(), self.category_counts.len()];
        if counts != [self.category_nodes.len(); 2] {
            return Err(invalid());
        }
        // Sets may not overlap, lest many long ones take much more memory than the file.
        let mut end = 0;
        for (i, &node) in self.category_nodes.iter().enumerate() {
            let start = usize::try_from(self.category_starts[i]).map_err(|_| invalid())?;
            let count = usize::try_from(self.category_counts[i]).map_err(|_| invalid())?;
            if start < end {
                return Err(invalid());
            }
            end = start.checked_add(count).ok_or_else(invalid)?;
            let categories = self.categories.get(start..end).ok_or_else(invalid)?;
            let set = categories.iter().map(|&category| u32::try_from(category).map_err(|_| invalid()));
            let slot = usize::try_from(node).ok().and_then(|node| sets.get_mut(node)).ok_or_else(invalid)?;
            *slot = Some(set.collect::<Result<_, _>>()?);
        }
        Ok(sets)
    }
}
