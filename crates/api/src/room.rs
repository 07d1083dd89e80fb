//! How much is taken on at once. What is more is refused at once: a client that comes again in a second is better off than one
//! whose server has run out of memory.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use job::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Failure;
use crate::request::MAX_BODY_BYTES;
use crate::settings::Settings;

/// What one permit stands for. A request with a small body takes one, for what surrounds the body.
const UNIT: usize = 4096;

/// What is left of the limits.
#[derive(Debug)]
pub(crate) struct Room {
    bodies: Arc<Semaphore>,
    waits: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new(settings: &Settings) -> Self {
        let units = settings.max_bodies_bytes / UNIT;
        Self {
            // At least the largest body must fit, or it would be refused for ever.
            bodies: Arc::new(Semaphore::new(units.max(units_of(MAX_BODY_BYTES)).min(Semaphore::MAX_PERMITS))),
            waits: Arc::new(Semaphore::new(settings.max_waits.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for a request's body, until it has been answered.
    pub(crate) fn body(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Failure> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        self.bytes(length.unwrap_or(MAX_BODY_BYTES))
    }

    /// Room for what is read instead of a body.
    pub(crate) fn bytes(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let room = self.bodies.clone().try_acquire_many_owned(units_of(bytes.min(MAX_BODY_BYTES)) as u32);
        room.map_err(|_| Failure::new(Code::Overloaded, "too many requests are under way; try again in a second"))
    }

    /// A place to wait for a job in. Without one, a caller is told how the job stands, and asks again.
    pub(crate) fn wait(&self) -> Option<OwnedSemaphorePermit> {
        self.waits.clone().try_acquire_owned().ok()
    }
}

fn units_of(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}
