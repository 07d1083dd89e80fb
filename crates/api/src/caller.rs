//! Who is calling.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use job::Tenant;

use crate::Api;
use crate::problem::Failure;

/// The caller, as far as jobs are concerned: they see their tenant's and no other (J7).
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
}

/// The one place that decides who a request is from. There are no credentials yet: everybody is the configured tenant.
fn resolve(_parts: &Parts, api: &Api) -> Result<Caller, Failure> {
    Ok(Caller { tenant: api.settings.tenant.clone() })
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Failure> {
        resolve(parts, api)
    }
}
