//! The HTTP API: one router, for the local server and for Lambda.
//!
//! [`Api`] is what it needs, [`router`] what it makes. It accepts jobs, shows, cancels and repeats them; it runs no model
//! and carries no engine. What it writes and reads of a job goes through the [`Ledger`], so J1, J2 and J4 rest there; J7
//! rests on every read of a job passing `Api::ticket`.

mod accept;
mod caller;
mod extract;
mod health;
mod jobs;
mod layers;
mod metrics;
mod models;
mod openapi;
mod problem;
mod request;
mod result;
mod retry;
mod room;
mod serve;
mod settings;
mod submit;
mod trace;
mod view;
mod wait;

use std::sync::{Arc, LazyLock};

use axum::Router;
use bytes::Bytes;
use ledger::Ledger;
use registry::Registry;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use caller::Principal;
use metrics::Metrics;
use problem::Failure;
use room::Room;
pub use serve::serve;
pub use settings::{Access, CorsOrigins, Settings};

/// What the API works with.
#[derive(Debug)]
pub struct Api {
    ledger: Ledger,
    registry: Arc<Registry>,
    settings: Settings,
    metrics: Metrics,
    room: Room,
    /// Ends long polls early, so that stopping does not wait for them.
    stopping: CancellationToken,
    /// The OpenAPI document, as JSON.
    openapi: Bytes,
}

impl Api {
    /// An API over these jobs and these models.
    pub fn new(ledger: Ledger, registry: Arc<Registry>, settings: Settings) -> Self {
        let openapi = ROUTES.1.clone();
        let room = Room::new(&settings);
        Self { ledger, registry, settings, metrics: Metrics::new(), room, stopping: CancellationToken::new(), openapi }
    }

    /// Shows the metrics that `register` adds at `/metrics` too.
    pub fn show_metrics(&mut self, register: impl FnOnce(&mut prometheus_client::registry::Registry)) {
        self.metrics.also(register);
    }

    /// Awaits a step against storage, queue or registry, but not for longer than the settings allow.
    async fn bounded<T, E: Into<Failure>>(&self, step: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.settings.call_timeout, step).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(Failure::timed_out()),
        }
    }
}

/// The API as a service: for [`serve`], for `lambda_http`, or for a test that calls it without a socket.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    layers::around(ROUTES.0.clone(), &api).with_state(api)
}

/// The routes, and their document as JSON. Both follow from the code alone, and to make them takes a millisecond each.
static ROUTES: LazyLock<(Router<Arc<Api>>, Bytes)> = LazyLock::new(|| {
    let (router, document) = routes().split_for_parts();
    (router, Bytes::from(openapi::complete(document).to_json().expect("the document is JSON")))
});

/// The OpenAPI 3.1 document that [`router`] serves.
pub fn document() -> utoipa::openapi::OpenApi {
    openapi::complete(routes().into_openapi())
}

fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(openapi::Head::openapi())
        .routes(routes!(submit::submit))
        .routes(routes!(jobs::show_job, jobs::cancel))
        .routes(routes!(result::result))
        .routes(routes!(retry::retry))
        .routes(routes!(models::list_models))
        .routes(routes!(models::show_model))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::openapi))
}
