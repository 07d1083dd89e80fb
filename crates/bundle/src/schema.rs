//! The manifest's schemas as JSON Schema (2020-12), for `GET /models/{name}` and its readers.

use serde_json::{Map, Value, json};

use crate::image;
use crate::letters::LettersSchema;
use crate::manifest::{Input, Manifest, Output};
use crate::params::ParamKind;
use crate::table::{ColumnKind, TableSchema};
use crate::tensors::{Datatype, Dim, Port, TensorsSchema};
use crate::texts::TextsSchema;

/// What an input must be.
pub fn input_schema(manifest: &Manifest) -> Value {
    match &manifest.input {
        Input::Table(table) => rows_schema(table, manifest.limits.max_rows),
        Input::StartLetters(letters) => letters_schema(letters),
        Input::Tensors(tensors) => tensors_schema(tensors, &manifest.output),
        Input::Texts(texts) => texts_schema(texts, manifest.engine.fast.is_some()),
        Input::Image(image) => picture(
            &format!("the bytes of a picture, as an upload; at most {} pixels", image.max_pixels),
            &image::MEDIA_TYPES,
        ),
    }
}

/// What is no JSON: the bytes of a file of one of these media types.
fn picture(description: &str, media_types: &[&str]) -> Value {
    let media_types: Vec<Value> = media_types.iter().map(|kind| json!({"contentMediaType": kind})).collect();
    json!({"type": "string", "format": "binary", "description": description, "anyOf": media_types})
}

fn rows_schema(table: &TableSchema, max_rows: usize) -> Value {
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
    let rows = json!({"type": "array", "items": {"$ref": "#/$defs/row"}, "minItems": 1, "maxItems": max_rows});
    json!({"$defs": {"row": row}, "anyOf": [rows, {"$ref": "#/$defs/row"}]})
}

fn letters_schema(letters: &LettersSchema) -> Value {
    let mut class = String::new();
    for letter in letters.alphabet.chars() {
        // What has a meaning within the brackets of a regular expression.
        if matches!(letter, '\\' | '[' | ']' | '^' | '-') {
            class.push('\\');
        }
        class.push(letter);
    }
    let start_letters = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": letters.max_start_letters,
        "pattern": format!("^[{class}]+$"),
        "description": "each letter is answered with one text that begins with it",
    });
    json!({
        "type": "object",
        "properties": {"category": {"enum": letters.categories}, "start_letters": start_letters},
        "required": ["category", "start_letters"],
        "additionalProperties": false,
    })
}

fn tensors_schema(schema: &TensorsSchema, output: &Output) -> Value {
    let count = schema.inputs.len();
    let inputs: Vec<Value> = schema.inputs.iter().map(|port| port_schema(port, &json!({"type": "array"}))).collect();
    let names: Vec<&String> = match output {
        Output::Tensors { outputs } => outputs.iter().map(|port| &port.name).collect(),
        _ => Vec::new(),
    };
    let asked = json!({
        "type": "object",
        "properties": {"name": {"enum": names}, "parameters": {"type": "object"}},
        "required": ["name"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "comes back in the answer"},
            "parameters": {"type": "object", "description": "are let pass"},
            "inputs": {"type": "array", "items": {"anyOf": inputs}, "minItems": count, "maxItems": count},
            "outputs": {"type": "array", "items": asked, "description": "the outputs to answer; all if absent"},
        },
        "required": ["inputs"],
        "additionalProperties": false,
    })
}

/// A tensor on the wire. `data` is the schema of its elements.
fn port_schema(port: &Port, data: &Value) -> Value {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => json!({"const": size}),
        Dim::Named(name) if name == Dim::ANY => json!({"type": "integer", "minimum": 0}),
        Dim::Named(name) => json!({"type": "integer", "minimum": 0, "description": name}),
    };
    let shape = match &port.shape {
        Some(dims) => {
            let sizes: Vec<Value> = dims.iter().map(size).collect();
            let count = dims.len();
            // An empty `prefixItems` is not valid.
            let mut shape = json!({"type": "array", "minItems": count, "maxItems": count});
            if count > 0 {
                shape["prefixItems"] = sizes.into();
            }
            shape
        }
        None => json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
    };
    json!({
        "type": "object",
        "properties": {
            "name": {"const": port.name},
            "shape": shape,
            "datatype": {"const": port.datatype},
            "data": data,
            "parameters": {"type": "object"},
        },
        "required": ["name", "shape", "datatype", "data"],
    })
}

fn outputs_schema(outputs: &[Port]) -> Value {
    let answer = |port: &Port| {
        let element = match port.datatype {
            Datatype::Bool => json!("boolean"),
            Datatype::Fp32 | Datatype::Fp64 => json!(["number", "null"]),
            _ => json!("integer"),
        };
        port_schema(port, &json!({"type": "array", "items": {"type": element}}))
    };
    let outputs: Vec<Value> = outputs.iter().map(answer).collect();
    json!({
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"anyOf": outputs}, "minItems": 1},
        },
        "required": ["model_name", "model_version", "outputs"],
    })
}

fn texts_schema(texts: &TextsSchema, has_fast: bool) -> Value {
    let mut text = json!({"type": "string", "maxLength": texts.max_characters});
    if !texts.description.is_empty() {
        text["description"] = json!(texts.description);
    }
    let (one, max) = (json!({"$ref": "#/$defs/text"}), texts.max_texts);
    let forms = json!([
        {"type": "object", "additionalProperties": one, "minProperties": 1, "maxProperties": max, "description": "texts by their ids"},
        {"type": "array", "items": one, "minItems": 1, "maxItems": max},
        one,
    ]);
    let mut properties = json!({"text": {"anyOf": forms, "description": "the answer has the same form"}});
    if has_fast {
        let description = "answer sooner and less well, with the fast engine";
        properties["do_fast"] = json!({"type": "boolean", "default": false, "description": description});
    }
    json!({
        "$defs": {"text": text},
        "type": "object",
        "properties": properties,
        "required": ["text"],
        "additionalProperties": false,
    })
}

/// What texts are answered: a label each, in the form that they came in.
fn verdicts_schema(labels: &[String]) -> Value {
    let numbers: Map<String, Value> =
        labels.iter().map(|label| (label.clone(), json!({"type": "number", "minimum": 0, "maximum": 1}))).collect();
    let confidence = json!({"type": "number", "minimum": 0, "maximum": 1, "description": "the label's probability, if the model has one"});
    let one = json!({
        "type": "object",
        "properties": {
            "label": {"enum": labels},
            "confidence": confidence,
            "probabilities": {"type": "object", "properties": numbers, "required": labels},
        },
        "required": ["label"],
    });
    let each = json!({"$ref": "#/$defs/answer"});
    json!({
        "$defs": {"answer": one},
        "anyOf": [each, {"type": "array", "items": each, "minItems": 1}, {"type": "object", "additionalProperties": each, "minProperties": 1}],
    })
}

/// What an answer is. A number that is not finite is `null`: JSON has no other way to say it.
pub fn output_schema(manifest: &Manifest) -> Value {
    if let (Input::Texts(_), Output::Label { labels }) = (&manifest.input, &manifest.output) {
        return verdicts_schema(labels);
    }
    let number = json!(["number", "null"]);
    let row = match &manifest.output {
        Output::Label { labels } if matches!(manifest.input, Input::Image(_)) => return labelled(labels),
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
        Output::Image { description, .. } => return picture(description, &["image/png", "image/jpeg"]),
        Output::Text { description } => json!({"type": "string", "description": description}),
        Output::Tensors { outputs } => return outputs_schema(outputs),
    };
    if matches!(manifest.input, Input::StartLetters(_)) {
        return json!({"type": "array", "items": row, "minItems": 1});
    }
    json!({"$defs": {"row": row}, "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/row"}}, {"$ref": "#/$defs/row"}]})
}

/// A label with its probability; with the parameter `probabilities`, each label's as well.
fn labelled(labels: &[String]) -> Value {
    let probability = json!({"type": "number", "minimum": 0, "maximum": 1});
    let each: Map<String, Value> = labels.iter().map(|label| (label.clone(), probability.clone())).collect();
    json!({
        "type": "object",
        "properties": {
            "label": {"enum": labels},
            "confidence": probability,
            "probabilities": {"type": "object", "properties": each, "required": labels},
        },
        "required": ["label", "confidence"],
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURES: &str = r#"
format = 1
name = "m"
version = "1"
title = "A model"
engine = { format = "char-rnn", file = "model.onnx" }
input = { kind = "image", max_pixels = 1000 }
output = { kind = "image", description = "a drawing" }
[files]
"model.onnx" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#;

    #[test]
    fn pictures_are_files() {
        let manifest = Manifest::parse(PICTURES).unwrap();
        let input = input_schema(&manifest);
        assert_eq!(input["description"], "the bytes of a picture, as an upload; at most 1000 pixels");
        assert_eq!(input["anyOf"][2]["contentMediaType"], "image/webp");
        assert_eq!(output_schema(&manifest)["anyOf"][0]["contentMediaType"], "image/png");
        let labels = PICTURES
            .replace("kind = \"image\", description = \"a drawing\"", "kind = \"label\", labels = [\"a\", \"b\"]");
        let schema = output_schema(&Manifest::parse(&labels).unwrap());
        assert_eq!(schema["properties"]["label"]["enum"], json!(["a", "b"]));
        assert_eq!(schema["required"], json!(["label", "confidence"]));
        let error = manifest.check_input(b"{}").unwrap_err().to_string();
        assert_eq!(error, "the model takes a picture, not JSON; send it as an upload: JPEG, PNG or WebP");
    }

    #[test]
    fn a_pattern_takes_the_alphabet_and_nothing_else() {
        let letters =
            LettersSchema { alphabet: "a ^-]\\[Ä".into(), categories: vec!["x".into()], max_start_letters: 7 };
        let schema = letters_schema(&letters);
        assert_eq!(schema["properties"]["start_letters"]["pattern"], r"^[a \^\-\]\\\[Ä]+$");
        assert_eq!(schema["properties"]["start_letters"]["maxLength"], 7);
        assert_eq!(schema["properties"]["category"], json!({"enum": ["x"]}));
    }

    #[test]
    fn texts_and_their_answers() {
        let schema =
            TextsSchema { max_texts: 5, max_characters: 7, description: "a review".into(), ..TextsSchema::default() };
        let input = texts_schema(&schema, true);
        assert!(texts_schema(&schema, false)["properties"]["do_fast"].is_null());
        let both = [input, verdicts_schema(&["no".into(), "yes".into()])];
        insta::assert_snapshot!(serde_json::to_string_pretty(&both).unwrap());
    }
}
