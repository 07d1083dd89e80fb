//! Who signed a request, as API Gateway and function URLs tell it.

use api::Principal;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

/// Names the signer of a request to the API, if IAM has verified one.
pub(crate) fn named(mut request: Request) -> Request {
    if let Some(principal) = request.request_context_ref().and_then(of) {
        request.extensions_mut().insert(principal);
    }
    request
}

/// The tenant is the signer's unique id, of a role without the session's name: it is no secret, and no other user or role ever
/// has it, even one that is made anew under the same name.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
fn of(context: &RequestContext) -> Option<Principal> {
    let RequestContext::ApiGatewayV2(context) = context else { return None };
    let id = context.authorizer.as_ref()?.iam.as_ref()?.user_id.as_deref()?;
    let id = id.split_once(':').map_or(id, |(role, _)| role);
    id.parse().ok().map(Principal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(authorizer: &str) -> RequestContext {
        let text = format!(
            r#"{{"accountId":"123456789012","apiId":"a","domainName":"d","domainPrefix":"p","requestId":"r","routeKey":"k",
                "stage":"$default","time":"t","timeEpoch":1,"http":{{"method":"GET","path":"/","protocol":"HTTP/1.1",
                "sourceIp":"192.0.2.1","userAgent":"curl"}}{authorizer}}}"#
        );
        RequestContext::ApiGatewayV2(serde_json::from_str(&text).expect("a context"))
    }

    fn tenant(authorizer: &str) -> Option<String> {
        of(&context(authorizer)).map(|Principal(tenant)| tenant.to_string())
    }

    #[test]
    fn users_and_roles_are_told_by_their_ids() {
        let iam = |id: &str| {
            format!(
                r#","authorizer":{{"iam":{{"accessKey":"ASIAEXAMPLE","accountId":"123456789012","callerId":"{id}",
                    "userArn":"arn:aws:sts::123456789012:assumed-role/web/session-7","userId":"{id}"}}}}"#
            )
        };
        assert_eq!(tenant(&iam("AIDACKCEVSQ6C2EXAMPLE")).as_deref(), Some("AIDACKCEVSQ6C2EXAMPLE"));
        assert_eq!(tenant(&iam("AROADBQP57FF2AEXAMPLE:session-7")).as_deref(), Some("AROADBQP57FF2AEXAMPLE"));
        assert_eq!(tenant(&iam("")), None);
        assert_eq!(tenant(""), None);
        assert_eq!(tenant(r#","authorizer":{"jwt":{"claims":{"sub":"x"},"scopes":[]}}"#), None);
    }
}
