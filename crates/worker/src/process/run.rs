//! From an input to the model's answer.

use std::sync::atomic::Ordering;

use infer::Answer;
use tokio::time::{Instant, timeout};

use super::Stop;
use super::attempt::Attempt;
use super::input::Read;
use crate::fault::Fault;
use crate::patience;
use crate::pool::{Call, CallError};

/// An attempt that has an answer.
pub(super) struct Ran<'a> {
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) answer: Answer,
    pub(super) infer_ms: f64,
}

impl<'a> Read<'a> {
    /// Runs the model, within its limit.
    pub(super) async fn run(self) -> Result<Ran<'a>, Stop> {
        let Self { pinned, input, room } = self;
        let (attempt, processor) = (pinned.attempt, pinned.attempt.processor);
        let (pool, places) = (&*processor.pool, &processor.places);
        let model = processor.cache.model(&pinned.pin, &pinned.published, pool, places, &*processor.observer).await?;
        let place = tokio::select! {
            biased;
            () = processor.wedged.cancelled() => return Err(Stop::Later),
            place = places.clone().acquire_owned() => place.expect("the places are never closed"),
        };
        // Reading, loading and waiting took their time.
        attempt.check_deadline()?;

        let (control, limit, started) = (attempt.control.clone(), attempt.limit(), Instant::now());
        attempt.in_model.store(true, Ordering::Relaxed);
        let mut call = pool.infer(Call { model, input, params: pinned.params, control, place });
        let answer = match timeout(limit, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                attempt.control.cancel();
                let stopped = timeout(patience::GRACE, &mut call).await.is_ok();
                if !stopped {
                    processor.wedge();
                }
                return Err(if stopped { Fault::TimedOut(limit) } else { Fault::Hung(limit) }.into());
            }
        };
        attempt.in_model.store(false, Ordering::Relaxed);
        drop(room);
        match answer {
            Ok(answer) => Ok(Ran { attempt, answer, infer_ms: started.elapsed().as_secs_f64() * 1000.0 }),
            Err(CallError::Run(error)) => Err(Fault::Run(error).into()),
            Err(CallError::Panicked) => Err(Fault::Panicked.into()),
        }
    }
}
