//! From a tensor's `data`, flat or nested arrays of JSON, to its elements: one pass, without recursion.

use std::str::FromStr;

use super::{Data, Datatype};

/// Reads elements. `json` is one whole JSON value, known to be well formed.
///
/// # Errors
///
/// What is wrong with it, for a person: not an array, not of this shape, or an element that is no `datatype`.
pub(super) fn read(json: &str, datatype: Datatype, shape: &[usize]) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => Data::Bool(elements(json, datatype, shape, boolean)?),
        Datatype::Int8 => Data::Int8(elements(json, datatype, shape, whole)?),
        Datatype::Uint8 => Data::Uint8(elements(json, datatype, shape, whole)?),
        Datatype::Int32 => Data::Int32(elements(json, datatype, shape, whole)?),
        Datatype::Int64 => Data::Int64(elements(json, datatype, shape, whole)?),
        Datatype::Fp32 => Data::Fp32(elements(json, datatype, shape, single)?),
        Datatype::Fp64 => Data::Fp64(elements(json, datatype, shape, double)?),
    })
}

fn elements<T>(
    json: &str,
    datatype: Datatype,
    shape: &[usize],
    element: fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    // The caller has checked that the product is within the limits.
    let count: usize = shape.iter().product();
    // Two bytes an element are the least that JSON takes.
    let mut elements = Vec::with_capacity(count.min(json.len() / 2));
    // How many items each open array has had so far, the outermost first.
    let mut open: Vec<usize> = Vec::new();
    // At which depth the elements are: 1 if they are flat, the shape's if nested.
    let mut depth = None;
    let mut rest = json;
    let uneven = || "data is not nested as the shape says".to_owned();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        let Some(first) = rest.bytes().next() else { break };
        if matches!(first, b'"' | b'{') || (open.is_empty() && first != b'[') {
            let what = if open.is_empty() { "data must be an array" } else { "data has a text or an object in it" };
            return Err(what.to_owned());
        }
        if first == b']' {
            let (full, items) = (open.len(), open.pop().unwrap_or(0));
            let expected = if depth == Some(1) && full == 1 { Some(&count) } else { shape.get(full - 1) };
            if expected != Some(&items) && !(count == 0 && items == 0) {
                return Err(if depth == Some(1) { too(items, count) } else { uneven() });
            }
            rest = &rest[1..];
            continue;
        }
        if let Some(items) = open.last_mut() {
            *items += 1;
        }
        if first == b'[' {
            if open.len() >= shape.len().max(1) {
                return Err(uneven());
            }
            open.push(0);
            rest = &rest[1..];
            continue;
        }
        if *depth.get_or_insert(open.len()) != open.len() || (open.len() != 1 && open.len() != shape.len()) {
            return Err(uneven());
        }
        if elements.len() == count {
            return Err(format!("data has more than the {count} elements that the shape says"));
        }
        let end = rest.find(|c: char| matches!(c, ',' | ']') || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let Some(value) = element(&rest[..end]) else {
            return Err(format!("data: element {} is no {datatype}", elements.len() + 1));
        };
        elements.push(value);
        rest = &rest[end..];
    }
    if elements.len() == count { Ok(elements) } else { Err(too(elements.len(), count)) }
}

fn too(given: usize, count: usize) -> String {
    format!("data has {given} elements, the shape says {count}")
}

fn boolean(token: &str) -> Option<bool> {
    match token {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number, however it is written: `3`, `3.0` or `3e0`.
fn whole<T: FromStr + TryFrom<i64>>(token: &str) -> Option<T> {
    token.parse().ok().or_else(|| {
        // What an f64 tells apart from its neighbours.
        let value = double(token).filter(|value| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0)?;
        T::try_from(value as i64).ok()
    })
}

fn single(token: &str) -> Option<f32> {
    // By way of the f64, as libraries that read JSON do.
    double(token).map(|value| value as f32).filter(|value| value.is_finite())
}

fn double(token: &str) -> Option<f64> {
    // Rust would read words as well: `nan`, `inf`. JSON has `null`, `true` and `false`.
    let number = token.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    token.parse().ok().filter(|value: &f64| number && value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flat_and_nested_are_the_same() {
        for json in ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", " [ [1e0 ,2.0,3] , [4,5\n,6 ] ] "] {
            assert_eq!(read(json, Datatype::Int8, &[2, 3]), Ok(Data::Int8(vec![1, 2, 3, 4, 5, 6])), "{json}");
        }
        assert_eq!(read("[true,0]", Datatype::Bool, &[2]), Ok(Data::Bool(vec![true, false])));
        assert_eq!(read("[3]", Datatype::Fp32, &[]), Ok(Data::Fp32(vec![3.0])));
        assert_eq!(read("[]", Datatype::Fp32, &[2, 0, 3]), Ok(Data::Fp32(vec![])));
        assert_eq!(read("[[],[]]", Datatype::Fp32, &[2, 0, 3]), Ok(Data::Fp32(vec![])));
        let extremes = format!("[{},{}]", i64::MIN, i64::MAX);
        assert_eq!(read(&extremes, Datatype::Int64, &[2]), Ok(Data::Int64(vec![i64::MIN, i64::MAX])));
    }

    #[test]
    fn faults_are_named() {
        let deep = "[".repeat(100) + "1" + &"]".repeat(100);
        let cases: [(&str, Datatype, &[usize]); 22] = [
            ("3", Datatype::Fp32, &[1]),
            ("null", Datatype::Fp32, &[1]),
            ("{}", Datatype::Fp32, &[1]),
            ("\"secret\"", Datatype::Fp32, &[1]),
            ("[\"secret\"]", Datatype::Fp32, &[1]),
            ("[{\"a\":1}]", Datatype::Fp32, &[1]),
            ("[null]", Datatype::Fp32, &[1]),
            ("[true]", Datatype::Fp32, &[1]),
            ("[1,2]", Datatype::Fp32, &[3]),
            ("[1,2,3,4]", Datatype::Fp32, &[3]),
            ("[[1,2],[3]]", Datatype::Fp32, &[2, 2]),
            ("[[1,2],3,4]", Datatype::Fp32, &[2, 2]),
            ("[1,[2,3,4]]", Datatype::Fp32, &[2, 2]),
            ("[[1,2],[3,4],[]]", Datatype::Fp32, &[2, 2]),
            ("[[1,2,3,4]]", Datatype::Fp32, &[2, 2]),
            ("[[[1,2]],[[3,4]]]", Datatype::Fp32, &[2, 2]),
            (&deep, Datatype::Fp32, &[1]),
            ("[1e39]", Datatype::Fp32, &[1]),
            ("[128]", Datatype::Int8, &[1]),
            ("[-1]", Datatype::Uint8, &[1]),
            ("[1.5]", Datatype::Int64, &[1]),
            ("[9223372036854775808]", Datatype::Int64, &[1]),
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|(json, datatype, shape)| {
                let shown: String = json.chars().take(30).collect();
                format!("{shown:<32} {}", read(json, *datatype, shape).unwrap_err())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    fn nested(values: &[i64], shape: &[usize]) -> serde_json::Value {
        let Some((first, rest)) = shape.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return values.into();
        };
        let size = rest.iter().product::<usize>();
        (0..*first).map(|at| nested(&values[at * size..][..size], rest)).collect()
    }

    proptest! {
        #[test]
        fn nesting_and_spaces_change_nothing(shape in proptest::collection::vec(1_usize..4, 1..5), seed: i64, pretty: bool) {
            let count = shape.iter().product::<usize>() as i64;
            let values: Vec<i64> = (0..count).map(|at| seed.wrapping_mul(at + 7)).collect();
            let json = nested(&values, &shape);
            let text = if pretty { format!("{json:#}") } else { json.to_string() };
            prop_assert_eq!(read(&text, Datatype::Int64, &shape), Ok(Data::Int64(values.clone())));
            let flat = serde_json::Value::from(values.clone()).to_string();
            prop_assert_eq!(read(&flat, Datatype::Int64, &shape), Ok(Data::Int64(values)));
        }
    }
}
