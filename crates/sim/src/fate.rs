//! What becomes of one call to the cloud.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use crate::process::Incarnation;

/// What goes wrong with a call, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Fine,
    /// It is refused: nothing was done.
    Refused(Refusal),
    /// It is done, but the caller hears otherwise.
    LostAnswer,
    /// A conditional write is done, and the SDK's own repeat of it finds it there.
    RepeatedWrite,
    /// The caller hears nothing for long; it is done before that, after it (whether or not the caller still waits), or not.
    Stuck { done: Option<bool> },
    /// The process dies before it is done, or right after.
    Crash { done: bool },
}

/// How a service refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Throttled,
    Unavailable,
    /// Of conditional writes alone (409).
    Conflict,
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    ConditionalWrite,
    /// Any other write.
    Write,
    /// A poll, of which most bring nothing, and a history need not tell.
    Receive,
    /// A mirror's write or deletion. It is never late: S3 has no condition for deletions, and none for writes that would say
    /// "unless a sibling is newer", so what lands long after its caller has died would stay.
    Mirror {
        conditional: bool,
    },
}

impl Kind {
    fn is_conditional(self) -> bool {
        matches!(self, Self::ConditionalWrite | Self::Mirror { conditional: true })
    }
}

/// Longer than any caller waits for a small call.
const STUCK: std::ops::RangeInclusive<u64> = 5_000..=80_000;

/// An answer that carries a failure of the service itself.
pub(crate) trait Answer: Send + 'static {
    fn refused(refusal: Refusal) -> Self;
    /// As a repeated conditional write finds it; only asked of an answer that has succeeded.
    fn found_there() -> Self;
    fn is_success(&self) -> bool;
}

impl Incarnation {
    fn fate(&self, kind: Kind) -> Fate {
        let world = &self.world;
        if world.is_quiet() {
            return Fate::Fine;
        }
        let (weather, chance) = (&world.plan.weather, &world.chance);
        let refusal = || match chance.between(0..=2) {
            0 if kind.is_conditional() => Refusal::Conflict,
            1 => Refusal::Throttled,
            _ => Refusal::Unavailable,
        };
        if weather.outage.is_some_and(|(from, to)| (from..to).contains(&world.elapsed())) {
            return Fate::Refused(Refusal::Unavailable);
        }
        let mut drawn = chance.unit();
        let mut is = |probability: f64| {
            drawn -= probability;
            drawn < 0.0
        };
        if is(weather.refused) {
            Fate::Refused(refusal())
        } else if is(weather.lost_answer) {
            Fate::LostAnswer
        } else if kind.is_conditional() && is(weather.repeated_write) {
            Fate::RepeatedWrite
        } else if is(weather.stuck) {
            let on_time = matches!(kind, Kind::Mirror { .. });
            let done = if on_time { Some(true) } else { chance.one_of(&[Some(true), Some(false), None]) };
            Fate::Stuck { done }
        } else if is(weather.crash) {
            Fate::Crash { done: chance.happens(0.5) }
        } else {
            Fate::Fine
        }
    }

    /// Makes a call, with whatever becomes of it. `effect` does it at once.
    pub(crate) async fn call<T, F>(&self, kind: Kind, what: impl Fn() -> String, effect: F) -> T
    where
        T: Answer,
        F: Future<Output = T> + Send + 'static,
    {
        let world = &self.world;
        let (chance, weather) = (&world.chance, &world.plan.weather);
        let fate = self.fate(kind);
        let note = |end: &str| world.history.note(&self.label, || format!("{} {end}", what()));
        let slow = !world.is_quiet() && chance.happens(weather.slow);
        let time = chance.millis(if slow { 100..=4_000 } else { 2..=30 });
        // Some do their work as they come in, some as they are about to answer, most in between.
        let (way_there, way_back) = match chance.between(0..=3) {
            0 => (Duration::ZERO, time),
            1 => (time, Duration::ZERO),
            _ => (time / 2, time / 2),
        };
        pause(way_there).await;
        match fate {
            Fate::Fine => {
                let answer = effect.await;
                if kind != Kind::Receive {
                    note(if answer.is_success() { "" } else { "-> refused" });
                }
                pause(way_back).await;
                answer
            }
            Fate::Refused(refusal) => {
                world.oracle.fault();
                note(&format!("-> not done: {refusal:?}"));
                pause(way_back).await;
                T::refused(refusal)
            }
            Fate::LostAnswer => {
                world.oracle.fault();
                let done = effect.await.is_success();
                note(&format!("-> {}, its answer is lost", if done { "done" } else { "refused" }));
                pause(way_back).await;
                T::refused(Refusal::Unavailable)
            }
            Fate::RepeatedWrite => {
                world.oracle.fault();
                let answer = effect.await;
                let done = answer.is_success();
                note(if done { "-> done, and repeated" } else { "-> refused" });
                pause(way_back).await;
                if done { T::found_there() } else { answer }
            }
            Fate::Stuck { done } => {
                world.oracle.fault();
                let time = chance.millis(STUCK);
                match done {
                    Some(true) => {
                        let done = effect.await.is_success();
                        note(if done { "-> done, stuck" } else { "-> refused, stuck" });
                    }
                    Some(false) => {
                        note("-> stuck, done later");
                        let (history, label) = (world.clone(), self.label.clone());
                        let (what, at) = (what(), time.mul_f64(chance.unit() * 1.5));
                        world.detach(async move {
                            sleep(at).await;
                            let done = effect.await.is_success();
                            history.history.note(&label, || format!("{what} -> late: done {done}"));
                        });
                    }
                    None => note("-> stuck, not done"),
                }
                sleep(time).await;
                T::refused(Refusal::Unavailable)
            }
            Fate::Crash { done } => {
                world.oracle.fault();
                if done {
                    let done = effect.await.is_success();
                    note(if done { "-> done" } else { "-> refused" });
                }
                self.die(&format!("at {}", what())).await
            }
        }
    }

    /// How much later than it should a message becomes visible.
    pub(crate) fn lateness(&self) -> Duration {
        let world = &self.world;
        if !world.is_quiet() && world.chance.happens(world.plan.weather.late_message) {
            world.chance.millis(500..=120_000)
        } else {
            Duration::ZERO
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
