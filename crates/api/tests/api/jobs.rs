//! `GET` and `DELETE /jobs/{id}`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use job::{Code, Problem};
use tokio::time::Instant;

use crate::support::{World, failed, inline_result, large_result, nobodys};

#[tokio::test(start_paused = true)]
async fn a_job_in_each_state() {
    let world = World::new();
    let mut views = Vec::new();

    let job = world.upload().await;
    views.push(world.get(&format!("/jobs/{job}")).await);
    world.put_input(job, "[]").await;
    views.push(world.get(&format!("/jobs/{job}")).await);
    tokio::time::advance(Duration::from_secs(35)).await;
    world.progress(job, 1, Some(Problem::new(Code::StorageUnavailable, "the storage did not answer"))).await;
    views.push(world.get(&format!("/jobs/{job}")).await);
    world.end(job, large_result(job)).await;
    views.push(world.get(&format!("/jobs/{job}")).await);

    let job = world.inline().await;
    world.end(job, inline_result()).await;
    views.push(world.get(&format!("/jobs/{job}")).await);

    let job = world.inline().await;
    world.end(job, failed()).await;
    views.push(world.get(&format!("/jobs/{job}")).await);

    let job = world.upload().await;
    tokio::time::advance(Duration::from_secs(900 + 3600 + 1)).await;
    views.push(world.get(&format!("/jobs/{job}")).await);

    let text: Vec<String> = views.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n\n---\n\n"));
}

#[tokio::test(start_paused = true)]
async fn j7_what_is_not_yours_looks_like_what_is_not_there() {
    let world = World::new();
    let mine = world.inline().await;
    let mut theirs = world.ticket(mine).await;
    theirs.job = job::JobId::from_random([1; 16]);
    theirs.tenant = "someone-else".parse().unwrap();
    world.ledger.accept(&theirs).await.unwrap();
    let calls = async |path: String| {
        let before = world.outbox.calls.load(Ordering::SeqCst);
        let answers = [
            world.get(&path).await,
            world.get(&format!("{path}/result")).await,
            world.delete(&path).await,
            world.post(&format!("{path}/retry"), "", &[]).await,
        ];
        let text = answers.map(|answer| answer.to_string()).join("\n\n");
        (text, world.outbox.calls.load(Ordering::SeqCst) - before)
    };
    let absent = calls(format!("/jobs/{}", nobodys())).await;
    insta::assert_snapshot!(absent.0);
    assert_eq!(calls(format!("/jobs/{}", theirs.job)).await, absent);
    assert!(world.ledger.outcome(theirs.job).await.unwrap().is_none());
    for malformed in ["x", "..%2f..%2fetc", "%ff", &mine.to_string().to_uppercase()] {
        assert_eq!(calls(format!("/jobs/{malformed}")).await.0, absent.0, "{malformed}");
    }
    tokio::time::advance(Duration::from_secs(30 * 24 * 3600)).await;
    assert_eq!(calls(format!("/jobs/{mine}")).await, absent, "past its retention");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_the_job_or_with_its_time() {
    let world = World::new();
    let job = world.inline().await;
    let started = Instant::now();
    assert_eq!(world.get(&format!("/jobs/{job}?wait=7")).await.json()["state"], "queued");
    assert_eq!(started.elapsed().as_secs(), 7);

    let (path, started) = (format!("/jobs/{job}?wait=1000"), Instant::now());
    let ending = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.end(job, inline_result()).await;
    };
    let (answer, ()) = tokio::join!(world.get(&path), ending);
    assert_eq!(answer.json()["state"], "succeeded");
    assert!(started.elapsed() < Duration::from_secs(12));

    let job = world.inline().await;
    let (before, started) = (world.outbox.calls.load(Ordering::SeqCst), Instant::now());
    world.get(&format!("/jobs/{job}?wait=1000")).await;
    assert_eq!(started.elapsed().as_secs(), 25, "the server's own limit");
    assert!(world.outbox.calls.load(Ordering::SeqCst) - before < 45, "reads are what waiting costs");
}

#[tokio::test(start_paused = true)]
async fn a_tag_stands_until_something_changes() {
    let world = World::new();
    let job = world.inline().await;
    let path = format!("/jobs/{job}");
    let tag = world.get(&path).await.header("etag").unwrap().to_owned();
    let same = world.get_with(&path, ("if-none-match", &tag)).await;
    insta::assert_snapshot!(same);
    world.progress(job, 0, None).await;
    let changed = world.get_with(&path, ("if-none-match", &tag)).await;
    assert_eq!(changed.status, StatusCode::OK);
    world.end(job, large_result(job)).await;
    let done = world.get(&path).await;
    let tag = done.header("etag").unwrap();
    assert_eq!(world.get_with(&path, ("if-none-match", tag)).await.status, StatusCode::NOT_MODIFIED);
    tokio::time::advance(Duration::from_secs(1800)).await;
    let signed_anew = world.get_with(&path, ("if-none-match", tag)).await;
    assert_eq!(signed_anew.status, StatusCode::OK, "before its URLs die");
}

#[tokio::test(start_paused = true)]
async fn cancelling() {
    let world = World::new();
    let job = world.upload().await;
    let path = format!("/jobs/{job}");
    insta::assert_snapshot!(world.delete(&path).await);
    insta::assert_snapshot!("cancelling_again", world.delete(&path).await);
    assert_eq!(world.get(&path).await.json()["state"], "cancelled");
    for (name, ending) in [("succeeded", inline_result()), ("failed", failed())] {
        let job = world.inline().await;
        world.end(job, ending).await;
        let fault = world.delete(&format!("/jobs/{job}")).await.fault();
        assert_eq!(fault, format!("409 already_finished: the job has already {name}"));
    }
}
