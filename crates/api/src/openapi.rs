//! The OpenAPI document: paths and answers come from the handlers, problems from the table of error codes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use job::{Code, Problem, State as JobState};
use serde_json::Value;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::Api;
use crate::problem::{PROBLEM_JSON, ProblemBody};

/// The head of the document; [`crate::router`] adds the paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millpond",
        description = "Model predictions when they are ready: submit a job, upload its input, ask for the result.\n\n\
            Every error is a problem document (RFC 9457) with a stable `code`.",
    ),
    components(schemas(ProblemBody)),
    modifiers(&Keys),
    security((), ("bearer" = []), ("api_key" = [])),
    tags(
        (name = "jobs", description = "Jobs, from their submission to their result."),
        (name = "models", description = "What is served."),
        (name = "operations", description = "For whoever runs the service."),
    ),
)]
pub(crate) struct Head;

/// How a key is sent. A server without keys asks for none, so all of the document's requirements are optional.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("api_key", header);
    }
}

/// What is to be answered, by which model.
// For the document alone: `request::Submission` is what is read.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct SubmitJob {
    /// The model that is to answer.
    #[schema(example = "wine-quality", pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    model: String,
    /// The input itself, at most 1 MiB of JSON. Exactly one of `input` and `upload` is given.
    input: Option<Value>,
    /// The file that will be uploaded. Exactly one of `input` and `upload` is given.
    upload: Option<AnnounceUpload>,
    /// What the model lets a client set; `params_schema` of the model says what.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

/// A file that will be uploaded.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct AnnounceUpload {
    /// Its name, without any folder: at most 255 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^/\\\x00-\x1f\x7f-\x9f]+$", example = "cat.jpg")]
    filename: String,
    /// Its media type.
    #[schema(
        default = "application/octet-stream",
        example = "image/jpeg",
        max_length = 255,
        pattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( ?;( ?[!-~])*)?$"
    )]
    content_type: Option<String>,
    /// Its exact size.
    #[schema(minimum = 1)]
    size_bytes: u64,
    /// Its SHA-256 in hexadecimal. If it is given, the storage refuses any other file.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    sha256: Option<String>,
}

/// Says of [`SubmitJob`] that there is either an input or an upload, which no derived schema can.
fn add_alternatives(document: &mut Document) {
    // Imported above, these names would make the derived code's paths to them needlessly long, as a lint has it.
    use utoipa::openapi::schema::{AllOfBuilder, OneOfBuilder, SchemaType};

    let json = [Type::Array, Type::Boolean, Type::Number, Type::Object, Type::String];
    let alternative = |name: &str, types: SchemaType| {
        ObjectBuilder::new().property(name, ObjectBuilder::new().schema_type(types)).required(name)
    };
    let alternatives = OneOfBuilder::new()
        .item(alternative("input", SchemaType::Array(json.to_vec())))
        .item(alternative("upload", SchemaType::Type(Type::Object)));
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    if let Some(schema) = schemas.and_then(|schemas| schemas.get_mut("SubmitJob")) {
        let fields = schema.clone();
        *schema = AllOfBuilder::new().item(fields).item(alternatives).into();
    }
}

/// Any error code.
pub(crate) fn code_schema() -> Schema {
    names(Code::ALL.iter().map(|code| code.as_str()))
}

/// Any state.
pub(crate) fn state_schema() -> Schema {
    use JobState::{AwaitingUpload, Cancelled, Expired, Failed, Queued, Running, Succeeded};
    let all = [AwaitingUpload, Queued, Running, Succeeded, Failed, Cancelled, Expired];
    names(all.into_iter().map(JobState::as_str))
}

fn names(names: impl Iterator<Item = &'static str>) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

/// What each call can be refused with, beside what any call can.
const PROBLEMS: &[(&str, &[Code])] = &[
    (
        "submit",
        &[
            Code::MalformedJson,
            Code::InvalidRequest,
            Code::InvalidIdempotencyKey,
            Code::UnknownModel,
            Code::UseUpload,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::InvalidFilename,
            Code::InvalidSha256,
            Code::InvalidParams,
            Code::InvalidInput,
            Code::EmptyInput,
            Code::IdempotencyKeyReused,
            Code::Overloaded,
            Code::ModelBroken,
            Code::StorageUnavailable,
        ],
    ),
    ("show_job", &[Code::InvalidRequest, Code::JobNotFound, Code::StorageUnavailable]),
    ("cancel", &[Code::JobNotFound, Code::AlreadyFinished, Code::StorageUnavailable]),
    ("result", &[Code::JobNotFound, Code::NoResultYet, Code::NoResult, Code::StorageUnavailable]),
    (
        "retry",
        &[
            Code::InvalidIdempotencyKey,
            Code::JobNotFound,
            Code::UnknownModel,
            Code::NotFinished,
            Code::InputGone,
            Code::TooLarge,
            Code::InvalidParams,
            Code::InvalidInput,
            Code::EmptyInput,
            Code::IdempotencyKeyReused,
            Code::Overloaded,
            Code::ModelBroken,
            Code::StorageUnavailable,
        ],
    ),
    ("list_models", &[Code::StorageUnavailable]),
    ("show_model", &[Code::UnknownModel, Code::ModelBroken, Code::StorageUnavailable]),
    ("ready", &[Code::Unavailable]),
];

/// What whoever may not call is answered, or not so often.
const CALLERS: &[Code] = &[Code::Unauthorized, Code::RateLimited];

/// The calls that everybody may make.
const OPEN: &[&str] = &["alive", "ready", "openapi"];

/// What the server's own faults are answered with.
const ANYWHERE: &[Code] = &[Code::Internal];

/// Adds what the handlers and their types cannot say.
pub(crate) fn complete(mut document: Document) -> Document {
    add_alternatives(&mut document);
    add_problems(&mut document);
    document
}

/// Adds to each operation the problems that it can answer with.
fn add_problems(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            let own = PROBLEMS.iter().find(|(name, _)| *name == id).map_or(&[][..], |(_, codes)| codes);
            let callers = if OPEN.contains(&id.as_str()) { &[] } else { CALLERS };
            add(operation, own.iter().chain(callers).chain(ANYWHERE).copied());
            if OPEN.contains(&id.as_str()) {
                // Against the document's own, which asks for a key.
                operation.security = Some(vec![SecurityRequirement::default()]);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn add(operation: &mut Operation, codes: impl Iterator<Item = Code>) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let description =
            codes.iter().map(|code| format!("`{code}`: {}", code.title())).collect::<Vec<_>>().join("\n\n");
        let examples = codes.iter().map(|code| (code.as_str(), example(*code)));
        let content =
            ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
        let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
        operation.responses.responses.insert(status.to_string(), RefOr::T(response));
    }
}

fn example(code: Code) -> utoipa::openapi::example::Example {
    let body = ProblemBody::from(&Problem::new(code, "what is special about this occurrence"));
    ExampleBuilder::new().value(serde_json::to_value(body).ok()).build()
}

/// Gives this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub(crate) async fn openapi(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi.clone()).into_response()
}
