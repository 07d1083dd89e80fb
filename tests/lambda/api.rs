//! The API function, behind an HTTP API and behind a function URL.

use std::slice::from_ref;
use std::time::Duration;

use cloud::{OsEntropy, PutOptions};
use job::JobId;
use keys::{ApiKey, Entry, KeyFile};
use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::events::{Samples, by_function_url, signed};
use crate::mapping::Mapping;
use crate::worker::many_wines;
use crate::world::{Setting, World, wine};

/// A function's answer: status, headers, body.
struct Answer {
    status: u64,
    headers: Value,
    body: Value,
}

async fn call(api: &Emulator, event: &Value) -> Answer {
    let answer = api.invoke(event).await;
    let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("no answer: {answer}\n{}", api.log()));
    let text = answer["body"].as_str().unwrap_or_default();
    let body = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    Answer { status, headers: answer["headers"].clone(), body }
}

/// Somebody who calls an API.
struct Caller<'a> {
    api: &'a Emulator,
    samples: &'a Samples,
    headers: Vec<(&'static str, String)>,
    /// Makes the event what it is where this caller's requests arrive.
    arrive: Box<dyn Fn(Value) -> Value + Send + Sync>,
}

impl Caller<'_> {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = headers.chain([("content-type", "application/json")]).collect();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let event = self.samples.http_api(method, path, &headers, body.as_bytes());
        call(self.api, &(self.arrive)(event)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null).await
    }

    /// Makes a job; its path.
    async fn submit(&self, body: &Value) -> (String, Value) {
        let answer = self.send("POST", "/jobs", body).await;
        assert!([201, 202].contains(&answer.status), "{} {}", answer.status, answer.body);
        (format!("/jobs/{}", answer.body["id"].as_str().expect("an id")), answer.body)
    }
}

fn inline() -> Value {
    json!({"model": "wine-quality", "input": wine()})
}

/// Behind an HTTP API, with keys: a job from its upload to its large answer, and everything else that callers do.
pub async fn http_api_with_keys(setting: Setting) {
    let world = World::start(&setting, &[("HttpApiAuthorization", "API_KEYS")]).await;
    let (ours, theirs) = (ApiKey::generate(&OsEntropy), ApiKey::generate(&OsEntropy));
    let mut keys = KeyFile::default();
    for (key, tenant) in [(&ours, "default"), (&theirs, "other")] {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        keys.keys.push(Entry::of(key, tenant.parse().expect("a tenant"), now));
    }
    world.models.put("keys.json", keys.to_json().into(), PutOptions::default()).await.expect("the keys");
    let (api, worker) = (world.function("Api").await, world.function("Worker").await);
    let mapping = Mapping::new(&world, "Worker", "Jobs", from_ref(&worker)).await;
    let samples = &world.setting.samples;
    let caller = |key: Option<&ApiKey>| Caller {
        api: &api,
        samples,
        headers: key.map(|key| ("x-api-key", key.reveal().to_owned())).into_iter().collect(),
        arrive: Box::new(|event| event),
    };
    let (us, them, nobody) = (caller(Some(&ours)), caller(Some(&theirs)), caller(None));
    assert_eq!(us.get("/readyz").await.status, 200);
    assert_eq!(nobody.send("POST", "/jobs", &inline()).await.status, 401);

    // An upload, by the presigned URL, and its large answer.
    let input = many_wines(5000);
    let upload = json!({"filename": "wines.json", "content_type": "application/json", "size_bytes": input.len()});
    let (path, made) = us.submit(&json!({"model": "wine-quality", "upload": upload})).await;
    assert_eq!(us.get(&path).await.body["state"], "awaiting_upload");
    assert_eq!(them.get(&path).await.status, 404);
    let mut put = world.http.put(made["upload"]["url"].as_str().expect("a URL")).body(input);
    for (name, value) in made["upload"]["headers"].as_object().expect("headers") {
        put = put.header(name, value.as_str().expect("a text"));
    }
    assert_eq!(put.send().await.expect("an answer").status(), 200);
    let run = async || {
        world
            .until("the queue's message was worked on", async || {
                mapping.round(&worker).await;
                us.get(&path).await.body["state"] == "succeeded"
            })
            .await;
    };
    run().await;
    let result = us.get(&format!("{path}/result")).await;
    assert_eq!(result.status, 303, "{}", result.body);
    let answer = world.http.get(result.headers["location"].as_str().expect("a URL")).send().await.expect("an answer");
    let rows: Vec<f64> = answer.json().await.expect("numbers");
    assert_eq!(rows.len(), 5000);
    let again = us.send("POST", &format!("{path}/retry"), &Value::Null).await;
    assert_eq!((again.status, &again.body["retry_of"]), (202, &made["id"]), "{}", again.body);

    // One that is cancelled, and a dropped file that is run again.
    let (path, _) = us.submit(&inline()).await;
    assert_eq!(them.send("DELETE", &path, &Value::Null).await.status, 404);
    let cancelled = us.send("DELETE", &path, &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.body["state"]), (200, &json!("cancelled")), "{}", cancelled.body);
    let dropped = world.drop_file("wine-quality", "x.json", "[]").await;
    let path = format!("/jobs/{}", dropped.job);
    world
        .until("the dropped file's job has failed", async || {
            mapping.round(&worker).await;
            us.get(&path).await.body["state"] == "failed"
        })
        .await;
    let again = us.send("POST", &format!("{path}/retry"), &Value::Null).await;
    assert_eq!(again.status, 202, "{}", again.body);
    world.end();
}

/// Behind a function URL, and behind an HTTP API whose calls are signed: each signer sees their own jobs.
pub async fn signers(setting: Setting) {
    type Arrive = fn(Value) -> Value;
    let ways: [(&str, Arrive); 2] = [("function-url", by_function_url), ("http-api", |event| event)];
    for (kind, arrive) in ways {
        let world = World::start(&setting, &[("ApiKind", kind)]).await;
        let api = world.function("Api").await;
        let samples = &world.setting.samples;
        let caller = |user: &'static str| Caller {
            api: &api,
            samples,
            headers: Vec::new(),
            arrive: Box::new(move |event| arrive(signed(event, user))),
        };
        let alice = caller("AIDACKCEVSQ6C2ALICE");
        let (path, _) = alice.submit(&inline()).await;
        let seen = alice.get(&format!("{path}?wait=1")).await;
        assert_eq!((seen.status, &seen.body["state"]), (200, &json!("queued")), "{kind}: {}", seen.body);
        for other in ["AROADBQP57FF2AEXAMPLE:session", "AIDACKCEVSQ6C2ALICF"] {
            let other = caller(other);
            for (method, path) in [("GET", &path), ("DELETE", &path), ("GET", &format!("{path}/result"))] {
                assert_eq!(other.send(method, path, &Value::Null).await.status, 404, "{kind}: {method} {path}");
            }
        }
        // Of an unknown job the answer is the same.
        let unknown = alice.get(&format!("/jobs/{}", JobId::from_random([7; 16]))).await;
        let foreign = caller("AROADBQP57FF2AEXAMPLE:session").get(&path).await;
        assert_eq!((unknown.status, unknown.body["code"].clone()), (404, foreign.body["code"].clone()), "{kind}");
        let ticket = world.document(&format!("{}/ticket.json", path.trim_start_matches('/'))).await;
        assert_eq!(ticket["tenant"], "AIDACKCEVSQ6C2ALICE", "{kind}");
        assert_eq!(world.jobs.receive(10, Duration::ZERO, None).await.expect("a receive").len(), 1, "{kind}");

        // An HTTP API lets preflights through; a function URL answers them itself.
        let preflight = [("origin", "https://example.com"), ("access-control-request-method", "POST")];
        let answer = call(&api, &samples.http_api("OPTIONS", "/jobs", &preflight, b"")).await;
        assert_eq!((answer.status, &answer.headers["access-control-allow-origin"]), (200, &json!("*")), "{kind}");
        world.end();
    }
}
