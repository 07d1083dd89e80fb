//! Measures engines in turn, and compares their answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::engines::{Blocks, Engine, LightGbmByMillpond, Millpond, XgBoostModel};

/// How often each is measured, in turn with the others; the median counts.
const ROUNDS: usize = 9;

/// Something that is measured: does it as often as it is told, and says how long that took.
pub struct Task<'a> {
    /// How long it took once beforehand.
    pub about: Duration,
    pub run: Box<dyn FnMut(usize) -> anyhow::Result<Duration> + 'a>,
}

/// How long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub median: Duration,
    /// How many measurements the median is of.
    pub samples: usize,
}

/// Measures all in turn, each for about as long as `budget`. What took longer beforehand isn't done again: that is its figure.
pub fn in_turn(mut tasks: Vec<Task<'_>>, budget: Duration) -> anyhow::Result<Vec<Timing>> {
    let times = |by: f64| (budget.as_secs_f64() / by) as usize;
    let plan: Vec<(usize, usize)> = tasks
        .iter()
        .map(|task| {
            let about = task.about.as_secs_f64().max(1e-9);
            let calls = times(about * ROUNDS as f64).max(1);
            (calls, times(about * calls as f64).min(ROUNDS))
        })
        .collect();
    let mut took = vec![Vec::new(); tasks.len()];
    for round in 0..ROUNDS {
        for ((task, (calls, rounds)), took) in tasks.iter_mut().zip(&plan).zip(&mut took) {
            if round < *rounds {
                took.push((task.run)(*calls)?.as_secs_f64() / *calls as f64);
            }
        }
    }
    let median = |(task, mut took): (&Task<'_>, Vec<f64>)| {
        took.sort_by(f64::total_cmp);
        let median = took.get(took.len() / 2).map_or(task.about, |median| Duration::from_secs_f64(*median));
        Timing { median, samples: took.len().max(1) }
    };
    Ok(tasks.iter().zip(took).map(median).collect())
}

/// One engine's figures for one model and one size of blocks.
#[derive(Debug, Clone)]
pub struct Figures {
    pub engine: &'static str,
    pub ns_per_row: f64,
    pub samples: usize,
    /// Whose answers these were compared with.
    pub against: &'static str,
    /// Whether every bit of every answer was equal.
    pub equal: bool,
    /// The greatest difference between two answers.
    pub difference: f64,
    /// How many times as long as our own engine it takes.
    pub ratio: f64,
}

/// Measures the engines on the same blocks.
pub fn cell(engines: &mut [Box<dyn Engine>], blocks: Blocks<'_>, budget: Duration) -> anyhow::Result<Vec<Figures>> {
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    // XGBoost is right by definition; without it, another engine that adds leaves in its order.
    let everybodys = [XgBoostModel::NAME, "gbdt"].into_iter().find(|name| names.contains(name));
    let everybodys = everybodys.context("no engine to compare answers with")?;
    let against: Vec<&'static str> = engines.iter().map(|engine| engine.equals().unwrap_or(everybodys)).collect();

    let mut compared: Vec<Option<Compared>> = vec![None; engines.len()];
    let mut expected: HashMap<&str, Vec<f64>> = HashMap::new();
    // Those that others are compared with come first, so that only their answers are kept.
    let mut order: Vec<usize> = (0..engines.len()).collect();
    order.sort_by_key(|at| !against.contains(&names[*at]));
    for at in order {
        let engine = &mut engines[at];
        engine.prepare(blocks)?;
        let (mut answers, mut took) = (Vec::new(), Duration::ZERO);
        for block in 0..blocks.count() {
            let start = Instant::now();
            engine.predict(blocks, block)?;
            took += start.elapsed();
            answers.extend(engine.answers());
        }
        let about = took / blocks.count() as u32;
        if against.contains(&engine.name()) {
            expected.insert(engine.name(), answers);
            compared[at] = Some(Compared { about, equal: true, difference: 0.0 });
        } else {
            let expected = expected.get(against[at]).context("no answers to compare with")?;
            compared[at] = Some(Compared::of(&answers, expected, about));
        }
    }
    drop(expected);
    let compared: Vec<Compared> = compared.into_iter().flatten().collect();

    let tasks = engines.iter_mut().zip(&compared).map(|(engine, Compared { about, .. })| {
        let mut block = 0;
        let run = move |calls| {
            let start = Instant::now();
            for _ in 0..calls {
                engine.predict(blocks, block)?;
                block = if block + 1 == blocks.count() { 0 } else { block + 1 };
            }
            Ok(start.elapsed())
        };
        Task { about: *about, run: Box::new(run) }
    });
    let timings = in_turn(tasks.collect(), budget)?;
    let ns_per_row = |timing: &Timing| timing.median.as_secs_f64() * 1e9 / blocks.block_rows as f64;
    let ns_of = |name: &str| names.iter().position(|other| *other == name).map(|at| ns_per_row(&timings[at]));
    let figures = engines.iter().enumerate().map(|(at, engine)| {
        let ours = if engine.equals().is_some() { LightGbmByMillpond::NAME } else { Millpond::NAME };
        let (timing, Compared { equal, difference, .. }) = (&timings[at], compared[at]);
        Figures {
            engine: engine.name(),
            ns_per_row: ns_per_row(timing),
            samples: timing.samples,
            against: against[at],
            equal,
            difference,
            ratio: ns_of(ours).map_or(f64::NAN, |ours| ns_per_row(timing) / ours),
        }
    });
    Ok(figures.collect())
}

#[derive(Debug, Clone, Copy)]
struct Compared {
    about: Duration,
    equal: bool,
    difference: f64,
}

impl Compared {
    fn of(answers: &[f64], expected: &[f64], about: Duration) -> Self {
        let pairs = || answers.iter().zip(expected);
        Self {
            about,
            equal: answers.len() == expected.len() && pairs().all(|(a, b)| a.to_bits() == b.to_bits()),
            difference: pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engines' turns, and the timings, of tasks that took so many milliseconds beforehand and take as long when measured.
    fn measured(about: [u64; 2], budget: u64) -> (String, Vec<Timing>) {
        let turns = std::cell::RefCell::new(String::new());
        let task = |(name, about): (char, u64)| {
            let about = Duration::from_millis(about);
            let turns = &turns;
            let run = move |calls: usize| {
                turns.borrow_mut().push(name);
                Ok(about * calls as u32)
            };
            Task { about, run: Box::new(run) }
        };
        let tasks = ['a', 'b'].into_iter().zip(about).map(task).collect();
        let timings = in_turn(tasks, Duration::from_millis(budget)).unwrap();
        (turns.into_inner(), timings)
    }

    #[test]
    fn each_is_measured_in_turn_until_its_time_is_spent() {
        let (turns, timings) = measured([1, 40], 100);
        assert_eq!(turns, "ababaaaaaaa");
        assert_eq!([timings[0].samples, timings[1].samples], [9, 2]);
        assert_eq!([timings[0].median, timings[1].median], [1, 40].map(Duration::from_millis));
    }

    #[test]
    fn what_takes_longer_than_its_time_is_not_done_again() {
        let (turns, timings) = measured([500, 100], 100);
        assert_eq!(turns, "b");
        assert_eq!((timings[0].median, timings[0].samples), (Duration::from_millis(500), 1));
    }

    #[test]
    fn one_bit_is_a_difference() {
        let same = Compared::of(&[1.0, -0.0], &[1.0, -0.0], Duration::ZERO);
        assert!(same.equal);
        let other = Compared::of(&[1.0, 0.0], &[1.0, -0.0], Duration::ZERO);
        assert!(!other.equal && other.difference == 0.0);
        assert!(!Compared::of(&[1.0], &[1.0, 2.0], Duration::ZERO).equal);
    }
}
