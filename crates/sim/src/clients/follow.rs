//! What a client does about a job that it has.

use std::time::Duration;

use axum::http::Method;
use cloud::{GetOptions, ObjectStore};
use job::{JobId, State};
use tokio::time::sleep;

use super::Client;
use super::posts::LONGEST_PAUSE;

/// How a client asks for a job.
#[derive(Default)]
struct Watch {
    seen: Option<State>,
    etag: Option<String>,
}

impl Client {
    /// Polls the job until it has ended, perhaps cancels it, perhaps runs it again; a stranger looks for it meanwhile.
    pub(super) async fn follow(&self, job: JobId) {
        tokio::join!(self.watch(job), self.perhaps_cancel(job), self.stranger(job));
        if self.chance.happens(0.15) {
            self.retry(job).await;
        }
    }

    /// Polls until the job has ended, and once or twice more.
    async fn watch(&self, job: JobId) {
        let mut watch = Watch::default();
        let mut pause = self.chance.millis(100..=4_000);
        while !watch.seen.is_some_and(State::is_terminal) {
            self.look(job, &mut watch).await;
            sleep(pause).await;
            pause = pause.mul_f64(1.35).min(LONGEST_PAUSE);
        }
        if watch.seen == Some(State::Succeeded) {
            self.read_result(job).await;
        }
        sleep(pause).await;
        self.look(job, &mut watch).await;
    }

    async fn look(&self, job: JobId, watch: &mut Watch) {
        let wait = if self.chance.happens(0.05) { "?wait=5" } else { "" };
        let tag = watch.etag.clone().filter(|_| self.chance.happens(0.3));
        let headers: Vec<(&str, &str)> = tag.iter().map(|tag| ("if-none-match", tag.as_str())).collect();
        let begun = self.world.elapsed();
        let Ok(reply) = self.world.http(0, Method::GET, &format!("/jobs/{job}{wait}"), &headers, None).await else {
            return;
        };
        let state = match reply.status {
            200 => reply.job().1,
            304 => watch.seen.expect("a tag comes with a state"),
            // A dropped file's job is none before its first attempt.
            404 if watch.seen.is_none() => return,
            503 => return,
            other => return self.world.oracle.violated("J4", format!("a poll of job {job} was answered {other}")),
        };
        self.world.oracle.saw(job, watch.seen, state, begun);
        watch.seen = Some(state);
        watch.etag = reply.etag.or(watch.etag.take());
    }

    async fn read_result(&self, job: JobId) {
        let Ok(reply) = self.world.http(0, Method::GET, &format!("/jobs/{job}/result"), &[], None).await else {
            return;
        };
        match (reply.status, reply.location) {
            (200, _) => self.world.oracle.saw_result(job, &reply.body),
            (303, Some(url)) => {
                let key = url.strip_prefix("memory://outbox/").and_then(|rest| rest.split('?').next());
                let key = key.unwrap_or_default();
                match self.world.outbox.get(key, GetOptions::default()).await {
                    Ok(object) => self.world.oracle.saw_result(job, &object.body),
                    Err(_) => self.world.oracle.violated("J3", format!("the result of job {job} is not at {url}")),
                }
            }
            (503, _) => {}
            (other, _) => {
                self.world.oracle.violated("J3", format!("the result of job {job} was answered {other}"));
            }
        }
    }

    async fn perhaps_cancel(&self, job: JobId) {
        if !self.chance.happens(0.15) {
            return;
        }
        self.pause(20).await;
        self.world.oracle.cancel_asked(job);
        let begun = self.world.elapsed();
        let cancelled = self.world.http(0, Method::DELETE, &format!("/jobs/{job}"), &[], None).await;
        if let Ok(reply) = cancelled
            && reply.status == 200
        {
            self.world.oracle.saw(job, None, reply.job().1, begun);
        }
    }

    /// Another tenant, who has got hold of the id (J7).
    async fn stranger(&self, job: JobId) {
        if !self.chance.happens(0.3) {
            return;
        }
        self.pause(60).await;
        let calls = [(Method::GET, ""), (Method::GET, "/result"), (Method::DELETE, ""), (Method::POST, "/retry")];
        let (method, rest) = &calls[self.chance.between(0..=3) as usize];
        let path = format!("/jobs/{job}{rest}");
        if let Ok(reply) = self.world.http(1, method.clone(), &path, &[], None).await
            && !matches!(reply.status, 404 | 503)
        {
            self.world
                .oracle
                .violated("J7", format!("a stranger's {method} of job {job} was answered {}", reply.status));
        }
    }

    async fn retry(&self, job: JobId) {
        self.pause(5).await;
        let Ok(reply) = self.world.http(0, Method::POST, &format!("/jobs/{job}/retry"), &[], None).await else {
            return;
        };
        if reply.is_accepted() {
            let (again, _) = reply.job();
            self.world.oracle.accepted(again);
            self.watch(again).await;
        }
    }

    /// How long a client still waits that waits for nothing in particular.
    pub(super) fn some_seconds(&self, most: u64) -> Duration {
        self.chance.millis(100..=most * 1000)
    }
}
