//! A CloudFormation or SAM template, with its parameters, conditions and intrinsic functions worked out as far as they can be
//! before a deployment. What only AWS knows stays as a text in angle brackets: `<Inbox.Arn>`, `<AWS::AccountId>`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::document;
use crate::failure;

/// Conditions may name conditions; no template's are nested deeper.
const MAX_DEPTH: usize = 32;

/// The resources of a template.
pub struct Template {
    /// By logical id.
    pub resources: BTreeMap<String, Resource>,
    /// `Globals` of SAM, worked out.
    pub globals: Value,
}

/// One of them.
pub struct Resource {
    /// `AWS::SQS::Queue` and the like.
    pub kind: String,
    /// Its properties, those of `Globals` included.
    pub properties: Value,
    /// `DependsOn`.
    pub depends_on: Vec<String>,
}

impl Template {
    /// Reads a template for these parameters; those not given have their defaults.
    pub fn read(text: &str, parameters: &[(String, String)]) -> anyhow::Result<Self> {
        let root = document::parse(text)?;
        let scope = Scope { parameters: chosen(&root["Parameters"], parameters)?, root: &root };
        let globals = scope.resolve(&root["Globals"]).unwrap_or_default();
        let mut resources = BTreeMap::new();
        for (id, resource) in root["Resources"].as_object().into_iter().flatten() {
            let condition = resource["Condition"].as_str();
            if condition.and_then(|condition| scope.holds(condition, MAX_DEPTH)) == Some(false) {
                continue;
            }
            let kind = text_of(&resource["Type"]).unwrap_or_default();
            let own = scope.resolve(&resource["Properties"]).unwrap_or_default();
            let global = kind.strip_prefix("AWS::Serverless::").map(|section| &globals[section]);
            let properties = merged(global.unwrap_or(&Value::Null), own);
            let depends_on = texts(&resource["DependsOn"]);
            resources.insert(id.clone(), Resource { kind, properties, depends_on });
        }
        Ok(Self { resources, globals })
    }

    /// Those of a kind, with their ids.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Resource)> {
        self.resources.iter().filter(move |(_, resource)| resource.kind == kind).map(|(id, it)| (id.as_str(), it))
    }

    /// The resource that a text stands for: `<Inbox>`, `<Inbox.Arn>`.
    pub fn named(&self, symbol: &str) -> Option<(&str, &Resource)> {
        let inner = symbol.strip_prefix('<')?.strip_suffix('>')?;
        let id = inner.split('.').next()?;
        self.resources.get_key_value(id).map(|(id, resource)| (id.as_str(), resource))
    }
}

/// A value as a text, if it is a single one.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One text or a list of them.
pub fn texts(value: &Value) -> Vec<String> {
    many(value).iter().filter_map(text_of).collect()
}

/// One value or a list of them.
pub fn many(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// A number, which templates write as text just as well; none if it is not known before a deployment.
pub fn number(value: &Value) -> Option<u64> {
    text_of(value)?.trim().parse().ok()
}

/// Whether a flag is set; absent is not.
pub fn is_true(value: &Value) -> bool {
    text_of(value).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Whether only AWS knows a part of it.
pub fn is_symbolic(text: &str) -> bool {
    text.contains('<')
}

/// The parameters' values; none where there is neither a value nor a default.
fn chosen(declared: &Value, given: &[(String, String)]) -> anyhow::Result<BTreeMap<String, Option<Value>>> {
    let empty = Map::new();
    let declared = declared.as_object().unwrap_or(&empty);
    for (name, value) in given {
        let Some(parameter) = declared.get(name) else {
            let names = declared.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(
                failure::usage(format!("the template has no parameter {name}"), format!("it has {names}")).into()
            );
        };
        let allowed = texts(&parameter["AllowedValues"]);
        if !allowed.is_empty() && !allowed.contains(value) {
            let hint = format!("it takes {}", allowed.join(", "));
            return Err(failure::usage(format!("the parameter {name} does not take {value:?}"), hint).into());
        }
    }
    let value = |(name, parameter): (&String, &Value)| {
        let kind = text_of(&parameter["Type"]).unwrap_or_default();
        let given = given.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        // The default of an SSM parameter is the name of where its value is.
        let default = if kind.starts_with("AWS::SSM::") { None } else { text_of(&parameter["Default"]) };
        let text = given.or(default);
        let list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let value = text.map(|text| if list { text.split(',').map(str::trim).collect() } else { json!(text) });
        (name.clone(), value)
    };
    Ok(declared.iter().map(value).collect())
}

/// `Globals` and a resource's own: own ones go before, maps are merged, lists joined.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html>
fn merged(global: &Value, own: Value) -> Value {
    match (global, own) {
        (Value::Object(global), Value::Object(mut own)) => {
            for (name, value) in global {
                let mine = own.remove(name);
                let both = match mine {
                    Some(mine) => merged(value, mine),
                    None => value.clone(),
                };
                own.insert(name.clone(), both);
            }
            Value::Object(own)
        }
        (Value::Array(global), Value::Array(own)) => Value::Array(global.iter().cloned().chain(own).collect()),
        (global, Value::Null) => global.clone(),
        (_, own) => own,
    }
}

struct Scope<'a> {
    root: &'a Value,
    parameters: BTreeMap<String, Option<Value>>,
}

impl Scope<'_> {
    /// None for `AWS::NoValue`, which takes the property away.
    fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.resolve(item)).collect()),
            Value::Object(map) => match map.iter().next() {
                Some((name, argument)) if map.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) => {
                    self.call(name, argument)
                }
                _ => {
                    let entries = map.iter().filter_map(|(name, value)| Some((name.clone(), self.resolve(value)?)));
                    Some(Value::Object(entries.collect()))
                }
            },
            plain => Some(plain.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Option<Value> {
        let unknown = || Some(json!(format!("<{name}>")));
        match name {
            "Ref" if argument == "AWS::NoValue" => None,
            "Ref" => Some(self.referred(argument.as_str().unwrap_or_default())),
            "Fn::GetAtt" => Some(json!(format!("<{}>", texts(argument).join(".")))),
            "Fn::Sub" => Some(json!(self.substituted(argument))),
            "Fn::If" => match (argument[0].as_str().and_then(|name| self.holds(name, MAX_DEPTH)), argument) {
                (Some(holds), Value::Array(parts)) => self.resolve(parts.get(if holds { 1 } else { 2 })?),
                _ => unknown(),
            },
            "Fn::Join" => {
                let parts = self.resolve(&argument[1])?;
                let known = parts.is_array();
                if known {
                    Some(json!(texts(&parts).join(argument[0].as_str().unwrap_or_default())))
                } else {
                    unknown()
                }
            }
            "Fn::Select" => {
                let (index, list) = (self.resolve(&argument[0])?, self.resolve(&argument[1])?);
                let item = number(&index).and_then(|index| list.get(usize::try_from(index).ok()?).cloned());
                item.or_else(unknown)
            }
            "Fn::FindInMap" => {
                let keys = texts(&self.resolve(argument)?);
                let found = match keys.as_slice() {
                    [map, first, second] => self.root["Mappings"][map][first].get(second.as_str()),
                    _ => None,
                };
                found.map_or_else(unknown, |value| self.resolve(value))
            }
            _ => unknown(),
        }
    }

    fn referred(&self, name: &str) -> Value {
        match self.parameters.get(name) {
            Some(Some(value)) => value.clone(),
            Some(None) | None => json!(format!("<{name}>")),
        }
    }

    /// `${Name}`, `${Resource.Attribute}`, `${!Literal}`, and names of the call's own.
    fn substituted(&self, argument: &Value) -> String {
        let (template, own) = match argument {
            Value::Array(parts) => (parts.first().and_then(Value::as_str).unwrap_or_default(), parts.get(1)),
            one => (one.as_str().unwrap_or_default(), None),
        };
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                text.push_str("${");
                rest = after;
                continue;
            };
            let value = match (name.strip_prefix('!'), own.and_then(|own| own.get(name.trim()))) {
                (Some(literal), _) => format!("${{{literal}}}"),
                (None, Some(value)) => self.resolve(value).map(|value| joined(&value)).unwrap_or_default(),
                (None, None) => joined(&self.referred(name.trim())),
            };
            text.push_str(&value);
            rest = after;
        }
        text + rest
    }

    /// Whether a condition holds; none if only AWS knows.
    fn holds(&self, name: &str, depth: usize) -> Option<bool> {
        self.judge(&self.root["Conditions"][name], depth.checked_sub(1)?)
    }

    fn judge(&self, condition: &Value, depth: usize) -> Option<bool> {
        let (name, argument) = condition.as_object()?.iter().next()?;
        let all = || many(argument).iter().map(|part| self.judge(part, depth)).collect::<Vec<_>>();
        match name.as_str() {
            "Condition" => self.holds(argument.as_str()?, depth),
            "Fn::Not" => self.judge(&argument[0], depth).map(|holds| !holds),
            "Fn::And" if all().contains(&Some(false)) => Some(false),
            "Fn::And" => all().into_iter().try_fold(true, |both, holds| Some(both && holds?)),
            "Fn::Or" if all().contains(&Some(true)) => Some(true),
            "Fn::Or" => all().into_iter().try_fold(false, |either, holds| Some(either || holds?)),
            "Fn::Equals" => {
                let (left, right) = (joined(&self.resolve(&argument[0])?), joined(&self.resolve(&argument[1])?));
                let unknown = left != right && (is_symbolic(&left) || is_symbolic(&right));
                (!unknown).then_some(left == right)
            }
            _ => None,
        }
    }
}

fn joined(value: &Value) -> String {
    texts(value).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  Size: { Type: String, AllowedValues: [small, big], Default: small }
  Names: { Type: CommaDelimitedList, Default: "a, b" }
  Secret: { Type: String }
  Stored: { Type: AWS::SSM::Parameter::Value<String>, Default: /path }
Mappings: { Sizes: { small: { Seconds: "1" }, big: { Seconds: 2 } } }
Conditions:
  Big: !Equals [!Ref Size, big]
  Small: !Not [!Condition Big]
  Either: !Or [!Condition Big, !Condition Small]
  Both: !And [!Condition Big, !Condition Unknown]
  Unknown: !Equals [!Ref Secret, x]
  Circle: !Not [!Condition Circle]
Globals: { Function: { Timeout: 3, Tags: { a: 1 }, Layers: [x] } }
Resources:
  F:
    Type: AWS::Serverless::Function
    DependsOn: G
    Properties:
      Timeout: !FindInMap [Sizes, !Ref Size, Seconds]
      Tags: { b: !If [Big, 2, !Ref AWS::NoValue], c: !If [Unknown, 1, 2] }
      Layers: [y, !Ref AWS::NoValue]
      Names: !Ref Names
      Second: !Select [1, !Ref Names]
      Joined: !Join ["-", [!Ref Size, !Ref G, !Ref Secret, !Ref Stored]]
      Sub: !Sub "${Size} ${G.Arn} ${AWS::Region} ${!Size} ${"
      SubOwn: !Sub ["${Size} ${Own}", { Own: !Ref Names }]
      Fetched: !ImportValue other
  G: { Type: X }
  OnlyBig: { Type: X, Condition: Big }
  PerhapsThere: { Type: X, Condition: Circle }
  Nowhere: { Type: X, Condition: Both }
  There: { Type: X, Condition: Either }
"#;

    #[test]
    fn values_are_worked_out_as_far_as_they_can_be() {
        let template = Template::read(TEMPLATE, &[]).unwrap();
        let f = &template.resources["F"];
        assert_eq!(f.depends_on, ["G"]);
        let expected = json!({
            "Timeout": "1", "Tags": {"a": 1, "c": "<Fn::If>"}, "Layers": ["x", "y"], "Names": ["a", "b"], "Second": "b",
            "Joined": "small-<G>-<Secret>-<Stored>", "Sub": "small <G.Arn> <AWS::Region> ${Size} ${",
            "SubOwn": "small a,b", "Fetched": "<Fn::ImportValue>",
        });
        assert_eq!(f.properties, expected);
        let ids: Vec<_> = template.resources.keys().collect();
        assert_eq!(ids, ["F", "G", "PerhapsThere", "There"]);
        assert_eq!(template.named("<G.Arn>").unwrap().0, "G");
        assert!(template.named("<AWS::Region>").is_none() && template.named("G").is_none());
    }

    #[test]
    fn parameters_are_chosen_and_others_refused() {
        let given = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let template = Template::read(TEMPLATE, &given("Size", "big")).unwrap();
        assert_eq!(template.resources["F"].properties["Timeout"], 2);
        assert!(template.resources.contains_key("OnlyBig"));
        let said = |name, value| Template::read(TEMPLATE, &given(name, value)).err().unwrap().to_string();
        assert_eq!(said("Size", "huge"), "the parameter Size does not take \"huge\"");
        assert_eq!(said("Colour", "red"), "the template has no parameter Colour");
    }
}
