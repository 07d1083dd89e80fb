//! Cross-origin requests: preflights are answered before authentication, since browsers do not sign them.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::store::CorsRule;

const VARIES_BY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The headers that answer a preflight, or `None` if no rule allows the request.
pub(crate) fn preflight(rules: &[CorsRule], request: &HeaderMap) -> Option<HeaderMap> {
    let origin = request.get(ORIGIN)?.to_str().ok()?;
    let method = request.get(ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
    let asked = match request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(headers) => headers.to_str().ok()?,
        None => "",
    };
    let headers: Vec<String> =
        asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
    let rule = rules.iter().find(|rule| {
        allows(rule, origin, method)
            && headers
                .iter()
                .all(|name| rule.headers.iter().any(|pattern| matches_pattern(&pattern.to_ascii_lowercase(), name)))
    })?;
    let mut answer = allowed(rule, origin);
    insert(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !headers.is_empty() {
        insert(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, &headers.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        insert(&mut answer, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    Some(answer)
}

/// The headers to add to the answer of an actual request from `origin`.
pub(crate) fn actual(rules: &[CorsRule], origin: &str, method: &str) -> Option<HeaderMap> {
    let rule = rules.iter().find(|rule| allows(rule, origin, method))?;
    Some(allowed(rule, origin))
}

fn allows(rule: &CorsRule, origin: &str, method: &str) -> bool {
    rule.methods.iter().any(|allowed| allowed == method)
        && rule.origins.iter().any(|pattern| matches_pattern(pattern, origin))
}

fn allowed(rule: &CorsRule, origin: &str) -> HeaderMap {
    let mut answer = HeaderMap::new();
    if rule.origins.iter().any(|pattern| pattern == "*") {
        insert(&mut answer, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        insert(&mut answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert(&mut answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if !rule.expose.is_empty() {
        insert(&mut answer, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
    }
    insert(&mut answer, VARY, VARIES_BY);
    answer
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A pattern holds at most one `*`, which stands for anything.
fn matches_pattern(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((before, after)) => {
            value.len() >= before.len() + after.len() && value.starts_with(before) && value.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> CorsRule {
        CorsRule {
            origins: vec!["https://*.example.com".into()],
            methods: vec!["PUT".into()],
            headers: vec!["content-type".into(), "x-amz-*".into()],
            expose: vec!["ETag".into()],
            ..CorsRule::default()
        }
    }

    fn asking(origin: &str, method: &str, headers: &str) -> HeaderMap {
        let mut request = HeaderMap::new();
        insert(&mut request, ORIGIN, origin);
        insert(&mut request, ACCESS_CONTROL_REQUEST_METHOD, method);
        insert(&mut request, ACCESS_CONTROL_REQUEST_HEADERS, headers);
        request
    }

    #[test]
    fn a_preflight_is_answered_by_the_rule_that_allows_all_of_it() {
        let wanted = asking("https://app.example.com", "PUT", "Content-Type, X-Amz-Meta-A");
        let answer = preflight(&[rule()], &wanted).expect("allowed");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example.com");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "content-type, x-amz-meta-a");
        assert!(preflight(&[rule()], &asking("https://example.org", "PUT", "")).is_none());
        assert!(preflight(&[rule()], &asking("https://a.example.com", "GET", "")).is_none());
        assert!(preflight(&[rule()], &asking("https://a.example.com", "PUT", "authorization")).is_none());
    }
}
