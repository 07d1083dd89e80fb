//! The progress record, as one attempt keeps it.

use infer::Control;
use job::documents::V1;
use job::id::ETag;
use job::{Problem, Progress};
use ledger::{Ledger, LedgerError};
use tokio::time::sleep;

use super::attempt::Attempt;
use crate::patience::backoff;

/// What this attempt says of itself. It writes over what it found when it started, then over its own versions only; once
/// another attempt has written, it writes no more.
pub(super) struct Record<'a> {
    ledger: &'a Ledger,
    /// What it would write now, but for the time.
    now: Progress,
    job: job::JobId,
    /// The version that it may write over.
    last: Option<ETag>,
    lost: bool,
}

impl<'a> Record<'a> {
    pub(super) fn new(attempt: &'a Attempt<'_>, before: Option<(Progress, ETag)>) -> Self {
        let (before, last) = before.unzip();
        let now = Progress {
            v: V1,
            attempt: attempt.id,
            started_at: attempt.started_at,
            beat_at: attempt.started_at,
            done: 0,
            total: None,
            failures: before.as_ref().map_or(0, |before| before.failures),
            last_error: before.and_then(|before| before.last_error),
        };
        Self { ledger: &attempt.processor.ledger, now, job: attempt.ticket.job, last, lost: false }
    }

    /// Says that the attempt is alive, and how far it is.
    pub(super) async fn beat(&mut self, control: &Control) -> Result<(), LedgerError> {
        let (done, total) = control.progress();
        self.now.done = done;
        self.now.total = (total > 0).then_some(total);
        self.write().await
    }

    /// Counts the attempt as failed. Returns how many have failed by then.
    pub(super) async fn fail(&mut self, error: Problem) -> Result<u32, LedgerError> {
        self.now.failures += 1;
        self.now.last_error = Some(error);
        // Unlike a beat this must not get lost, nor meet a beat of ours that is still on its way and give up.
        for nth in [1, 2] {
            match self.write().await {
                Err(error) if error.is_transient() => sleep(backoff(nth, &*self.ledger.entropy)).await,
                done => return done.map(|()| self.now.failures),
            }
        }
        self.write().await.map(|()| self.now.failures)
    }

    /// Whether there is one, by this attempt or another.
    pub(super) fn is_written(&self) -> bool {
        self.last.is_some() || self.lost
    }

    async fn write(&mut self) -> Result<(), LedgerError> {
        if self.lost {
            return Ok(());
        }
        self.now.beat_at = self.ledger.clock.now();
        let mut written = self.ledger.write_progress(self.job, &self.now, self.last.clone()).await?;
        if written.is_none() {
            // A beat that was broken off may have been written all the same.
            let there = self.ledger.progress(self.job).await?;
            if let Some((_, etag)) = there.filter(|(there, _)| there.attempt == self.now.attempt) {
                written = self.ledger.write_progress(self.job, &self.now, Some(etag)).await?;
            }
        }
        self.lost = written.is_none();
        self.last = written.or(self.last.take());
        Ok(())
    }
}
