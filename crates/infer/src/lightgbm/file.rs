//! LightGBM's text format: lines of `key=value`, a header and then the trees
//! (<https://github.com/microsoft/LightGBM>, `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp`).

use std::collections::HashMap;
use std::iter::Enumerate;
use std::str::{FromStr, Lines};

use super::{LightGbmModel, Objective, Reading, ReadingKind};
use crate::load_error::{LoadError, NodeError};
use crate::source::{Budget, forest_bytes};
use crate::torch::short;
use crate::trees::{Builder, MAX_FEATURES, Node, Test, TreeError};

/// In a split's `decision_type`: it is on categories; missing goes left; how missing values are told.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING: u8 = 12;

/// Trees in each iteration: bounds what a row's answer takes.
const MAX_OUTPUTS: usize = 1 << 16;

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

/// The lines of the header or of a tree, by their keys, with their numbers.
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
    fn list<T: FromStr>(&self, key: &str, budget: &mut Budget) -> Result<Vec<T>, LoadError> {
        let Some((line, value)) = self.0.get(key) else { return Ok(Vec::new()) };
        let words = || value.split_ascii_whitespace();
        let mut list = budget.list(words().count())?;
        for word in words() {
            list.push(word.parse().map_err(|_| LoadError::Line { line: *line, problem: "numbers were expected" })?);
        }
        Ok(list)
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<LightGbmModel, LoadError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        LoadError::Line { line, problem: "not UTF-8" }
    })?;
    let budget = Budget::of(bytes);
    let mut sections = Sections::new(text)?;
    let header = sections.next()?;

    let version = header.text("version")?;
    if !matches!(version, "v3" | "v4") {
        return Err(LoadError::Unsupported(format!("LightGBM's format {}", short(version))));
    }
    let objective = header.text("objective")?;
    let meaning = Objective::parse(objective)?;
    let names = header.text("feature_names")?;
    let features = names.split_ascii_whitespace().count();
    if features > MAX_FEATURES {
        return Err(LoadError::Unsupported(format!("{features} features, more than {MAX_FEATURES},")));
    }
    let last: usize = header.number("max_feature_idx")?;
    if last.checked_add(1) != Some(features) {
        return Err(LoadError::Invalid(format!("{features} feature names, but the last is {last}")));
    }
    let outputs: usize = header.number("num_tree_per_iteration")?;
    let classes: usize = header.number("num_class")?;
    if classes != outputs || (meaning == Objective::Softmax && outputs < 2) {
        return Err(LoadError::Invalid(format!("{classes} classes, but {outputs} trees in each iteration")));
    }
    if outputs == 0 || outputs > MAX_OUTPUTS {
        return Err(LoadError::Invalid(format!("{outputs} trees in each iteration")));
    }

    let mut readings = Readings { features, ..Readings::default() };
    let mut builder = Builder::new(0, vec![0.0; outputs]).limited_to(forest_bytes(bytes));
    while sections.more() {
        let place = builder.trees();
        // What this tree's lists take is free again when the next one comes.
        let mut tree = Tree::read(&sections.next()?, place, &mut budget.clone())?;
        tree.find_readings(place, &mut readings)?;
        builder.widen(readings.list.len());
        let nodes = tree.nodes();
        let node = |at| Ok(tree.node(at, place, &readings)?);
        builder.add_with(place % outputs, nodes, node).map_err(|error: NodeError| error.of(place))?;
    }
    sections.finish()?;
    let trees = builder.trees();
    if trees == 0 || !trees.is_multiple_of(outputs) {
        return Err(LoadError::Invalid(format!("{trees} trees, {outputs} in each iteration")));
    }
    // A forest of leaves alone reads nothing.
    if readings.list.is_empty() {
        readings.place(0, ReadingKind::Nan);
        builder.widen(1);
    }
    Ok(LightGbmModel {
        feature_names: names.split_ascii_whitespace().map(ToOwned::to_owned).collect(),
        objective: objective.to_owned(),
        meaning,
        averaged: header.0.contains_key("average_output").then_some(trees / outputs),
        trees,
        readings: readings.list,
        forest: builder.build(),
    })
}

/// A file's sections, one after another: the header, and each tree.
struct Sections<'a> {
    lines: Enumerate<Lines<'a>>,
    /// How many trees began.
    trees: usize,
    /// Whether the line came that ends the trees.
    ended: bool,
}

impl<'a> Sections<'a> {
    fn new(text: &'a str) -> Result<Self, LoadError> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line.trim_ascii() != "tree") {
            return Err(LoadError::Line { line: 1, problem: "it should be `tree`" });
        }
        Ok(Self { lines, trees: 0, ended: false })
    }

    /// Whether another tree has begun.
    fn more(&self) -> bool {
        !self.ended
    }

    /// The lines up to the next section, whose first line is passed over.
    fn next(&mut self) -> Result<Section<'a>, LoadError> {
        let mut section = Section::default();
        for (at, line) in self.lines.by_ref() {
            let (number, line) = (at + 1, line.trim_ascii());
            if line == "end of trees" {
                self.ended = true;
                return Ok(section);
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key == "Tree" {
                if value.parse() != Ok(self.trees) {
                    return Err(LoadError::Line { line: number, problem: "the trees are not in order" });
                }
                self.trees += 1;
                return Ok(section);
            }
            if KEYS.contains(&key) && section.0.insert(key, (number, value)).is_some() {
                return Err(LoadError::Line { line: number, problem: "its key was there before" });
            }
        }
        Err(LoadError::Missing("end of trees"))
    }

    /// What follows the trees is about training, but for pandas' categories.
    fn finish(self) -> Result<(), LoadError> {
        for (_, line) in self.lines {
            if let Some(categories) = line.trim_ascii().strip_prefix("pandas_categorical:")
                && !matches!(categories.trim_ascii(), "null" | "[]")
            {
                return Err(LoadError::Unsupported("a frame with columns of pandas categories".into()));
            }
        }
        Ok(())
    }
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

/// A tree's lists. Its nodes are first the splits and then the leaves.
struct Tree {
    features: Vec<u32>,
    thresholds: Vec<f64>,
    decisions: Vec<u8>,
    children: [Vec<i32>; 2],
    values: Vec<f64>,
    /// Where in `words` each split's categories begin, and where the last one's end.
    bounds: Vec<u32>,
    /// The categories as bits.
    words: Vec<u32>,
    /// Which of the sets were asked for; many splits on one long set would take much more memory than the file.
    taken: Vec<bool>,
}

impl Tree {
    fn read(section: &Section<'_>, place: usize, budget: &mut Budget) -> Result<Self, LoadError> {
        let invalid = |why: String| LoadError::Invalid(format!("tree {place} {why}"));
        if section.0.contains_key("is_linear") && section.number::<u8>("is_linear")? != 0 {
            return Err(LoadError::Unsupported("a tree with linear models in its leaves (linear_tree)".into()));
        }
        section.text("leaf_value")?;
        let leaves: usize = section.number("num_leaves")?;
        let splits = leaves.saturating_sub(1);
        let mut tree = Self {
            features: section.list("split_feature", budget)?,
            thresholds: section.list("threshold", budget)?,
            decisions: section.list("decision_type", budget)?,
            children: [section.list("left_child", budget)?, section.list("right_child", budget)?],
            values: section.list("leaf_value", budget)?,
            bounds: section.list("cat_boundaries", budget)?,
            words: section.list("cat_threshold", budget)?,
            taken: Vec::new(),
        };
        let Self { features, thresholds, decisions, children, values, .. } = &tree;
        let lengths = [features.len(), thresholds.len(), decisions.len(), children[0].len(), children[1].len()];
        // LightGBM leaves the lines of splits empty where there is one leaf, or out.
        if leaves == 0 || values.len() != leaves || (lengths != [splits; 5] && splits > 0) {
            return Err(invalid(format!("has lists that don't fit its {leaves} leaves")));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(invalid("has a leaf that is no number".into()));
        }
        // In order, so that sets don't overlap.
        if !tree.bounds.is_sorted() || tree.bounds.last().is_some_and(|end| *end as usize > tree.words.len()) {
            return Err(invalid("has malformed categories".into()));
        }
        let bits: usize = tree.words.iter().map(|word| word.count_ones() as usize).sum();
        budget.take(bits.saturating_mul(size_of::<u32>()))?;
        tree.taken = budget.list(tree.bounds.len())?;
        tree.taken.resize(tree.bounds.len(), false);
        Ok(tree)
    }

    fn splits(&self) -> usize {
        self.values.len() - 1
    }

    fn nodes(&self) -> usize {
        self.splits() + self.values.len()
    }

    /// What the split asks a feature for: which way missing values are told.
    fn kind(&self, at: usize, place: usize) -> Result<ReadingKind, LoadError> {
        let decision = self.decisions[at];
        match (decision & MISSING) >> 2 {
            _ if decision & CATEGORICAL != 0 => Ok(ReadingKind::Category),
            0 => Ok(ReadingKind::NanIsZero),
            1 => Ok(ReadingKind::NanAndZero),
            2 => Ok(ReadingKind::Nan),
            other => {
                let why = format!("tree {place} has a split {at} with missing values of kind {other}");
                Err(LoadError::Invalid(why))
            }
        }
    }

    /// Adds what the splits read to the columns, in their order.
    fn find_readings(&self, place: usize, readings: &mut Readings) -> Result<(), LoadError> {
        for at in 0..self.splits() {
            let feature = self.features[at] as usize;
            if feature >= readings.features {
                let source = TreeError::NoSuchFeature { node: at, feature, features: readings.features };
                return Err(LoadError::Tree { tree: place, source });
            }
            readings.place(feature, self.kind(at, place)?);
        }
        Ok(())
    }

    /// The node, to be asked for once.
    fn node(&mut self, at: usize, place: usize, readings: &Readings) -> Result<Node<f64, f64>, LoadError> {
        let splits = self.splits();
        if at >= splits {
            return Ok(Node::Leaf(self.values[at - splits]));
        }
        let invalid = |why: &str| LoadError::Invalid(format!("tree {place} has a split {at} without {why}"));
        // A child is a split's number, or the complement of a leaf's.
        let child = |side: usize| match usize::try_from(self.children[side][at]) {
            Ok(split) => split,
            Err(_) => usize::try_from(!self.children[side][at]).map_or(usize::MAX, |leaf| splits + leaf),
        };
        let (left, right) = (child(0), child(1));
        let (threshold, decision) = (self.thresholds[at], self.decisions[at]);
        let reading = Reading { feature: self.features[at] as usize, kind: self.kind(at, place)? };
        let feature = readings.places[&reading];
        if reading.kind == ReadingKind::Category {
            let set = if threshold >= 0.0 { self.take_set(threshold as usize) } else { None };
            let set = set.ok_or_else(|| invalid("categories"))?;
            // Here what is in the set, and nothing else, goes left.
            return Ok(Node::Split { feature, test: Test::NotIn(set), missing_left: true, left: right, right: left });
        }
        if threshold.is_nan() {
            return Err(invalid("a threshold"));
        }
        let missing_left = decision & DEFAULT_LEFT != 0;
        Ok(Node::Split { feature, test: Test::AtMost(threshold), missing_left, left, right })
    }

    /// The categories of the set of this number, the first time.
    fn take_set(&mut self, number: usize) -> Option<Vec<u32>> {
        let (start, end) = (*self.bounds.get(number)?, *self.bounds.get(number + 1)?);
        let words = self.words.get(start as usize..end as usize)?;
        if std::mem::replace(self.taken.get_mut(number)?, true) {
            return None;
        }
        let mut set = Vec::with_capacity(words.iter().map(|word| word.count_ones() as usize).sum());
        for (at, word) in words.iter().enumerate() {
            let first = u32::try_from(at).ok()?.checked_mul(u32::BITS)?;
            set.extend((0..u32::BITS).filter(|bit| word >> bit & 1 == 1).map(|bit| first + bit));
        }
        Some(set)
    }
}
