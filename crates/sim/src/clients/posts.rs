//! Clients of the API.

use std::time::Duration;

use axum::http::Method;
use cloud::Condition;
use job::{JobId, Sha256, layout};
use tokio::time::sleep;

use super::Client;
use crate::http::{Lost, Reply};
use crate::script::{Act, Script};

/// How often a client repeats a call that got no good answer.
const TRIES: u32 = 4;

impl Client {
    pub(super) async fn post_inline(&self) {
        self.post_and_follow(self.script(), 0).await;
    }

    /// Several long jobs at once, which do not all fit into one batch's time.
    pub(super) async fn post_many(&self) {
        let post = |nth| self.post_and_follow(Script::new(Act::Answer, self.chance.between(6_000..=9_000)), nth);
        futures::future::join_all((0..4).map(post)).await;
    }

    /// Posts an input until it is accepted, with an `Idempotency-Key` or without, and follows the job.
    pub(super) async fn post_and_follow(&self, script: Script, nth: u64) {
        let body = format!(r#"{{"model":"m","input":{}}}"#, self.input(script, nth));
        let key = self.chance.happens(0.3).then(|| format!("client {} {nth}", self.number));
        if let Some(job) = self.submit(&body, key.as_deref()).await {
            self.follow(job).await;
        }
    }

    async fn submit(&self, body: &str, key: Option<&str>) -> Option<JobId> {
        for nth in 0..TRIES {
            if let Ok(reply) = self.post(body, key).await
                && reply.is_accepted()
            {
                return Some(reply.job().0);
            }
            sleep(self.chance.millis(200..=2_000) * 2u32.pow(nth)).await;
        }
        None
    }

    async fn post(&self, body: &str, key: Option<&str>) -> Result<Reply, Lost> {
        let mut headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        if self.chance.happens(0.1) {
            headers.push(("prefer", "wait=10"));
        }
        let begun = self.world.elapsed();
        let reply = self.world.http(0, Method::POST, "/jobs", &headers, Some(body.to_owned())).await?;
        if reply.is_accepted() {
            let (job, state) = reply.job();
            self.world.oracle.accepted(job);
            self.world.oracle.saw(job, None, state, begun);
        } else if reply.status != 503 && reply.status != 422 {
            self.world.oracle.violated("J2", format!("a good request was answered {}", reply.status));
        }
        Ok(reply)
    }

    /// Several at once under one key, one of which may ask for something else.
    pub(super) async fn post_with_one_key(&self) {
        let key = format!("shared {}", self.number);
        let bodies: Vec<String> =
            (0..2).map(|nth| format!(r#"{{"model":"m","input":{}}}"#, self.input(self.script(), nth))).collect();
        let racers = self.chance.between(2..=4);
        let which: Vec<usize> = (0..racers).map(|_| usize::from(self.chance.happens(0.15))).collect();
        let posts = which.iter().map(|&body| self.post(&bodies[body], Some(&key)));
        let replies = futures::future::join_all(posts).await;
        let mut won = None;
        let mut jobs: Vec<JobId> = Vec::new();
        for (reply, body) in replies.iter().zip(&which) {
            let Ok(reply) = reply else { continue };
            if reply.is_accepted() {
                jobs.push(reply.job().0);
                if won.replace(*body).is_some_and(|other| other != *body) {
                    self.world.oracle.violated("J1", format!("two requests were accepted under the key {key}"));
                }
            }
            if reply.status == 422 && !which.contains(&(1 - body)) {
                self.world.oracle.violated("J1", format!("the key {key} was refused to the request that it is of"));
            }
        }
        jobs.dedup();
        match jobs.as_slice() {
            [] => {}
            [job] => self.follow(*job).await,
            _ => self.world.oracle.violated("J1", format!("the key {key} has the jobs {jobs:?}")),
        }
    }

    /// Asks for a place to upload to, and uploads: once, twice, late, something else, or never.
    pub(super) async fn upload(&self) {
        let input = self.input(self.script(), 0);
        let digest = if self.chance.happens(0.5) {
            format!(r#","sha256":"{}""#, Sha256::of(input.as_bytes()))
        } else {
            String::new()
        };
        let body = format!(
            r#"{{"model":"m","upload":{{"filename":"in.json","content_type":"application/json","size_bytes":{}{digest}}}}}"#,
            input.len(),
        );
        let key = self.chance.happens(0.4).then(|| format!("upload {}", self.number));
        let Some(job) = self.submit(&body, key.as_deref()).await else { return };
        tokio::join!(self.follow(job), self.put_upload(job, &input));
    }

    async fn put_upload(&self, job: JobId, input: &str) {
        let (chance, plan) = (&self.chance, &self.world.plan);
        let key = layout::upload_key(job, "in.json");
        let lifetime = plan.upload_lifetime;
        let late = match chance.between(0..=9) {
            0..=6 => chance.millis(10..=5_000),
            // Perhaps just in time.
            7..=8 => lifetime.mul_f64(0.5 + chance.unit()),
            _ => return,
        };
        sleep(late).await;
        if late > lifetime {
            self.world.history.note("s3", || format!("refuses the late upload {key}"));
            return;
        }
        // Other bytes than were announced: of another length S3 would refuse them.
        let other = self.input(self.script(), 1);
        let first = if chance.happens(0.1) && other.len() == input.len() { &other } else { input };
        self.put(&key, first, Condition::Absent).await;
        if chance.happens(0.2) {
            sleep(chance.millis(10..=20_000)).await;
            // Whether S3 honours `If-None-Match` on a presigned PUT was not seen, so nothing may rest on it.
            let condition = if chance.happens(0.5) { Condition::Absent } else { Condition::None };
            let second = if chance.happens(0.5) && other.len() == input.len() { &other } else { input };
            self.put(&key, second, condition).await;
        }
    }

    /// A pause as a person or a program makes one.
    pub(super) async fn pause(&self, seconds: u64) {
        sleep(self.chance.millis(100..=seconds * 1000)).await;
    }
}

/// The longest pause between two looks at a job.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(120);
