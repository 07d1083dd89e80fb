//! Trees as anyone would walk them.

use infer::trees::{Node, Scalar, Test};

/// The leaf that a row falls into, walking as anyone would.
pub fn reach<'a, X: Scalar + Into<f64>, V>(nodes: &'a [Node<X, V>], row: &[X]) -> &'a Node<X, V> {
    let mut at = 0;
    while let Node::Split { feature, test, missing_left, left, right } = &nodes[at] {
        let value = row[*feature];
        let number: f64 = value.into();
        let goes_left = match test {
            _ if number.is_nan() => *missing_left,
            Test::Below(threshold) => value < *threshold,
            Test::AtMost(threshold) => value <= *threshold,
            Test::NotEqual(other) => value != *other,
            Test::NotIn(set) => number < 0.0 || !set.iter().any(|category| f64::from(*category) == number.trunc()),
        };
        at = if goes_left { *left } else { *right };
    }
    &nodes[at]
}
