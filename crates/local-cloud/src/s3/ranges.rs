//! Reads whose `Range` cannot be read.
//!
//! S3 ignores a range that is malformed, backwards, of another unit, or several at once, and gives the whole object, as
//! RFC 9110 section 14.2 lets it. `s3s` refuses such a header. The header may be signed, so it can only be left out
//! once the signature is verified: that is when `s3s` looks at routes.

use http::header::{AUTHORIZATION, RANGE};
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::dto::Range;
use s3s::route::S3Route;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::{Service, guard};

/// Answers verified reads as if their `Range` were not there.
pub(super) struct WithoutRange {
    service: S3Service,
}

impl WithoutRange {
    pub(super) fn new(service: Service) -> Self {
        // Without an authenticator: whoever comes here was let in.
        Self { service: S3ServiceBuilder::new(service).build() }
    }
}

#[async_trait::async_trait]
impl S3Route for WithoutRange {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        let readable = |range: &http::HeaderValue| range.to_str().is_ok_and(|range| Range::parse(range).is_ok());
        matches!(*method, Method::GET | Method::HEAD) && headers.get(RANGE).is_some_and(|range| !readable(range))
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let mut inner = http::Request::new(request.input);
        *inner.method_mut() = request.method;
        *inner.uri_mut() = guard::without_signature(&request.uri)?;
        *inner.headers_mut() = request.headers;
        *inner.extensions_mut() = request.extensions;
        inner.headers_mut().remove(RANGE);
        inner.headers_mut().remove(AUTHORIZATION);
        let answer = self.service.call(inner).await.map_err(|error| {
            tracing::error!(?error, "a request could not be answered");
            s3_error!(InternalError)
        })?;
        let (parts, body) = answer.into_parts();
        let mut response = S3Response::with_status(body, parts.status);
        response.headers = parts.headers;
        response.extensions = parts.extensions;
        Ok(response)
    }
}
