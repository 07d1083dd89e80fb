//! The ways in to the API's function: HTTP APIs and function URLs, as SAM or as plain CloudFormation writes them.

use serde_json::Value;

use super::facts::{Door, DoorKind, Function};
use super::functions::is_of;
use super::policy::Statement;
use super::template::{Template, is_symbolic, many, text_of};
use crate::env;

/// All of them.
pub fn all(template: &Template, functions: &[Function], not_looked_at: &mut Vec<String>) -> Vec<Door> {
    let mut doors = Vec::new();
    for function in functions.iter().filter(|function| function.role == "api") {
        let asks_for_keys = function.environment.get(env::KEYS).is_some_and(|keys| !keys.is_empty());
        let mut add = |title: &str, kind, authorised: Option<bool>| {
            if authorised.is_none() {
                not_looked_at.push(format!("who may call {title}: it is known only once it is deployed"));
            }
            doors.push(Door { title: title.to_owned(), kind, authorised, asks_for_keys });
        };
        http_apis(template, function, &mut add);
        sam_events(template, function, &mut add);
        urls(template, function, &mut add);
    }
    doors
}

type Add<'a> = dyn FnMut(&str, DoorKind, Option<bool>) + 'a;

fn http_apis(template: &Template, function: &Function, add: &mut Add) {
    for (id, api) in template.of_kind("AWS::ApiGatewayV2::Api") {
        let symbol = format!("<{id}>");
        let of_api = |properties: &Value| text_of(&properties["ApiId"]).as_deref() == Some(symbol.as_str());
        let mut integrations = template.of_kind("AWS::ApiGatewayV2::Integration");
        let leads_here = integrations.any(|(_, integration)| {
            let uri = text_of(&integration.properties["IntegrationUri"]).unwrap_or_default();
            of_api(&integration.properties) && uri.contains(&format!("<{}.", function.title))
        });
        if api.properties["ProtocolType"] != "HTTP" || !leads_here {
            continue;
        }
        // Browsers do not sign preflights, so those have to pass.
        let preflight = |route: &Value| text_of(&route["RouteKey"]).is_some_and(|key| key.starts_with("OPTIONS "));
        let routes = template.of_kind("AWS::ApiGatewayV2::Route").map(|(_, route)| &route.properties);
        let authorised = routes.filter(|route| of_api(route) && !preflight(route)).map(|route| {
            let kind = text_of(&route["AuthorizationType"]).unwrap_or_else(|| "NONE".to_owned());
            if is_symbolic(&kind) { None } else { Some(kind != "NONE") }
        });
        add(id, DoorKind::HttpApi { cors: has_cors(&api.properties) }, every(authorised));
    }
}

fn sam_events(template: &Template, function: &Function, add: &mut Add) {
    let Some(resource) = template.resources.get(&function.title) else { return };
    let events = resource.properties["Events"].as_object().into_iter().flatten();
    for (name, event) in events.filter(|(_, event)| event["Type"] == "HttpApi") {
        let api = text_of(&event["Properties"]["ApiId"]).and_then(|id| Some(template.named(&id)?.1.properties.clone()));
        let api = api.unwrap_or_else(|| template.globals["HttpApi"].clone());
        let chosen = text_of(&event["Properties"]["Auth"]["Authorizer"]);
        let authorizer = chosen.or_else(|| text_of(&api["Auth"]["DefaultAuthorizer"]));
        let authorised = Some(authorizer.is_some_and(|name| name != "NONE"));
        add(&format!("{}'s {name}", function.title), DoorKind::HttpApi { cors: has_cors(&api) }, authorised);
    }
}

fn urls(template: &Template, function: &Function, add: &mut Add) {
    let url = |properties: &Value| match text_of(&properties["AuthType"]) {
        Some(kind) if is_symbolic(&kind) => None,
        kind => Some(kind.as_deref() == Some("AWS_IAM")),
    };
    for (id, resource) in template.of_kind("AWS::Lambda::Url") {
        let target = text_of(&resource.properties["TargetFunctionArn"]).unwrap_or_default();
        if is_of(template, &target, &function.title).is_some() {
            let kind = DoorKind::Url { half_permissions: half_permissions(template, &function.title) };
            add(id, kind, url(&resource.properties));
        }
    }
    let configured = template.resources.get(&function.title).map(|resource| &resource.properties["FunctionUrlConfig"]);
    if let Some(configuration) = configured.filter(|configuration| configuration.is_object()) {
        let kind = DoorKind::Url { half_permissions: half_permissions(template, &function.title) };
        add(&format!("{}'s FunctionUrlConfig", function.title), kind, url(configuration));
    }
}

/// Whoever lets use the URL, and does not let call the function.
fn half_permissions(template: &Template, function: &str) -> Vec<String> {
    let mut half = Vec::new();
    for (id, resource) in &template.resources {
        let properties = &resource.properties;
        let statements = match resource.kind.as_str() {
            "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy" => Statement::all_of(&properties["PolicyDocument"]),
            "AWS::IAM::Role" | "AWS::IAM::User" | "AWS::IAM::Group" => {
                let inline = many(&properties["Policies"]).iter();
                inline.flat_map(|policy| Statement::all_of(&policy["PolicyDocument"])).collect()
            }
            _ => continue,
        };
        let allows = |action: &str| statements.iter().any(|statement| statement.allows(action));
        if allows("lambda:InvokeFunctionUrl") && !allows("lambda:InvokeFunction") {
            half.push(id.clone());
        }
    }
    let permissions: Vec<_> = template
        .of_kind("AWS::Lambda::Permission")
        .filter(|(_, permission)| {
            text_of(&permission.properties["FunctionName"])
                .is_some_and(|name| is_of(template, &name, function).is_some())
        })
        .collect();
    for (id, permission) in &permissions {
        let lets_call = permissions.iter().any(|(_, other)| {
            other.properties["Action"] == "lambda:InvokeFunction"
                && other.properties["Principal"] == permission.properties["Principal"]
        });
        if permission.properties["Action"] == "lambda:InvokeFunctionUrl" && !lets_call {
            half.push((*id).to_owned());
        }
    }
    half
}

fn has_cors(api: &Value) -> bool {
    !matches!(api["CorsConfiguration"], Value::Null | Value::Bool(false))
}

/// Whether all are, as far as that is known; none of none.
fn every(mut all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let first = all.next()?;
    all.fold(first, |both, one| match (both, one) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    })
}
