//! From a ticket to the model's version and the parameters.

use std::sync::Arc;

use bundle::Params;
use job::error::Code;
use job::layout::MirrorKeys;
use job::{Input, ModelName};
use registry::Published;

use super::Stop;
use super::attempt::Attempt;
use crate::fault::Fault;
use crate::models::Pin;
use crate::patience::{self, within};

/// An attempt that knows which model it runs, and with what parameters.
pub(super) struct Pinned<'a> {
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) pin: Pin,
    pub(super) published: Arc<Published>,
    pub(super) params: Params,
}

impl Attempt<'_> {
    /// Refuses what can't be run whatever the input says, and finds the version that the job was accepted with.
    pub(super) async fn pinned(&self) -> Result<Pinned<'_>, Stop> {
        let ticket = &self.ticket;
        if let Input::Drop { path, .. } = &ticket.input {
            if ticket.model.is_empty() {
                let detail = "put the file into a folder with a model's name, as drop/<model>/<file>";
                return Err(Fault::refused(Code::NoModel, detail).into());
            }
            check_mirror(&ticket.model, path, "json")?;
        }
        let cache = &self.processor.cache;
        let (name, pinned) = (ticket.model.parse::<ModelName>(), ticket.version.clone().zip(ticket.model_digest));
        let pin = match (name, pinned) {
            (Ok(name), Some((version, digest))) => Pin { name, version, digest },
            (Ok(name), None) => {
                // A bundle that is damaged rather than absent says so.
                within(patience::CALL, cache.registry().resolve(&name)).await?;
                return Err(unknown_model().into());
            }
            (Err(_), _) => return Err(unknown_model().into()),
        };
        let published = cache.published(&pin).await?;
        let params = published.manifest.read_params(ticket.params.get()).map_err(Fault::Params)?;
        Ok(Pinned { attempt: self, pin, published, params })
    }
}

fn unknown_model() -> Fault {
    Fault::refused(Code::UnknownModel, "there was no such model when the job was accepted")
}

/// Refuses a dropped file whose mirror S3 would not take.
pub(super) fn check_mirror(model: &str, path: &str, extension: &str) -> Result<(), Fault> {
    if MirrorKeys::new(model, path, extension).fit() {
        return Ok(());
    }
    let max = job::layout::MAX_KEY_BYTES;
    Err(Fault::refused(Code::KeyTooLong, format!("its result's key would be longer than {max} bytes")))
}
