//! Which sizes the file itself sets: rten computes what follows from constants alone while it loads the file, so that a few bytes could ask
//! for all of the memory there.
//!
//! Each value that follows from constants alone has a bound here of how large it can be, told from its operator's inputs. Operators whose
//! results can't be told this way are refused where all of their inputs are constants: exporters fold those. Sizes that a file declares, and the
//! padding and strides of convolutions, are bounded as they are. What a run makes of its inputs is bounded by `sizes.rs`.
//!
//! Shapes are constants, too, where the engine infers them. What follows from shapes is small numbers mostly, whatever they are. Where they decide
//! how large a result is, the engine is asked what they are, by loading the nodes before that one alone.

mod operators;

use std::collections::HashMap;

use super::NetError;
use super::proto::{Fields, Malformed, Value};
use super::sizes::MAX_ELEMENTS;

/// The most numbers of a constant that are looked at: a size for each dimension, or two.
const MAX_NUMBERS: usize = 64;
/// The largest padding, stride, dilation or kernel.
const MAX_STEP: i64 = 1 << 13;

/// The most elements that are made while the file is loaded, beside half as many as the file has bytes: 32 MB, of the 64 MB that a file may take
/// beyond four times its size. Two of these four are the bytes as they were given to the engine, and the constants in them.
const MAX_AT_LOAD: u64 = 1 << 23;

/// Results up to so many elements may follow from shapes without asking which.
const MAX_UNASKED: u64 = 1 << 12;

/// The most nodes that are loaded to answer questions, again and again.
const MAX_ASKED_NODES: usize = 200_000;

/// The most elements of a tensor whose sizes the file declares.
const MAX_DECLARED: u64 = 1 << 26;

/// A value that follows from the file alone.
#[derive(Debug, Clone)]
struct Constant {
    /// A bound of the number of its elements.
    elements: u64,
    /// Bounds of its sizes, if its rank is known.
    dims: Option<Vec<u64>>,
    /// Its elements, if they are few and known, or bounds of them if they are sizes.
    numbers: Option<Vec<f64>>,
    /// Whether it follows from a tensor that questions leave out.
    hidden: bool,
}

impl Constant {
    fn of_elements(elements: u64) -> Self {
        Self { elements, dims: None, numbers: None, hidden: false }
    }

    fn of_dims(dims: Vec<u64>) -> Self {
        let elements = dims.iter().copied().fold(1, u64::saturating_mul);
        Self { elements, dims: Some(dims), numbers: None, hidden: false }
    }

    /// A list of these numbers.
    fn of_numbers(numbers: Vec<f64>) -> Self {
        let made = Self::of_dims(vec![numbers.len() as u64]);
        Self { numbers: Some(numbers).filter(|numbers| numbers.len() <= MAX_NUMBERS), ..made }
    }
}

/// The attributes of a node that sizes depend on.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    /// Of a constant.
    pub(super) tensor: Option<&'a [u8]>,
    pub(super) axis: Option<i64>,
    pub(super) perm: Option<Vec<i64>>,
    pub(super) keepdims: Option<i64>,
    /// Whether it has a `start` or an `end`.
    pub(super) cut: bool,
    /// How many numbers all of them have together.
    pub(super) count: usize,
    /// Of a constant that is an integer or a list of them.
    pub(super) ints: Option<Vec<i64>>,
}

/// What has been seen of a file.
#[derive(Default)]
pub(super) struct Growth<'a> {
    constants: HashMap<&'a str, Constant>,
    /// What follows from constants and the shapes of other values: constant, too, if these shapes are inferred.
    derived: HashMap<&'a str, Constant>,
    /// The nodes that were loaded to answer questions.
    asked_nodes: usize,
    /// The elements of the largest of them.
    largest: u64,
    /// The elements made at load so far.
    at_load: u64,
    /// Those of weights that were stored as bytes.
    dequantized: u64,
    /// The first operator that can't be bounded.
    unbounded: Option<String>,
    told: Vec<Told<'a>>,
}

/// An operator that is told a size and runs with the net, not at load.
struct Told<'a> {
    operator: &'a str,
    /// The value that tells it.
    name: &'a str,
}

impl<'a> Growth<'a> {
    /// Takes a constant down; `hidden` if questions leave it out.
    pub(super) fn constant(&mut self, name: &'a str, tensor: &'a [u8], hidden: bool) -> Result<(), Malformed> {
        let mut constant = Constant::of_dims(dims(tensor)?);
        constant.numbers = Some(small_numbers(tensor)?).filter(|numbers| numbers.len() as u64 == constant.elements);
        self.largest = self.largest.max(constant.elements);
        constant.hidden = hidden;
        self.constants.insert(name, constant);
        Ok(())
    }

    /// Takes a node down, which comes after those that write its inputs. Answers which values decide how large its result is, if that must be
    /// asked; then [`Growth::answer`] and the node again.
    #[must_use]
    pub(super) fn node(
        &mut self,
        operator: &'a str,
        inputs: &[&'a str],
        outputs: &[&'a str],
        attributes: &Attributes<'a>,
    ) -> Vec<&'a str> {
        let known = |input: &str| self.constants.get(input).or_else(|| self.derived.get(input));
        let given = inputs.iter().map(|input| if input.is_empty() { Some(None) } else { known(input).map(Some) });
        let Some(given) = given.collect::<Option<Vec<Option<&Constant>>>>() else {
            if matches!(operator, "Shape" | "Size") {
                let sizes = Constant::of_dims(vec![MAX_NUMBERS as u64]);
                self.derived.extend(outputs.iter().map(|output| (*output, sizes.clone())));
            }
            self.tell(operator, inputs);
            return Vec::new();
        };
        let derived = || inputs.iter().copied().filter(|input| self.derived.contains_key(input));
        let hidden = given.iter().flatten().any(|input| input.hidden);
        // What an `If` answers is among what has been seen.
        let made = operators::made(operator, &given, attributes, self.largest).map(|made| Constant { hidden, ..made });
        if derived().next().is_some() {
            if let Some(made) = made.as_ref().filter(|made| made.elements <= MAX_UNASKED) {
                self.derived.extend(outputs.iter().map(|output| (*output, made.clone())));
                return Vec::new();
            }
            let open: Vec<&str> =
                derived().filter(|input| self.derived.get(input).is_some_and(|it| !it.hidden)).collect();
            if !open.is_empty() {
                return open;
            }
            // Those that cannot be asked for may be constants.
        }
        let Some(made) = made else {
            self.unbounded(operator);
            return Vec::new();
        };
        let all = made.elements.saturating_mul(outputs.len() as u64);
        let sum = if operator == "DequantizeLinear" { &mut self.dequantized } else { &mut self.at_load };
        *sum = sum.saturating_add(all);
        self.largest = self.largest.max(made.elements);
        self.constants.extend(outputs.iter().map(|output| (*output, made.clone())));
        Vec::new()
    }

    /// Keeps what tells an operator over other values than constants a size.
    fn tell(&mut self, operator: &'a str, inputs: &[&'a str]) {
        let telling: &[usize] = match operator {
            "ConstantOfShape" => &[0],
            // A reshaped tensor grows no larger, but engines believe the sizes before they see that.
            "Expand" | "Tile" | "Pad" | "OneHot" | "Upsample" | "Reshape" => &[1],
            "Resize" => &[2, 3],
            _ => &[],
        };
        let names = telling.iter().filter_map(|at| inputs.get(*at)).filter(|name| !name.is_empty());
        self.told.extend(names.map(|name| Told { operator, name }));
    }

    /// Counts a question to which so many nodes are loaded.
    pub(super) fn ask(&mut self, nodes: usize) -> Result<(), NetError> {
        self.asked_nodes += nodes;
        if self.asked_nodes > MAX_ASKED_NODES {
            let why = "too many sizes that follow from shapes; fold constants when you export it";
            return Err(NetError::TooLarge(why.to_owned()));
        }
        Ok(())
    }

    /// Takes down that these values are constants.
    pub(super) fn answer(&mut self, values: &[&'a str], numbers: Vec<Vec<f64>>) {
        for (value, numbers) in values.iter().zip(numbers) {
            self.derived.remove(value);
            self.constants.insert(value, Constant::of_numbers(numbers));
        }
    }

    /// Takes down a node whose result could be of any size.
    pub(super) fn unbounded(&mut self, operator: &str) {
        self.unbounded.get_or_insert_with(|| operator.to_owned());
    }

    /// Refuses sizes that no tensor can have here.
    pub(super) fn check(&self, file_bytes: usize) -> Result<(), NetError> {
        if let Some(operator) = &self.unbounded {
            let operator = crate::torch::short(operator);
            return Err(NetError::Unsupported(format!(
                "the operator {operator} over constants alone, whose result could be of any size; fold constants when you export it"
            )));
        }
        let file_bytes = file_bytes as u64;
        // A weight of a byte becomes an f32: these may take four times the file. No file has more weights than bytes.
        let again = self.dequantized.saturating_sub(file_bytes);
        let at_load = self.at_load.saturating_add(again);
        let most = MAX_AT_LOAD + file_bytes / 2;
        if at_load > most {
            return Err(NetError::TooLarge(format!(
                "what it computes from constants alone has {at_load} elements; {most} are the most; fold constants when you export it"
            )));
        }
        for Told { operator, name } in &self.told {
            let Some(numbers) = self.constants.get(name).and_then(|constant| constant.numbers.as_ref()) else {
                continue;
            };
            let elements: f64 = numbers.iter().map(|number| number.abs().max(1.0)).product();
            // A NaN is no size either.
            if elements.is_nan() || elements > MAX_ELEMENTS as f64 {
                return Err(NetError::TooLarge(format!("{operator} would make a tensor of {elements} elements")));
            }
        }
        Ok(())
    }
}

/// Refuses a value that the file declares larger than any can be. Engines take such sizes for known. `dims` are those that are fixed.
pub(super) fn check_declared(dims: impl Iterator<Item = u64>) -> Result<(), NetError> {
    let elements = dims.fold(1, u64::saturating_mul);
    if elements > MAX_DECLARED {
        return Err(NetError::TooLarge(format!(
            "it declares a tensor of {elements} elements; {MAX_DECLARED} are the most"
        )));
    }
    Ok(())
}

/// Refuses a convolution's or a pooling's attribute beyond all measure. `ints` are the attribute's own.
pub(super) fn check_attribute(name: &str, ints: &[i64]) -> Result<(), NetError> {
    let measured = ["pads", "strides", "dilations", "kernel_shape", "output_padding", "output_shape"].contains(&name);
    match ints.iter().find(|int| measured && int.abs() > MAX_STEP) {
        Some(int) => Err(NetError::TooLarge(format!("its {name} are up to {int}, but {MAX_STEP} is the most"))),
        None => Ok(()),
    }
}

/// The sizes of a tensor.
fn dims(tensor: &[u8]) -> Result<Vec<u64>, Malformed> {
    let mut dims = Vec::new();
    for field in Fields(tensor) {
        if let (1, value) = field? {
            value.numbers(|size| dims.push(size))?;
        }
    }
    Ok(dims)
}

/// The numbers of a tensor of i32, i64 or f32; none of others, or of large ones.
fn small_numbers(tensor: &[u8]) -> Result<Vec<f64>, Malformed> {
    let (mut kind, mut raw, mut numbers) = (0, None, Vec::new());
    for field in Fields(tensor) {
        let (number, value) = field?;
        match number {
            2 => kind = value.number()?,
            5 | 7 => value.numbers(|number| {
                if numbers.len() <= MAX_NUMBERS {
                    numbers.push(number as i64 as f64);
                }
            })?,
            4 => {
                if let Value::Bytes(bytes) = value {
                    raw.get_or_insert(bytes);
                }
            }
            9 => raw = Some(value.bytes()?),
            _ => {}
        }
    }
    let Some(raw) = raw.filter(|raw| raw.len() <= MAX_NUMBERS * 8) else { return Ok(numbers) };
    let (fours, eights) = (raw.as_chunks::<4>().0, raw.as_chunks::<8>().0);
    Ok(match kind {
        1 => fours.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect(),
        6 => fours.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect(),
        7 => eights.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        _ => numbers,
    })
}
