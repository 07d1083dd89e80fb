//! What surrounds an answer: the headers that guard it, the trace that it belongs to, and the log line of its failure.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use job::{Ending, Work, envelope};
use serde_json::Value;

use crate::log::Log;
use crate::support::{ROW, World, nobodys};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(start_paused = true)]
async fn every_answer_is_guarded() {
    let world = World::new();
    let job = world.inline().await;
    let preflight = Request::options("/jobs")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let mut answers = vec![
        world.get("/healthz").await,
        world.get("/openapi.json").await,
        world.get("/models").await,
        world.get("/metrics").await,
        world.get(&format!("/jobs/{job}")).await,
        world.get(&format!("/jobs/{}", nobodys())).await,
        world.post("/jobs", "{", &[]).await,
        world.get("/nowhere").await,
        world.send(Request::put("/jobs").body(Body::empty()).unwrap()).await,
        world.send(preflight).await,
    ];
    let etag = answers[4].header("etag").unwrap().to_owned();
    answers.push(world.get_with(&format!("/jobs/{job}"), ("if-none-match", &etag)).await);
    assert_eq!(answers.last().unwrap().status, 304);
    world.outbox.go_down();
    answers.push(world.get("/readyz").await);
    world.outbox.panic();
    answers.push(world.get(&format!("/jobs/{job}")).await);
    assert_eq!(answers.last().unwrap().status, 500);
    for answer in &answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}: {answer}");
        }
    }
}

/// The trace of the job's ticket, and whether its message has the same.
async fn trace_of(world: &World, answer: &crate::support::Answer) -> Option<String> {
    let trace = world.ticket(answer.id()).await.trace?;
    let works = envelope::decode(&world.queue_message().await).unwrap();
    assert!(matches!(&works[..], [Work::Run { trace: Some(sent), .. }] if *sent == trace), "{works:?}");
    Some(trace.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_job_keeps_the_trace_of_its_request() {
    let world = World::new();
    let body = format!(r#"{{"model":"table","input":{ROW}}}"#);
    let answer = world.post("/jobs", body.clone(), &[("traceparent", TRACEPARENT), ("tracestate", "a=b")]).await;
    assert_eq!(trace_of(&world, &answer).await.as_deref(), Some(TRACEPARENT));

    // Each without one, with a malformed one or with two gets a trace of its own.
    let mut seen = vec![TRACEPARENT.to_owned()];
    for headers in [
        &[][..],
        &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")],
        &[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)],
    ] {
        let answer = world.post("/jobs", body.clone(), headers).await;
        let own = trace_of(&world, &answer).await.expect("a trace");
        assert!(!seen.contains(&own) && own.ends_with("-02"), "{own}");
        seen.push(own);
    }

    // Running it again is another request.
    let first = answer.id();
    world.end(first, Ending::Cancelled).await;
    let again = world.post(&format!("/jobs/{first}/retry"), "", &[]).await;
    let again = trace_of(&world, &again).await.expect("a trace");
    assert!(!seen.contains(&again), "{again}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_one_line_that_says_whose_it_is() {
    let world = World::new();
    let job = world.inline().await;
    let (log, _guard) = Log::start();
    // Told to whoever did it, and no matter of the operator's.
    world.post("/jobs", "{", &[]).await;
    world.get(&format!("/jobs/{}", nobodys())).await;
    assert_eq!(log.take(), Vec::<Value>::new());

    world.outbox.go_down();
    let answer = world.get_with(&format!("/jobs/{job}"), ("traceparent", TRACEPARENT)).await;
    assert_eq!(answer.status, 503);
    let lines = log.take();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["code"], "storage_unavailable", "{line}");
    assert_eq!((&line["span"]["job"], &line["span"]["trace_id"]), (&job.to_string().into(), &TRACE.into()), "{line}");
    assert_eq!((&line["span"]["method"], &line["span"]["route"]), (&"GET".into(), &"/jobs/{id}".into()), "{line}");

    // The panic hook's is the line.
    world.outbox.panic();
    assert_eq!(world.get(&format!("/jobs/{job}")).await.status, 500);
    assert_eq!(log.take(), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn metrics_of_others_are_shown_beside_the_api_s() {
    let world = World::new();
    let registry = Arc::new(registry::Registry::directory(world.models.path()));
    let mut api = api::Api::new(world.ledger.clone(), registry, api::Settings::default());
    let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
    api.show_metrics(|registry| registry.register("others", "Counted elsewhere", counter.clone()));
    counter.inc();
    let app: Router = api::router(api);
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        crate::support::Answer::read(tower::ServiceExt::oneshot(app.clone(), request).await.unwrap()).await.body
    };
    get("/healthz").await;
    let text = get("/metrics").await;
    assert!(text.contains("millpond_others_total 1\n") && text.contains("millpond_http_requests"), "{text}");
}
