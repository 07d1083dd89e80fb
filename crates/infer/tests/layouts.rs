//! Every layout that the machine can run, each forced, against the naive evaluator: random forests of every shape, awkward values.

#[path = "common/naive.rs"]
mod naive;

use infer::random::SplitMix64;
use infer::trees::{Builder, Layout, Node, Test};
use naive::reach;
use proptest::prelude::*;

/// What a forest is drawn from.
#[derive(Debug, Clone, Copy)]
struct Shape {
    seed: u64,
    features: usize,
    trees: usize,
    depth: u32,
    /// Of 16 nodes that could be split, as many are not.
    stopping: u64,
    /// Different thresholds for each feature.
    thresholds: u64,
    outputs: usize,
    /// Whether leaves have a value for each output.
    vectors: bool,
    /// Of 16 splits, as many are on categories or on one value.
    categories: u64,
    rows: usize,
}

fn shape(trees: impl Strategy<Value = usize>, features: impl Strategy<Value = usize>) -> impl Strategy<Value = Shape> {
    let sizes = (trees, features, 1..13_u32, prop_oneof![Just(0), 0..14_u64], prop_oneof![1..6_u64, 1..700_u64]);
    let rest = (any::<u64>(), 1..4_usize, any::<bool>(), prop_oneof![Just(0), 0..4_u64], 1..300_usize);
    (sizes, rest).prop_map(|((trees, features, depth, stopping, thresholds), rest)| {
        let (seed, outputs, vectors, categories, rows) = rest;
        Shape { seed, features, trees, depth, stopping, thresholds, outputs, vectors, categories, rows }
    })
}

struct Draw(SplitMix64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    /// Values that are often equal to one another, and often awkward.
    fn value(&mut self, different: u64) -> f32 {
        const AWKWARD: [f32; 14] = [
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
            f32::from_bits(0x007f_ffff),
            f32::MAX,
            f32::MIN,
            1.0 + f32::EPSILON,
        ];
        match self.below(8) {
            0 => AWKWARD[self.below(AWKWARD.len() as u64) as usize],
            1 => -(self.below(different) as f32) / 7.0,
            _ => self.below(different) as f32 / 7.0,
        }
    }

    /// A leaf, weighted as DART weights them.
    fn leaf(&mut self, shape: &Shape, weight: f32) -> Node {
        let mut value = || (self.below(2001) as f32 - 1000.0) / 700.0 * weight;
        if shape.vectors { Node::Leaves((0..shape.outputs).map(|_| value()).collect()) } else { Node::Leaf(value()) }
    }

    fn test(&mut self, shape: &Shape) -> Test {
        if self.below(16) < shape.categories {
            return if self.below(4) == 0 {
                Test::NotEqual(self.below(shape.thresholds) as f32 / 7.0)
            } else {
                Test::NotIn((0..self.below(5)).map(|_| self.below(12) as u32).collect())
            };
        }
        let bound = self.value(shape.thresholds);
        if self.below(3) == 0 { Test::AtMost(bound) } else { Test::Below(bound) }
    }

    fn tree(&mut self, shape: &Shape) -> Vec<Node> {
        let weight = self.below(1000) as f32 / 999.0;
        let mut nodes = vec![self.leaf(shape, weight)];
        let mut open = vec![(0, 0)];
        // Large enough for every depth, small enough for many cases.
        while let Some((at, depth)) = open.pop() {
            if depth == shape.depth || nodes.len() > 3000 || (depth > 0 && self.below(16) < shape.stopping) {
                continue;
            }
            let (left, right) = (nodes.len(), nodes.len() + 1);
            let (feature, missing_left) = (self.below(shape.features as u64) as usize, self.below(2) == 0);
            nodes[at] = Node::Split { feature, test: self.test(shape), missing_left, left, right };
            for child in [left, right] {
                let leaf = self.leaf(shape, weight);
                nodes.push(leaf);
                open.push((child, depth + 1));
            }
        }
        nodes
    }
}

fn check(shape: Shape) -> Result<(), TestCaseError> {
    let mut draw = Draw(SplitMix64::new(shape.seed));
    let base: Vec<f32> = (0..shape.outputs).map(|at| at as f32 * 0.3 - 0.1).collect();
    let trees: Vec<(usize, Vec<Node>)> = (0..shape.trees).map(|at| (at % shape.outputs, draw.tree(&shape))).collect();
    let rows: Vec<f32> = (0..shape.rows * shape.features).map(|_| draw.value(shape.thresholds + 1)).collect();
    let mut expected = Vec::new();
    for row in rows.chunks(shape.features) {
        let mut sums = base.clone();
        for (output, tree) in &trees {
            match reach(tree, row) {
                Node::Leaf(value) => sums[*output] += value,
                Node::Leaves(values) => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
                split => panic!("{split:?}"),
            }
        }
        expected.extend(sums.into_iter().map(f32::to_bits));
    }
    let mut builder = Builder::new(shape.features, base);
    for (output, tree) in &trees {
        builder.add(*output, tree).unwrap();
    }
    let forest = builder.build();
    for layout in Layout::available() {
        let forest = forest.clone().laid_out(layout);
        let mut out = Vec::new();
        // All at once, and in batches that leave lanes idle.
        for batch in [shape.rows, 1, 7, 65] {
            let mut found = Vec::new();
            for rows in rows.chunks(batch * shape.features).take(3) {
                forest.predict(rows, &mut out, &|| false).unwrap();
                found.extend(out.iter().map(|value| value.to_bits()));
            }
            prop_assert_eq!(&found[..], &expected[..found.len()], "{:?}, by {}", layout, batch);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_layout_equals_the_naive_evaluator(shape in shape(1..40_usize, prop_oneof![3 => 1..20_usize, 1 => 1..500_usize])) {
        check(shape)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn large_forests_equal_the_naive_evaluator(shape in shape(500..2000_usize, 1..500_usize)) {
        // Fewer rows and lower trees, for a naive evaluator's sake.
        check(Shape { rows: shape.rows / 3 + 1, depth: shape.depth.min(7), ..shape })?;
    }
}

/// Blending is what is tested above: forests of the usual shapes are not left to the walk.
#[test]
fn usual_forests_are_blended() {
    for depth in [1, 4, 6, 8, 12] {
        let shape = Shape {
            seed: 1,
            features: 9,
            trees: 50,
            depth,
            stopping: 0,
            thresholds: 300,
            outputs: 1,
            vectors: false,
            categories: 0,
            rows: 1,
        };
        let mut draw = Draw(SplitMix64::new(shape.seed));
        let mut builder = Builder::new(shape.features, vec![0.5]);
        for _ in 0..shape.trees {
            builder.add(0, &draw.tree(&shape)).unwrap();
        }
        let forest = builder.build();
        for layout in Layout::available() {
            // Deeper trees suit 8 rows a word no better than the walk does.
            if depth < 5 || layout != Layout::Portable {
                assert_eq!(forest.clone().laid_out(layout).layout(), layout, "{depth}");
            }
        }
    }
}
