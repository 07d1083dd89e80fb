//! `Idempotency-Key`: one key, one job.

use std::time::Duration;

use axum::http::StatusCode;
use cloud::ObjectStore;
use futures::future::join_all;

use crate::support::{ROW, World, inline_result};

const KEY: &[(&str, &str)] = &[("idempotency-key", "order 17")];

fn inline() -> String {
    format!(r#"{{"model":"table","input":{ROW}}}"#)
}

#[tokio::test(start_paused = true)]
async fn j1_a_hundred_parallel_posts_make_one_job() {
    let world = World::new();
    let answers = join_all((0..100).map(|_| world.post("/jobs", inline(), KEY))).await;
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.id()).collect();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED));
    assert_eq!((ids.len(), world.tickets().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn j1_a_hundred_posts_from_many_threads_make_one_job() {
    let world = std::sync::Arc::new(World::new());
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let world = world.clone();
        posts.spawn(async move { world.post("/jobs", inline(), KEY).await });
    }
    let answers = posts.join_all().await;
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.id()).collect();
    assert_eq!((ids.len(), world.tickets().await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_sends_the_message_again_only_while_nothing_has_happened() {
    let world = World::new();
    let first = world.post("/jobs", inline(), KEY).await;
    let job = first.id();
    let repeat = world.post("/jobs", inline(), KEY).await;
    assert_eq!((repeat.status, repeat.to_string()), (first.status, first.to_string()));
    assert_eq!(world.sent(), 2);
    world.progress(job, 0, None).await;
    assert_eq!(world.post("/jobs", inline(), KEY).await.json()["state"], "running");
    world.end(job, inline_result()).await;
    let done = world.post("/jobs", inline(), KEY).await;
    assert_eq!((done.status, done.id()), (StatusCode::OK, job));
    assert_eq!(world.sent(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_key_is_refused() {
    let world = World::new();
    let job = world.post("/jobs", inline(), KEY).await.id();
    let other = inline().replace("1.5", "2.5");
    insta::assert_snapshot!(world.post("/jobs", other, KEY).await);
    world.end(job, inline_result()).await;
    let retry = world.post(&format!("/jobs/{job}/retry"), "", KEY).await;
    assert_eq!(retry.json()["code"], "idempotency_key_reused", "another call is another request");
}

#[tokio::test(start_paused = true)]
async fn an_upload_s_url_is_signed_anew_but_never_beyond_its_deadline() {
    let world = World::new();
    let body = r#"{"model":"table","upload":{"filename":"rows.json","size_bytes":17}}"#;
    let first = world.post("/jobs", body, KEY).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    let second = world.post("/jobs", body, KEY).await;
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!(first.id(), second.id());
    assert_eq!(second.json()["upload"]["expires_at"], "2026-11-20T12:25:00Z");
    tokio::time::advance(Duration::from_secs(900 + 3600 - 600 - 60)).await;
    let last = world.post("/jobs", body, KEY).await;
    assert_eq!(last.json()["upload"]["expires_at"], "2026-11-20T13:15:00Z");
    world.put_input(first.id(), ROW).await;
    let uploaded = world.post("/jobs", body, KEY).await;
    assert_eq!((uploaded.status, &uploaded.json()["state"]), (StatusCode::ACCEPTED, &"queued".into()));
    assert!(uploaded.json().get("upload").is_none());
    // The message names the version that the API saw.
    insta::assert_snapshot!(world.queue_message().await);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_finds_its_job_even_if_the_model_is_gone() {
    let world = World::new();
    let job = world.post("/jobs", inline(), KEY).await.id();
    std::fs::remove_dir_all(world.models.path().join("table")).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(world.post("/jobs", inline(), &[]).await.json()["code"], "unknown_model");
    assert_eq!(world.post("/jobs", inline(), KEY).await.id(), job);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_never_gets_the_outcome_of_one_whose_ticket_was_cleared_away() {
    let world = World::new();
    let job = world.post("/jobs", inline(), KEY).await.id();
    world.end(job, inline_result()).await;
    // Lifecycle rules remove a job's records one by one, the oldest first.
    world.outbox.inner.delete(&job::layout::ticket_key(job)).await.unwrap();
    let other = world.post("/jobs", inline().replace("1.5", "2.5"), KEY).await;
    assert_eq!((other.status, world.tickets().await), (StatusCode::UNPROCESSABLE_ENTITY, 0));
    assert_eq!(other.json()["code"], "idempotency_key_reused");
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_job_is_past_its_retention_is_spent() {
    let world = World::new();
    world.post("/jobs", inline(), KEY).await;
    tokio::time::advance(Duration::from_secs(30 * 24 * 3600)).await;
    insta::assert_snapshot!(world.post("/jobs", inline(), KEY).await.fault(), @"422 idempotency_key_reused: the job that this Idempotency-Key was first used for is past its retention; use another key");
}
