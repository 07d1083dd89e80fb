//! A template's text, YAML or JSON, as one JSON value: CloudFormation's short forms (`!Sub`) become the long ones (`Fn::Sub`).

use anyhow::{Context, bail};
use saphyr::{LoadableYamlNode, Scalar, Tag, Yaml};
use serde_json::{Map, Value, json};

/// Reads a template.
pub fn parse(text: &str) -> anyhow::Result<Value> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).context("the template is no valid JSON")?
    } else {
        let documents = Yaml::load_from_str(text).context("the template is no valid YAML")?;
        match documents.as_slice() {
            [one] => value(one).context("the template is not one for CloudFormation")?,
            others => bail!("the template is {} YAML documents, not one", others.len()),
        }
    };
    if !value["Resources"].is_object() {
        bail!("the template has no Resources");
    }
    Ok(value)
}

fn value(node: &Yaml) -> anyhow::Result<Value> {
    Ok(match node {
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(flag) => json!(flag),
            Scalar::Integer(number) => json!(number),
            Scalar::FloatingPoint(number) => json!(number.into_inner()),
            Scalar::String(text) => json!(text),
        },
        Yaml::Sequence(items) => Value::Array(items.iter().map(value).collect::<anyhow::Result<_>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, item) in entries {
                map.insert(key_text(key)?, value(item)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tag, node) => tagged(tag, value(node)?),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => bail!("a value in it cannot be read"),
    })
}

fn key_text(key: &Yaml) -> anyhow::Result<String> {
    match value(key)? {
        Value::String(text) => Ok(text),
        key @ (Value::Number(_) | Value::Bool(_)) => Ok(key.to_string()),
        key => bail!("{key} is no name"),
    }
}

fn tagged(tag: &Tag, value: Value) -> Value {
    let name = match tag.suffix.as_str() {
        name @ ("Ref" | "Condition") => name.to_owned(),
        name => format!("Fn::{name}"),
    };
    let value = match (name.as_str(), &value) {
        ("Fn::GetAtt", Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => json!([resource, attribute]),
            None => value,
        },
        _ => value,
    };
    json!({ name: value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_become_long_ones() {
        let text = "Resources:\n  A: { B: !Ref C, D: !GetAtt E.F.G, H: !If [I, !Sub \"${J}\", 2012-10-17], 1: true }";
        let expected = json!({"Resources": {"A": {
            "B": {"Ref": "C"},
            "D": {"Fn::GetAtt": ["E", "F.G"]},
            "H": {"Fn::If": ["I", {"Fn::Sub": "${J}"}, "2012-10-17"]},
            "1": true,
        }}});
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(&expected.to_string()).unwrap(), expected, "the same as JSON");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        let said = |text| format!("{:#}", parse(text).unwrap_err());
        for (text, expected) in [
            ("Resources:\n  A: [1, 2\n  B: 3\n", "line 3"),
            ("{\"Resources\":\n {,}}", "line 2"),
            ("Resources:\n  A: 1\n  A: 2\n", "duplicate"),
            ("a: 1\n---\nb: 2\n", "2 YAML documents"),
            ("", "0 YAML documents"),
            ("Parameters: {}", "no Resources"),
        ] {
            assert!(said(text).contains(expected), "{text:?}: {}", said(text));
        }
    }
}
