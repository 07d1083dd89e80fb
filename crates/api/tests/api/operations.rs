//! What surrounds the calls: health, metrics, the document, CORS, unknown paths, panics, and the server itself.

use std::time::Duration;

use api::{CorsOrigins, Settings};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::support::World;

#[tokio::test(start_paused = true)]
async fn health_and_readiness() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await.body, r#"{"status":"ok"}"#);
    assert_eq!(world.get("/readyz").await.body, r#"{"status":"ok"}"#);
    world.outbox.hang();
    let started = tokio::time::Instant::now();
    insta::assert_snapshot!(world.get("/readyz").await);
    assert_eq!(started.elapsed().as_secs(), 2);
    world.outbox.go_down();
    std::fs::remove_dir_all(world.models.path()).unwrap();
    insta::assert_snapshot!(world.get("/readyz").await.fault(), @"503 unavailable: no answer from the storage and the model registry");
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn metrics_count_routes_and_not_paths() {
    let world = World::new();
    let job = world.inline().await;
    world.get(&format!("/jobs/{job}")).await;
    world.get(&format!("/jobs/{job}?wait=3")).await;
    world.get("/nowhere/at/all").await;
    let brew = Method::from_bytes(b"BREW").unwrap();
    world.send(Request::builder().method(brew).uri("/models").body(Body::empty()).unwrap()).await;
    let text = world.get("/metrics").await;
    assert!(!text.body.contains(&job.to_string()));
    assert!(text.body.ends_with("# EOF\n"));
    // The series of a family come in no order.
    let mut counts: Vec<&str> = text.body.lines().filter(|line| line.contains("_total")).collect();
    counts.sort_unstable();
    insta::assert_snapshot!(counts.join("\n"));
    let seconds: Vec<&str> =
        text.body.lines().filter(|line| line.contains("_seconds_") && line.contains("/jobs/{id}")).collect();
    insta::assert_snapshot!("seconds", seconds.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_document_is_whole() {
    let world = World::new();
    let answer = world.get("/openapi.json").await;
    let document = answer.json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for reference in references(&document) {
        let path = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(path).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_paths_and_methods() {
    let world = World::new();
    insta::assert_snapshot!(world.get("/job").await);
    let put = Request::put("/jobs").body(Body::empty()).unwrap();
    insta::assert_snapshot!("method", world.send(put).await);
    let post = Request::post(format!("/jobs/{}", crate::support::nobodys())).body(Body::empty()).unwrap();
    let allow = world.send(post).await.header("allow").unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("DELETE"), "{allow}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer() {
    let world = World::new();
    world.outbox.panic();
    insta::assert_snapshot!(world.get(&format!("/jobs/{}", crate::support::nobodys())).await);
}

#[tokio::test(start_paused = true)]
async fn web_pages_may_call() {
    let preflight = || {
        Request::options("/jobs")
            .header("origin", "https://example.com")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key")
            .body(Body::empty())
            .unwrap()
    };
    let shown = |answer: crate::support::Answer| {
        let lines: Vec<String> = answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{}\n{}", answer.status, lines.join("\n"))
    };
    let world = World::new();
    insta::assert_snapshot!(shown(world.send(preflight()).await));
    insta::assert_snapshot!("actual", shown(world.get_with("/job", ("origin", "https://example.com")).await));

    let only = CorsOrigins::Only(vec!["https://millpond.example".parse().unwrap()]);
    let world = World::with(Settings { cors_origins: only, ..Settings::default() });
    let answer = world.send(preflight()).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn the_server_answers_long_polls_when_it_stops() {
    let world = World::new();
    let job = world.inline().await;
    let registry = std::sync::Arc::new(registry::Registry::directory(world.models.path()));
    let api = api::Api::new(world.ledger.clone(), registry, Settings::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(api::serve(api, listener, async { stopped.await.unwrap_or(()) }));

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /jobs/{job}?wait=20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let before = world.outbox.calls.load(std::sync::atomic::Ordering::SeqCst);
    while world.outbox.calls.load(std::sync::atomic::Ordering::SeqCst) < before + 4 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    let mut text = String::new();
    let read = connection.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("well before the 20 s are over").unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn half_a_request_does_not_keep_the_server_from_stopping() {
    let world = World::new();
    let registry = std::sync::Arc::new(registry::Registry::directory(world.models.path()));
    let api = api::Api::new(world.ledger.clone(), registry, Settings::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(api::serve(api, listener, async { stopped.await.unwrap_or(()) }));

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nho").await.unwrap();
    // A later connection's answer shows that the server has this one.
    let mut whole = tokio::net::TcpStream::connect(address).await.unwrap();
    whole.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    whole.read_u8().await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(60), server).await.expect("it stops").unwrap().unwrap();
}
