//! Dropped files: one version of one file is one job, whose ticket its first attempt writes.

use bundle::{Manifest, ParamKind};
use cloud::{ObjectMeta, StoreError};
use job::documents::V1;
use job::envelope::ObjectVersion;
use job::layout::InboxKey;
use job::{Input, JobId, Limits, ModelName, Ticket};
use ledger::{Ledger, Once};
use registry::Registry;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Stop;
use crate::mirror;
use crate::patience::{self, answer, within};
use crate::settings::Settings;

/// User metadata of this prefix are the job's parameters.
const PARAM_PREFIX: &str = "millpond-";

/// The ticket of the job for this version of a dropped file, written now if it has none.
pub(crate) async fn ticket(
    ledger: &Ledger,
    registry: &Registry,
    settings: &Settings,
    object: &ObjectVersion,
) -> Result<Ticket, Stop> {
    if object.bucket != ledger.inbox.bucket() {
        return Err(Stop::Reject("the dropped file is in another bucket"));
    }
    let (model, path) = match InboxKey::parse(&object.key) {
        InboxKey::Drop { model, path } => (model, path),
        InboxKey::DropWithoutModel => (String::new(), object.key[job::layout::DROP.len()..].to_owned()),
        InboxKey::Upload { .. } | InboxKey::Folder | InboxKey::Foreign => {
            return Err(Stop::Reject("the file is no dropped one"));
        }
    };
    let meta = match answer(patience::CALL, ledger.inbox.head(&object.key)).await? {
        Ok(meta) => meta,
        Err(StoreError::NotFound) => return Err(Stop::Done("the dropped file was deleted")),
        Err(error) => return Err(error.into()),
    };
    if object.etag.as_ref().is_some_and(|etag| *etag != meta.etag) {
        // The newer version has an event of its own. If this one had been started, its job fails by its own ticket. But its
        // attempt may have died over the mirror, and nobody but this message knows: so the newer version's is written again.
        return Err(match mirror::ended(ledger, &object.key, &meta).await? {
            Some((ticket, outcome)) => Stop::Ended(Box::new(ticket), Box::new(outcome)),
            None => Stop::Done("the dropped file was overwritten before it was started"),
        });
    }
    let job = JobId::for_dropped_file(&object.bucket, &object.key, &meta.etag, meta.last_modified);
    if let Some(ticket) = within(patience::CALL, ledger.stored_ticket(job)).await? {
        return Ok(ticket);
    }

    let published = match model.parse::<ModelName>() {
        Ok(name) => match answer(patience::CALL, registry.resolve(&name)).await? {
            Ok(published) => published,
            Err(error) if error.is_transient() => return Err(error.into()),
            // The job then fails for it, with a ticket that pins nothing.
            Err(_) => None,
        },
        Err(_) => None,
    };
    let manifest = published.as_ref().map(|published| &published.manifest);
    let limits = manifest.map(|manifest| manifest.limits).unwrap_or_default();
    let created_at = ledger.clock.now();
    let after = |time| created_at.checked_add(time).unwrap_or(jiff::Timestamp::MAX);
    let ticket = Ticket {
        v: V1,
        job,
        tenant: settings.drop_tenant.clone(),
        model,
        version: published.as_ref().map(|published| published.version.clone()),
        model_digest: published.as_ref().map(|published| published.digest),
        params: params(&meta, manifest),
        input: Input::Drop {
            key: object.key.clone(),
            path,
            etag: meta.etag,
            size_bytes: meta.size_bytes,
            content_type: meta.content_type,
            last_modified: meta.last_modified,
        },
        limits: Limits { max_input_bytes: limits.max_input_bytes, max_seconds: limits.max_seconds },
        created_at,
        upload_deadline: None,
        queue_deadline: after(settings.queue_deadline),
        retained_until: after(settings.retention),
        retry_of: None,
        request_digest: None,
        // Whoever dropped it has no way to say of which trace it is a part.
        trace: Some(ledger.entropy.trace()),
    };
    match within(patience::CALL, ledger.accept(&ticket)).await? {
        Once::Written => Ok(ticket),
        Once::There(ticket) => Ok(ticket),
    }
}

/// `x-amz-meta-millpond-<name>: <value>`, as a JSON object. Values are JSON scalars, or else texts; where the model wants
/// a text, they are texts whatever they look like. Checked only when the job is run, so that a wrong one is its failure.
fn params(meta: &ObjectMeta, manifest: Option<&Manifest>) -> Box<RawValue> {
    let is_text = |name: &str| {
        manifest.and_then(|m| m.params.get(name)).is_some_and(|param| matches!(param.kind, ParamKind::String))
    };
    let mut params = Map::new();
    for (name, text) in &meta.metadata {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let value = match serde_json::from_str::<Value>(text) {
            Ok(Value::String(text)) => Value::String(text),
            Ok(scalar @ (Value::Bool(_) | Value::Number(_) | Value::Null)) if !is_text(name) => scalar,
            Ok(_) | Err(_) => Value::String(text.clone()),
        };
        params.insert(name.to_owned(), value);
    }
    serde_json::value::to_raw_value(&params).expect("an object of scalars is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use job::id::ETag;

    #[test]
    fn metadata_are_scalars_or_texts() {
        let metadata = [("all", "true"), ("n", "3"), ("mode", "fast"), ("quoted", "\"3\""), ("list", "[1]")];
        let mut metadata: std::collections::BTreeMap<String, String> =
            metadata.iter().map(|(name, text)| (format!("millpond-{name}"), (*text).to_owned())).collect();
        metadata.insert("owner".into(), "someone".into());
        let meta = ObjectMeta {
            etag: ETag::new("a"),
            size_bytes: 1,
            last_modified: jiff::Timestamp::UNIX_EPOCH,
            content_type: None,
            metadata,
        };
        let text = params(&meta, None);
        assert_eq!(text.get(), r#"{"all":true,"list":"[1]","mode":"fast","n":3,"quoted":"3"}"#);
    }
}
