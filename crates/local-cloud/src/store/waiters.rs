//! Long polls asleep, by queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Waiters {
    by_queue: Mutex<HashMap<i64, Arc<Notify>>>,
}

impl Waiters {
    /// The bell of a queue. Register with it (`Notified::enable`) before looking at the queue, and no ring is missed.
    pub(crate) fn bell(&self, queue: i64) -> Arc<Notify> {
        let mut by_queue = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_queue.entry(queue).or_default())
    }

    pub(crate) fn wake(&self, queue: i64) {
        let by_queue = self.by_queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = by_queue.get(&queue) {
            bell.notify_waiters();
        }
    }
}
