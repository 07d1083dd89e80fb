//! `millpond worker --metrics-listen`: what a worker shows whoever looks after it.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use telemetry::Prometheus;
use tokio::net::TcpListener;

use crate::local;

/// A port of this machine alone, or an address and a port.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| "it must be a port, or an address and a port such as 0.0.0.0:9090".to_owned())
}

/// Takes the address.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| local::cannot_listen("--metrics-listen", address, error))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    Ok(listener)
}

/// `GET /metrics` and `/healthz`. A worker that is alive is healthy: one whose model does not stop ends by itself.
pub fn router(metrics: Prometheus) -> Router {
    let kind = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Router::new()
        .route("/metrics", get(async move || ([kind], metrics.encode())))
        .route("/healthz", get(async || ([(header::CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine() {
        assert_eq!(address("9090").unwrap().to_string(), "127.0.0.1:9090");
        assert_eq!(address("0.0.0.0:9090").unwrap().to_string(), "0.0.0.0:9090");
        assert_eq!(address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for bad in ["", "localhost", "70000", "1.2.3.4"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
