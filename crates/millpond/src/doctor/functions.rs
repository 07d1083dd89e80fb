//! Millpond's functions in a template, as SAM or as plain CloudFormation writes them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::{Function, Mapping};
use super::policy::{self, Statement};
use super::stack::{known_number, queue_arn};
use super::template::{Resource, Template, many, number, text_of, texts};
use crate::env;

const SAM: &str = "AWS::Serverless::Function";
/// What the variables of all functions begin with.
const VARIABLES: &str = "MILLPOND_";

/// Those that are told something of Millpond's.
pub fn all(template: &Template, not_looked_at: &mut Vec<String>) -> Vec<Function> {
    let kinds = [SAM, "AWS::Lambda::Function"];
    let resources = kinds.iter().flat_map(|kind| template.of_kind(kind));
    let mut functions = Vec::new();
    for (id, resource) in resources {
        let properties = &resource.properties;
        let variables = properties["Environment"]["Variables"].as_object();
        let environment: BTreeMap<_, _> = variables
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), text_of(value)?)))
            .filter(|(name, _)| name.starts_with(VARIABLES))
            .collect();
        if environment.is_empty() {
            continue;
        }
        let statements = statements(template, properties);
        if statements.is_none() {
            not_looked_at.push(format!("what {id} may do: its role is not spelled out in the template"));
        }
        functions.push(Function {
            title: id.to_owned(),
            role: environment.get(env::ROLE).cloned().unwrap_or_default(),
            timeout_s: known_number(properties, "Timeout", 3, id, not_looked_at),
            memory_mib: number(&properties["MemorySize"]),
            environment,
            statements,
            reserved: properties.get("ReservedConcurrentExecutions").is_some(),
            provisioned: is_provisioned(template, id, resource),
            mappings: mappings(template, id, resource, not_looked_at),
        });
    }
    functions
}

/// Whether a text is a function's name or ARN, and whether that of one version or alias of it.
pub fn is_of(template: &Template, text: &str, function: &str) -> Option<bool> {
    let (name, arn) = (format!("<{function}>"), format!("<{function}.Arn>"));
    if text == name || text == arn {
        return Some(false);
    }
    if text == format!("<{function}.Alias>") || text.starts_with(&format!("{name}:")) {
        return Some(true);
    }
    let (_, resource) = template.named(text)?;
    let is_version = ["AWS::Lambda::Alias", "AWS::Lambda::Version"].contains(&resource.kind.as_str());
    let of = text_of(&resource.properties["FunctionName"])?;
    (is_version && (of == name || of == arn)).then_some(true)
}

fn is_provisioned(template: &Template, id: &str, resource: &Resource) -> bool {
    let versions = ["AWS::Lambda::Alias", "AWS::Lambda::Version"].into_iter().flat_map(|kind| template.of_kind(kind));
    let mut of_this = versions.filter(|(_, version)| {
        text_of(&version.properties["FunctionName"]).is_some_and(|text| is_of(template, &text, id).is_some())
    });
    let has = |properties: &Value| properties["ProvisionedConcurrencyConfig"].is_object();
    has(&resource.properties) || of_this.any(|(_, version)| has(&version.properties))
}

fn mappings(template: &Template, id: &str, resource: &Resource, not_looked_at: &mut Vec<String>) -> Vec<Mapping> {
    let mut all = Vec::new();
    let events = resource.properties["Events"].as_object().filter(|_| resource.kind == SAM);
    for (name, event) in events.into_iter().flatten().filter(|(_, event)| event["Type"] == "SQS") {
        // SAM maps the alias that it publishes.
        let calls_version = resource.properties.get("AutoPublishAlias").is_some();
        let (title, properties) = (format!("{id}'s {name}"), &event["Properties"]);
        let queue_arn = queue_arn(template, &properties["Queue"]);
        all.push(Mapping { queue_arn, calls_version, ..mapping(&title, properties, not_looked_at) });
    }
    for (name, source) in template.of_kind("AWS::Lambda::EventSourceMapping") {
        let properties = &source.properties;
        let target = text_of(&properties["FunctionName"]).and_then(|text| is_of(template, &text, id));
        if let Some(calls_version) = target {
            let queue_arn = queue_arn(template, &properties["EventSourceArn"]);
            all.push(Mapping { queue_arn, calls_version, ..mapping(name, properties, not_looked_at) });
        }
    }
    all
}

fn mapping(title: &str, properties: &Value, not_looked_at: &mut Vec<String>) -> Mapping {
    let maximum = &properties["ScalingConfig"]["MaximumConcurrency"];
    Mapping {
        title: title.to_owned(),
        batch_size: known_number(properties, "BatchSize", 10, title, not_looked_at),
        window_s: known_number(properties, "MaximumBatchingWindowInSeconds", 0, title, not_looked_at),
        partial_responses: texts(&properties["FunctionResponseTypes"]).iter().any(|it| it == "ReportBatchItemFailures"),
        maximum_concurrency: number(maximum),
        has_maximum_concurrency: text_of(maximum).is_some(),
        provisioned_pollers: properties["ProvisionedPollerConfig"].is_object(),
        ..Mapping::default()
    }
}

/// What a function may do; none if a part of it cannot be seen here.
fn statements(template: &Template, properties: &Value) -> Option<Vec<Statement>> {
    let Some(role) = text_of(&properties["Role"]) else {
        return policy::of_list(&spelled_out(&properties["Policies"]));
    };
    let (id, role) = template.named(&role).filter(|(_, resource)| resource.kind == "AWS::IAM::Role")?;
    let mut all = policy::of_list(&role.properties["Policies"])?;
    for arn in texts(&spelled_out(&role.properties["ManagedPolicyArns"])) {
        let (_, managed) = template.named(&arn)?;
        all.extend(Statement::all_of(&managed.properties["PolicyDocument"]));
    }
    let symbol = format!("<{id}>");
    for (kind, roles) in
        [("AWS::IAM::Policy", "Roles"), ("AWS::IAM::ManagedPolicy", "Roles"), ("AWS::IAM::RolePolicy", "RoleName")]
    {
        for (_, attached) in template.of_kind(kind) {
            if texts(&attached.properties[roles]).contains(&symbol) {
                all.extend(Statement::all_of(&attached.properties["PolicyDocument"]));
            }
        }
    }
    Some(all)
}

/// Without Amazon's policies for functions (`AWSLambdaBasicExecutionRole`), which let do nothing in S3.
fn spelled_out(policies: &Value) -> Value {
    let plain = |policy: &&Value| !text_of(policy).is_some_and(|name| name.contains("AWSLambda"));
    many(policies).iter().filter(plain).cloned().collect()
}
