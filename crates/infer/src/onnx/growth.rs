//! Which sizes the file itself sets: rten computes what follows from constants alone while it loads the file, so that a few bytes could ask
//! for all of the memory there.
//!
//! Each value that follows from constants alone has a bound here of how large it can be, told from its operator's inputs. Operators whose
//! results can't be told this way are refused where all of their inputs are constants: exporters fold those. Sizes that a file declares, and the
//! padding and strides of convolutions, are bounded as they are. What a run makes of its inputs is bounded by `sizes.rs`.

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
}

impl Constant {
    fn of_elements(elements: u64) -> Self {
        Self { elements, dims: None, numbers: None }
    }

    fn of_dims(dims: Vec<u64>) -> Self {
        let elements = dims.iter().copied().fold(1, u64::saturating_mul);
        Self { elements, dims: Some(dims), numbers: None }
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
    /// Takes a constant down.
    pub(super) fn constant(&mut self, name: &'a str, tensor: &'a [u8]) -> Result<(), Malformed> {
        let mut constant = Constant::of_dims(dims(tensor)?);
        constant.numbers = Some(small_numbers(tensor)?).filter(|numbers| numbers.len() as u64 == constant.elements);
        self.largest = self.largest.max(constant.elements);
        self.constants.insert(name, constant);
        Ok(())
    }

    /// Takes a node down, which comes after those that write its inputs.
    pub(super) fn node(
        &mut self,
        operator: &'a str,
        inputs: &[&'a str],
        outputs: &[&'a str],
        attributes: &Attributes<'a>,
    ) {
        let given = inputs.iter().map(|input| match *input {
            "" => Some(None),
            input => self.constants.get(input).map(Some),
        });
        let Some(constants) = given.collect::<Option<Vec<Option<&Constant>>>>() else {
            let telling: &[usize] = match operator {
                "ConstantOfShape" => &[0],
                // A reshaped tensor grows no larger, but engines believe the sizes before they see that.
                "Expand" | "Tile" | "Pad" | "OneHot" | "Upsample" | "Reshape" => &[1],
                "Resize" => &[2, 3],
                _ => &[],
            };
            let names = telling.iter().filter_map(|at| inputs.get(*at)).filter(|name| !name.is_empty());
            self.told.extend(names.map(|name| Told { operator, name }));
            return;
        };
        // What an `If` answers is among what has been seen.
        let Some(made) = operators::made(operator, &constants, attributes, self.largest) else {
            self.unbounded.get_or_insert_with(|| operator.to_owned());
            return;
        };
        let all = made.elements.saturating_mul(outputs.len() as u64);
        let sum = if operator == "DequantizeLinear" { &mut self.dequantized } else { &mut self.at_load };
        *sum = sum.saturating_add(all);
        self.largest = self.largest.max(made.elements);
        self.constants.extend(outputs.iter().map(|output| (*output, made.clone())));
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
