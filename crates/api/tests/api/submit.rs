//! `POST /jobs` when it goes well, and when what it stands on does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use job::{Input, State};

use crate::support::{ROW, World, inline_result, publish};

#[tokio::test(start_paused = true)]
async fn an_inline_job_is_queued_at_once() {
    let world = World::new();
    let body = "{\"model\":\"table\",\"input\": [ {\"a\":1.50,\"b\":2} ],\"params\":{\"round\":true}}";
    let answer = world.post("/jobs", body, &[]).await;
    insta::assert_snapshot!(answer);
    let ticket = world.ticket(answer.id()).await;
    // The input is kept as it was written, blanks and zeros included.
    insta::assert_snapshot!("inline_ticket", serde_json::to_string(&ticket).unwrap());
    let message = world.queue_message().await;
    insta::assert_snapshot!("inline_message", message);
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_presigned() {
    let world = World::new();
    let body = r#"{"model":"table","upload":{"filename":"my rows.json","content_type":"application/json","size_bytes":17,
        "sha256":"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"}}"#;
    let answer = world.post("/jobs", body, &[]).await;
    insta::assert_snapshot!(answer);
    let ticket = world.ticket(answer.id()).await;
    insta::assert_snapshot!("upload_ticket", serde_json::to_string_pretty(&ticket).unwrap());
    assert_eq!(world.sent(), 0, "its event is its message");
}

#[tokio::test(start_paused = true)]
async fn pictures_are_uploaded() {
    let world = World::new();
    publish(world.models.path(), "drawing", "1", "");
    let path = world.models.path().join("drawing/1/model.toml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    let pictures = ["input = { kind = \"image\" }", "output = { kind = \"image\", description = \"A drawing.\" }"];
    let lines = manifest.lines().map(|line| match line {
        line if line.starts_with("input =") => pictures[0],
        line if line.starts_with("output =") => pictures[1],
        line => line,
    });
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();

    let inline = world.post("/jobs", r#"{"model":"drawing","input":"iVBORw0KGgo="}"#, &[]).await;
    insta::assert_snapshot!("an_inline_picture", inline);
    let upload = |content_type: &str| {
        format!(
            r#"{{"model":"drawing","upload":{{"filename":"cat","content_type":"{content_type}","size_bytes":1000}}}}"#
        )
    };
    let wrong = world.post("/jobs", upload("image/heic"), &[]).await;
    insta::assert_snapshot!("an_upload_of_another_kind", wrong);
    for good in ["image/jpeg", "application/octet-stream"] {
        assert_eq!(world.post("/jobs", upload(good), &[]).await.status, StatusCode::CREATED, "{good}");
    }
    insta::assert_snapshot!("a_model_of_pictures", world.get("/models/drawing").await);
}

#[tokio::test(start_paused = true)]
async fn a_client_can_wait_for_the_result() {
    let world = World::new();
    let body = format!(r#"{{"model":"table","input":{ROW}}}"#);
    let waiting = world.post("/jobs", body.clone(), &[("prefer", "wait=10")]);
    let working = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let message = world.queue_message().await;
        let work = job::envelope::decode(&message).unwrap();
        let job::Work::Run { job, .. } = &work[0] else { panic!("{work:?}") };
        world.end(*job, inline_result()).await;
    };
    let (answer, ()) = tokio::join!(waiting, working);
    insta::assert_snapshot!(answer);

    let started = tokio::time::Instant::now();
    let answer = world.post("/jobs", body, &[("prefer", "wait=3600")]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.header("preference-applied"), Some("wait=25"));
    assert_eq!(started.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn j2_an_accepted_job_survives_a_queue_that_is_down() {
    let world = World::new();
    world.queue_down.store(true, Ordering::SeqCst);
    let job = world.inline().await;
    assert_eq!(world.sent(), 0);
    world.queue_down.store(false, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(world.get(&format!("/jobs/{job}")).await.json()["state"], State::Queued.as_str());
    assert_eq!(world.sent(), 1, "a look sends the message again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_said_without_its_secrets() {
    let world = World::new();
    world.outbox.go_down();
    let body = format!(r#"{{"model":"table","input":{ROW}}}"#);
    insta::assert_snapshot!(world.post("/jobs", body, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up() {
    let world = World::new();
    world.outbox.hang();
    let body = format!(r#"{{"model":"table","input":{ROW}}}"#);
    let answer = world.post("/jobs", body, &[]).await;
    insta::assert_snapshot!(answer.fault(), @"503 storage_unavailable: the storage did not answer in time; try again shortly");
}

#[tokio::test(start_paused = true)]
async fn content_types() {
    let world = World::new();
    let post = |kind: Option<&'static str>| {
        let mut request = Request::post("/jobs");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        world.send(request.body(Body::from(format!(r#"{{"model":"table","input":{ROW}}}"#))).unwrap())
    };
    for good in [None, Some("application/json"), Some("Application/JSON; charset=utf-8"), Some("application/x+json")] {
        assert_eq!(post(good).await.status, StatusCode::ACCEPTED, "{good:?}");
    }
    insta::assert_snapshot!(post(Some("application/x-www-form-urlencoded")).await.fault(), @r#"415 unsupported_media_type: the body must be application/json, not "application/x-www-form-urlencoded"; curl needs -H 'content-type: application/json' beside -d"#);
    assert_eq!(post(Some("text/plain")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test(start_paused = true)]
async fn the_largest_inline_input_is_taken_and_the_next_byte_is_not() {
    let world = World::new();
    let body = |length: usize| {
        let padding = " ".repeat(length - ROW.len());
        let input = ROW.replace('[', &format!("[{padding}"));
        assert_eq!(input.len(), length);
        format!(r#"{{"model":"table","input":{input}}}"#)
    };
    let answer = world.post("/jobs", body(1 << 20), &[]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let ticket = world.ticket(answer.id()).await;
    assert!(matches!(ticket.input, Input::Inline(input) if input.get().len() == 1 << 20));
    insta::assert_snapshot!(world.post("/jobs", body((1 << 20) + 1), &[]).await);
    for megabytes in [2, 20] {
        let answer = world.post("/jobs", body(megabytes << 20), &[]).await;
        assert_eq!(answer.json()["code"], "use_upload");
    }
}
