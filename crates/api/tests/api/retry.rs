//! `POST /jobs/{id}/retry`.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use cloud::PutOptions;
use job::{Input, JobId, layout};

use crate::support::{Answer, ROW, World, failed, inline_result, publish};

async fn retry(world: &World, job: JobId) -> Answer {
    world.post(&format!("/jobs/{job}/retry"), "", &[]).await
}

#[tokio::test(start_paused = true)]
async fn an_inline_job_runs_again_on_the_served_version() {
    let world = World::new();
    let job = world.inline().await;
    assert_eq!(retry(&world, job).await.fault(), "409 not_finished: the job is queued; cancel it first, or wait");
    world.end(job, failed()).await;
    publish(world.models.path(), "table", "2", "");
    tokio::time::advance(Duration::from_secs(10)).await;
    let answer = retry(&world, job).await;
    insta::assert_snapshot!(answer);
    let ticket = world.ticket(answer.id()).await;
    assert!(matches!(ticket.input, Input::Inline(input) if input.get() == ROW));
    assert_eq!((ticket.retry_of, world.sent()), (Some(job), 2));
}

#[tokio::test(start_paused = true)]
async fn an_uploaded_input_is_pinned() {
    let world = World::new();
    let job = world.upload().await;
    world.put_input(job, "[1]").await;
    world.end(job, failed()).await;
    let second = retry(&world, job).await;
    assert_eq!((second.status, &second.json()["state"]), (StatusCode::ACCEPTED, &"queued".into()));
    insta::assert_snapshot!(world.queue_message().await);
    let ticket = world.ticket(second.id()).await;
    insta::assert_snapshot!("uploaded_retry_ticket", serde_json::to_string_pretty(&ticket).unwrap());
    world.end(second.id(), inline_result()).await;

    world.put_input(job, "[2]").await;
    assert_eq!(retry(&world, second.id()).await.json()["code"], "input_gone", "it is another one now");
    world.ledger.inbox.delete(&layout::upload_key(job, "rows.json")).await.unwrap();
    insta::assert_snapshot!("input_gone", retry(&world, job).await);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_input_must_still_be_that_version() {
    let world = World::new();
    let (key, job) = ("drop/table/a.json", world.inline().await);
    let put = |body: &'static str| world.ledger.inbox.put(key, Bytes::from(body), PutOptions::default());
    let mut ticket = world.ticket(job).await;
    ticket.job = JobId::from_random([3; 16]);
    ticket.input = Input::Drop {
        key: key.into(),
        path: "a.json".into(),
        etag: put(ROW).await.unwrap(),
        size_bytes: ROW.len() as u64,
        content_type: None,
        last_modified: ticket.created_at,
    };
    world.ledger.accept(&ticket).await.unwrap();
    world.end(ticket.job, failed()).await;
    let again = retry(&world, ticket.job).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert!(matches!(world.ticket(again.id()).await.input, Input::Drop { .. }));
    put("[]").await.unwrap();
    assert_eq!(retry(&world, ticket.job).await.json()["code"], "input_gone");
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_a_key_as_well() {
    let world = World::new();
    let job = world.inline().await;
    world.end(job, failed()).await;
    let key = [("idempotency-key", "again")];
    let path = format!("/jobs/{job}/retry");
    let (one, two) = (world.post(&path, "", &key).await, world.post(&path, "", &key).await);
    assert_eq!((one.status, one.id()), (two.status, two.id()));
    assert_eq!(world.tickets().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_changed_its_mind_is_heard_at_once() {
    let world = World::new();
    let job = world.inline().await;
    world.end(job, failed()).await;
    publish(world.models.path(), "table", "2", "limits = { max_input_bytes = 5 }");
    tokio::time::advance(Duration::from_secs(10)).await;
    insta::assert_snapshot!(retry(&world, job).await.fault(), @"413 too_large: the input has 17 bytes; this model takes at most 5");
    std::fs::remove_dir_all(world.models.path().join("table")).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(retry(&world, job).await.json()["code"], "unknown_model");
}
