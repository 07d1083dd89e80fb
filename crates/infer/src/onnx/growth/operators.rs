//! How large the result of an operator can be, by <https://onnx.ai/onnx/operators/>. Every answer is a bound from above.

use super::{Attributes, Constant, MAX_NUMBERS, small_numbers};

/// Results that are never larger than the first input, size by size. `TopK` and the like cut; several outputs each keep to it.
const WITHIN_FIRST: [&str; 73] = [
    "Abs",
    "Acos",
    "Acosh",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BatchNormalization",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mish",
    "Neg",
    "Not",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "TopK",
    "Trilu",
];

/// Results with the sizes to which all inputs broadcast.
const BROADCASTING: [&str; 28] = [
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
    // Linear in each input, without a size of their own.
    "DynamicQuantizeLinear",
    "Swish",
    "RMSNormalization",
    "GroupNormalization",
];

/// The result of an operator over constants; nothing if it can be of any size. `largest` is the largest constant so far.
pub(super) fn made(
    operator: &str,
    inputs: &[Option<&Constant>],
    attributes: &Attributes<'_>,
    largest: u64,
) -> Option<Constant> {
    let input = |at: usize| inputs.get(at).copied().flatten();
    let numbers = |at: usize| input(at).and_then(|input| input.numbers.as_deref());
    let elements = |at: usize| input(at).map(|input| input.elements);
    match operator {
        "Constant" => Some(literal(attributes)),
        _ if WITHIN_FIRST.contains(&operator) => Some(within(operator, input(0)?, attributes)),
        _ if BROADCASTING.contains(&operator) => Some(broadcast(operator, inputs)),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "DepthToSpace" | "SpaceToDepth" => {
            Some(reshaped(operator, input(0)?, numbers(1)))
        }
        "Transpose" => Some(transposed(input(0)?, attributes)),
        "Shape" => {
            let dims = input(0)?.dims.as_ref();
            let whole = dims.filter(|_| !attributes.cut);
            let numbers = whole.map(|dims| dims.iter().map(|size| *size as f64).collect());
            let rank = dims.map_or(MAX_NUMBERS, Vec::len) as u64;
            Some(Constant { elements: rank, dims: Some(vec![rank]), numbers, hidden: false })
        }
        "Size" => Some(Constant::of_elements(1)),
        "Concat" => Some(concatenated(inputs, attributes)),
        "Gather" => Some(gathered(input(0)?, input(1)?, attributes)),
        "GatherElements" => elements(1).map(Constant::of_elements),
        "NonZero" => {
            let rank = input(0)?.dims.as_ref().map_or(MAX_NUMBERS, Vec::len) as u64;
            Some(Constant::of_elements(elements(0)?.saturating_mul(rank)))
        }
        "MatMul" | "Gemm" | "MatMulInteger" | "GatherND" | "Einsum" => Some(multiplied(operator, inputs)),
        "If" => Some(Constant::of_elements(largest.max(1))),
        "ConstantOfShape" => {
            let mut made = Constant::of_dims(told(numbers(0)?)?);
            if made.elements <= MAX_NUMBERS as u64 {
                let value = attributes.tensor.map_or(Some(vec![0.0]), |tensor| small_numbers(tensor).ok());
                made.numbers = value.and_then(|value| Some(vec![*value.first()?; made.elements as usize]));
            }
            Some(made)
        }
        "Expand" => {
            let to = Constant::of_dims(told(numbers(1)?)?);
            Some(broadcast(operator, &[input(0), Some(&to)]))
        }
        "Tile" => {
            let repeats = told(numbers(1)?)?.into_iter().fold(1, u64::saturating_mul);
            Some(Constant::of_elements(elements(0)?.saturating_mul(repeats)))
        }
        "Pad" => {
            let around = told(numbers(1)?)?.into_iter().sum::<u64>();
            let dims = input(0)?.dims.as_ref()?;
            Some(Constant::of_dims(dims.iter().map(|size| size.saturating_add(around)).collect()))
        }
        "OneHot" => {
            let depth = told(numbers(1)?)?.first().copied()?;
            Some(Constant::of_elements(elements(0)?.saturating_mul(depth)))
        }
        "Range" => {
            let [start, limit, delta] = [0, 1, 2].map(|at| numbers(at).and_then(<[f64]>::first).copied());
            let steps = ((limit? - start?) / delta?).ceil();
            // Down from a start below the limit there are none.
            steps.is_finite().then(|| Constant::of_dims(vec![steps.max(0.0) as u64]))
        }
        _ => None,
    }
}

/// Sizes from numbers, which may stand for others where they are 0 or -1; nothing if they are no sizes.
fn told(numbers: &[f64]) -> Option<Vec<u64>> {
    let sizes = numbers.iter().map(|number| number.is_finite().then_some(number.abs() as u64));
    sizes.collect()
}

fn literal(attributes: &Attributes<'_>) -> Constant {
    let numbers = attributes.ints.as_ref().map(|ints| ints.iter().map(|int| *int as f64).collect::<Vec<_>>());
    Constant {
        elements: attributes.count.max(1) as u64,
        dims: None,
        numbers: numbers.filter(|numbers| numbers.len() <= MAX_NUMBERS),
        hidden: false,
    }
}

fn within(operator: &str, first: &Constant, attributes: &Attributes<'_>) -> Constant {
    let drops = operator.starts_with("Reduce") || operator.starts_with("Arg");
    let mut made = first.clone();
    if drops && attributes.keepdims == Some(0) {
        made.dims = None;
    }
    // Their elements are some others.
    if !matches!(operator, "Identity" | "Cast" | "CastLike") {
        made.numbers = None;
    }
    made
}

fn broadcast(operator: &str, inputs: &[Option<&Constant>]) -> Constant {
    let inputs: Vec<&Constant> = inputs.iter().copied().flatten().collect();
    let rank = inputs.iter().map(|input| input.dims.as_ref().map(Vec::len)).collect::<Option<Vec<usize>>>();
    let mut made = match rank {
        Some(ranks) => {
            let rank = ranks.into_iter().max().unwrap_or(0);
            let mut dims = vec![1; rank];
            for sizes in inputs.iter().filter_map(|input| input.dims.as_ref()) {
                for (dim, size) in dims[rank - sizes.len()..].iter_mut().zip(sizes) {
                    *dim = (*dim).max(*size);
                }
            }
            Constant::of_dims(dims)
        }
        None => Constant::of_elements(inputs.iter().map(|input| input.elements).fold(1, u64::saturating_mul)),
    };
    let sides = match (operator, &inputs[..]) {
        ("Mul", [a, b]) => Some((a, b, (|a, b| a * b) as fn(f64, f64) -> f64)),
        // Either of them: the larger is a bound.
        ("Where", [_, a, b]) => Some((a, b, (|a, b| a.abs().max(b.abs())) as fn(f64, f64) -> f64)),
        _ => None,
    };
    if let Some((a, b, each)) = sides
        && let (Some(a), Some(b)) = (&a.numbers, &b.numbers)
        && !a.is_empty()
        && !b.is_empty()
        && (a.len() == b.len() || a.len() == 1 || b.len() == 1)
        && made.elements == a.len().max(b.len()) as u64
    {
        made.numbers = Some((0..a.len().max(b.len())).map(|at| each(a[at % a.len()], b[at % b.len()])).collect());
    }
    made
}

fn reshaped(operator: &str, data: &Constant, sizes: Option<&[f64]>) -> Constant {
    // 0 and -1 stand for sizes that follow.
    let exact = |sizes: &[f64]| sizes.iter().all(|size| *size >= 1.0).then(|| told(sizes)).flatten();
    let dims = sizes.filter(|_| operator == "Reshape").and_then(exact);
    // Others' elements may be bounds, so that these sizes could be too large; they are never too small.
    Constant { elements: data.elements, dims, numbers: data.numbers.clone(), hidden: false }
}

fn transposed(data: &Constant, attributes: &Attributes<'_>) -> Constant {
    let dims = data.dims.as_ref().and_then(|dims| match &attributes.perm {
        Some(perm) => perm.iter().map(|at| usize::try_from(*at).ok().and_then(|at| dims.get(at)).copied()).collect(),
        None => Some(dims.iter().rev().copied().collect()),
    });
    Constant { elements: data.elements, dims, numbers: None, hidden: false }
}

fn concatenated(inputs: &[Option<&Constant>], attributes: &Attributes<'_>) -> Constant {
    let inputs: Vec<&Constant> = inputs.iter().copied().flatten().collect();
    let mut made = Constant::of_elements(inputs.iter().map(|input| input.elements).fold(0, u64::saturating_add));
    let all: Option<Vec<&Vec<u64>>> = inputs.iter().map(|input| input.dims.as_ref()).collect();
    if let (Some(all), Some(axis)) = (all, attributes.axis)
        && let Some(first) = all.first()
        && all.iter().all(|dims| dims.len() == first.len())
        && let Some(axis) = position(axis, first.len())
    {
        let mut dims = vec![0_u64; first.len()];
        for sizes in all {
            for (at, (dim, size)) in dims.iter_mut().zip(sizes).enumerate() {
                *dim = if at == axis { dim.saturating_add(*size) } else { (*dim).max(*size) };
            }
        }
        made = Constant { elements: made.elements, dims: Some(dims), numbers: None, hidden: false };
    }
    let numbers: Option<Vec<&Vec<f64>>> = inputs.iter().map(|input| input.numbers.as_ref()).collect();
    let numbers: Option<Vec<f64>> = numbers.map(|all| all.into_iter().flatten().copied().collect());
    made.numbers = numbers.filter(|numbers| numbers.len() <= MAX_NUMBERS);
    made
}

/// Rows of `data`, as many as there are indices.
fn gathered(data: &Constant, indices: &Constant, attributes: &Attributes<'_>) -> Constant {
    let axis = data.dims.as_ref().and_then(|dims| Some((dims, position(attributes.axis.unwrap_or(0), dims.len())?)));
    let row = match axis {
        Some((dims, axis)) => {
            let others = dims.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, size)| *size);
            others.fold(1, u64::saturating_mul)
        }
        None => data.elements,
    };
    // Which of the numbers is taken is not followed; none is larger than the largest.
    let numbers = data.numbers.as_ref().filter(|_| indices.elements <= MAX_NUMBERS as u64 && row == 1).map(|numbers| {
        let largest = numbers.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        vec![largest; indices.elements as usize]
    });
    Constant { elements: indices.elements.saturating_mul(row), dims: None, numbers, hidden: false }
}

/// Products: of two matrices exactly, of anything else each element with each.
fn multiplied(operator: &str, inputs: &[Option<&Constant>]) -> Constant {
    let sides = inputs.iter().take(2).copied().flatten();
    if operator != "GatherND"
        && operator != "Einsum"
        && let [Some(a), Some(b)] = sides.clone().map(|side| side.dims.as_deref()).collect::<Vec<_>>()[..]
        && let ([n, k], [l, m]) = (a, b)
    {
        // Transposed or not.
        let (rows, columns) = if operator == "Gemm" { (*n.max(k), *l.max(m)) } else { (*n, *m) };
        return Constant::of_dims(vec![rows, columns]);
    }
    let inputs = inputs.iter().copied().flatten();
    Constant::of_elements(inputs.map(|input| input.elements).fold(1, u64::saturating_mul))
}

/// An axis, which may count from the end.
fn position(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let at = if axis < 0 { axis + rank } else { axis };
    usize::try_from(at).ok().filter(|at| (*at as i64) < rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(sizes: &[u64]) -> Constant {
        Constant::of_dims(sizes.to_vec())
    }

    fn numbers(numbers: &[f64]) -> Constant {
        Constant { numbers: Some(numbers.to_vec()), ..dims(&[numbers.len() as u64]) }
    }

    fn bound(operator: &str, inputs: &[&Constant], attributes: &Attributes<'_>) -> Option<(u64, Option<Vec<u64>>)> {
        let inputs: Vec<Option<&Constant>> = inputs.iter().map(|input| Some(*input)).collect();
        made(operator, &inputs, attributes, 77).map(|made| (made.elements, made.dims))
    }

    #[test]
    fn results_are_as_large_as_the_operators_make_them() {
        let none = Attributes::default();
        let (column, row, weights) = (dims(&[1000, 1]), dims(&[1, 1000]), dims(&[512, 768]));
        let sizes = |made: Option<(u64, Option<Vec<u64>>)>| made.expect("bounded").1.expect("a rank");
        assert_eq!(sizes(bound("Mul", &[&column, &row], &none)), [1000, 1000]);
        assert_eq!(sizes(bound("Add", &[&weights, &dims(&[768])], &none)), [512, 768]);
        assert_eq!(sizes(bound("Transpose", &[&weights], &none)), [768, 512]);
        assert_eq!(sizes(bound("MatMul", &[&column, &row], &none)), [1000, 1000]);
        assert_eq!(sizes(bound("Expand", &[&row, &numbers(&[7.0, 1.0, 1.0])], &none)), [7, 1, 1000]);
        assert_eq!(sizes(bound("ConstantOfShape", &[&numbers(&[3.0, 4.0])], &none)), [3, 4]);
        assert_eq!(sizes(bound("Pad", &[&row, &numbers(&[0.0, 2.0, 0.0, 3.0])], &none)), [6, 1005]);
        assert_eq!(bound("Gather", &[&weights, &dims(&[128])], &none), Some((128 * 768, None)));
        assert_eq!(bound("Tile", &[&row, &numbers(&[5.0, 5.0])], &none), Some((25_000, None)));
        assert_eq!(bound("OneHot", &[&row, &numbers(&[9.0]), &numbers(&[0.0, 1.0])], &none), Some((9000, None)));
        let axis = Attributes { axis: Some(-1), ..Attributes::default() };
        assert_eq!(sizes(bound("Concat", &[&weights, &weights], &axis)), [512, 1536]);
        let dropped = Attributes { keepdims: Some(0), ..Attributes::default() };
        assert_eq!(bound("ReduceMax", &[&weights], &dropped), Some((512 * 768, None)));
        let unranked = Constant::of_elements(10);
        assert_eq!(bound("Add", &[&unranked, &weights], &none), Some((10 * 512 * 768, None)));
        assert_eq!(bound("If", &[&unranked], &none), Some((77, None)));

        // How PyTorch writes `expand(-1, 5)`.
        let shape = numbers(&[-1.0, 5.0]);
        let ones = made("ConstantOfShape", &[Some(&numbers(&[2.0]))], &none, 0).expect("bounded");
        let chosen = made("Where", &[Some(&dims(&[2])), Some(&ones), Some(&shape)], &none, 0).expect("bounded");
        assert_eq!(sizes(bound("Expand", &[&dims(&[1000, 1]), &chosen], &none)), [1000, 5]);
    }

    #[test]
    fn a_range_is_as_long_as_its_steps_make_it() {
        let none = Attributes::default();
        let range = |start, limit, delta| {
            bound("Range", &[&numbers(&[start]), &numbers(&[limit]), &numbers(&[delta])], &none).map(|made| made.0)
        };
        assert_eq!(range(0.0, 10.0, 3.0), Some(4));
        assert_eq!(range(0.0, 1.0, 1e-9), Some(1_000_000_000));
        assert_eq!(range(5.0, 0.0, 1.0), Some(0));
        assert_eq!(range(0.0, 5.0, 0.0), None);
        assert_eq!(range(f64::NAN, 5.0, 1.0), None);
    }

    #[test]
    fn what_cannot_be_told_is_not_bounded() {
        let none = Attributes::default();
        for operator in ["Conv", "ConvTranspose", "Resize", "Frobnicate", "MaxPool", "LSTM"] {
            assert_eq!(bound(operator, &[&dims(&[4]), &dims(&[4])], &none), None, "{operator}");
        }
        assert_eq!(bound("ConstantOfShape", &[&dims(&[2])], &none), None, "sizes that aren't known");
        assert_eq!(
            bound("Pad", &[&Constant::of_elements(9), &numbers(&[1.0])], &none),
            None,
            "a rank that isn't known"
        );
    }
}
