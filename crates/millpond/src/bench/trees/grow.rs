//! Grows the models that are measured, so that none of megabytes has to lie beside the program: gradient boosting as XGBoost does it
//! (Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", 2016), with its `hist` method's defaults: 256 bins a feature,
//! `lambda` 1, `min_child_weight` 1, trees grown level by level, missing values sent where they gain more.
//!
//! One thread and one order of adding, so the models are the same everywhere.

mod saved;

use std::collections::VecDeque;

use infer::math;
use infer::random::SplitMix64;

use super::document::Document;
use super::rows::Rows;
use saved::Lists;

/// What is grown.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub features: usize,
    pub depth: usize,
    pub rounds: usize,
    /// A tree for each in every round; 1 for a number.
    pub outputs: usize,
    /// The share of values that are missing.
    pub missing: f64,
}

const TRAINING_ROWS: usize = 10_000;
const BINS: usize = 256;
const LEARNING_RATE: f64 = 0.1;
const LAMBDA: f64 = 1.0;
const MIN_CHILD_WEIGHT: f64 = 1.0;
/// Of a row; what is less in a bin is left of rows that were taken away.
const LEAST_HESSIAN: f64 = 1e-9;

/// The first and the second derivatives of the loss, summed over some rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    hessian: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
    }

    fn less(self, other: Self) -> Self {
        Self { gradient: self.gradient - other.gradient, hessian: self.hessian - other.hessian }
    }

    fn gain(self) -> f64 {
        self.gradient * self.gradient / (self.hessian + LAMBDA)
    }

    fn weight(self) -> f64 {
        -self.gradient / (self.hessian + LAMBDA)
    }
}

/// The training table, each value as the bin it falls into; [`BINS`] if it is missing.
struct Table {
    features: usize,
    bins: Vec<u16>,
    /// By feature, the bins' upper ends but the last one's.
    cuts: Vec<Vec<f32>>,
}

impl Table {
    fn of(rows: &Rows) -> Self {
        let column = |feature: usize| rows.values.iter().skip(feature).step_by(rows.features);
        let cuts: Vec<Vec<f32>> = (0..rows.features)
            .map(|feature| {
                let mut known: Vec<f32> = column(feature).copied().filter(|value| !value.is_nan()).collect();
                known.sort_by(f32::total_cmp);
                let mut cuts: Vec<f32> = (1..BINS).map(|bin| known[bin * known.len() / BINS]).collect();
                cuts.dedup();
                cuts
            })
            .collect();
        let bin = |(at, value): (usize, &f32)| match value {
            missing if missing.is_nan() => BINS as u16,
            value => cuts[at % rows.features].partition_point(|cut| cut <= value) as u16,
        };
        Self { features: rows.features, bins: rows.values.iter().enumerate().map(bin).collect(), cuts }
    }

    fn row(&self, row: u32) -> &[u16] {
        &self.bins[row as usize * self.features..][..self.features]
    }

    /// By feature and bin, the sums over these rows.
    fn histogram(&self, rows: &[u32], losses: &[Sums]) -> Vec<[Sums; BINS + 1]> {
        let mut histogram = vec![[Sums::default(); BINS + 1]; self.features];
        for row in rows {
            for (sums, bin) in histogram.iter_mut().zip(self.row(*row)) {
                sums[usize::from(*bin)].add(losses[*row as usize]);
            }
        }
        histogram
    }
}

struct Candidate {
    gain: f64,
    feature: usize,
    /// The last bin on the left.
    bin: usize,
    missing_left: bool,
}

/// The split that gains most, if any does.
fn best_split(table: &Table, histogram: &[[Sums; BINS + 1]], total: Sums) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (feature, bins) in histogram.iter().enumerate() {
        let missing = bins[BINS];
        let mut known_left = Sums::default();
        for (bin, sums) in bins.iter().enumerate().take(table.cuts[feature].len()) {
            // Without a row in it, the bin's end parts the rows as the one before.
            if sums.hessian < LEAST_HESSIAN {
                continue;
            }
            known_left.add(*sums);
            for missing_left in [false, true] {
                let mut left = known_left;
                if missing_left {
                    left.add(missing);
                }
                let right = total.less(left);
                let gain = left.gain() + right.gain() - total.gain();
                let fits = left.hessian >= MIN_CHILD_WEIGHT && right.hessian >= MIN_CHILD_WEIGHT && gain > 1e-6;
                if fits && best.as_ref().is_none_or(|best| gain > best.gain) {
                    best = Some(Candidate { gain, feature, bin, missing_left });
                }
            }
        }
    }
    best
}

/// A node that may yet be split.
struct Open {
    node: usize,
    level: usize,
    rows: Vec<u32>,
    histogram: Vec<[Sums; BINS + 1]>,
    sums: Sums,
}

/// Grows one tree, and adds its leaves to the margins.
fn tree(table: &Table, depth: usize, losses: &[Sums], mut add: impl FnMut(u32, f32)) -> Lists {
    let mut lists = Lists::default();
    let rows: Vec<u32> = (0..losses.len() as u32).collect();
    let mut sums = Sums::default();
    losses.iter().for_each(|loss| sums.add(*loss));
    lists.push(i32::MAX, sums.weight(), sums.hessian);
    let mut open = VecDeque::from([Open { node: 0, level: 0, histogram: table.histogram(&rows, losses), rows, sums }]);
    while let Some(Open { node, level, rows, mut histogram, sums }) = open.pop_front() {
        let split = if level < depth { best_split(table, &histogram, sums) } else { None };
        let Some(Candidate { gain, feature, bin, missing_left }) = split else {
            rows.iter().for_each(|row| add(*row, lists.conditions[node]));
            continue;
        };
        let goes_left = |row: &u32| match usize::from(table.row(*row)[feature]) {
            BINS => missing_left,
            value => value <= bin,
        };
        let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| goes_left(row));
        let histograms = if level + 1 == depth {
            [Vec::new(), Vec::new()]
        } else {
            // Only the smaller child is counted; the other has the rest.
            let smaller_left = left.len() < right.len();
            let smaller = table.histogram(if smaller_left { &left } else { &right }, losses);
            for (rest, counted) in histogram.iter_mut().flatten().zip(smaller.iter().flatten()) {
                *rest = rest.less(*counted);
            }
            if smaller_left { [smaller, histogram] } else { [histogram, smaller] }
        };
        lists.left[node] = lists.left.len() as i32;
        lists.right[node] = lists.left[node] + 1;
        lists.gains[node] = gain as f32;
        lists.missing_left[node] = missing_left.into();
        lists.conditions[node] = table.cuts[feature][bin];
        lists.features[node] = feature as i32;
        for (rows, histogram) in [left, right].into_iter().zip(histograms) {
            let mut sums = Sums::default();
            rows.iter().for_each(|row| sums.add(losses[*row as usize]));
            open.push_back(Open { node: lists.left.len(), level: level + 1, rows, histogram, sums });
            lists.push(node as i32, sums.weight(), sums.hessian);
        }
    }
    lists
}

/// What each row of the training table is to be answered with: a number, or a class.
fn targets(rows: &Rows, outputs: usize, random: &mut SplitMix64) -> Vec<f32> {
    let number = |row: &[f32], random: &mut SplitMix64| {
        let known = |at: usize| if row[at].is_nan() { 0.25 } else { row[at] };
        let step = if known(4) > 0.3 { 1.0 } else { -0.5 };
        known(0) * known(1) * 2.0
            + known(2).abs() * 3.0
            + step * known(3)
            + known(5) * known(5) * known(6)
            + known(7) / 2.0
            + random.unit() as f32 / 2.0
    };
    // Each class has a direction of its own; the one that a row lies farthest along is its class.
    let directions = Rows::drawn(rows.features, outputs, 0.0, random.next_u64());
    let class = |row: &[f32]| {
        let along = |class: usize| {
            let direction = &directions.values[class * rows.features..][..rows.features];
            row.iter().zip(direction).map(|(value, by)| if value.is_nan() { 0.0 } else { value * by }).sum::<f32>()
        };
        (1..outputs).fold(0, |best, class| if along(class) > along(best) { class } else { best }) as f32
    };
    let rows = rows.values.chunks_exact(rows.features);
    rows.map(|row| if outputs == 1 { number(row, random) } else { class(row) }).collect()
}

/// Grows a model, as a document in XGBoost's form.
pub fn grow(shape: Shape, seed: u64) -> Document {
    let Shape { features, depth, rounds, outputs, missing } = shape;
    let mut random = SplitMix64::new(seed);
    let rows = Rows::drawn(features, TRAINING_ROWS, missing, random.next_u64());
    let targets = targets(&rows, outputs, &mut random);
    let table = Table::of(&rows);
    let base = if outputs == 1 { targets.iter().sum::<f32>() / targets.len() as f32 } else { 0.0 };
    let mut margins = vec![base; TRAINING_ROWS * outputs];
    let mut trees = Vec::new();
    for _ in 0..rounds {
        let mut answers = margins.clone();
        if outputs > 1 {
            answers.chunks_exact_mut(outputs).for_each(math::softmax);
        }
        for output in 0..outputs {
            let answers = answers.iter().skip(output).step_by(outputs);
            let loss = |(answer, target): (&f32, &f32)| match outputs {
                1 => Sums { gradient: f64::from(answer - target), hessian: 1.0 },
                _ => {
                    let truth = if *target == output as f32 { 1.0 } else { 0.0 };
                    Sums {
                        gradient: f64::from(answer - truth),
                        hessian: f64::from(2.0 * answer * (1.0 - answer)).max(LEAST_HESSIAN),
                    }
                }
            };
            let losses: Vec<Sums> = answers.zip(&targets).map(loss).collect();
            let lists = tree(&table, depth, &losses, |row, leaf| margins[row as usize * outputs + output] += leaf);
            trees.push(lists.document(trees.len(), features));
        }
    }
    saved::model(shape, base, trees)
}
