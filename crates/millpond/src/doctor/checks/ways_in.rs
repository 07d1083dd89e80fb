//! Pitfalls of the ways in to the API.

use super::Finding;
use crate::doctor::facts::{Door, DoorKind, Facts};

const URLS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
const HTTP_CORS: &str = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html";
const HTTP_QUOTAS: &str = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html";
/// An HTTP API gives up after 30 s.
const HTTP_API_MAX_S: u64 = 29;

pub(super) fn open(facts: &Facts) -> Vec<Finding> {
    let open = facts.doors.iter().filter(|door| door.authorised == Some(false) && !door.asks_for_keys);
    let finding = |door: &Door| {
        let (code, authorise) = match door.kind {
            DoorKind::HttpApi { .. } => ("http-api-open", "AuthorizationType: AWS_IAM on its routes"),
            DoorKind::Url { .. } => ("function-url-open", "AuthType: AWS_IAM"),
        };
        Finding::fault(
            code,
            format!("{} lets anyone in, and the API asks for no keys", door.title),
            "whoever finds the address may use the models, at your cost, and read every job",
            format!("set {authorise}, or let the API ask for keys by MILLPOND_KEYS"),
        )
    };
    open.map(finding).collect()
}

pub(super) fn url_permissions(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for door in &facts.doors {
        let DoorKind::Url { half_permissions } = &door.kind else { continue };
        findings.extend(half_permissions.iter().map(|policy| {
            Finding::fault(
                "function-url-permissions",
                format!("{policy} allows lambda:InvokeFunctionUrl without lambda:InvokeFunction"),
                format!("{} answers those callers 403: both are asked for, since October 2025", door.title),
                "allow lambda:InvokeFunction too, under Bool lambda:InvokedViaFunctionUrl = true",
            )
            .see(URLS)
        }));
    }
    findings
}

pub(super) fn cors(facts: &Facts) -> Vec<Finding> {
    let own = facts.doors.iter().filter(|door| door.kind == DoorKind::HttpApi { cors: true });
    let finding = |door: &Door| {
        Finding::fault(
            "http-api-cors",
            format!("{} has a CorsConfiguration", door.title),
            "it takes the API's own CORS headers away: pages cannot read Location, Retry-After or ETag unless it repeats them",
            "take it away, and name the pages in MILLPOND_CORS_ORIGINS",
        )
        .see(HTTP_CORS)
    };
    own.map(finding).collect()
}

pub(super) fn timeout(facts: &Facts) -> Vec<Finding> {
    let behind_http_api = facts.doors.iter().any(|door| matches!(door.kind, DoorKind::HttpApi { .. }));
    let slow = facts.functions_of("api").filter(|_| behind_http_api);
    let finding = |(name, timeout_s): (&str, u64)| {
        Finding::fault(
            "api-timeout",
            format!("{name} may take {timeout_s} s, and an HTTP API waits for 30 s"),
            "callers get an error for calls that go on, are billed, and may have made a job",
            format!("set Timeout of {name} to 29 or less"),
        )
        .see(HTTP_QUOTAS)
    };
    let slow = slow.filter_map(|function| Some((function.title.as_str(), function.timeout_s?)));
    slow.filter(|(_, timeout_s)| *timeout_s > HTTP_API_MAX_S).map(finding).collect()
}
