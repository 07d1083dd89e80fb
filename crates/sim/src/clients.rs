//! Those who send inputs in and want to know what came of them.

mod drops;
mod follow;
mod posts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Condition, PutOptions, Queue};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::script::{Act, MAX_SECONDS, Script};
use crate::store::Bucket;
use crate::world::World;

/// One client. What it does follows from the seed and its number alone, but for what it reacts to.
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) number: u64,
    pub(crate) chance: Chance,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, number: u64) -> Self {
        let chance = Chance::new(world.seed, 100 + number);
        Self { world, number, chance }
    }

    /// Comes some time before the faults end, and does one thing.
    pub(crate) async fn run(self) {
        let latest = self.world.plan.quiet_at.as_millis() as u64 * 9 / 10;
        sleep(self.chance.millis(0..=latest)).await;
        match self.chance.between(0..=99) {
            0..=23 => self.post_inline().await,
            24..=29 => self.post_many().await,
            30..=54 => self.upload().await,
            55..=64 => self.post_with_one_key().await,
            65..=90 => self.drop_files().await,
            _ => self.send_garbage().await,
        }
    }

    /// Comes when the faults have ended, and must be answered soon.
    pub(crate) async fn probe(self) {
        sleep(self.world.plan.quiet_at + Duration::from_secs(60)).await;
        let script = Script::new(Act::Answer, 500);
        let _ =
            tokio::join!(self.post_and_follow(script, 0), self.drop_one("drop/m/probe.json", self.input(script, 1)));
    }

    /// Mostly good inputs, and each of the bad kinds.
    fn script(&self) -> Script {
        let chance = &self.chance;
        match chance.between(0..=99) {
            0..=49 => Script::new(Act::Answer, chance.between(0..=6_000)),
            50..=66 => Script::new(Act::AnswerWithFile, chance.between(0..=3_000)),
            67..=74 => Script::new(Act::Panic, 10),
            75..=82 => Script::new(Act::PanicOnce, 10),
            83..=87 => Script::new(Act::Dawdle, MAX_SECONDS * 5_000),
            88..=91 => Script::new(Act::Hang, 0),
            92..=94 => Script::new(Act::Kill, 0),
            _ => Script::new(Act::Fail, 100),
        }
    }

    /// An input that no other client sends.
    fn input(&self, script: Script, nth: u64) -> String {
        script.input(self.number * 100 + nth)
    }

    /// Something in the queue that is no message, and good jobs right beside it (J5).
    async fn send_garbage(&self) {
        for nth in 0..self.chance.between(1..=3) {
            let body = self.chance.one_of(&["garbage", r#"{"millpond":2}"#, r#"{"Records":[{"eventVersion":"3.0"}]}"#]);
            let body = format!("{body} {} {nth}", self.number);
            self.world.history.note("somebody", || format!("sends {body}"));
            self.world.queue.send(&body, None, Duration::ZERO).await.expect("the queue takes it");
            self.world.oracle.garbage_sent(body);
        }
        let good = |nth| self.post_and_follow(Script::new(Act::Answer, 200), nth);
        futures::future::join_all((0..3).map(good)).await;
    }

    /// Writes to the inbox, as a client of S3 does.
    async fn put(&self, key: &str, body: &str, condition: Condition) -> bool {
        sleep(self.chance.millis(5..=300)).await;
        let options = PutOptions { condition, ..PutOptions::default() };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let done = self.world.put(Bucket::Inbox, key, body.clone(), options).await.is_ok();
        self.world.history.note("somebody", || {
            let end = if done { "" } else { " -> refused" };
            format!("writes {} to {key}{end}", String::from_utf8_lossy(&body))
        });
        done
    }
}
