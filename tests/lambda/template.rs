//! `infra/template.yaml` as CloudFormation understands it: with parameters, conditions and references resolved.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Value, json};

/// The local cloud's account.
pub const ACCOUNT: &str = "000000000000";
pub const REGION: &str = "us-east-1";
const STACK: &str = "millpond";

/// The template under some parameters.
pub struct Template {
    yaml: YamlOwned,
    parameters: BTreeMap<String, Value>,
    /// Where the queues are.
    sqs: String,
}

impl Template {
    /// With these parameters, and the defaults of all others. A queue is a URL under `sqs`.
    pub fn new(parameters: &[(&str, &str)], sqs: &str) -> Self {
        let path = crate::installed::root().join("infra/template.yaml");
        let template = std::fs::read_to_string(path).expect("the template");
        let yaml = YamlOwned::load_from_str(&template).expect("the template is YAML").remove(0);
        let mut template = Self { yaml, parameters: BTreeMap::new(), sqs: sqs.to_owned() };
        let declared = template.value(&template.yaml["Parameters"]);
        for (name, declaration) in declared.as_object().expect("parameters") {
            let given = parameters.iter().find(|(given, _)| given == name).map(|(_, value)| *value);
            let given = given.map_or_else(|| text(&declaration["Default"]), str::to_owned);
            if let Some(allowed) = declaration["AllowedValues"].as_array() {
                assert!(allowed.iter().any(|value| text(value) == given), "{name} can't be {given}");
            }
            let value = match declaration["Type"].as_str() {
                Some("CommaDelimitedList") => given.split(',').collect(),
                _ => Value::String(given),
            };
            template.parameters.insert(name.clone(), value);
        }
        assert!(parameters.iter().all(|(name, _)| template.parameters.contains_key(*name)), "{parameters:?}");
        template
    }

    /// A resource's properties.
    pub fn properties(&self, resource: &str) -> Value {
        self.value(&self.yaml["Resources"][resource]["Properties"])
    }

    /// The names of the resources of this type.
    pub fn resources(&self, kind: &str) -> Vec<String> {
        let resources = self.yaml["Resources"].as_mapping().expect("resources");
        let named = resources.iter().filter(|(_, resource)| resource["Type"].as_str() == Some(kind));
        named.map(|(name, _)| name.as_str().expect("a name").to_owned()).collect()
    }

    /// A function's properties, those of all functions included.
    pub fn function(&self, name: &str) -> Value {
        let mut function = self.value(&self.yaml["Globals"]["Function"]);
        let own = self.properties(name);
        let variables = own["Environment"]["Variables"].as_object().expect("variables").clone();
        let all = function["Environment"]["Variables"].as_object_mut().expect("variables");
        all.extend(variables);
        let all = all.clone();
        function.as_object_mut().expect("properties").extend(own.as_object().expect("properties").clone());
        function["Environment"]["Variables"] = Value::Object(all);
        function
    }

    /// What `!Ref` makes of a resource: for those that the functions are told of, what AWS does.
    pub fn reference(&self, resource: &str) -> String {
        match self.yaml["Resources"][resource]["Type"].as_str() {
            Some("AWS::SQS::Queue") => format!("{}/{ACCOUNT}/{STACK}-{resource}", self.sqs),
            Some("AWS::S3::Bucket") => text(&self.properties(resource)["BucketName"]),
            Some(_) => format!("{STACK}-{resource}"),
            None => panic!("there is no resource {resource}"),
        }
    }

    fn attribute(&self, resource: &str, attribute: &str) -> String {
        match (self.yaml["Resources"][resource]["Type"].as_str(), attribute) {
            (Some("AWS::SQS::Queue"), "Arn") => format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-{resource}"),
            (Some("AWS::S3::Bucket"), "Arn") => format!("arn:aws:s3:::{}", self.reference(resource)),
            (Some(kind), attribute) => format!("{kind} {resource} {attribute}"),
            (None, _) => panic!("there is no resource {resource}"),
        }
    }

    /// A node that must have a value.
    fn value(&self, node: &YamlOwned) -> Value {
        self.resolved(node).expect("a value")
    }

    /// A node's value; none if it is `AWS::NoValue`.
    fn resolved(&self, node: &YamlOwned) -> Option<Value> {
        Some(match node {
            YamlOwned::Tagged(tag, node) => return self.called(&tag.suffix, node),
            YamlOwned::Value(scalar) => match scalar {
                ScalarOwned::Null => Value::Null,
                ScalarOwned::Boolean(value) => json!(value),
                ScalarOwned::Integer(value) => json!(value),
                ScalarOwned::FloatingPoint(value) => json!(value.into_inner()),
                ScalarOwned::String(value) => json!(value),
            },
            YamlOwned::Sequence(nodes) => nodes.iter().filter_map(|node| self.resolved(node)).collect(),
            YamlOwned::Mapping(nodes) => {
                let entries =
                    nodes.iter().filter_map(|(name, node)| Some((text(&self.value(name)), self.resolved(node)?)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            other => panic!("no value: {other:?}"),
        })
    }

    /// A function of CloudFormation.
    fn called(&self, function: &str, node: &YamlOwned) -> Option<Value> {
        let arguments = node.as_sequence();
        let argument = |at: usize| &arguments.expect("arguments")[at];
        Some(match function {
            "Ref" => match node.as_str().expect("a name") {
                "AWS::NoValue" => return None,
                name => self.referred(name),
            },
            "GetAtt" => {
                let (resource, attribute) = node.as_str().and_then(|text| text.split_once('.')).expect("an attribute");
                json!(self.attribute(resource, attribute))
            }
            "Sub" => json!(self.substituted(node.as_str().expect("a text"))),
            "If" => {
                let condition = argument(0).as_str().expect("a condition");
                return self.resolved(argument(if self.holds(&self.yaml["Conditions"][condition]) { 1 } else { 2 }));
            }
            "FindInMap" => {
                let [map, first, second] = [0, 1, 2].map(|at| text(&self.value(argument(at))));
                self.value(&self.yaml["Mappings"][map.as_str()][first.as_str()][second.as_str()])
            }
            "Join" => {
                let (separator, parts) = (text(&self.value(argument(0))), self.value(argument(1)));
                let parts: Vec<String> = parts.as_array().expect("parts").iter().map(text).collect();
                json!(parts.join(&separator))
            }
            other => panic!("!{other} is not known here"),
        })
    }

    fn holds(&self, condition: &YamlOwned) -> bool {
        let YamlOwned::Tagged(tag, node) = condition else { panic!("no condition: {condition:?}") };
        let arguments = node.as_sequence().expect("arguments");
        match tag.suffix.as_str() {
            "Equals" => text(&self.value(&arguments[0])) == text(&self.value(&arguments[1])),
            "Not" => !self.holds(&arguments[0]),
            "And" => arguments.iter().all(|argument| self.holds(argument)),
            other => panic!("!{other} is not known here"),
        }
    }

    fn referred(&self, name: &str) -> Value {
        match name {
            "AWS::StackName" => json!(STACK),
            "AWS::AccountId" => json!(ACCOUNT),
            "AWS::Region" => json!(REGION),
            "AWS::Partition" => json!("aws"),
            name => self.parameters.get(name).cloned().unwrap_or_else(|| json!(self.reference(name))),
        }
    }

    fn substituted(&self, pattern: &str) -> String {
        let mut made = String::new();
        let mut rest = pattern;
        while let Some((before, name)) = rest.split_once("${") {
            let (name, after) = name.split_once('}').expect("a closed brace");
            made.push_str(before);
            made.push_str(&match name.split_once('.') {
                Some((resource, attribute)) => self.attribute(resource, attribute),
                None => text(&self.referred(name)),
            });
            rest = after;
        }
        made + rest
    }
}

/// A scalar as CloudFormation would write it: it takes `"10"` for 10.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number, however it is written.
pub fn number(value: &Value) -> u64 {
    text(value).parse().unwrap_or_else(|_| panic!("{value} is no number"))
}

/// A list of texts, however short.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        other => vec![text(other)],
    }
}
