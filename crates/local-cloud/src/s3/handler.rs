//! The HTTP handler in front of `s3s`: request ids, CORS, and the checks of `guard`.

use std::sync::Arc;

use http::header::{CONTENT_RANGE, ORIGIN};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};
use percent_encoding::percent_decode_str;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, s3_error};

use super::ranges::WithoutRange;
use super::{RequestId, Service, chunks, cors, guard};
use crate::server::Handler;
use crate::store::{CorsRule, Store};

/// Answers the S3 endpoint's requests.
pub(crate) struct S3Handler {
    store: Arc<Store>,
    service: S3Service,
}

impl S3Handler {
    pub(crate) fn new(store: Arc<Store>, access_key: &str, secret_key: &str) -> Self {
        let mut builder = S3ServiceBuilder::new(Service { store: Arc::clone(&store) });
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        builder.set_route(WithoutRange::new(Service { store: Arc::clone(&store) }));
        Self { store, service: builder.build() }
    }

    async fn cors_rules(&self, path: &str) -> Vec<CorsRule> {
        let bucket = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let bucket = percent_decode_str(bucket).decode_utf8_lossy().into_owned();
        // Of a bucket that is not there, the request itself tells.
        self.store.cors(bucket).await.unwrap_or_default()
    }

    async fn preflight(&self, request: &Request<Incoming>) -> Response<Body> {
        let rules = self.cors_rules(request.uri().path()).await;
        match cors::preflight(&rules, request.headers()) {
            Some(headers) => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = headers;
                response
            }
            None => refusal(s3_error!(AccessDenied, "CORS does not allow this request")),
        }
    }

    async fn answer(&self, request: Request<Incoming>, request_id: &str) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        if let Err(error) = guard::check(&parts, &self.store.region) {
            return refusal(error);
        }
        guard::parameters_to_headers(&mut parts);
        parts.extensions.insert(RequestId(request_id.to_owned()));
        let body = chunks::bounded(&parts.headers, body);
        let request = Request::from_parts(parts, body);
        match self.service.call(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(?error, "a request could not be answered");
                refusal(s3_error!(InternalError))
            }
        }
    }
}

impl Handler for S3Handler {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let request_id = uuid::Uuid::new_v4().simple().to_string()[..16].to_ascii_uppercase();
        let mut response = if request.method() == Method::OPTIONS {
            self.preflight(&request).await
        } else {
            let origin = request.headers().get(ORIGIN).cloned();
            let (path, method) = (request.uri().path().to_owned(), request.method().clone());
            let mut response = self.answer(request, &request_id).await;
            if let Some(origin) = origin.as_ref().and_then(|origin| origin.to_str().ok()) {
                let rules = self.cors_rules(&path).await;
                if let Some(headers) = cors::actual(&rules, origin, method.as_str()) {
                    response.headers_mut().extend(headers);
                }
            }
            response
        };
        if response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
            // `s3s` knows this of GET only.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            // `s3s` writes its error document here; a 304 has no body.
            response.headers_mut().remove(http::header::CONTENT_TYPE);
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
            *response.body_mut() = Body::empty();
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amz-request-id", value.clone());
            response.headers_mut().insert("x-amz-id-2", value);
        }
        response
    }
}

fn refusal(error: S3Error) -> Response<Body> {
    let status = error.status_code();
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
    })
}
