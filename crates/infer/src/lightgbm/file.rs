//! LightGBM's text format: lines of `key=value`, a header and then the trees
//! (<https://github.com/microsoft/LightGBM>, `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp`).

use std::collections::HashMap;
use std::str::FromStr;

use super::{LightGbmModel, LoadError, Objective, Reading, ReadingKind};
use crate::torch::short;
use crate::trees::{Builder, Node, Test, TreeError};

/// In a split's `decision_type`: it is on categories; missing goes left; how missing values are told.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING: u8 = 12;

/// Whether the bytes are meant to be such a file: it begins with `tree` and a version.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"tree").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"version="))
}

/// The keys that are read. Others are not kept: a file of nothing but keys would take many times its size.
const KEYS: [&str; 17] = [
    "version",
    "objective",
    "feature_names",
    "max_feature_idx",
    "num_tree_per_iteration",
    "num_class",
    "average_output",
    "is_linear",
    "leaf_value",
    "num_leaves",
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "cat_boundaries",
    "cat_threshold",
];

/// The lines of a header or of a tree, by their keys, with their numbers.
#[derive(Default)]
struct Section<'a>(HashMap<&'a str, (usize, &'a str)>);

impl<'a> Section<'a> {
    fn text(&self, key: &'static str) -> Result<&'a str, LoadError> {
        self.0.get(key).map(|(_, value)| *value).ok_or(LoadError::Missing(key))
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<T, LoadError> {
        let (line, value) = self.0.get(key).ok_or(LoadError::Missing(key))?;
        value.trim().parse().map_err(|_| LoadError::Line { line: *line, problem: "a number was expected" })
    }

    /// The line's numbers; none if there is no such line.
    fn list<T: FromStr>(&self, key: &str) -> Result<Vec<T>, LoadError> {
        let Some((line, value)) = self.0.get(key) else { return Ok(Vec::new()) };
        let problem = LoadError::Line { line: *line, problem: "numbers were expected" };
        value.split_ascii_whitespace().map(|word| word.parse().map_err(|_| problem.clone())).collect()
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<LightGbmModel, LoadError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        LoadError::Line { line, problem: "not UTF-8" }
    })?;
    let (header, trees) = sections(text)?;

    let version = header.text("version")?;
    if !matches!(version, "v3" | "v4") {
        return Err(LoadError::Unsupported(format!("LightGBM's format {}", short(version))));
    }
    let objective = header.text("objective")?;
    let meaning = Objective::parse(objective)?;
    let feature_names: Vec<String> =
        header.text("feature_names")?.split_ascii_whitespace().map(ToOwned::to_owned).collect();
    let last: usize = header.number("max_feature_idx")?;
    if last.checked_add(1) != Some(feature_names.len()) {
        return Err(LoadError::Invalid(format!("{} feature names, but the last is {last}", feature_names.len())));
    }
    let outputs: usize = header.number("num_tree_per_iteration")?;
    let count = trees.len();
    if outputs == 0 || count == 0 || !count.is_multiple_of(outputs) {
        return Err(LoadError::Invalid(format!("{count} trees, {outputs} in each iteration")));
    }
    let classes: usize = header.number("num_class")?;
    if classes != outputs || (meaning == Objective::Softmax && outputs < 2) {
        return Err(LoadError::Invalid(format!("{classes} classes, but {outputs} trees in each iteration")));
    }

    let mut readings = Readings { features: feature_names.len(), ..Readings::default() };
    let mut all = Vec::new();
    for (place, tree) in trees.into_iter().enumerate() {
        all.push(nodes(&tree, place, &mut readings)?);
    }
    // A forest of leaves alone reads nothing.
    if readings.list.is_empty() {
        readings.place(0, ReadingKind::Nan);
    }
    let mut builder = Builder::new(readings.list.len(), vec![0.0; outputs]);
    for (tree, nodes) in all.into_iter().enumerate() {
        builder.add(tree % outputs, &nodes).map_err(|source| LoadError::Tree { tree, source })?;
    }
    Ok(LightGbmModel {
        feature_names,
        objective: objective.to_owned(),
        meaning,
        averaged: header.0.contains_key("average_output").then_some(count / outputs),
        trees: count,
        readings: readings.list,
        forest: builder.build(),
    })
}

/// The header and the trees. What follows them is about training, but for pandas' categories.
fn sections(text: &str) -> Result<(Section<'_>, Vec<Section<'_>>), LoadError> {
    let mut header = Section::default();
    let mut trees: Vec<Section<'_>> = Vec::new();
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_ascii()));
    if lines.next().is_none_or(|(_, line)| line != "tree") {
        return Err(LoadError::Line { line: 1, problem: "it should be `tree`" });
    }
    let mut ended = false;
    for (number, line) in lines.by_ref() {
        if line == "end of trees" {
            ended = true;
            break;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if key == "Tree" {
            if value.parse() != Ok(trees.len()) {
                return Err(LoadError::Line { line: number, problem: "the trees are not in order" });
            }
            // Millions of trees without leaves would be kept only to be refused.
            if trees.last().is_some_and(|tree| !tree.0.contains_key("leaf_value")) {
                return Err(LoadError::Missing("leaf_value"));
            }
            trees.push(Section::default());
        } else if KEYS.contains(&key) {
            let section = trees.last_mut().unwrap_or(&mut header);
            if section.0.insert(key, (number, value)).is_some() {
                return Err(LoadError::Line { line: number, problem: "its key was there before" });
            }
        }
    }
    if !ended {
        return Err(LoadError::Missing("end of trees"));
    }
    for (_, line) in lines {
        if let Some(categories) = line.strip_prefix("pandas_categorical:")
            && !matches!(categories.trim_ascii(), "null" | "[]")
        {
            return Err(LoadError::Unsupported("a frame with columns of pandas categories".into()));
        }
    }
    Ok((header, trees))
}

/// The columns that the trees see, as they are found.
#[derive(Default)]
struct Readings {
    features: usize,
    list: Vec<Reading>,
    places: HashMap<Reading, usize>,
}

impl Readings {
    fn place(&mut self, feature: usize, kind: ReadingKind) -> usize {
        let reading = Reading { feature, kind };
        let list = &mut self.list;
        *self.places.entry(reading).or_insert_with(|| {
            list.push(reading);
            list.len() - 1
        })
    }
}

/// A tree's nodes: first the splits, then the leaves.
fn nodes(tree: &Section<'_>, place: usize, readings: &mut Readings) -> Result<Vec<Node<f64, f64>>, LoadError> {
    let invalid = |why: String| LoadError::Invalid(format!("tree {place} {why}"));
    if tree.0.contains_key("is_linear") && tree.number::<u8>("is_linear")? != 0 {
        return Err(LoadError::Unsupported("a tree with linear models in its leaves (linear_tree)".into()));
    }
    let values: Vec<f64> = tree.list("leaf_value")?;
    let leaves: usize = tree.number("num_leaves")?;
    let splits = leaves.saturating_sub(1);
    let features: Vec<usize> = tree.list("split_feature")?;
    let thresholds: Vec<f64> = tree.list("threshold")?;
    let decisions: Vec<u8> = tree.list("decision_type")?;
    let children: [Vec<i64>; 2] = [tree.list("left_child")?, tree.list("right_child")?];
    // LightGBM leaves the lines of splits empty where there is one leaf, or out.
    let lengths = [features.len(), thresholds.len(), decisions.len(), children[0].len(), children[1].len()];
    if leaves == 0 || values.len() != leaves || (lengths != [splits; 5] && splits > 0) {
        return Err(invalid(format!("has lists that don't fit its {leaves} leaves")));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(invalid("has a leaf that is no number".into()));
    }
    let mut sets =
        category_sets(tree).map_err(|why| why.unwrap_or_else(|| invalid("has malformed categories".into())))?;
    // A child is a split's number, or the complement of a leaf's.
    let child = |value: i64| match usize::try_from(value) {
        Ok(split) => split,
        Err(_) => usize::try_from(!value).ok().and_then(|leaf| splits.checked_add(leaf)).unwrap_or(usize::MAX),
    };

    let mut nodes = Vec::with_capacity(splits + leaves);
    for at in 0..splits {
        let (feature, threshold, decision) = (features[at], thresholds[at], decisions[at]);
        if feature >= readings.features {
            let source = TreeError::NoSuchFeature { node: at, feature, features: readings.features };
            return Err(LoadError::Tree { tree: place, source });
        }
        let [left, right] = [child(children[0][at]), child(children[1][at])];
        nodes.push(if decision & CATEGORICAL != 0 {
            let set = if threshold >= 0.0 { sets.get_mut(threshold as usize).and_then(Option::take) } else { None };
            // Here what is in the set, and nothing else, goes left.
            Node::Split {
                feature: readings.place(feature, ReadingKind::Category),
                test: Test::NotIn(set.ok_or_else(|| invalid(format!("has a split {at} without categories")))?),
                missing_left: true,
                left: right,
                right: left,
            }
        } else {
            if threshold.is_nan() {
                return Err(invalid(format!("has a split {at} without a threshold")));
            }
            let kind = match (decision & MISSING) >> 2 {
                0 => ReadingKind::NanIsZero,
                1 => ReadingKind::NanAndZero,
                2 => ReadingKind::Nan,
                other => return Err(invalid(format!("has a split {at} with missing values of kind {other}"))),
            };
            Node::Split {
                feature: readings.place(feature, kind),
                test: Test::AtMost(threshold),
                missing_left: decision & DEFAULT_LEFT != 0,
                left,
                right,
            }
        });
    }
    nodes.extend(values.into_iter().map(Node::Leaf));
    Ok(nodes)
}

/// The categories of each split on them, in the order of `cat_boundaries`; to be taken once, lest many splits on one long set take
/// much more memory than the file. An error without a reason is for the caller to name.
fn category_sets(tree: &Section<'_>) -> Result<Vec<Option<Vec<u32>>>, Option<LoadError>> {
    let bounds: Vec<usize> = tree.list("cat_boundaries").map_err(Some)?;
    let words: Vec<u32> = tree.list("cat_threshold").map_err(Some)?;
    let set = |bounds: &[usize]| {
        let words = words.get(bounds[0]..bounds[1]).ok_or(None)?;
        let bits = words.iter().enumerate().flat_map(|(at, word)| {
            (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| u32::try_from(at * 32 + bit).ok())
        });
        let mut set = Vec::with_capacity(words.iter().map(|word| word.count_ones() as usize).sum());
        for bit in bits {
            set.push(bit.ok_or(None)?);
        }
        Ok(Some(set))
    };
    // In order, so that sets don't overlap.
    if !bounds.is_sorted() {
        return Err(None);
    }
    bounds.windows(2).map(set).collect()
}
