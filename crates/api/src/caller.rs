//! Who is calling.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use job::{Code, Tenant, TraceParent};
use keys::Refusal;

use crate::problem::Failure;
use crate::trace::Trace;
use crate::{Access, Api};

/// The caller, as far as jobs are concerned: they see their tenant's and no other (J7).
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
    /// What the request is a part of.
    pub(crate) trace: Option<TraceParent>,
}

/// Who is calling, if whatever is in front of the router has found that out: put into a request's extensions, it goes before
/// any key. Whoever puts it there answers for it.
#[derive(Debug, Clone)]
pub struct Principal(pub Tenant);

/// The one place that decides who a request is from.
async fn resolve(parts: &Parts, api: &Api) -> Result<Tenant, Failure> {
    if let Some(Principal(tenant)) = parts.extensions.get() {
        return Ok(tenant.clone());
    }
    match &api.settings.access {
        Access::Anyone => Ok(api.settings.tenant.clone()),
        Access::Principals => Err(Failure::unauthorized("nothing says who is calling; sign the request")),
        Access::Keys(ring) => {
            let key = presented(&parts.headers).ok_or_else(|| {
                Failure::unauthorized("send an API key, as `Authorization: Bearer KEY` or as `x-api-key: KEY`")
            })?;
            match ring.check(key).await {
                Ok(holder) => Ok(holder.tenant),
                Err(Refusal::Unknown) => Err(Failure::unauthorized("the API key is unknown, or was revoked")),
                Err(Refusal::TooOften(wait)) => {
                    Err(Failure::new(Code::RateLimited, "the API key is used more often than it may be").after(wait))
                }
            }
        }
    }
}

/// The key that a request brings along.
fn presented(headers: &HeaderMap) -> Option<&str> {
    // RFC 9110 section 11.1: the scheme's name is in whatever case.
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).filter(|key| !key.is_empty())
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Failure> {
        let tenant = resolve(parts, api).await?;
        Ok(Self { tenant, trace: parts.extensions.get().map(|Trace(trace)| *trace) })
    }
}

/// Whoever runs the service: a caller of the tenant that callers without credentials have.
pub(crate) struct Operator;

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Failure> {
        if resolve(parts, api).await? == api.settings.tenant {
            Ok(Self)
        } else {
            Err(Failure::unauthorized("the metrics are of all tenants, so only the service's own tenant sees them"))
        }
    }
}
