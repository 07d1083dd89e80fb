//! Named tensors: what a net without a task of its own takes, as the Open Inference Protocol v2 writes them
//! (<https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md>).
//!
//! An input is `{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`, each of the model's inputs there
//! once, in any order. `data` is flat or nested as `shape` says, row by row. `id` comes back in the answer; `outputs` chooses some
//! of the model's; `parameters` are let pass. The elements are read in [`elements`].

mod elements;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use request::Tensors;

/// What a model of tensors takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorsSchema {
    /// The model's inputs, in its order.
    pub inputs: Vec<Port>,
    /// The most elements that all tensors of an input may have together.
    #[serde(default = "sixteen_million")]
    pub max_elements: usize,
}

fn sixteen_million() -> usize {
    TensorsSchema::DEFAULT_MAX_ELEMENTS
}

/// The most dimensions of a tensor.
const MAX_RANK: usize = 32;

impl TensorsSchema {
    /// The limit on elements where a manifest sets none: 64 MiB of f32.
    pub const DEFAULT_MAX_ELEMENTS: usize = 1 << 24;

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.max_elements == 0 {
            return Err("[input] max_elements must not be zero".to_owned());
        }
        check_ports("[input]", &self.inputs)
    }
}

/// Checks the ports of one side of a model.
pub(crate) fn check_ports(place: &str, ports: &[Port]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for Port { name, shape, .. } in ports {
        if name.is_empty() || !names.insert(name) {
            return Err(format!("{place} has the name {name:?} twice, or it is empty"));
        }
        if shape.as_ref().is_some_and(|shape| shape.len() > MAX_RANK) {
            return Err(format!("{place} {name:?} has more than {MAX_RANK} dimensions"));
        }
    }
    if ports.is_empty() { Err(format!("{place} names no tensor")) } else { Ok(()) }
}

/// A place where a tensor goes into a model or comes out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub datatype: Datatype,
    /// Its dimensions; absent where any number of them is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Dim>>,
}

/// One dimension of a [`Port`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// This size and no other.
    Fixed(usize),
    /// Any size, but the same wherever the name stands. `?` stands for another size each time.
    Named(String),
}

impl Dim {
    /// The name of a dimension that agrees with no other.
    pub const ANY: &str = "?";
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// Checks sizes against dimensions, and that each name stands for one size. `sizes` keeps what names stood for before.
///
/// # Errors
///
/// What was expected, for a person.
pub fn check_shape<'a>(dims: &'a [Dim], shape: &[usize], sizes: &mut BTreeMap<&'a str, usize>) -> Result<(), String> {
    let expected = || {
        let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
        format!("has the shape {shape:?}; the model takes [{}]", dims.join(", "))
    };
    if dims.len() != shape.len() {
        return Err(expected());
    }
    for (dim, size) in dims.iter().zip(shape) {
        match dim {
            Dim::Fixed(fixed) if fixed != size => return Err(expected()),
            Dim::Named(name) if name != Dim::ANY => {
                let first = *sizes.entry(name).or_insert(*size);
                if first != *size {
                    return Err(format!("{}, and {name} is {first} elsewhere", expected()));
                }
            }
            Dim::Fixed(_) | Dim::Named(_) => {}
        }
    }
    Ok(())
}

/// What a tensor's elements are, by the protocol's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Datatype {
    /// True or false.
    Bool,
    /// Whole numbers of 8 bits with a sign.
    Int8,
    /// Whole numbers of 8 bits.
    Uint8,
    /// Whole numbers of 32 bits with a sign.
    Int32,
    /// Whole numbers of 64 bits with a sign.
    Int64,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Bool, Self::Int8, Self::Uint8, Self::Int32, Self::Int64, Self::Fp32, Self::Fp64];

    /// The protocol's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int8 => "INT8",
            Self::Uint8 => "UINT8",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tensor: as many elements as its sizes multiplied, the last dimension the fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The size of each dimension; none for a single element.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// A tensor's elements.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the datatype of its name")]
pub enum Data {
    Bool(Vec<bool>),
    Int8(Vec<i8>),
    Uint8(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
}

impl Data {
    /// What they are.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Int8(_) => Datatype::Int8,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(data) => data.len(),
            Self::Int8(data) => data.len(),
            Self::Uint8(data) => data.len(),
            Self::Int32(data) => data.len(),
            Self::Int64(data) => data.len(),
            Self::Fp32(data) => data.len(),
            Self::Fp64(data) => data.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many zeros.
    #[must_use]
    pub fn zeros(datatype: Datatype, count: usize) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool(vec![false; count]),
            Datatype::Int8 => Self::Int8(vec![0; count]),
            Datatype::Uint8 => Self::Uint8(vec![0; count]),
            Datatype::Int32 => Self::Int32(vec![0; count]),
            Datatype::Int64 => Self::Int64(vec![0; count]),
            Datatype::Fp32 => Self::Fp32(vec![0.0; count]),
            Datatype::Fp64 => Self::Fp64(vec![0.0; count]),
        }
    }
}

/// Numbers that are not finite are written as `null`.
impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(data) => data.serialize(serializer),
            Self::Int8(data) => data.serialize(serializer),
            Self::Uint8(data) => serializer.collect_seq(data),
            Self::Int32(data) => data.serialize(serializer),
            Self::Int64(data) => data.serialize(serializer),
            // As the f64 that equals it, like any other answer.
            Self::Fp32(data) => serializer.collect_seq(data.iter().map(|value| f64::from(*value))),
            Self::Fp64(data) => data.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputError;
    use proptest::prelude::*;
    use serde_json::json;

    fn port(name: &str, datatype: Datatype, shape: &[&str]) -> Port {
        let dim = |text: &&str| text.parse().map_or_else(|_| Dim::Named((*text).to_owned()), Dim::Fixed);
        Port { name: name.to_owned(), datatype, shape: Some(shape.iter().map(dim).collect()) }
    }

    fn schema() -> TensorsSchema {
        let inputs = vec![
            port("a", Datatype::Fp32, &["n", "2"]),
            port("b", Datatype::Int64, &["n", "?", "?"]),
            Port { shape: None, ..port("c", Datatype::Bool, &[]) },
        ];
        TensorsSchema { inputs, max_elements: 20 }
    }

    fn read(text: &str) -> Result<Tensors, InputError> {
        let outputs = [port("y", Datatype::Fp32, &["n"]), port("z", Datatype::Fp32, &["n"])];
        Tensors::from_json(&schema(), &outputs, text.as_bytes())
    }

    const A: &str = r#"{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}"#;
    const B: &str = r#"{"data":[[[3],[4]]],"datatype":"INT64","shape":[1,2,1],"name":"b"}"#;
    const C: &str = r#"{"name":"c","shape":[],"datatype":"BOOL","data":[true]}"#;

    #[test]
    fn tensors_are_read_in_the_model_s_order() {
        let expected = vec![
            Tensor { shape: vec![1, 2], data: Data::Fp32(vec![1.0, 2.0]) },
            Tensor { shape: vec![1, 2, 1], data: Data::Int64(vec![3, 4]) },
            Tensor { shape: vec![], data: Data::Bool(vec![true]) },
        ];
        let text = format!(r#"{{"outputs":[{{"name":"z"}}],"parameters":{{"x":[]}},"inputs":[{C},{B},{A}],"id":"é"}}"#);
        let read = read(&text).unwrap();
        assert_eq!(read, Tensors { id: Some("é".to_owned()), tensors: expected, outputs: Some(vec![1]) });
    }

    #[test]
    fn faults_are_named() {
        let with = |from: &str, to: &str| {
            let whole = format!(r#"{{"inputs":[{A},{B},{C}]}}"#);
            assert!(whole.contains(from), "{from}");
            whole.replacen(from, to, 1)
        };
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(10_000));
        let deep = with(
            "[1,2],\"datatype\":\"FP32\",\"data\":[1,2]",
            &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        );
        let cases = [
            String::new(),
            "[]".to_owned(),
            "\"secret\"".to_owned(),
            "{".to_owned(),
            "{}".to_owned(),
            r#"{"inputs":3}"#.to_owned(),
            r#"{"inputs":[]}"#.to_owned(),
            r#"{"inputs":["secret"]}"#.to_owned(),
            r#"{"inputs":[{}]}"#.to_owned(),
            long,
            deep,
            format!(r#"{{"inputs":[{A},{A}]}}"#),
            format!(r#"{{"inputs":[{A},{B},{C},{C}]}}"#),
            format!(r#"{{"inputs":[{A},{B},{C}],"inputs":[]}}"#),
            format!(r#"{{"inputs":[{A},{B},{C}]}} x"#),
            with("\"a\"", "\"d\""),
            with("\"a\"", "7"),
            with("\"FP32\"", "\"FP64\""),
            with("\"FP32\"", "\"secret\""),
            with("[1,2],\"datatype", "[2,1],\"datatype"),
            with("[1,2],\"datatype", "[1,2,1],\"datatype"),
            with("[1,2],\"datatype", "[-1,2],\"datatype"),
            with("[1,2],\"datatype", &format!("[1{}],\"datatype", ",1".repeat(100_000))),
            with("[1,2,1]", "[2,1,1]"),
            with("[1,2,1]", "[1,1000000,1000000]"),
            with("\"shape\":[]", "\"shape\":[0,18446744073709551615]"),
            with("\"shape\":[]", "\"shape\":[18446744073709551615,18446744073709551615]"),
            with("[1,2]}", "[1]}"),
            with("[1,2]}", "[1,null]}"),
            with("}]}", "}],\"outputs\":[{\"name\":\"x\"}]}"),
            with("}]}", "}],\"outputs\":[{\"name\":\"y\"},{\"name\":\"y\"}]}"),
            with("}]}", "}],\"id\":7}"),
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|text| {
                let shown: String = text.chars().take(36).collect();
                format!("{shown:<38} {:?}", read(text).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn schemas_that_make_no_sense_are_refused() {
        let twice = vec![port("a", Datatype::Fp32, &[]), port("a", Datatype::Fp32, &[])];
        assert!(TensorsSchema { inputs: twice, max_elements: 1 }.check().is_err());
        assert!(TensorsSchema { inputs: vec![], max_elements: 1 }.check().is_err());
        assert!(TensorsSchema { max_elements: 0, ..schema() }.check().is_err());
        let many = vec![port("a", Datatype::Fp32, &["n"; 33])];
        assert!(TensorsSchema { inputs: many, max_elements: 1 }.check().is_err());
        assert_eq!(schema().check(), Ok(()));
        let text = toml::to_string(&schema()).unwrap();
        assert_eq!(toml::from_str::<TensorsSchema>(&text).unwrap(), schema(), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in "[\\[\\]{}:,\"0-9a-z .-]{0,60}") {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"inputs":[{text},{B},{C}]}}"#));
            let _ = read(&format!(r#"{{"inputs":[{{"name":"a","shape":[1,2],"datatype":"FP32","data":{text}}},{B},{C}]}}"#));
        }

        #[test]
        fn answers_are_the_numbers_themselves(values: Vec<f32>) {
            let json: serde_json::Value = serde_json::to_value(Data::Fp32(values.clone())).unwrap();
            let expected: Vec<serde_json::Value> =
                values.iter().map(|value| if value.is_finite() { json!(f64::from(*value)) } else { json!(null) }).collect();
            prop_assert_eq!(json, serde_json::Value::from(expected));
        }
    }
}
