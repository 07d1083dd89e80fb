//! What a seed decides before anything happens: how bad the weather is, and how everything is set.

use std::time::Duration;

use crate::chance::Chance;
use crate::planted::Bug;

/// How probable each fault is, at each call where it could come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// The call fails and has done nothing: 503 SlowDown, 500, a refused connection.
    pub(crate) refused: f64,
    /// It is done, and the answer is lost.
    pub(crate) lost_answer: f64,
    /// A conditional write is done, its answer lost, and the SDK's repeat finds it there.
    pub(crate) repeated_write: f64,
    /// It takes seconds.
    pub(crate) slow: f64,
    /// It takes so long that whoever waits gives up; it is done before or after that.
    pub(crate) stuck: f64,
    /// The process dies right before it, or right after it.
    pub(crate) crash: f64,
    /// S3 sends no event.
    pub(crate) lost_event: f64,
    /// A message is lost although its sending was answered, which SQS does not do. The sweep repairs it all the same.
    pub(crate) lost_message: f64,
    /// An event or a message comes twice.
    pub(crate) duplicate: f64,
    /// It comes up to two minutes late, and so out of order.
    pub(crate) late_message: f64,
    /// A received message is visible again within seconds, its job still running.
    pub(crate) short_visibility: f64,
    /// A deletion is answered, and the message comes back.
    pub(crate) undeleted: f64,
    /// A client does not get the API's answer.
    pub(crate) client_lost: f64,
    /// How long a process lives before it is killed or stopped; for ever if zero. In seconds, on average.
    pub(crate) lifetime_s: u64,
    /// How far the processes' clocks are off at most, in milliseconds.
    pub(crate) skew_ms: u64,
    /// From when to when nothing in the cloud answers.
    pub(crate) outage: Option<(Duration, Duration)>,
}

/// How a run is set up.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) weather: Weather,
    /// Whether no fault comes at all.
    pub(crate) calm: bool,
    /// When the faults end, and the last client has begun.
    pub(crate) quiet_at: Duration,
    /// By when everything must have come to its end that need not wait for the sweep to notice its silence.
    pub(crate) soon: Duration,
    /// By when everything must have come to its end.
    pub(crate) end_by: Duration,
    pub(crate) clients: u64,
    pub(crate) visibility: Duration,
    pub(crate) max_receives: u32,
    pub(crate) max_attempts: u32,
    pub(crate) parallel: usize,
    pub(crate) sweep_every: Duration,
    pub(crate) upload_lifetime: Duration,
    pub(crate) upload_grace: Duration,
    pub(crate) queue_deadline: Duration,
    /// Whether events come by way of SNS, in its envelope.
    pub(crate) sns: bool,
    /// When a second version of the model is published, if one is.
    pub(crate) new_version_at: Option<Duration>,
    /// Whether the second worker gets its messages in batches, as Lambda does.
    pub(crate) lambda: bool,
    pub(crate) bug: Option<Bug>,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl Plan {
    pub(crate) fn of(seed: u64, bug: Option<Bug>) -> Self {
        let chance = Chance::new(seed, 1);
        let calm = chance.happens(0.2);
        let quiet_at = chance.millis(60_000..=600_000);
        let weather = if calm { Weather::default() } else { Weather::drawn(&chance, quiet_at) };
        let visibility = Duration::from_secs(chance.one_of(&[60, 120, 240]));
        let sweep_every = chance.millis(120_000..=600_000);
        // A message lost after its job has begun is missed only when the attempt has been silent for an hour. Where none is
        // lost, nothing waits for the sweep but what no event told of.
        let loses_messages = weather.lost_message > 0.0;
        Self {
            soon: quiet_at + if loses_messages { HOUR * 2 } else { MINUTE * 50 },
            end_by: quiet_at + HOUR * 2,
            calm,
            quiet_at,
            clients: chance.between(3..=9),
            visibility,
            max_receives: if calm { 10 } else { chance.between(3..=10) as u32 },
            max_attempts: chance.between(2..=3) as u32,
            parallel: chance.between(1..=4) as usize,
            sweep_every,
            upload_lifetime: chance.millis(30_000..=200_000),
            upload_grace: chance.millis(60_000..=300_000),
            queue_deadline: if !calm && chance.happens(0.2) { MINUTE * 8 } else { HOUR * 24 },
            sns: chance.happens(0.2),
            new_version_at: chance.happens(0.3).then(|| quiet_at.mul_f64(chance.unit())),
            lambda: visibility.as_secs() == 240 && chance.happens(0.8),
            weather,
            bug,
        }
    }
}

#[cfg(test)]
impl Plan {
    /// Without any fault.
    pub(crate) fn calm() -> Self {
        Self { calm: true, weather: Weather::default(), ..Self::of(0, None) }
    }
}

impl Weather {
    /// Whether all calls are answered, and soon.
    pub(crate) fn is_clear(&self) -> bool {
        self.refused + self.lost_answer + self.slow + self.stuck == 0.0 && self.outage.is_none()
    }

    fn drawn(chance: &Chance, quiet_at: Duration) -> Self {
        let rate = || chance.one_of(&[0.0, 0.0, 0.003, 0.01, 0.03, 0.1]);
        let losses = chance.happens(0.5);
        let loss = || if losses { chance.one_of(&[0.0, 0.05, 0.3]) } else { 0.0 };
        let outage = chance.happens(0.15).then(|| {
            let from = quiet_at.mul_f64(chance.unit() * 0.8);
            (from, from + chance.millis(5_000..=90_000))
        });
        Self {
            refused: rate(),
            lost_answer: rate(),
            repeated_write: rate(),
            slow: rate(),
            stuck: rate() / 3.0,
            crash: rate() / 3.0,
            lost_event: chance.one_of(&[0.0, 0.05, 0.3]),
            lost_message: loss(),
            duplicate: chance.one_of(&[0.0, 0.05, 0.3]),
            late_message: chance.one_of(&[0.0, 0.05, 0.3]),
            short_visibility: chance.one_of(&[0.0, 0.05, 0.2]),
            undeleted: rate(),
            client_lost: rate(),
            lifetime_s: chance.one_of(&[0, 0, 20, 60, 200]),
            skew_ms: chance.one_of(&[0, 500, 5_000, 30_000]),
            outage,
        }
    }
}
