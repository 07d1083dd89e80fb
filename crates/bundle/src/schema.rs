//! The manifest's schemas as JSON Schema (2020-12), for `GET /models/{name}` and its readers.

use serde_json::{Map, Value, json};

use crate::manifest::{Input, Manifest, Output};
use crate::params::ParamKind;
use crate::table::ColumnKind;

/// What an input must be.
pub fn input_schema(manifest: &Manifest) -> Value {
    let Input::Table(table) = &manifest.input;
    let mut properties = Map::new();
    for column in &table.columns {
        let kind = match column.kind {
            ColumnKind::Number => "number",
            ColumnKind::Integer => "integer",
        };
        let mut property = Map::new();
        property.insert("type".into(), if column.missing { json!([kind, "null"]) } else { json!(kind) });
        if let Some(min) = column.min {
            property.insert("minimum".into(), json!(min));
        }
        if let Some(max) = column.max {
            property.insert("maximum".into(), json!(max));
        }
        if !column.description.is_empty() {
            property.insert("description".into(), json!(column.description));
        }
        properties.insert(column.name.clone(), Value::Object(property));
    }
    let required: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let row = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let rows =
        json!({"type": "array", "items": {"$ref": "#/$defs/row"}, "minItems": 1, "maxItems": manifest.limits.max_rows});
    json!({"$defs": {"row": row}, "anyOf": [rows, {"$ref": "#/$defs/row"}]})
}

/// What an answer is. A number that is not finite is `null`: JSON has no other way to say it.
pub fn output_schema(manifest: &Manifest) -> Value {
    let number = json!(["number", "null"]);
    let row = match &manifest.output {
        Output::Number { description } => json!({"type": number, "description": description}),
        Output::Numbers { names } => {
            let numbers: Vec<Value> = names.iter().map(|name| json!({"type": number, "description": name})).collect();
            json!({"type": "array", "prefixItems": numbers, "minItems": names.len(), "maxItems": names.len()})
        }
        Output::Label { labels } => {
            let numbers: Map<String, Value> =
                labels.iter().map(|label| (label.clone(), json!({"type": number}))).collect();
            json!({
                "type": "object",
                "properties": {
                    "prediction": {"enum": labels},
                    "probabilities": {"type": "object", "properties": numbers, "required": labels},
                },
                "required": ["prediction"],
            })
        }
    };
    json!({"$defs": {"row": row}, "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/row"}}, {"$ref": "#/$defs/row"}]})
}

/// What `params` may hold.
pub fn params_schema(manifest: &Manifest) -> Value {
    let properties: Map<String, Value> = manifest
        .params
        .iter()
        .map(|(name, param)| {
            let kind = match param.kind {
                ParamKind::Boolean => "boolean",
                ParamKind::Integer => "integer",
                ParamKind::Number => "number",
                ParamKind::String => "string",
            };
            let mut schema = Map::new();
            schema.insert("type".into(), json!(kind));
            schema.insert("default".into(), param.default.clone());
            if let Some(min) = param.min {
                schema.insert("minimum".into(), json!(min));
            }
            if let Some(max) = param.max {
                schema.insert("maximum".into(), json!(max));
            }
            if !param.choices.is_empty() {
                schema.insert("enum".into(), json!(param.choices));
            }
            if !param.description.is_empty() {
                schema.insert("description".into(), json!(param.description));
            }
            (name.clone(), Value::Object(schema))
        })
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}
