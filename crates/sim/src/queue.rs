//! A queue as one process sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cloud::memory::MemoryQueue;
use cloud::{Message, MessageId, Queue, QueueError, ReceiptHandle};

use crate::fate::{Answer, Kind, Refusal};
use crate::process::Incarnation;

/// A faulty way to a sound queue, which then loses and doubles messages as well.
#[derive(Debug)]
pub(crate) struct SimQueue {
    pub(crate) process: Arc<Incarnation>,
    pub(crate) name: &'static str,
    pub(crate) inner: Arc<MemoryQueue>,
}

macro_rules! queue_answer {
    ($($answer:ty),*) => { $(
        impl Answer for Result<$answer, QueueError> {
            fn refused(refusal: Refusal) -> Self {
                Err(match refusal {
                    Refusal::Throttled => QueueError::Throttled("the simulator asks to slow down".into()),
                    Refusal::Unavailable | Refusal::Conflict => {
                        QueueError::Unavailable("the simulator does not answer".into())
                    }
                })
            }
            fn found_there() -> Self {
                unreachable!("a queue has no conditions")
            }
            fn is_success(&self) -> bool {
                self.is_ok()
            }
        }
    )* };
}
queue_answer!(MessageId, Vec<Message>, ());

impl SimQueue {
    fn happens(&self, probability: f64) -> bool {
        let world = &self.process.world;
        let happens = !world.is_quiet() && world.chance.happens(probability);
        if happens {
            world.oracle.fault();
        }
        happens
    }
}

#[async_trait]
impl Queue for SimQueue {
    async fn send(&self, body: &str, group: Option<&str>, delay: Duration) -> Result<MessageId, QueueError> {
        let weather = &self.process.world.plan.weather;
        let copies = if self.happens(weather.lost_message) {
            0
        } else if self.happens(weather.duplicate) {
            2
        } else {
            1
        };
        let delays: Vec<Duration> = (0..copies).map(|_| delay + self.process.lateness()).collect();
        let (inner, owned, group) = (self.inner.clone(), body.to_owned(), group.map(str::to_owned));
        let effect = async move {
            let mut id = MessageId("lost".to_owned());
            for delay in delays {
                id = inner.send(&owned, group.as_deref(), delay).await?;
            }
            Ok(id)
        };
        self.process.call(Kind::Write, || format!("send x{copies} {} {body}", self.name), effect).await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, QueueError> {
        let world = &self.process.world;
        let short = self.happens(world.plan.weather.short_visibility);
        let visibility = if short { Some(world.chance.millis(0..=8_000)) } else { visibility };
        let inner = self.inner.clone();
        let (history, label, name) = (world.clone(), self.process.label.clone(), self.name);
        let effect = async move {
            let received = inner.receive(max, wait, visibility).await;
            for message in received.iter().flatten() {
                history.history.note(&label, || {
                    let Message { id, receive_count, body, .. } = message;
                    let short = if short { ", soon visible again" } else { "" };
                    format!("receives {name} {} ({receive_count}{short}) {body}", id.0)
                });
            }
            received
        };
        self.process.call(Kind::Receive, || format!("receive {}", self.name), effect).await
    }

    async fn delete(&self, receipt: &ReceiptHandle) -> Result<(), QueueError> {
        let undone = self.happens(self.process.world.plan.weather.undeleted);
        let (inner, owned) = (self.inner.clone(), receipt.clone());
        let effect = async move { if undone { Ok(()) } else { inner.delete(&owned).await } };
        self.process.call(Kind::Write, || format!("acknowledge {} {}", self.name, receipt.0), effect).await
    }

    async fn change_visibility(&self, receipt: &ReceiptHandle, timeout: Duration) -> Result<(), QueueError> {
        let (inner, owned) = (self.inner.clone(), receipt.clone());
        let effect = async move { inner.change_visibility(&owned, timeout).await };
        let what = || format!("hide {} {} for {:.1} s", self.name, receipt.0, timeout.as_secs_f64());
        self.process.call(Kind::Write, what, effect).await
    }
}

#[cfg(test)]
mod tests {
    use cloud::conformance::{self, Pace, QueuePair};

    use super::*;
    use crate::plan::Plan;
    use crate::world::World;

    #[tokio::test(start_paused = true)]
    async fn without_faults_it_conforms() {
        let failures = conformance::queue(Pace::AtOnce, async || {
            let plan = Plan { visibility: Duration::from_secs(3), max_receives: 4, ..Plan::calm() };
            let world = World::new(0, plan, false).await;
            let queue = |name, inner: &Arc<MemoryQueue>| {
                Arc::new(SimQueue { process: Incarnation::idle(&world), name, inner: inner.clone() })
            };
            QueuePair {
                queue: queue("jobs", &world.queue),
                dead_letters: queue("dead", &world.dead),
                visibility_timeout: world.plan.visibility,
                max_receive_count: world.plan.max_receives,
            }
        })
        .await;
        conformance::assert_none(&failures);
    }
}
