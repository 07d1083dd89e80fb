//! `GET /models` and `GET /models/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bundle::{Golden, Manifest, schema};
use registry::{Published, Refusal};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Api;
use crate::caller::Caller;
use crate::extract::ModelPath;
use crate::problem::Failure;

/// What is served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// By name.
    models: Vec<ModelSummary>,
    /// The versions that should be served but cannot be until their operator mends them. Where another one was served before
    /// by the process that answers, it still is.
    broken: Vec<BrokenModel>,
}

/// A version that is not served, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokenModel {
    /// The model.
    #[schema(example = "wine-quality")]
    name: String,
    /// Its version, if the fault is a version's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2")]
    version: Option<String>,
    /// What is wrong.
    #[schema(example = "model wine-quality version 2 lacks its file model.ubj")]
    reason: String,
}

/// A model in a few words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelSummary {
    /// What jobs name it by.
    #[schema(example = "wine-quality")]
    name: String,
    /// The version that new jobs get.
    #[schema(example = "1")]
    version: String,
    /// A few words for people.
    title: String,
    /// What it answers, and on what it was trained.
    description: String,
    /// The model file's format, which decides the engine.
    #[schema(example = "xgboost")]
    engine: String,
    /// What it takes.
    #[schema(example = "table")]
    input: String,
    /// What it answers.
    #[schema(example = "number")]
    output: String,
    /// Under which terms it may be used.
    licence: String,
}

/// A model in full.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelDetail {
    #[serde(flatten)]
    summary: ModelSummary,
    /// JSON Schema (2020-12) of an input.
    #[schema(value_type = Object)]
    input_schema: Value,
    /// JSON Schema of an answer.
    #[schema(value_type = Object)]
    output_schema: Value,
    /// JSON Schema of `params`.
    #[schema(value_type = Object)]
    params_schema: Value,
    /// An input whose answer is known.
    example: Option<ModelExample>,
    limits: ModelLimits,
    /// All versions, the lowest first.
    versions: Vec<String>,
    /// How it was trained and how well it does, as whoever trained it wrote it down.
    #[schema(value_type = Object)]
    training: Value,
}

/// An input whose answer is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelExample {
    #[schema(value_type = Value)]
    input: Verbatim,
    #[schema(value_type = Value)]
    params: Verbatim,
    #[schema(value_type = Value)]
    output: Verbatim,
}

/// What a model refuses.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelLimits {
    /// The largest input, in bytes.
    max_input_bytes: u64,
    /// The most rows of one input.
    max_rows: usize,
    /// The longest that one call may take, in seconds.
    max_seconds: u64,
}

/// JSON as the bundle writes it, every digit kept; what is not JSON, as a text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Verbatim {
    Json(Box<RawValue>),
    Text(String),
}

impl From<&String> for Verbatim {
    fn from(text: &String) -> Self {
        match RawValue::from_string(text.trim().to_owned()) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Text(text.clone()),
        }
    }
}

/// Lists the models.
#[utoipa::path(
    get,
    path = "/models",
    tag = "models",
    responses((status = 200, description = "What is served.", body = ModelList)),
)]
pub(crate) async fn list_models(State(api): State<Arc<Api>>, _: Caller) -> Result<Json<ModelList>, Failure> {
    let mut list = ModelList { models: Vec::new(), broken: Vec::new() };
    for name in api.bounded(api.registry.names()).await? {
        // The registry tells a damaged bundle from a storage that does not answer, which is not the bundle's fault.
        let found = api.bounded(async { Ok::<_, Failure>(api.registry.resolve(&name).await) }).await?;
        let refusal = match found {
            Ok(Some(model)) => {
                list.models.push(summary(&model));
                api.registry.refused(&name)
            }
            // A folder without a version: being written, or being removed.
            Ok(None) => None,
            Err(error) if error.is_transient() => return Err(error.into()),
            // One bundle's fault must not hide the others.
            Err(error) => {
                let refusal = Refusal::from(&error);
                Failure::from(error).log("a model is left out of the list");
                Some(refusal)
            }
        };
        list.broken.extend(refusal.map(|Refusal { version, reason }| BrokenModel {
            name: name.to_string(),
            version: version.map(|version| version.to_string()),
            reason,
        }));
    }
    Ok(Json(list))
}

/// Describes a model.
#[utoipa::path(
    get,
    path = "/models/{name}",
    tag = "models",
    params(("name" = String, Path, description = "The model's name.")),
    responses((status = 200, description = "The version that new jobs get.", body = ModelDetail)),
)]
pub(crate) async fn show_model(
    State(api): State<Arc<Api>>,
    _: Caller,
    ModelPath(name): ModelPath,
) -> Result<Json<ModelDetail>, Failure> {
    let model = api.model(&name).await?;
    let versions = api.bounded(api.registry.versions(&name)).await?;
    let manifest = &model.manifest;
    Ok(Json(ModelDetail {
        summary: summary(&model),
        input_schema: schema::input_schema(manifest),
        output_schema: schema::output_schema(manifest),
        params_schema: schema::params_schema(manifest),
        // A file cannot be shown.
        example: manifest.goldens.iter().find(|golden| golden.input_file.is_none()).map(example),
        limits: ModelLimits {
            max_input_bytes: manifest.limits.max_input_bytes,
            max_rows: manifest.limits.max_rows,
            max_seconds: manifest.limits.max_seconds,
        },
        versions: versions.iter().map(ToString::to_string).collect(),
        training: table_to_json(&manifest.training),
    }))
}

fn summary(model: &Published) -> ModelSummary {
    let manifest: &Manifest = &model.manifest;
    ModelSummary {
        name: model.name.to_string(),
        version: model.version.to_string(),
        title: manifest.title.clone(),
        description: manifest.description.clone(),
        engine: word(&manifest.engine.format),
        input: kind(&manifest.input),
        output: kind(&manifest.output),
        licence: manifest.licence.clone(),
    }
}

fn example(golden: &Golden) -> ModelExample {
    ModelExample { input: (&golden.input).into(), params: (&golden.params).into(), output: (&golden.output).into() }
}

/// An enum's name as the manifest spells it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The `kind` of a part of the manifest.
fn kind(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.get("kind")?.as_str()?.to_owned())).unwrap_or_default()
}

fn table_to_json(table: &toml::Table) -> Value {
    Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect::<Map<_, _>>())
}

/// By hand, because serde writes a TOML date as an object of toml's own.
fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        // What JSON cannot say (`nan`, `inf`) becomes null.
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.iter().map(to_json).collect(),
        toml::Value::Table(table) => table_to_json(table),
    }
}
