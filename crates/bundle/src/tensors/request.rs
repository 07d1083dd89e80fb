//! From the protocol's JSON to checked tensors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Datatype, Port, Tensor, TensorsSchema, check_shape, elements};
use crate::InputError;
use crate::table::quote;

/// A checked input.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensors {
    /// The request's own name, which its answer repeats.
    pub id: Option<String>,
    /// The tensors, in the order of the schema's inputs.
    pub tensors: Vec<Tensor>,
    /// The places of the outputs that were asked for; absent for all.
    pub outputs: Option<Vec<usize>>,
}

/// The longest `id`, in bytes.
const MAX_ID: usize = 1024;

impl Tensors {
    /// Reads an input. `outputs` are the model's.
    pub fn from_json(schema: &TensorsSchema, outputs: &[Port], bytes: &[u8]) -> Result<Self, InputError> {
        let bytes = crate::input_error::content(bytes)?;
        let request: Request = object("the input", bytes, true)?;
        let id = request.id.map(|id| text("id", id)).transpose()?;
        if id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return Err(InputError::TooLarge(format!("id has more than {MAX_ID} bytes")));
        }
        let tensors = tensors(schema, items("inputs", request.inputs, schema.inputs.len())?)?;
        let Some(asked) = request.outputs else {
            return Ok(Self { id: id.map(Cow::into_owned), tensors, outputs: None });
        };
        let mut chosen = Vec::new();
        for raw in items("outputs", asked, outputs.len())? {
            let asked: Asked = object("one of outputs", raw.get().as_bytes(), false)?;
            let name = text("an output's name", asked.name)?;
            let Some(at) = outputs.iter().position(|port| port.name == name) else {
                return Err(unknown("output", &name, outputs));
            };
            if chosen.contains(&at) {
                return Err(InputError::Invalid(format!("outputs has {} twice", quote(&name))));
            }
            chosen.push(at);
        }
        let chosen = (!chosen.is_empty()).then_some(chosen);
        Ok(Self { id: id.map(Cow::into_owned), tensors, outputs: chosen })
    }
}

fn tensors(schema: &TensorsSchema, given: Vec<&RawValue>) -> Result<Vec<Tensor>, InputError> {
    let mut tensors: Vec<Option<Tensor>> = vec![None; schema.inputs.len()];
    // What the names of dimensions stand for, and how many elements are left of the limit.
    let mut sizes = BTreeMap::new();
    let mut left = schema.max_elements;
    for raw in given {
        let input: GivenTensor = object("one of inputs", raw.get().as_bytes(), false)?;
        let name = text("an input's name", input.name)?;
        let Some(at) = schema.inputs.iter().position(|port| port.name == name) else {
            return Err(unknown("input", &name, &schema.inputs));
        };
        let port = &schema.inputs[at];
        let fault = |fault: &dyn fmt::Display| InputError::Invalid(format!("input {} {fault}", quote(&name)));
        if tensors[at].is_some() {
            return Err(fault(&"is there twice"));
        }
        let datatype = text("a datatype", input.datatype)?;
        if datatype != port.datatype.name() {
            let known = Datatype::ALL.iter().any(|known| known.name() == datatype);
            let not = if known { format!(", not {datatype}") } else { String::new() };
            return Err(fault(&format_args!("must have the datatype {}{not}", port.datatype)));
        }
        let shape: Vec<usize> = serde_json::from_str(input.shape.get())
            .map_err(|_| fault(&"must have a shape: an array of whole numbers, none negative"))?;
        if shape.len() > super::MAX_RANK {
            return Err(fault(&format_args!("has more than {} dimensions", super::MAX_RANK)));
        }
        if let Some(dims) = &port.shape {
            check_shape(dims, &shape, &mut sizes).map_err(|why| fault(&why))?;
        }
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        // Sizes beside a zero could still be too big to multiply elsewhere.
        let room = count.filter(|count| *count <= left && shape.iter().all(|size| *size <= schema.max_elements));
        let Some(count) = room else {
            let max = schema.max_elements;
            return Err(InputError::TooLarge(format!("the inputs have more than {max} elements")));
        };
        left -= count;
        let data = elements::read(input.data.get(), port.datatype, &shape)
            .map_err(|why| InputError::Invalid(format!("input {}: {why}", quote(&name))))?;
        tensors[at] = Some(Tensor { shape, data });
    }
    let complete = tensors
        .into_iter()
        .zip(&schema.inputs)
        .map(|(tensor, port)| tensor.ok_or_else(|| InputError::Invalid(format!("inputs lacks {}", quote(&port.name)))));
    complete.collect()
}

fn unknown(what: &str, name: &str, ports: &[Port]) -> InputError {
    let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).take(20).collect();
    let known = known.join(", ");
    InputError::Invalid(format!("the model has no {what} {}; it has {known}", quote(name)))
}

/// The text of a field.
fn text<'a>(what: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, InputError> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Result<Text<'_>, _> = serde_json::from_str(raw.get());
    text.map(|text| text.0).map_err(|_| InputError::Invalid(format!("{what} must be a text")))
}

/// The items of an array of at most `max`.
fn items<'a>(what: &str, raw: &'a RawValue, max: usize) -> Result<Vec<&'a RawValue>, InputError> {
    struct Items<'a>(usize, PhantomData<&'a ()>);
    impl<'de> Visitor<'de> for Items<'de> {
        type Value = Option<Vec<&'de RawValue>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == self.0 {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                items.push(item);
            }
            Ok(Some(items))
        }
    }
    let read = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items(max, PhantomData));
    let items = read.map_err(|_| InputError::Invalid(format!("{what} must be an array")))?;
    items.ok_or_else(|| InputError::Invalid(format!("{what} has more than the model's {max} tensors")))
}

/// Reads an object whose fields are looked at later. `what` is what it is; the whole input has places worth naming in it.
fn object<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8], whole: bool) -> Result<T, InputError> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    serde_json::from_slice(json).map_err(|error| match InputError::from_json(&error) {
        // serde's own message would quote the value.
        InputError::Invalid(_) if !is_object => InputError::Invalid(format!("{what} must be an object")),
        InputError::Invalid(fault) => {
            let fault = if whole { &fault } else { fault.split(" at line ").next().unwrap_or(&fault) };
            // A name in it can be as long as the input.
            let short: String = fault.chars().take(MAX_FAULT).collect();
            InputError::Invalid(format!("{what}: {short}"))
        }
        other => other,
    })
}

/// The longest fault that is repeated to the client, in letters.
const MAX_FAULT: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: &'a RawValue,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(rename = "parameters")]
    _parameters: Option<IgnoredAny>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenTensor<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    shape: &'a RawValue,
    #[serde(borrow)]
    datatype: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(rename = "parameters")]
    _parameters: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(rename = "parameters")]
    _parameters: Option<IgnoredAny>,
}
