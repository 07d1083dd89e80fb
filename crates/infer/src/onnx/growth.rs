//! Which sizes the file itself sets: an engine computes what follows from constants alone while it loads the file, so that a few bytes could ask
//! for all of the memory there.
//!
//! Seen are numbers of the file that go into an operator that makes tensors of the size that it is told, straight or put together from
//! others; sizes that a file declares; and the padding and strides of convolutions. What other operators make of constants, step by step, is
//! not followed.

use std::collections::{HashMap, HashSet};

use super::NetError;
use super::proto::{Fields, Malformed, Value};
use super::sizes::MAX_ELEMENTS;

/// The most numbers of a constant that are looked at: a size for each dimension, or two.
const MAX_NUMBERS: usize = 64;
/// The largest padding, stride, dilation or kernel.
const MAX_STEP: i64 = 1 << 13;

/// The most elements of all tensors together that are made while the file is loaded. Some copies of 16 MB are within what a file may take.
const MAX_AT_LOAD: f64 = (1 << 22) as f64;

/// The most elements of a tensor whose sizes the file declares.
const MAX_DECLARED: u64 = 1 << 26;

/// What has been seen of a file.
#[derive(Default)]
pub(super) struct Growth<'a> {
    numbers: HashMap<&'a str, Vec<f64>>,
    /// The values that follow from the file alone.
    constant: HashSet<&'a str>,
    told: Vec<Told<'a>>,
}

/// An operator that is told a size.
struct Told<'a> {
    operator: &'a str,
    /// The value that tells it.
    name: &'a str,
    /// Whether it is carried out while the file is loaded.
    at_load: bool,
}

impl<'a> Growth<'a> {
    /// Takes a constant down.
    pub(super) fn constant(&mut self, name: &'a str, tensor: &'a [u8]) -> Result<(), Malformed> {
        self.constant.insert(name);
        let numbers = small_numbers(tensor)?;
        if numbers.len() <= MAX_NUMBERS {
            self.numbers.insert(name, numbers);
        }
        Ok(())
    }

    /// Takes a node down: which of its inputs tell it sizes.
    pub(super) fn node(&mut self, operator: &'a str, inputs: &[&'a str], outputs: &[&'a str]) {
        let at_load = inputs.iter().all(|input| input.is_empty() || self.constant.contains(input));
        if at_load {
            self.constant.extend(outputs);
            if let (Some(numbers), Some(output)) = (self.computed(operator, inputs), outputs.first()) {
                self.numbers.insert(output, numbers);
            }
        }
        let telling: &[usize] = match operator {
            "ConstantOfShape" => &[0],
            // A reshaped tensor grows no larger, but engines believe the sizes before they see that.
            "Expand" | "Tile" | "Pad" | "OneHot" | "Upsample" | "Reshape" => &[1],
            "Resize" => &[2, 3],
            "Range" => &[0, 1],
            _ => &[],
        };
        let at_load = at_load && operator != "Reshape";
        let names = telling.iter().filter_map(|at| inputs.get(*at));
        self.told.extend(names.filter(|name| !name.is_empty()).map(|name| Told { operator, name, at_load }));
    }

    /// What an operator that exporters leave between a size and its use makes of constants.
    fn computed(&self, operator: &str, inputs: &[&str]) -> Option<Vec<f64>> {
        let parts: Option<Vec<&Vec<f64>>> = inputs.iter().map(|input| self.numbers.get(input)).collect();
        match operator {
            "Identity" | "Cast" | "Unsqueeze" | "Squeeze" | "Reshape" => self.numbers.get(inputs.first()?).cloned(),
            "Concat" => parts.map(|parts| parts.into_iter().flatten().copied().collect()),
            "Mul" => match &parts?[..] {
                [a, b] if b.len() == 1 => Some(a.iter().map(|a| a * b[0]).collect()),
                [a, b] if a.len() == 1 => Some(b.iter().map(|b| a[0] * b).collect()),
                [a, b] if a.len() == b.len() => Some(a.iter().zip(*b).map(|(a, b)| a * b).collect()),
                _ => None,
            },
            _ => None,
        }
        .filter(|numbers: &Vec<f64>| numbers.len() <= MAX_NUMBERS)
    }

    /// Refuses sizes that no tensor can have here.
    pub(super) fn check(&self) -> Result<(), NetError> {
        let mut left = MAX_AT_LOAD;
        for Told { operator, name, at_load } in &self.told {
            let Some(numbers) = self.numbers.get(name) else {
                if *at_load {
                    return Err(NetError::Unsupported(format!(
                        "the operator {operator} with a size that it computes from constants; fold constants when you export it"
                    )));
                }
                continue;
            };
            let elements = match *operator {
                "Range" => numbers.iter().copied().fold(0.0, |most, number| number.abs().max(most)),
                _ => numbers.iter().map(|number| number.abs().max(1.0)).product(),
            };
            let most = if *at_load { left } else { MAX_ELEMENTS as f64 };
            // A NaN is no size either.
            if elements.is_nan() || elements > most {
                return Err(NetError::TooLarge(format!("{operator} would make a tensor of {elements} elements")));
            }
            if *at_load {
                left -= elements;
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
