//! What is counted. No label comes from a client, lest the number of series grow without bound.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use job::Ticket;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: an answer from memory, from the storage, and after a long poll.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 25.0, 60.0];

/// The process's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    accepted: Family<Accepted, Counter>,
    cancelled: Family<Cancelled, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Accepted {
    model: String,
    input: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cancelled {
    model: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<Request, Counter>::default();
        let seconds = Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let accepted = Family::<Accepted, Counter>::default();
        let cancelled = Family::<Cancelled, Counter>::default();
        let mut registry = Registry::with_prefix("millpond");
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_seconds", "How long requests took, long polls included", seconds.clone());
        registry.register("jobs_accepted", "Jobs accepted by this process", accepted.clone());
        registry.register("jobs_cancelled", "Jobs cancelled by their callers", cancelled.clone());
        Self { registry, requests, seconds, accepted, cancelled }
    }

    /// Counts one answer. `route` is the pattern that the request matched, never its path.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let (method, route) = (known(method), route.to_owned());
        self.seconds.get_or_create(&Route { method, route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status: status.as_u16() }).inc();
    }

    /// Counts one accepted job of a model that there is.
    pub(crate) fn accepted(&self, model: &str, input: &'static str) {
        self.accepted.get_or_create(&Accepted { model: model.to_owned(), input }).inc();
    }

    /// Counts one job that its caller cancelled.
    pub(crate) fn cancelled(&self, ticket: &Ticket) {
        self.cancelled.get_or_create(&Cancelled { model: ticket.counted_model().to_owned() }).inc();
    }

    /// Adds metrics that are counted elsewhere.
    pub(crate) fn also(&mut self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry);
    }

    /// All of them as OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string can be written to");
        text
    }
}

/// A method by its name, if HTTP knows it: others are whatever a client writes.
pub(crate) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
