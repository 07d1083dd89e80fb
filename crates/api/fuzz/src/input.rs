//! Inputs and parameters against a model: none is taken that the schemas which the API shows refuse.

use std::sync::LazyLock;

use bundle::manifest::Input;
use bundle::{Manifest, schema};
use jsonschema::Validator;
use serde_json::Value;

use super::models::MANIFESTS;

struct Model {
    manifest: Manifest,
    input: Validator,
    params: Validator,
}

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let compile = |schema: &Value| jsonschema::draft202012::new(schema).expect("a schema");
    MANIFESTS
        .iter()
        .map(|text| {
            let manifest = Manifest::parse(text).expect("a manifest");
            let input = compile(&schema::input_schema(&manifest));
            let params = compile(&schema::params_schema(&manifest));
            Model { manifest, input, params }
        })
        .collect()
});

/// The first byte says whose input, or whose parameters, the others are.
pub fn input(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let which = usize::from(*which);
    let model = &MODELS[which / 2 % MODELS.len()];
    if which % 2 == 1 {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if !text.is_empty() && model.manifest.read_params(text).is_ok() {
            fits(&model.params, data);
        }
    } else if model.manifest.check_input(data).is_ok() && !matches!(model.manifest.input, Input::Image(_)) {
        fits(&model.input, data);
    }
}

fn fits(schema: &Validator, data: &[u8]) {
    let data = data.strip_prefix("\u{feff}".as_bytes()).unwrap_or(data);
    // What is passed over unread may be nested deeper, or have larger numbers, than serde_json keeps.
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    if let Err(error) = schema.validate(&value) {
        panic!("taken, but {error}: {value}");
    }
}
