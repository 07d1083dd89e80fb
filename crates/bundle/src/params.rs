//! What a client can set for one job.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::InputError;

/// Up to here an f64 counts whole numbers without gaps: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// One parameter that a manifest declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// The values it takes.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// The value it has when a client does not set it.
    pub default: Value,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only texts, if there is a choice of some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// What it does, in words.
    #[serde(default)]
    pub description: String,
}

/// The types of parameters, named as in JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    String,
}

impl Param {
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        let (min, max) = (self.min.unwrap_or(f64::MIN), self.max.unwrap_or(f64::MAX));
        if !min.is_finite() || !max.is_finite() || min > max {
            return Err(format!("[params.{name}] has a min or max that is not finite, or a min above its max"));
        }
        if !self.choices.is_empty() && self.kind != ParamKind::String {
            return Err(format!("[params.{name}] has choices, which are for strings"));
        }
        self.admit(&self.normal(&self.default)).map_err(|why| format!("[params.{name}] default {why}"))
    }

    /// The value as the model gets it: what JSON Schema takes for an integer, such as `5.0`, is one.
    fn normal<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        match value.as_f64() {
            Some(number)
                if self.kind == ParamKind::Integer
                    && value.is_f64()
                    && number.fract() == 0.0
                    && number.abs() <= MAX_EXACT =>
            {
                Cow::Owned(Value::from(number as i64))
            }
            _ => Cow::Borrowed(value),
        }
    }

    fn admit(&self, value: &Value) -> Result<(), String> {
        let (fits, kind) = match self.kind {
            ParamKind::Boolean => (value.is_boolean(), "true or false"),
            ParamKind::Integer => (value.is_i64() || value.is_u64(), "a whole number"),
            ParamKind::Number => (value.is_number(), "a number"),
            ParamKind::String => (value.is_string(), "a text"),
        };
        if !fits {
            return Err(format!("must be {kind}"));
        }
        if let Some(number) = value.as_f64() {
            if let Some(min) = self.min.filter(|min| number < *min) {
                return Err(format!("must be at least {min}"));
            }
            if let Some(max) = self.max.filter(|max| number > *max) {
                return Err(format!("must be at most {max}"));
            }
        }
        match value.as_str() {
            Some(text) if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == text) => {
                Err(format!("must be one of {}", self.choices.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// A JSON object that has no name twice; serde_json's own map would keep the last of them.
struct Distinct(Map<String, Value>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Map<String, Value>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("params as an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    let quoted = crate::table::quote(&name);
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom(format_args!("params have {quoted} twice")));
                    }
                }
                Ok(map)
            }
        }
        json.deserialize_map(Names).map(Self)
    }
}

/// A job's parameters: every one that the manifest declares, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(Map<String, Value>);

impl Params {
    pub(crate) fn read(declared: &BTreeMap<String, Param>, text: &str) -> Result<Self, InputError> {
        let Distinct(given) = match text {
            "" => Distinct(Map::new()),
            text => serde_json::from_str(text).map_err(|error| {
                // serde's own text would quote the value.
                let object = text.trim_start().starts_with('{');
                if error.is_data() && !object {
                    InputError::Invalid("params must be an object".to_owned())
                } else {
                    InputError::from_json(&error)
                }
            })?,
        };
        if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
            let known: Vec<&str> = declared.keys().map(String::as_str).collect();
            let hint =
                if known.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", known.join(", ")) };
            return Err(InputError::Invalid(format!(
                "the model has no parameter {}; {hint}",
                crate::table::quote(unknown)
            )));
        }
        let mut params = Map::new();
        for (name, param) in declared {
            let value = param.normal(given.get(name).unwrap_or(&param.default));
            param.admit(&value).map_err(|why| InputError::Invalid(format!("parameter {name} {why}")))?;
            params.insert(name.clone(), value.into_owned());
        }
        Ok(Self(params))
    }

    /// A boolean parameter; `false` if the manifest declares none of that name.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Any parameter.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, Param> {
        let text = r#"{"n":{"type":"integer","default":3,"min":1,"max":9},
            "mode":{"type":"string","default":"fast","choices":["fast","deep"]},
            "all":{"type":"boolean","default":false}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn defaults_fill_in() {
        let params = Params::read(&declared(), r#"{"all":true}"#).unwrap();
        assert!(params.flag("all"));
        assert_eq!(params.get("n"), Some(&Value::from(3)));
        assert!(!Params::read(&declared(), "").unwrap().flag("all"));
    }

    #[test]
    fn an_integer_may_have_a_point_as_its_schema_has_it() {
        for text in [r#"{"n":5.0}"#, r#"{"n":0.5e1}"#] {
            assert_eq!(Params::read(&declared(), text).unwrap().get("n"), Some(&Value::from(5)), "{text}");
        }
        assert!(Params::read(&declared(), r#"{"n":9.000000000000002}"#).is_err());
        assert!(Params::read(&declared(), r#"{"n":1e300}"#).is_err());
    }

    #[test]
    fn declarations_that_make_no_sense_are_refused() {
        let check = |change: &dyn Fn(&mut Param)| {
            let mut param = declared()["n"].clone();
            change(&mut param);
            param.check("n")
        };
        assert_eq!(check(&|_| ()), Ok(()));
        let bounds = "[params.n] has a min or max that is not finite, or a min above its max";
        assert_eq!(check(&|n| n.min = Some(f64::NAN)).unwrap_err(), bounds);
        assert_eq!(check(&|n| n.max = Some(f64::INFINITY)).unwrap_err(), bounds);
        assert_eq!(check(&|n| n.max = Some(0.0)).unwrap_err(), bounds);
        let choices = check(&|n| n.choices = vec!["3".into()]).unwrap_err();
        assert_eq!(choices, "[params.n] has choices, which are for strings");
    }

    #[test]
    fn faults_are_named() {
        let errors: Vec<String> = [
            r#"{"n":0}"#,
            r#"{"n":1.5}"#,
            r#"{"mode":"slow"}"#,
            r#"{"all":1}"#,
            r#"{"x":1}"#,
            r#"{"n":2,"n":3}"#,
            "[]",
            "{",
        ]
        .iter()
        .map(|text| Params::read(&declared(), text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
