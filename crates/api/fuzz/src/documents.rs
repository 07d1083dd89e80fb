//! Stored documents. What is read and written again reads as the same.

use bundle::{Manifest, schema};
use job::state::{Found, observe};
use job::{Outcome, Progress, Ticket};
use keys::KeyFile;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A ticket, a progress record or an outcome.
pub fn documents(data: &[u8]) {
    if let Some(ticket) = survives::<Ticket>(data) {
        for now in [ticket.created_at, ticket.queue_deadline, ticket.retained_until] {
            let _ = observe(&ticket, Found::from_ticket(&ticket), now);
        }
    }
    survives::<Progress>(data);
    if let Some(outcome) = survives::<Outcome>(data) {
        assert!(outcome.ending.state().is_terminal());
    }
}

fn survives<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let document: T = serde_json::from_slice(data).ok()?;
    let text = serde_json::to_string(&document).expect("it is written");
    let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&again).expect("it is written"), text);
    Some(document)
}

/// `keys.json`.
pub fn keys_file(data: &[u8]) {
    if let Ok(file) = KeyFile::parse(data) {
        assert_eq!(KeyFile::parse(&file.to_json()).expect("what was written is read"), file);
    }
}

/// `model.toml`, and the schemas that follow from it.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(manifest) = Manifest::parse(text) else { return };
    let written = manifest.to_toml();
    let again = Manifest::parse(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.to_toml(), written);
    for schema in [schema::input_schema(&manifest), schema::output_schema(&manifest), schema::params_schema(&manifest)]
    {
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    }
    let _ = manifest.read_params("{}");
    for golden in &manifest.goldens {
        let _ = manifest.check_input(golden.input.as_bytes());
        let _ = manifest.read_params(&golden.params);
    }
}
