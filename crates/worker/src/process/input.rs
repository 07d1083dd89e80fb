//! From a pinned model to the whole input.

use bytes::Bytes;
use cloud::{GetOptions, StoreError};
use job::error::Code;
use job::id::ETag;
use job::{Input, Sha256};
use tokio::sync::SemaphorePermit;

use super::Stop;
use super::attempt::Attempt;
use super::pinned::Pinned;
use crate::fault::Fault;
use crate::patience::{self, answer};

/// An attempt that has its input.
pub(super) struct Read<'a> {
    pub(super) pinned: Pinned<'a>,
    pub(super) input: Bytes,
    /// What the input takes of the memory for inputs, until it has been run.
    pub(super) room: SemaphorePermit<'a>,
}

impl<'a> Pinned<'a> {
    /// Reads the very version of the input that the job was made for, and checks what was announced of it.
    pub(super) async fn read(self) -> Result<Read<'a>, Stop> {
        let attempt = self.attempt;
        // A larger one is refused before it is read.
        let bytes = attempt.ticket.input.size_bytes().min(attempt.ticket.limits.max_input_bytes);
        let room = attempt.processor.input_room(bytes).await;
        let input = match &attempt.ticket.input {
            Input::Inline(text) => Bytes::copy_from_slice(text.get().as_bytes()),
            Input::Upload { key, size_bytes, sha256, etag, .. } => {
                let etag = match etag.clone().or_else(|| attempt.message_etag.clone()) {
                    Some(etag) => etag,
                    None => attempt.uploaded(key).await?,
                };
                let body = attempt.body(key, etag).await?;
                check_announced(&body, *size_bytes, *sha256)?;
                body
            }
            Input::Drop { key, etag, .. } => attempt.body(key, etag.clone()).await?,
        };
        if input.is_empty() {
            return Err(Fault::refused(Code::EmptyInput, "the input has no bytes").into());
        }
        Ok(Read { pinned: self, input, room })
    }
}

impl Attempt<'_> {
    /// The upload's version, for a message that names none.
    async fn uploaded(&self, key: &str) -> Result<ETag, Stop> {
        let inbox = &self.processor.ledger.inbox;
        match answer(patience::CALL, inbox.head(key)).await? {
            Ok(meta) => Ok(meta.etag),
            // No deadline ends a job that has begun, so it must not be left to an upload that may never come.
            Err(StoreError::NotFound) if self.begun_before => Err(gone().into()),
            // Its own event will come with it.
            Err(StoreError::NotFound) => Err(Stop::Done("its input is not uploaded yet")),
            Err(error) => Err(error.into()),
        }
    }

    async fn body(&self, key: &str, etag: ETag) -> Result<Bytes, Fault> {
        let max = self.ticket.limits.max_input_bytes;
        let options = GetOptions { if_match: Some(etag), max_bytes: Some(max) };
        let inbox = &self.processor.ledger.inbox;
        let object = answer(patience::TRANSFER, inbox.get(key, options)).await?;
        match object {
            Ok(object) => Ok(object.body),
            Err(StoreError::NotFound) => Err(gone()),
            Err(StoreError::PreconditionFailed) => Err(Fault::refused(
                Code::InputReplaced,
                "the job runs on the version that it was made for, or not at all",
            )),
            Err(StoreError::TooLarge { size_bytes }) => {
                Err(Fault::refused(Code::TooLarge, format!("it has {size_bytes} bytes; the model takes {max}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn gone() -> Fault {
    Fault::refused(Code::InputGone, "it was there when the job was made")
}

fn check_announced(body: &Bytes, size_bytes: u64, sha256: Option<Sha256>) -> Result<(), Fault> {
    let size = body.len() as u64;
    if size != size_bytes {
        let detail = format!("{size_bytes} bytes were announced, {size} were uploaded");
        return Err(Fault::refused(Code::SizeMismatch, detail));
    }
    if sha256.is_some_and(|announced| announced != Sha256::of(body)) {
        return Err(Fault::refused(Code::DigestMismatch, "what was uploaded has another SHA-256"));
    }
    Ok(())
}
