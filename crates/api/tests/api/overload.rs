//! More than the API takes on at once.

use std::time::Duration;

use api::Settings;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::support::{ROW, World, inline_result};

fn submission() -> String {
    format!(r#"{{"model":"table","input":{ROW}}}"#)
}

/// A body of unknown length that ends when the sender says so.
fn slow_body() -> (oneshot::Sender<()>, Body) {
    let (end, ended) = oneshot::channel();
    let rest = futures::stream::once(async move {
        ended.await.unwrap();
        Ok::<_, std::io::Error>(Bytes::from(submission()))
    });
    (end, Body::from_stream(rest.boxed()))
}

#[tokio::test(start_paused = true)]
async fn j6_bodies_beyond_the_limit_are_told_to_come_again() {
    // Room for one body whose length is not known, and no more than that.
    let world = World::with(Settings { max_bodies_bytes: 0, ..Settings::default() });
    let (end, body) = slow_body();
    let first = world.post("/jobs", body, &[]);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let refused = world.post("/jobs", submission(), &[]).await;
        assert_eq!(refused.fault(), "429 overloaded: too many requests are under way; try again in a second");
        assert_eq!(refused.header("retry-after"), Some("1"));
        // Whoever only asks is answered.
        assert_eq!(world.get("/models").await.status, StatusCode::OK);
        end.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first}");
    assert_eq!(world.post("/jobs", submission(), &[]).await.status, StatusCode::ACCEPTED);
    assert_eq!((world.tickets().await, world.sent()), (2, 2), "what was refused left nothing");
}

#[tokio::test(start_paused = true)]
async fn small_bodies_take_little_room() {
    let world = World::with(Settings { max_bodies_bytes: 0, ..Settings::default() });
    let length = submission().len().to_string();
    let headers = [("content-length", length.as_str())];
    let (ends, bodies): (Vec<_>, Vec<_>) = (0..100).map(|_| slow_body()).unzip();
    let posts = futures::future::join_all(bodies.into_iter().map(|body| world.post("/jobs", body, &headers)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ends.into_iter().for_each(|end| end.send(()).unwrap());
    };
    for answer in tokio::join!(posts, meanwhile).0 {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_to_wait_in_is_answered_at_once() {
    let world = World::with(Settings { max_waits: 1, ..Settings::default() });
    let job = world.inline().await;
    let path = format!("/jobs/{job}?wait=20");
    let started = Instant::now();
    let waiting = async { (world.get(&path).await, started.elapsed()) };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let other = world.get(&path).await;
        assert_eq!((other.status, started.elapsed().as_secs()), (StatusCode::OK, 1));
        assert!(other.body.contains(r#""state":"queued""#), "{other}");
        world.end(job, inline_result()).await;
    };
    let ((first, took), ()) = tokio::join!(waiting, meanwhile);
    assert!(first.body.contains(r#""state":"succeeded""#), "{first}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}
