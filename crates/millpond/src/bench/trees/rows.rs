//! Rows to ask about. They follow from a seed, so that every run and every engine has the same.

use infer::random::SplitMix64;

use super::forest::Forest;

/// Rows, row-major.
#[derive(Debug, Clone)]
pub struct Rows {
    pub features: usize,
    pub values: Vec<f32>,
}

impl Rows {
    /// Each value from a bell-shaped distribution around 0, or with the probability `missing` none.
    pub fn drawn(features: usize, count: usize, missing: f64, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut value = || {
            let bell = (0..4).map(|_| random.unit()).sum::<f64>() - 2.0;
            if random.unit() < missing { f32::NAN } else { bell as f32 }
        };
        Self { features, values: (0..features * count).map(|_| value()).collect() }
    }

    /// Each value between two neighbours among the thresholds that the trees have for its feature, any two as likely, so that every split has
    /// rows for both of its sides.
    pub fn between_thresholds(forest: &Forest, count: usize, seed: u64) -> Self {
        let mut thresholds = vec![Vec::new(); forest.features];
        for node in forest.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Some(split) = &node.split {
                thresholds[split.feature].push(node.value);
            }
        }
        for list in &mut thresholds {
            list.sort_by(f32::total_cmp);
            list.dedup();
            // One place below the lowest, one above the highest.
            let (lowest, highest) = (list.first().copied().unwrap_or(0.0), list.last().copied().unwrap_or(0.0));
            list.insert(0, lowest - 1.0);
            list.push(highest + 1.0);
        }
        let mut random = SplitMix64::new(seed);
        let mut values = Vec::with_capacity(count * forest.features);
        for _ in 0..count {
            for list in &thresholds {
                let place = (random.unit() * (list.len() - 1) as f64) as usize;
                let share = random.unit() as f32;
                values.push(list[place] + (list[place + 1] - list[place]) * share);
            }
        }
        Self { features: forest.features, values }
    }
}
