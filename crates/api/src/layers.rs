//! What surrounds every call: headers that all answers carry, CORS, metrics and the log's span, and the answers to what no
//! route takes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::Response;
use job::Code;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;
use tracing::field::Empty;

use crate::metrics::known;
use crate::problem::{self, Failure};
use crate::trace::Trace;
use crate::{Api, CorsOrigins};

/// Puts the layers around the routes. The last one added is the first that a request meets.
pub(crate) fn around(router: Router<Arc<Api>>, api: &Arc<Api>) -> Router<Arc<Api>> {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(from_fn_with_state(api.clone(), observe))
        .layer(cors(&api.settings.cors_origins))
        .layer(map_response(secure))
}

async fn not_found() -> Failure {
    Failure::new(Code::NotFound, "no call has this path; GET /openapi.json lists them")
}

async fn method_not_allowed() -> Failure {
    Failure::new(Code::MethodNotAllowed, "the header Allow lists the methods of this path")
}

/// What OWASP wants of every answer of an API, errors and preflights included; a route that says otherwise has its way, as a web
/// page has to. (Strict-Transport-Security is for whoever ends the TLS to say: to a browser it is about the whole host.)
/// <https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers>
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

async fn secure(mut response: Response) -> Response {
    for (name, value) in &SECURITY {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// Times and counts a request, and gives its log lines a span.
///
/// The span is as severe as an error, so that no filter that lets a line through takes trace and job away from it.
async fn observe(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let trace = Trace::of(request.headers(), &*api.ledger.entropy);
    request.extensions_mut().insert(trace);
    // The pattern, not the path, which is whatever a client writes.
    let trace_id = trace.0.trace_id();
    let span = tracing::error_span!("request", method = known(&method), route, %trace_id, job = Empty);
    let response = next.run(request).instrument(span).await;
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
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([header::LOCATION, header::RETRY_AFTER, header::ETAG])
        .max_age(Duration::from_secs(60 * 60))
}
