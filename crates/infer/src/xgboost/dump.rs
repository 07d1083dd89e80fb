//! XGBoost's JSON dumps (`booster.dump_model("dump.json", dump_format="json")`), for models of which nothing else is left, run by the
//! `gbdt` crate.
//!
//! A dump has the trees alone. Objective, base score and features are said beside it, so a bundle has the dump inside a JSON object:
//!
//! ```json
//! {"format": "xgboost-dump", "version": 1, "objective": "binary:logistic", "base_score": "5E-1", "num_class": 0,
//!  "features": ["f0", "f1"], "trees": [...]}
//! ```
//!
//! `trees` is the dump's text. With several classes, the trees take turns (`num_parallel_tree` is 1).
//!
//! `gbdt` panics at what it doesn't expect, recurses as deep as its input, and rounds leaves by way of f64, so it sees only trees that were
//! read and checked here, one at a time, with numbers that are f32 already.

use std::collections::HashMap;

use gbdt::decision_tree::{Data, DecisionTree, VALUE_TYPE_UNKNOWN};
use serde_json::{Map, Value, json};

use super::objective::Transform;
use super::{Booster, MAX_OUTPUTS, XgbModel, base_scores};
use crate::load_error::LoadError;
use crate::source::{Budget, Json, Source};
use crate::torch::short;
use crate::trees::{MAX_FEATURES, PredictError};

const FORMAT: &str = "xgboost-dump";
const VERSION: u32 = 1;

/// Rows in a call, between two looks at the cancel flag.
const BLOCK_ROWS: usize = 128;

/// What `gbdt` takes for a node, twice, for its list doubles; and what the JSON value does that it is made from.
const NODE_BYTES: usize = 2 * 48;
const VALUE_BYTES: usize = 900;
/// The list of trees doubles as well, and then there are both for a moment.
const TREE_BYTES: usize = 3 * size_of::<DecisionTree>();
/// Nodes that there is room for in the smallest tree, twice again.
const LEAST_NODES: usize = 2;

/// Trees in the form that `gbdt` runs.
#[derive(Debug)]
pub(super) struct Dump {
    trees: Vec<DecisionTree>,
    features: usize,
    base: Vec<f32>,
}

/// What a dump does not say.
#[derive(Debug, Clone)]
pub struct Beside<'a> {
    /// The objective's name, such as "reg:squarederror".
    pub objective: &'a str,
    /// As XGBoost has it, in the space of the answers: one number, or one for each class, separated by commas.
    pub base_score: &'a str,
    /// How many classes there are; 0 if the objective has none.
    pub num_class: usize,
    /// Names of the features; if absent, those that the dump names.
    pub features: Option<&'a [String]>,
}

/// Whether the bytes are meant to be a bundle's file around a dump: its first key is `format`.
#[must_use]
pub fn is_model(bytes: &[u8]) -> bool {
    [b"{".as_slice(), b"\"format\"", b":", b"\"xgboost-dump\""]
        .iter()
        .try_fold(bytes, |rest, token| rest.trim_ascii_start().strip_prefix(*token))
        .is_some()
}

/// Whether the bytes are meant to be a dump: an array of objects that begin with a node's number, as XGBoost writes them.
#[must_use]
pub fn is_dump(bytes: &[u8]) -> bool {
    [b"[".as_slice(), b"{", b"\"nodeid\""]
        .iter()
        .try_fold(bytes, |rest, token| rest.trim_ascii_start().strip_prefix(*token))
        .is_some()
}

/// A dump with what it does not say, as a bundle keeps them.
///
/// # Errors
///
/// [`LoadError`], if the dump is malformed.
pub fn complete(dump: &[u8], beside: &Beside<'_>) -> Result<Vec<u8>, LoadError> {
    let mut json = Json::new(dump);
    let mut names = Names::default();
    json.array(|json| names.read(json))?;
    json.finish()?;
    let features = beside.features.map_or_else(|| names.features(), <[String]>::to_vec);
    let head = json!({
        "objective": beside.objective,
        "base_score": beside.base_score,
        "num_class": beside.num_class,
        "features": features,
    });
    let head = head.to_string();
    let mut file = format!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION},{},\"trees\":", &head[1..head.len() - 1]);
    file.reserve_exact(dump.len() + 2);
    let mut file = file.into_bytes();
    file.extend_from_slice(dump.trim_ascii());
    file.extend_from_slice(b"}\n");
    Ok(file)
}

/// The features that a dump tests, in the order that it names them.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    known: HashMap<String, ()>,
}

impl Names {
    fn read(&mut self, json: &mut Json<'_>) -> Result<(), LoadError> {
        json.object(|json, key| match key {
            "split" => {
                let name = json.string()?;
                if !self.known.contains_key(&name) {
                    if self.list.len() == MAX_FEATURES {
                        return Err(LoadError::Unsupported(format!("more than {MAX_FEATURES} features")));
                    }
                    self.known.insert(name.clone(), ());
                    self.list.push(name);
                }
                Ok(())
            }
            "children" => json.array(|json| self.read(json)),
            _ => json.skip(),
        })
    }

    /// XGBoost calls features f0, f1, ... that have no names; then those it never tested are features as well.
    fn features(self) -> Vec<String> {
        let numbers: Option<Vec<usize>> = self.list.iter().map(|name| numbered(name)).collect();
        match numbers {
            Some(numbers) => (0..=numbers.into_iter().max().unwrap_or(0)).map(|at| format!("f{at}")).collect(),
            None => self.list,
        }
    }
}

/// The number of a feature without a name.
fn numbered(name: &str) -> Option<usize> {
    let number = name.strip_prefix('f')?.parse().ok().filter(|number| *number < MAX_FEATURES)?;
    // Neither f01 nor f+1.
    (format!("f{number}") == name).then_some(number)
}

/// Reads a bundle's file around a dump.
///
/// # Errors
///
/// [`LoadError`]. Whatever the bytes are, nothing panics, and memory stays within four times their number and 64 MB.
pub fn load(bytes: &[u8]) -> Result<XgbModel, LoadError> {
    let (mut format, mut version, mut num_class) = (String::new(), 0_u32, 0);
    let (mut objective, mut base_score, mut features) = (String::new(), String::new(), Vec::new());
    let mut json = Json::new(bytes);
    json.object(|json, key| {
        match key {
            "format" => format = json.string()?,
            "version" => version = json.number()?,
            "objective" => objective = json.string()?,
            "base_score" => base_score = json.string()?,
            "num_class" => num_class = json.number()?,
            "features" => features = json.strings()?,
            "trees" => json.skip()?,
            other => return Err(LoadError::Invalid(format!("there is no {}", short(other)))),
        }
        Ok(())
    })?;
    json.finish()?;
    if format != FORMAT || version != VERSION {
        return Err(LoadError::Invalid(format!("its format is not {FORMAT} in version {VERSION}")));
    }
    let transform =
        Transform::of(&objective).ok_or_else(|| LoadError::Unsupported(format!("objective {}", short(&objective))))?;
    let outputs: usize = num_class;
    if objective.starts_with("multi:") != (outputs >= 2) || outputs > MAX_OUTPUTS {
        return Err(LoadError::Invalid(format!("objective {} with {num_class} classes", short(&objective))));
    }
    if features.is_empty() || features.len() > MAX_FEATURES {
        return Err(LoadError::Invalid(format!("{} features", features.len())));
    }
    let base = base_scores(&base_score, &objective, outputs.max(1))?;
    let dump = Dump::read(bytes, &features, base)?;
    Ok(XgbModel {
        num_features: features.len(),
        feature_names: Some(features),
        feature_types: None,
        objective,
        num_class,
        version: [0; 3],
        transform,
        booster: Booster::Dump(std::sync::Arc::new(dump)),
    })
}

/// A dump's trees are compared as the objects that they are: `gbdt` compares none.
impl PartialEq for Dump {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Dump {
    fn read(bytes: &[u8], features: &[String], base: Vec<f32>) -> Result<Self, LoadError> {
        let mut places = HashMap::new();
        for (at, name) in features.iter().enumerate() {
            if places.insert(name.as_str(), at).is_some() {
                return Err(LoadError::Invalid(format!("two features are called {}", short(name))));
            }
        }
        // A dump of a model whose features had no names, of which there are some now.
        let place =
            |name: &str| places.get(name).copied().or_else(|| numbered(name).filter(|number| *number < features.len()));
        let mut kept = Budget::all_of(bytes);
        let mut trees = Vec::new();
        Json::new(bytes).object(|json, key| {
            if key != "trees" {
                return json.skip();
            }
            if !trees.is_empty() {
                return Err(LoadError::Invalid("it has several lists of trees".into()));
            }
            json.array(|json| {
                let number = trees.len();
                kept.take(TREE_BYTES)?;
                // Values are gone when the next tree comes.
                let budget = kept.clone();
                let mut reader = Reader { place: &place, budget: &mut kept, nodes: 0, tree: number };
                let (_, node) = reader.node(json)?;
                let nodes = reader.nodes;
                kept = budget;
                kept.take(nodes.max(LEAST_NODES) * NODE_BYTES)?;
                let tree = DecisionTree::get_from_xgboost(&node);
                trees.push(tree.map_err(|error| LoadError::Invalid(format!("tree {number}: {error}")))?);
                Ok(())
            })
        })?;
        if !trees.len().is_multiple_of(base.len()) || trees.is_empty() {
            return Err(LoadError::Invalid(format!("{} trees for {} classes", trees.len(), base.len())));
        }
        Ok(Self { trees, features: features.len(), base })
    }

    pub(super) fn outputs(&self) -> usize {
        self.base.len()
    }

    pub(super) fn trees(&self) -> usize {
        self.trees.len()
    }

    /// As [`Forest::predict`](crate::trees::Forest::predict): leaves are added one by one, onto the base score.
    pub(super) fn predict(
        &self,
        rows: &[f32],
        out: &mut Vec<f32>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), PredictError> {
        if !rows.len().is_multiple_of(self.features) {
            return Err(PredictError::RaggedRows { values: rows.len(), features: self.features });
        }
        out.clear();
        for block in rows.chunks(BLOCK_ROWS * self.features) {
            if cancel() {
                return Err(PredictError::Cancelled);
            }
            let start = out.len();
            let data: Vec<Data> = block
                .chunks_exact(self.features)
                .map(|row| Data::new_test_data(row.iter().map(|value| known(*value)).collect(), None))
                .collect();
            data.iter().for_each(|_| out.extend_from_slice(&self.base));
            for (number, tree) in self.trees.iter().enumerate() {
                let sums = out[start..].iter_mut().skip(number % self.outputs()).step_by(self.outputs());
                sums.zip(tree.predict(&data)).for_each(|(sum, leaf)| *sum += leaf);
            }
        }
        Ok(())
    }
}

/// A value as `gbdt` takes it. The lowest f32 means missing there; no threshold is as low, so −∞ goes where the lowest would go.
fn known(value: f32) -> f32 {
    if value.is_nan() {
        VALUE_TYPE_UNKNOWN
    } else if value == VALUE_TYPE_UNKNOWN {
        f32::NEG_INFINITY
    } else {
        value
    }
}

/// Reads a tree's nodes, and checks them.
struct Reader<'a, P> {
    /// A feature's place, by its name.
    place: &'a P,
    budget: &'a mut Budget,
    nodes: usize,
    tree: usize,
}

impl<P: Fn(&str) -> Option<usize>> Reader<'_, P> {
    fn invalid(&self, why: &str) -> LoadError {
        LoadError::Invalid(format!("tree {} has a node {why}", self.tree))
    }

    /// A node, with those below it; and its number.
    fn node(&mut self, json: &mut Json<'_>) -> Result<(i64, Value), LoadError> {
        self.budget.take(VALUE_BYTES)?;
        self.nodes += 1;
        let (mut number, mut leaf, mut feature, mut threshold) = (None, None, None, None);
        let (mut yes, mut no, mut missing) = (None, None, None);
        let mut children: Vec<(i64, Value)> = Vec::new();
        json.object(|json, key| {
            match key {
                "nodeid" => number = Some(json.number::<i64>()?),
                "leaf" if json.is_array() => {
                    return Err(LoadError::Unsupported("a dump with a vector in each leaf".into()));
                }
                "leaf" => leaf = Some(json.number::<f32>()?),
                "split_condition" if json.is_array() => {
                    return Err(LoadError::Unsupported("a dump with splits on categories".into()));
                }
                "split_condition" => threshold = Some(json.number::<f32>()?),
                "split" => {
                    let budget = json.budget().clone();
                    let name = json.string()?;
                    *json.budget() = budget;
                    let place = (self.place)(&name);
                    feature = Some(place.ok_or_else(|| {
                        LoadError::Invalid(format!("tree {} tests {}, which is no feature", self.tree, short(&name)))
                    })?);
                }
                "yes" => yes = Some(json.number::<i64>()?),
                "no" => no = Some(json.number::<i64>()?),
                "missing" => missing = Some(json.number::<i64>()?),
                "children" => json.array(|json| {
                    if children.len() == 2 {
                        return Err(self.invalid("with more than two children"));
                    }
                    children.push(self.node(json)?);
                    Ok(())
                })?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let number = number.ok_or_else(|| self.invalid("without a nodeid"))?;
        let mut node = Map::new();
        node.insert("nodeid".into(), number.into());
        if let Some(leaf) = leaf {
            if !leaf.is_finite() || !children.is_empty() || feature.is_some() {
                return Err(self.invalid("that is no proper leaf"));
            }
            node.insert("leaf".into(), f64::from(leaf).into());
            return Ok((number, node.into()));
        }
        let (Some(feature), Some(yes), Some(no)) = (feature, yes, no) else {
            return Err(self.invalid("that is neither a leaf nor a split"));
        };
        let threshold = threshold.ok_or_else(|| self.invalid("without a split_condition (an indicator?)"))?;
        if !threshold.is_finite() || threshold == VALUE_TYPE_UNKNOWN {
            return Err(self.invalid("with a split_condition that no value meets"));
        }
        // Without it, a dump is of a model that saw no missing values; its default is the left child.
        let missing = missing.unwrap_or(yes);
        let ids: Vec<i64> = children.iter().map(|(id, _)| *id).collect();
        if yes == no || ids.len() != 2 || ![yes, no].iter().all(|id| ids.contains(id)) || !ids.contains(&missing) {
            return Err(self.invalid("whose yes, no and missing are not its two children"));
        }
        node.insert("split".into(), feature.into());
        node.insert("split_condition".into(), f64::from(threshold).into());
        node.insert("yes".into(), yes.into());
        node.insert("no".into(), no.into());
        node.insert("missing".into(), missing.into());
        node.insert("children".into(), children.into_iter().map(|(_, child)| child).collect());
        Ok((number, node.into()))
    }
}
