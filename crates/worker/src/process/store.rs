//! From an answer to a result that an outcome may name (J3).

use bytes::Bytes;
use cloud::{Condition, PutOptions, StoreError};
use infer::{Answer, RunError};
use job::documents::MAX_INLINE_RESULT_BYTES;
use job::{Input, Sha256, StoredResult, layout};
use serde_json::value::RawValue;

use super::Stop;
use super::attempt::Attempt;
use super::pinned::check_mirror;
use super::run::Ran;
use crate::fault::Fault;
use crate::patience::{self, answer};

/// The media type of answers that may lie inside the outcome.
const JSON: &str = "application/json";

/// An attempt whose result is complete.
pub(super) struct Stored<'a> {
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) result: StoredResult,
    pub(super) infer_ms: f64,
}

impl<'a> Ran<'a> {
    /// Keeps a small JSON answer for the outcome, and writes any other as an object of this attempt's own.
    pub(super) async fn store(self) -> Result<Stored<'a>, Stop> {
        let Self { attempt, answer, infer_ms } = self;
        if let Input::Drop { path, .. } = &attempt.ticket.input {
            check_mirror(&attempt.ticket.model, path, answer.extension)?;
        }
        let small = answer.content_type == JSON && answer.body.len() <= MAX_INLINE_RESULT_BYTES;
        let result = if small { inline(answer)? } else { attempt.object(answer).await? };
        Ok(Stored { attempt, result, infer_ms })
    }
}

fn inline(answer: Answer) -> Result<StoredResult, Fault> {
    let text = String::from_utf8(answer.body).ok();
    let raw = text.and_then(|text| RawValue::from_string(text).ok());
    raw.map(StoredResult::Inline).ok_or_else(|| RunError::Failed("the model's answer is not JSON".to_owned()).into())
}

impl Attempt<'_> {
    async fn object(&self, made: Answer) -> Result<StoredResult, Fault> {
        let Answer { body, content_type, extension } = made;
        let body = Bytes::from(body);
        let key = layout::result_key(self.ticket.job, self.id, &format!("result.{extension}"));
        let result = StoredResult::Object {
            key: key.clone(),
            size_bytes: body.len() as u64,
            sha256: Sha256::of(&body),
            content_type: content_type.to_owned(),
            extension: extension.to_owned(),
        };
        let outbox = &self.processor.ledger.outbox;
        let options = || PutOptions {
            condition: Condition::Absent,
            content_type: Some(content_type.to_owned()),
            ..PutOptions::default()
        };
        let write = async {
            // The model's work is in it, so what is transient gets a second and a third chance before another attempt.
            for pause in [1, 2] {
                match outbox.put(&key, body.clone(), options()).await {
                    Err(error) if error.is_transient() => tracing::debug!("a result is written again: {error}"),
                    done => return done,
                }
                tokio::time::sleep(self.processor.backoff(pause)).await;
            }
            outbox.put(&key, body.clone(), options()).await
        };
        match answer(patience::TRANSFER, write).await? {
            // The key is this attempt's own, so what is there is what it wrote, by a try whose answer was lost.
            Ok(_) | Err(StoreError::PreconditionFailed) => Ok(result),
            Err(error) => Err(error.into()),
        }
    }
}
