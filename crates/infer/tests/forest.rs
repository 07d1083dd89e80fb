//! The forest engine against a naive evaluator, on random trees and awkward values.

#[path = "common/naive.rs"]
mod naive;

use infer::trees::{Builder, Layout, Node, Scalar, Test, TreeError, key};
use naive::reach;
use proptest::prelude::*;

fn leaf(nodes: &[Node], row: &[f32]) -> f32 {
    match reach(nodes, row) {
        Node::Leaf(value) => *value,
        other => panic!("{other:?}"),
    }
}

/// Values among which comparisons often meet their equals and their neighbours.
fn value() -> impl Strategy<Value = f32> {
    let awkward = vec![
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::from_bits(1),
        -f32::from_bits(1),
        f32::MAX,
        f32::MIN,
        1.0,
        1.0 + f32::EPSILON,
        1.0 - f32::EPSILON / 2.0,
        -1.0,
    ];
    prop_oneof![
        3 => proptest::sample::select(awkward),
        2 => (0..6_i32).prop_map(|value| value as f32),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        3 => value().prop_map(Test::Below),
        2 => value().prop_map(Test::AtMost),
        1 => value().prop_filter("a number", |value| !value.is_nan()).prop_map(Test::NotEqual),
        1 => proptest::collection::vec(0..8_u32, 0..5).prop_map(Test::NotIn),
    ]
}

/// Grows a tree by splitting one leaf after another; lopsided as often as not.
fn tree(features: usize) -> impl Strategy<Value = Vec<Node>> {
    let split = (any::<proptest::sample::Index>(), 0..features, test(), any::<bool>(), -8..8_i8, -8..8_i8);
    proptest::collection::vec(split, 0..40).prop_map(|splits| {
        let mut nodes = vec![Node::Leaf(0.1)];
        for (which, feature, test, missing_left, a, b) in splits {
            let leaves: Vec<usize> = (0..nodes.len()).filter(|at| matches!(nodes[*at], Node::Leaf(_))).collect();
            let at = leaves[which.index(leaves.len())];
            let left = nodes.len();
            nodes[at] = Node::Split { feature, test, missing_left, left, right: left + 1 };
            // Tenths, so that the order of the sums shows.
            nodes.push(Node::Leaf(f32::from(a) / 10.0));
            nodes.push(Node::Leaf(f32::from(b) / 10.0));
        }
        nodes
    })
}

const FEATURES: usize = 5;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_naive_evaluator(
        trees in proptest::collection::vec((tree(FEATURES), 0..3_usize), 0..20),
        base in proptest::array::uniform3(-1.0..1.0_f32),
        rows in proptest::collection::vec(proptest::array::uniform5(value()), 0..70),
    ) {
        let mut builder = Builder::new(FEATURES, base.to_vec());
        for (tree, output) in &trees {
            builder.add(*output, tree).unwrap();
        }
        let forest = builder.build();
        let mut expected = Vec::new();
        for row in &rows {
            let mut sums = base;
            for (tree, output) in &trees {
                sums[*output] += leaf(tree, row);
            }
            expected.extend(sums.map(f32::to_bits));
        }
        let mut out = Vec::new();
        for layout in Layout::available() {
            let forest = forest.clone().laid_out(layout);
            forest.predict(rows.as_flattened(), &mut out, &|| false).unwrap();
            let found = out.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(found, expected.clone(), "{:?}", layout);
        }
        for (row, expected) in rows.iter().zip(expected.chunks(3)) {
            forest.predict(row, &mut out, &|| false).unwrap();
            prop_assert_eq!(out.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected.to_vec());
        }
    }

    /// Rows, sums and leaves in f64, leaves with a value an output.
    #[test]
    fn equals_the_naive_evaluator_in_double_precision(
        trees in proptest::collection::vec(tree(FEATURES), 0..20),
        single_leaves in any::<bool>(),
        rows in proptest::collection::vec(proptest::array::uniform5(value()), 0..70),
        offsets in proptest::collection::vec(-3..4_i32, 1..8),
    ) {
        // Neighbours that f32 cannot tell apart.
        let nudge = |value: f32, at: usize| {
            let offset = offsets[at % offsets.len()];
            let value = f64::from(value);
            if value.is_finite() { f64::from_bits(value.to_bits().wrapping_add_signed(offset.into())) } else { value }
        };
        let base = [0.0, 0.1, -0.2];
        let spread = |value: f64| [value, value * 1.1, -value];
        let trees: Vec<Vec<Node<f64, f64>>> = trees.iter().map(|nodes| nodes.iter().enumerate().map(|(at, node)| match node {
            Node::Leaf(value) if single_leaves => Node::Leaf(f64::from(*value) / 3.0),
            Node::Leaf(value) => Node::Leaves(spread(f64::from(*value) / 3.0).to_vec()),
            Node::Leaves(_) => unreachable!("the strategy makes none"),
            Node::Split { feature, test, missing_left, left, right } => Node::Split {
                feature: *feature,
                test: match test {
                    Test::Below(bound) => Test::Below(nudge(*bound, at)),
                    Test::AtMost(bound) => Test::AtMost(nudge(*bound, at)),
                    Test::NotEqual(other) => Test::NotEqual(nudge(*other, at)),
                    Test::NotIn(set) => Test::NotIn(set.clone()),
                },
                missing_left: *missing_left,
                left: *left,
                right: *right,
            },
        }).collect()).collect();
        let mut builder = Builder::new(FEATURES, base.to_vec());
        for (at, tree) in trees.iter().enumerate() {
            builder.add(at % 3, tree).unwrap();
        }
        let forest = builder.build();
        let rows: Vec<f64> = rows.as_flattened().iter().enumerate().map(|(at, value)| nudge(*value, at)).collect();
        let mut expected = Vec::new();
        for row in rows.chunks(FEATURES) {
            let mut sums = base;
            for (at, tree) in trees.iter().enumerate() {
                match reach(tree, row) {
                    Node::Leaf(value) => sums[at % 3] += value,
                    Node::Leaves(values) => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
                    split => panic!("{split:?}"),
                }
            }
            expected.extend(sums.map(f64::to_bits));
        }
        let mut out = Vec::new();
        for layout in Layout::available() {
            let forest = forest.clone().laid_out(layout);
            forest.predict(&rows, &mut out, &|| false).unwrap();
            let found = out.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(found, expected.clone(), "{:?}", layout);
        }
        for (row, expected) in rows.chunks(FEATURES).zip(expected.chunks(3)) {
            forest.predict(row, &mut out, &|| false).unwrap();
            prop_assert_eq!(out.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected.to_vec());
        }
    }

    /// The largest f32 not above a bound tells the same f32 apart as the bound does.
    #[test]
    fn rounded_down_bounds_split_as_their_bounds_do(value in value(), near in value(), offset in -3..4_i64, other in any::<f64>()) {
        prop_assume!(!value.is_nan() && !near.is_nan());
        let beside = f64::from_bits(f64::from(near).to_bits().wrapping_add_signed(offset));
        for bound in [f64::from(near), beside, other] {
            prop_assume!(!bound.is_nan());
            prop_assert_eq!(value <= f32::round_down(bound), f64::from(value) <= bound, "{} {}", value, bound);
        }
    }

    #[test]
    fn double_keys_order_as_floats_do(a in any::<u64>(), b in any::<u64>(), offset in -2..3_i64) {
        let (a, b) = (f64::from_bits(a), f64::from_bits(b));
        let beside = f64::from_bits(a.to_bits().wrapping_add_signed(offset));
        for b in [b, beside, -a, 0.0, -0.0] {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(key(a) < key(b), a < b);
            prop_assert_eq!(key(a) == key(b), a == b);
            prop_assert!(key(a) > i64::MIN + 1 && key(a) < i64::MAX);
        }
    }

    #[test]
    fn keys_order_as_floats_do(a in value(), b in value()) {
        prop_assume!(!a.is_nan() && !b.is_nan());
        prop_assert_eq!(key(a) < key(b), a < b);
        prop_assert_eq!(key(a) == key(b), a == b);
        prop_assert!(key(a) > i32::MIN + 1 && key(a) < i32::MAX);
    }
}

/// A tree with more nodes, and a row with more features, than the small node layout can count.
#[test]
fn large_trees_and_wide_rows() {
    let features = 70_000;
    let mut nodes = Vec::new();
    for at in 0..99_999_usize {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        nodes.push(if right < 99_999 {
            let test = Test::Below((at % 7) as f32);
            Node::Split { feature: at % features, test, missing_left: at % 2 == 0, left, right }
        } else {
            Node::Leaf(at as f32)
        });
    }
    let mut builder = Builder::new(features, vec![0.5]);
    builder.add(0, &nodes).unwrap();
    builder.add(0, &[Node::Leaf(1.0)]).unwrap();
    let forest = builder.build();
    let rows: Vec<f32> =
        (0..20 * features).map(|at| if at % 11 == 0 { f32::NAN } else { (at * 2_654_435_761 % 8) as f32 }).collect();
    let mut out = Vec::new();
    forest.predict(&rows, &mut out, &|| false).unwrap();
    let expected: Vec<f32> = rows.chunks(features).map(|row| 0.5 + leaf(&nodes, row) + 1.0).collect();
    assert_eq!(out, expected);
}

#[test]
fn a_chain_as_deep_as_it_is_long() {
    let depth = 30_000;
    let mut nodes = Vec::new();
    for at in 0..depth {
        let test = Test::Below(at as f32 + 1.0);
        nodes.push(Node::Split { feature: 0, test, missing_left: false, left: 2 * at + 1, right: 2 * at + 2 });
        nodes.push(Node::Leaf(at as f32));
    }
    nodes.push(Node::Leaf(-1.0));
    let mut builder = Builder::new(1, vec![0.0]);
    builder.add(0, &nodes).unwrap();
    let mut out = Vec::new();
    builder.build().predict(&[0.0, 12_345.0, 29_999.5, 1e9, f32::NAN], &mut out, &|| false).unwrap();
    assert_eq!(out, [0.0, 12_345.0, 29_999.0, -1.0, -1.0]);
}

#[test]
fn what_cannot_be_a_tree_is_refused() {
    let split = |left, right| Node::Split { feature: 0, test: Test::Below(0.0), missing_left: true, left, right };
    let refused = |output, nodes: &[Node]| Builder::new(1, vec![0.0]).add(output, nodes).unwrap_err();
    assert_eq!(refused(0, &[]), TreeError::Empty);
    assert_eq!(refused(1, &[Node::Leaf(0.0)]), TreeError::NoSuchOutput { output: 1, outputs: 1 });
    assert_eq!(refused(0, &[split(0, 1), Node::Leaf(0.0)]), TreeError::ReachedTwice { node: 0 });
    assert_eq!(refused(0, &[split(1, 1), Node::Leaf(0.0)]), TreeError::ReachedTwice { node: 1 });
    assert_eq!(refused(0, &[split(1, 2), Node::Leaf(0.0)]), TreeError::NoSuchChild { node: 0, child: 2 });
    assert_eq!(refused(0, &[Node::Leaves(vec![0.0, 1.0])]), TreeError::UnlikeLeaves { node: 0 });
    for mixed in [[Node::Leaf(1.0), Node::Leaves(vec![1.0])], [Node::Leaves(vec![1.0]), Node::Leaf(1.0)]] {
        let [left, right] = mixed;
        assert_eq!(refused(0, &[split(1, 2), left, right]), TreeError::UnlikeLeaves { node: 2 });
    }
}
