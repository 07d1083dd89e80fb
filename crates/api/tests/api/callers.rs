//! Who may call: keys, principals, and what each may see.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::{Access, Principal, Settings};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cloud::SeededEntropy;
use keys::{ApiKey, Entry, KeyRing, Rate, Store};

use crate::support::{ROW, World};

struct Holders {
    folder: tempfile::TempDir,
    store: Store,
    entropy: SeededEntropy,
}

impl Holders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::file(folder.path().join("keys.json"));
        Self { folder, store, entropy: SeededEntropy::new(5) }
    }

    async fn add(&self, tenant: &str, rate: Option<f64>) -> ApiKey {
        let key = ApiKey::generate(&self.entropy);
        let rate = rate.map(|rate| Rate::try_from(rate).unwrap());
        let created_at = "2026-11-27T09:00:00Z".parse().unwrap();
        let entry = Entry { rate, ..Entry::of(&key, tenant.parse().unwrap(), created_at) };
        self.store.edit(move |file| file.keys.push(entry.clone())).await.unwrap();
        key
    }

    async fn world(&self) -> World {
        let ring = KeyRing::open(self.store.clone()).await.unwrap();
        World::with(Settings { access: Access::Keys(Arc::new(ring)), ..Settings::default() })
    }
}

fn bearer(key: &ApiKey) -> String {
    format!("Bearer {}", key.reveal())
}

fn body() -> String {
    format!(r#"{{"model":"table","input":{ROW}}}"#)
}

#[tokio::test(start_paused = true)]
async fn without_a_key_there_is_nothing_to_see() {
    let holders = Holders::new();
    let key = holders.add("one", None).await;
    let world = holders.world().await;
    let nobodys = world.get("/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    insta::assert_snapshot!(nobodys);
    let before = world.outbox.calls.load(Ordering::SeqCst);
    for path in ["/models", "/models/table", "/metrics", "/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa/result"] {
        assert_eq!(world.get(path).await.body, nobodys.body, "{path}");
    }
    assert_eq!(world.post("/jobs", body(), &[]).await.body, nobodys.body);
    assert_eq!(world.delete("/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa").await.body, nobodys.body);
    let unknown = world.get_with("/models", ("x-api-key", "mp_guessed_key")).await;
    assert_eq!(unknown.fault(), "401 unauthorized: the API key is unknown, or was revoked");
    let basic = world.get_with("/models", ("authorization", "Basic bXA6bXA=")).await;
    assert_eq!(basic.body, nobodys.body);
    assert_eq!(world.outbox.calls.load(Ordering::SeqCst), before, "nothing is read for strangers");
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(world.get(open).await.status, StatusCode::OK, "{open}");
    }
    for header in [("authorization", bearer(&key)), ("authorization", format!("bearer  {}", key.reveal()))] {
        assert_eq!(world.get_with("/models", (header.0, &header.1)).await.status, StatusCode::OK);
    }
    assert_eq!(world.get_with("/models", ("x-api-key", key.reveal())).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn j7_a_key_sees_its_tenant_s_jobs_and_no_other() {
    let holders = Holders::new();
    let (mine, also_mine) = (holders.add("one", None).await, holders.add("one", None).await);
    let theirs = holders.add("two", None).await;
    let world = holders.world().await;
    let (mine, also_mine, theirs) = (bearer(&mine), bearer(&also_mine), bearer(&theirs));
    let answer = world.post("/jobs", body(), &[("authorization", &mine)]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let path = format!("/jobs/{}", answer.id());
    assert_eq!(world.get_with(&path, ("authorization", &also_mine)).await.status, StatusCode::OK);

    let seen = async |path: &str| {
        let before = world.outbox.calls.load(Ordering::SeqCst);
        let answer = world.get_with(path, ("authorization", &theirs)).await;
        (answer.to_string(), world.outbox.calls.load(Ordering::SeqCst) - before)
    };
    let absent = seen("/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert!(absent.0.starts_with("404"), "{}", absent.0);
    assert_eq!(seen(&path).await, absent, "by the same reads");

    // The same idempotency key of two tenants is two.
    let post = async |who: &str| {
        let headers = [("authorization", who), ("idempotency-key", "once")];
        world.post("/jobs", body(), &headers).await.id()
    };
    let (first, again, other) = (post(&mine).await, post(&also_mine).await, post(&theirs).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_used_too_often_waits() {
    let holders = Holders::new();
    let (slow, other) = (holders.add("one", Some(0.25)).await, holders.add("one", None).await);
    let world = holders.world().await;
    let get = async |key: &ApiKey| world.get_with("/models", ("authorization", &bearer(key))).await;
    assert_eq!(get(&slow).await.status, StatusCode::OK);
    let refused = get(&slow).await;
    assert_eq!(refused.fault(), "429 rate_limited: the API key is used more often than it may be");
    assert_eq!(refused.header("retry-after"), Some("4"));
    assert_eq!(get(&other).await.status, StatusCode::OK, "others do not wait");
    tokio::time::advance(std::time::Duration::from_secs(4)).await;
    assert_eq!(get(&slow).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_the_operator_s() {
    let holders = Holders::new();
    let (theirs, operators) = (holders.add("two", None).await, holders.add("default", None).await);
    let world = holders.world().await;
    let get = async |key: &ApiKey| world.get_with("/metrics", ("authorization", &bearer(key))).await;
    assert_eq!(get(&theirs).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&operators).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_read_again_go_on() {
    let holders = Holders::new();
    let key = holders.add("one", None).await;
    let world = holders.world().await;
    std::fs::remove_file(holders.folder.path().join("keys.json")).unwrap();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(world.get_with("/models", ("x-api-key", key.reveal())).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_principal_that_the_front_door_names_is_the_tenant() {
    let world = World::with(Settings { access: Access::Principals, ..Settings::default() });
    assert_eq!(world.get("/models").await.status, StatusCode::UNAUTHORIZED);
    let submit = async |who: &str| {
        let mut request = Request::post("/jobs").header("content-type", "application/json").body(Body::from(body()));
        request.as_mut().unwrap().extensions_mut().insert(Principal(who.parse().unwrap()));
        world.send(request.unwrap()).await.id()
    };
    let job = submit("AIDAONE").await;
    assert_eq!(world.ticket(job).await.tenant.as_str(), "AIDAONE");
    let show = async |who: &str| {
        let mut request = Request::get(format!("/jobs/{job}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Principal(who.parse().unwrap()));
        world.send(request).await.status
    };
    assert_eq!(show("AIDAONE").await, StatusCode::OK);
    assert_eq!(show("AIDATWO").await, StatusCode::NOT_FOUND);
}
