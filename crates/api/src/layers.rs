//! What surrounds every call: CORS, metrics and the log's span, headers that all answers carry, and the answers to what no
//! route takes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use job::Code;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::problem::{self, Failure};
use crate::{Api, CorsOrigins};

/// Puts the layers around the routes. The last one added is the first that a request meets.
pub(crate) fn around(router: Router<Arc<Api>>, api: &Arc<Api>) -> Router<Arc<Api>> {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(from_fn_with_state(api.clone(), observe))
        .layer(cors(&api.settings.cors_origins))
}

async fn not_found() -> Failure {
    Failure::new(Code::NotFound, "no call has this path; GET /openapi.json lists them")
}

async fn method_not_allowed() -> Failure {
    Failure::new(Code::MethodNotAllowed, "the header Allow lists the methods of this path")
}

/// Times and counts a request, gives its log lines a span, and sets what all answers carry.
async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let about_jobs = request.uri().path().starts_with("/jobs");
    // The pattern, not the path, which is whatever a client writes.
    let span = tracing::info_span!("request", %method, route);
    let mut response = next.run(request).instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if about_jobs {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    api.metrics.answered(&method, &route, response.status(), started.elapsed());
    response
}

fn cors(origins: &CorsOrigins) -> CorsLayer {
    let origins = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
        ])
        .expose_headers([header::LOCATION, header::RETRY_AFTER, header::ETAG])
        .max_age(Duration::from_secs(60 * 60))
}
