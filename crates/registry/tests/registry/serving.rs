//! Which version is served, while the registry changes under a running process.

use std::sync::atomic::Ordering;
use std::time::Duration;

use job::error::Code;
use registry::serving::FRESH;
use registry::{Refusal, Registry, RegistryError};
use tokio::time::{Instant, advance};

use crate::support::{Bucket, bundle, name, version, write};

async fn served(registry: &Registry) -> String {
    registry.resolve(&name()).await.unwrap().expect("a version is served").version.to_string()
}

fn refused(registry: &Registry) -> String {
    registry.refused(&name()).map_or("nothing".to_owned(), |Refusal { reason, .. }| reason)
}

#[tokio::test(start_paused = true)]
async fn the_highest_version_is_served_unless_another_is_named() {
    let root = tempfile::tempdir().unwrap();
    for number in ["9", "10"] {
        write(root.path(), number, number);
    }
    let registry = Registry::directory(root.path());
    assert_eq!(served(&registry).await, "10");
    std::fs::write(root.path().join("m/current"), "9\n").unwrap();
    assert_eq!(served(&registry).await, "10", "looked at again only after a while");
    advance(FRESH).await;
    assert_eq!(served(&registry).await, "9");
    assert!(registry.resolve(&"absent".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(registry.names().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn polling_costs_two_reads_of_small_objects() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    bucket.put("m/current", "1").await;
    let registry = bucket.registry();
    served(&registry).await;
    assert_eq!(bucket.calls(), 3, "the alias, model.toml, and the list of files");
    for _ in 0..10 {
        advance(FRESH).await;
        served(&registry).await;
    }
    assert_eq!(bucket.calls(), 20);
    assert_eq!(bucket.files_read.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_whole_is_refused_and_the_one_before_goes_on() {
    let good = bundle("2", "two");
    let manifest = String::from_utf8(good[2].1.to_vec()).unwrap();
    let cases: [(&str, Option<String>, &str); 5] = [
        ("m/2/a.bin", None, "model m version 2 lacks its file a.bin"),
        (
            "m/2/model.ubj",
            Some("x".into()),
            "model m version 2: file model.ubj does not match the SHA-256 in model.toml",
        ),
        ("m/2/model.toml", None, "model m is to serve version 2, which has no model.toml"),
        ("m/2/model.toml", Some("format = 1".into()), "model m version 2 is not usable: "),
        ("m/2/model.toml", Some(manifest.replacen("\"m\"", "\"n\"", 1)), "model m version 2 is not usable: "),
    ];
    for (path, damage, reason) in cases {
        let bucket = Bucket::new();
        bucket.put_version("1", "one").await;
        bucket.put_version("2", "two").await;
        bucket.put("m/current", "1").await;
        let running = bucket.registry();
        assert_eq!(served(&running).await, "1");
        match damage {
            Some(bytes) => bucket.put(path, bytes).await,
            None => bucket.delete(path).await,
        }
        bucket.put("m/current", "2").await;
        for _ in 0..5 {
            advance(FRESH).await;
            assert_eq!(served(&running).await, "1", "{reason}");
            assert!(refused(&running).starts_with(reason), "{}", refused(&running));
        }
        assert!(bucket.files_read.load(Ordering::SeqCst) <= 1, "what was refused is not read again and again");
        // Whole again, it is served at once; nothing is held against it.
        bucket.put_version("2", "two").await;
        advance(FRESH).await;
        assert_eq!(served(&running).await, "2", "{reason}");
        assert_eq!(refused(&running), "nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_says_nothing_changes_nothing() {
    let bucket = Bucket::new();
    for number in ["1", "2"] {
        bucket.put_version(number, number).await;
    }
    bucket.put("m/current", "1").await;
    let running = bucket.registry();
    assert_eq!(served(&running).await, "1");
    // As `echo 1 > current` leaves the file for a moment.
    bucket.put("m/current", "").await;
    advance(FRESH).await;
    assert_eq!(served(&running).await, "1");
    let error = bucket.registry().resolve(&name()).await.unwrap_err();
    assert_eq!(error.to_string(), "the file `current` of model m does not hold a version's name");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_served_nothing_before_says_what_is_wrong_with_what_the_alias_names() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    bucket.put("m/current", "2").await;
    let error = bucket.registry().resolve(&name()).await.unwrap_err();
    assert!(matches!(error, RegistryError::VersionMissing { .. }));
    assert_eq!(error.problem().code, Code::ModelBroken);
    bucket.put_version("2", "two").await;
    bucket.delete("m/2/a.bin").await;
    let error = bucket.registry().resolve(&name()).await.unwrap_err();
    assert_eq!(error.to_string(), "model m version 2 lacks its file a.bin");
}

#[tokio::test(start_paused = true)]
async fn without_an_alias_the_highest_complete_version_is_served() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    let running = bucket.registry();
    assert_eq!(served(&running).await, "1");
    // Being copied by hand, in the order of the files' names.
    let mut files = bundle("2", "two");
    let last = files.remove(1);
    for (file, bytes) in files {
        bucket.put(&format!("m/2/{file}"), bytes).await;
        advance(FRESH).await;
        assert_eq!(served(&running).await, "1");
        assert_eq!(served(&bucket.registry()).await, "1");
    }
    assert_eq!(refused(&running), "model m version 2 lacks its file model.ubj");
    bucket.put("m/2/model.ubj", last.1).await;
    advance(FRESH).await;
    assert_eq!(served(&running).await, "2");
    // The only version, and incomplete: it is named rather than unknown.
    bucket.delete("m/1/model.toml").await;
    bucket.delete("m/2/a.bin").await;
    assert!(matches!(bucket.registry().resolve(&name()).await, Err(RegistryError::FileMissing { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_picked_up_within_five_seconds() {
    for slow in [0, 900, 2500] {
        let bucket = Bucket::new();
        bucket.put_version("1", "one").await;
        let running = bucket.registry();
        assert_eq!(served(&running).await, "1");
        *bucket.slow.lock().unwrap() = Duration::from_millis(slow);
        advance(FRESH / 2).await;
        bucket.put_version("2", "two").await;
        let pushed = Instant::now();
        let mut longest = Duration::ZERO;
        loop {
            let asked = Instant::now();
            let now = served(&running).await;
            longest = longest.max(asked.elapsed());
            if now == "2" {
                break;
            }
            advance(Duration::from_millis(100)).await;
        }
        assert!(pushed.elapsed() <= Duration::from_secs(5), "{slow} ms: {:?}", pushed.elapsed());
        assert!(longest <= Duration::from_millis(1100), "a request waited {longest:?} for a file of {slow} ms");
        assert_eq!(bucket.files_read.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_reads_a_new_version_once_and_sees_it_once_and_for_all() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    let running = std::sync::Arc::new(bucket.registry());
    assert_eq!(served(&running).await, "1");
    bucket.put_version("2", "two").await;
    bucket.interleave(7);
    *bucket.slow.lock().unwrap() = Duration::from_millis(500);
    advance(FRESH).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let running = running.clone();
        crowd.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                seen.push(served(&running).await);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            seen
        });
    }
    while let Some(seen) = crowd.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.is_sorted() && seen.last().unwrap() == "2", "{seen:?}");
    }
    assert_eq!(bucket.files_read.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_was_removed_is_served_no_more() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    let running = bucket.registry();
    assert_eq!(served(&running).await, "1");
    bucket.put("m/current", "2").await;
    bucket.delete("m/1/model.toml").await;
    advance(FRESH).await;
    assert!(running.resolve(&name()).await.is_err());
    bucket.delete("m/current").await;
    advance(FRESH).await;
    assert!(running.resolve(&name()).await.unwrap().is_none());
    assert_eq!(running.version(&name(), &version("1")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_not_taken_for_a_broken_bundle() {
    let bucket = Bucket::new();
    bucket.put_version("1", "one").await;
    let running = bucket.registry();
    assert_eq!(served(&running).await, "1");
    bucket.put_version("2", "two").await;
    for step in 0..6 {
        advance(FRESH).await;
        bucket.crash_at(step, false);
        match running.resolve(&name()).await {
            Ok(found) => assert_eq!(found.unwrap().version.as_str(), "1", "step {step}"),
            Err(error) => assert!(error.is_transient(), "step {step}: {error:?}"),
        }
    }
    bucket.mend();
    advance(FRESH).await;
    assert_eq!(served(&running).await, "2");
}
