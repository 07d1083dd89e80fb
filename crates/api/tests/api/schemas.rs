//! What is taken, held to the schemas that the service itself shows.

use std::cell::Cell;

use axum::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::World;

/// A body whose every field is mostly right.
fn body() -> impl Strategy<Value = Value> {
    let model = prop_oneof![12 => Just(json!("table")), 1 => Just(json!("absent")), 1 => odd()];
    let (input, upload) = (prop_oneof![4 => rows(), 1 => odd()], prop_oneof![6 => upload(), 1 => odd()]);
    let params =
        prop_oneof![3 => any::<bool>().prop_map(|round| json!({"round": round})), 1 => Just(json!({})), 1 => odd()];
    let what = prop_oneof![
        4 => input.clone().prop_map(|input| vec![("input", input)]),
        4 => upload.clone().prop_map(|upload| vec![("upload", upload)]),
        1 => (input, upload).prop_map(|(input, upload)| vec![("input", input), ("upload", upload)]),
        1 => Just(vec![]),
    ];
    let more = prop_oneof![12 => Just(None), 1 => odd().prop_map(Some)];
    (model, what, proptest::option::of(params), more).prop_map(|(model, mut fields, params, more)| {
        fields.push(("model", model));
        fields.extend(params.map(|params| ("params", params)));
        fields.extend(more.map(|more| ("more", more)));
        object(fields)
    })
}

fn rows() -> impl Strategy<Value = Value> {
    let cell =
        prop_oneof![6 => (-1_i64..11).prop_map(Value::from), 1 => any::<f32>().prop_map(|n| json!(n)), 1 => odd()];
    let row = (cell.clone(), cell).prop_map(|(a, b)| json!({"a": a, "b": b}));
    prop_oneof![row.clone(), proptest::collection::vec(row, 0..3).prop_map(Value::from)]
}

fn upload() -> impl Strategy<Value = Value> {
    let text = |texts: &'static [&'static str]| prop_oneof![8 => proptest::sample::select(texts).prop_map(Value::from), 1 => odd(), 1 => "(?s).{0,9}".prop_map(Value::from)];
    let filename = text(&["f", "한글.json", "a b+c", "..", "a/b", ""]);
    let kind = text(&["application/json", "text/csv; header=present", "jpeg", "a/b;  c"]);
    let size = prop_oneof![6 => (0_u64..100_000_000).prop_map(Value::from), 1 => any::<i64>().prop_map(Value::from),
        1 => (0..100).prop_map(|size| json!(f64::from(size))), 1 => odd()];
    let digest = prop_oneof![4 => "[0-9a-fA-F]{64}".prop_map(Value::from), 1 => "[0-9a-g]{63,65}".prop_map(Value::from), 1 => odd()];
    let optional = (proptest::option::of(kind), proptest::option::of(digest));
    (filename, size, optional).prop_map(|(filename, size, (kind, digest))| {
        let mut fields = vec![("filename", filename), ("size_bytes", size)];
        fields.extend(kind.map(|kind| ("content_type", kind)));
        fields.extend(digest.map(|digest| ("sha256", digest)));
        object(fields)
    })
}

/// What is mostly of the wrong type.
fn odd() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        json!(null),
        json!(true),
        json!(7),
        json!(-0.5),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
    ])
}

fn object(fields: Vec<(&str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[test]
fn nothing_is_taken_that_the_schemas_refuse() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (world, model) = runtime.block_on(async {
        let world = World::new();
        let model = world.get("/models/table").await.json();
        (world, model)
    });
    let compile = |schema: &Value| jsonschema::draft202012::new(schema).unwrap();
    let components = serde_json::to_value(api::document().components).unwrap();
    let submit = compile(&json!({"$ref": "#/components/schemas/SubmitJob", "components": components}));
    let (input, params) = (compile(&model["input_schema"]), compile(&model["params_schema"]));
    let taken = Cell::new(0);
    proptest!(ProptestConfig::with_cases(256), |(body in body())| {
        let answer = runtime.block_on(world.post("/jobs", body.to_string(), &[]));
        prop_assert!(answer.status.is_success() || answer.status.is_client_error(), "{}", answer);
        if answer.status.is_success() {
            taken.set(taken.get() + 1);
            prop_assert!([StatusCode::CREATED, StatusCode::ACCEPTED].contains(&answer.status));
            prop_assert!(submit.is_valid(&body), "taken: {}", body);
            let given = |name: &str| body.get(name).filter(|value| !value.is_null());
            prop_assert!(given("input").is_none_or(|value| input.is_valid(value)), "taken: {}", body);
            prop_assert!(given("params").is_none_or(|value| params.is_valid(value)), "taken: {}", body);
        }
    });
    assert!(taken.get() > 30, "only {} of 256 were taken", taken.get());
}
