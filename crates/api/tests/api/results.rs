//! `GET /jobs/{id}/result`.

use axum::http::StatusCode;

use crate::support::{World, failed, inline_result, large_result};

#[tokio::test(start_paused = true)]
async fn a_small_result_is_given_as_it_was_stored() {
    let world = World::new();
    let job = world.inline().await;
    world.end(job, inline_result()).await;
    let answer = world.get(&format!("/jobs/{job}/result")).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert_eq!(answer.body, "[6.5739140510559080, 4.869720935821533]");
}

#[tokio::test(start_paused = true)]
async fn a_large_result_is_elsewhere() {
    let world = World::new();
    let job = world.upload().await;
    world.end(job, large_result(job)).await;
    insta::assert_snapshot!(world.get(&format!("/jobs/{job}/result")).await);
}

#[tokio::test(start_paused = true)]
async fn there_may_be_none() {
    let world = World::new();
    let job = world.inline().await;
    let path = format!("/jobs/{job}/result");
    insta::assert_snapshot!(world.get(&path).await);
    world.end(job, failed()).await;
    insta::assert_snapshot!("failed", world.get(&path).await);
    let job = world.inline().await;
    world.delete(&format!("/jobs/{job}")).await;
    insta::assert_snapshot!(world.get(&format!("/jobs/{job}/result")).await.fault(), @"409 no_result: the job was cancelled");
}
