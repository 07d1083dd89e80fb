//! The delivery that SQS promises, on purpose: twice now and then, late, out of order.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues.html>: a standard queue
//! delivers at least once and orders as well as it can. A queue on one machine does better, so what was only tried here
//! may fail on AWS; with chaos it fails here.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// The longest delay that SQS itself knows of a message.
const DELAY_MAX: Duration = Duration::from_secs(900);

/// How often messages are treated as badly as SQS may treat them.
///
/// As text: `seed=7,duplicate=0.1,delay=0.2,delay_max=5,reorder=0.3`, with whichever parts are wanted and at least one
/// of `duplicate`, `delay` and `reorder`, which are probabilities from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chaos {
    /// What all chances follow from: the same seed and the same calls in the same order give the same faults.
    pub seed: u64,
    /// How probably a message that is sent lies in the queue twice: the same id and body, each copy with receipts of its
    /// own, so that deleting one leaves the other, as when one of SQS's servers misses a deletion.
    pub duplicate: f64,
    /// How probably a message, or its copy, becomes visible later than it should.
    pub delay: f64,
    /// By how much at most. A delay is any time up to this.
    pub delay_max: Duration,
    /// How probably a receive takes a message from a random place in the queue instead of its front.
    pub reorder: f64,
}

impl Default for Chaos {
    /// None at all.
    fn default() -> Self {
        Self { seed: 0, duplicate: 0.0, delay: 0.0, delay_max: Duration::from_secs(5), reorder: 0.0 }
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, duplicate, delay, delay_max, reorder } = self;
        let delay_max = delay_max.as_secs_f64();
        write!(f, "seed={seed},duplicate={duplicate},delay={delay},delay_max={delay_max},reorder={reorder}")
    }
}

/// Why a text is no [`Chaos`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseChaosError {
    /// A part is not of the form `name=value`.
    #[error("{0:?} is not of the form name=value")]
    Form(String),
    /// A part has an unknown name.
    #[error("there is no {0:?}; the parts are seed, duplicate, delay, delay_max and reorder")]
    Name(String),
    /// A part is there twice.
    #[error("{0} is there twice")]
    Repeated(String),
    /// The seed is no whole number.
    #[error("the seed {0:?} is not a whole number from 0 to 18446744073709551615")]
    Seed(String, #[source] ParseIntError),
    /// A probability is none.
    #[error("{name}={value} is not a probability from 0 to 1")]
    Probability {
        /// Whose.
        name: String,
        /// What it says.
        value: String,
    },
    /// The longest delay is not a time that a message can be late by.
    #[error("delay_max={0} is not a number of seconds above 0 and up to 900")]
    Delay(String),
    /// None of the three kinds of chaos is named.
    #[error("at least one of duplicate, delay and reorder must be given, as in seed=7,duplicate=0.1")]
    Nothing,
}

impl FromStr for Chaos {
    type Err = ParseChaosError;

    fn from_str(text: &str) -> Result<Self, ParseChaosError> {
        let mut chaos = Self::default();
        let mut named: Vec<&str> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| ParseChaosError::Form(part.to_owned()))?;
            let (name, value) = (name.trim(), value.trim());
            match name {
                "seed" => {
                    chaos.seed = value.parse().map_err(|error| ParseChaosError::Seed(value.to_owned(), error))?;
                }
                "duplicate" => chaos.duplicate = probability(name, value)?,
                "delay" => chaos.delay = probability(name, value)?,
                "delay_max" => chaos.delay_max = longest_delay(value)?,
                "reorder" => chaos.reorder = probability(name, value)?,
                _ => return Err(ParseChaosError::Name(name.to_owned())),
            }
            if named.contains(&name) {
                return Err(ParseChaosError::Repeated(name.to_owned()));
            }
            named.push(name);
        }
        if ["duplicate", "delay", "reorder"].iter().any(|kind| named.contains(kind)) {
            Ok(chaos)
        } else {
            Err(ParseChaosError::Nothing)
        }
    }
}

fn probability(name: &str, value: &str) -> Result<f64, ParseChaosError> {
    let probability = value.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| ParseChaosError::Probability { name: name.to_owned(), value: value.to_owned() })
}

fn longest_delay(value: &str) -> Result<Duration, ParseChaosError> {
    let delay = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let delay = delay.filter(|delay| *delay >= Duration::from_millis(1) && *delay <= DELAY_MAX);
    delay.ok_or_else(|| ParseChaosError::Delay(value.to_owned()))
}

/// The chances of a running local cloud. There is one, with the thread that makes all changes, so that they come in the
/// order of the changes.
pub(crate) struct Faults {
    chaos: Chaos,
    random: fastrand::Rng,
}

impl Faults {
    pub(crate) fn new(chaos: Chaos) -> Self {
        Self { chaos, random: fastrand::Rng::with_seed(chaos.seed) }
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.random.f64() < probability
    }

    /// In how many copies a message that is sent lies in the queue.
    pub(crate) fn copies(&mut self) -> usize {
        if self.happens(self.chaos.duplicate) { 2 } else { 1 }
    }

    /// How much later than it should a copy becomes visible.
    pub(crate) fn late_ms(&mut self) -> i64 {
        if self.happens(self.chaos.delay) {
            self.random.i64(1..=i64::try_from(self.chaos.delay_max.as_millis()).unwrap_or(i64::MAX))
        } else {
            0
        }
    }

    pub(crate) fn reorder(&self) -> bool {
        self.chaos.reorder > 0.0
    }

    /// Which of `waiting` messages, at least one, is received next.
    pub(crate) fn place(&mut self, waiting: usize) -> usize {
        if self.happens(self.chaos.reorder) { self.random.usize(..waiting) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_the_parts_that_are_wanted() {
        let all: Chaos = "seed=7,duplicate=0.1,delay=0.2,delay_max=2.5,reorder=0.3".parse().expect("well formed");
        let delay_max = Duration::from_millis(2500);
        assert_eq!(all, Chaos { seed: 7, duplicate: 0.1, delay: 0.2, delay_max, reorder: 0.3 });
        let one: Chaos = " reorder = 1 ".parse().expect("well formed");
        assert_eq!(one, Chaos { reorder: 1.0, ..Chaos::default() });
        for chaos in [all, one] {
            assert_eq!(chaos.to_string().parse(), Ok(chaos));
        }
    }

    #[test]
    fn what_is_wrong_with_a_text_is_said() {
        for (text, error) in [
            ("", "at least one of duplicate, delay and reorder must be given, as in seed=7,duplicate=0.1"),
            ("seed=7", "at least one of duplicate, delay and reorder must be given, as in seed=7,duplicate=0.1"),
            ("duplicate", "\"duplicate\" is not of the form name=value"),
            ("drop=0.1", "there is no \"drop\"; the parts are seed, duplicate, delay, delay_max and reorder"),
            ("delay=0.1,delay=0.2", "delay is there twice"),
            ("seed=-1,delay=1", "the seed \"-1\" is not a whole number from 0 to 18446744073709551615"),
            ("duplicate=1.1", "duplicate=1.1 is not a probability from 0 to 1"),
            ("delay=-0.1", "delay=-0.1 is not a probability from 0 to 1"),
            ("reorder=NaN", "reorder=NaN is not a probability from 0 to 1"),
            ("delay=1,delay_max=901", "delay_max=901 is not a number of seconds above 0 and up to 900"),
            ("delay=1,delay_max=0", "delay_max=0 is not a number of seconds above 0 and up to 900"),
            ("delay=1,delay_max=-1", "delay_max=-1 is not a number of seconds above 0 and up to 900"),
            ("delay=1,delay_max=5s", "delay_max=5s is not a number of seconds above 0 and up to 900"),
        ] {
            assert_eq!(text.parse::<Chaos>().expect_err(text).to_string(), error);
        }
    }

    #[test]
    fn chances_come_as_often_as_they_should_and_again_by_the_same_seed() {
        let chaos = Chaos { seed: 1, duplicate: 0.1, delay: 0.25, delay_max: Duration::from_secs(2), reorder: 0.5 };
        let drawn = |chaos: Chaos| {
            let mut faults = Faults::new(chaos);
            (0..10_000).map(|_| (faults.copies(), faults.late_ms(), faults.place(100))).collect::<Vec<_>>()
        };
        let all = drawn(chaos);
        let count = |wanted: fn(&(usize, i64, usize)) -> bool| all.iter().filter(|chances| wanted(chances)).count();
        assert!((900..1100).contains(&count(|(copies, ..)| *copies == 2)));
        assert!((2350..2650).contains(&count(|(_, late_ms, _)| *late_ms > 0)));
        // A random place is the front once in a hundred times.
        assert!((4750..5150).contains(&count(|(.., place)| *place > 0)));
        assert!(all.iter().all(|(_, late_ms, place)| *late_ms <= 2000 && *place < 100));
        assert!(all.iter().any(|(_, late_ms, _)| *late_ms > 1900) && all.iter().any(|(.., place)| *place > 95));
        assert_eq!(drawn(chaos), all);
        assert_ne!(drawn(Chaos { seed: 2, ..chaos }), all);
        assert!(drawn(Chaos::default()).iter().all(|chances| *chances == (1, 0, 0)));
    }
}
