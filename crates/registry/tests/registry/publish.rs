//! Pushes, whole, broken off and racing.

use registry::publish::{Copied, Direction};
use registry::serving::FRESH;
use registry::{PublishError, Published, Registry, RegistryError};
use tokio::time::advance;

use crate::support::{Bucket, folder, name, version, write};

/// What `millpond models push` does once the bundle is checked.
async fn push(from: &Registry, model: &Published, to: &Registry) -> Result<Copied, PublishError> {
    let copied = to.copy_from(from, model, &|_, _| ()).await?;
    to.move_alias(&model.name, &model.version, Direction::Forward).await?;
    Ok(copied)
}

/// The served version's number, its files read and their digests checked.
async fn served_whole(registry: &Registry) -> String {
    let served = registry.resolve(&name()).await.unwrap().expect("a version is served");
    assert_eq!(registry.files(&served).await.unwrap().len(), 2);
    served.version.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_push_uploads_a_version_and_moves_the_alias() {
    let bucket = Bucket::new();
    let (_one, one, first) = folder("1", "one").await;
    let to = bucket.registry();
    let copied = push(&one, &first, &to).await.unwrap();
    assert_eq!((copied.written, copied.there), (3, 0));
    assert_eq!(served_whole(&bucket.registry()).await, "1");
    assert_eq!(to.alias(&name()).await.unwrap(), Some(version("1")));
    let again = push(&one, &first, &to).await.unwrap();
    assert_eq!((again.written, again.written_bytes, again.there), (0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_push_that_stops_anywhere_leaves_one_whole_version_served_and_can_be_repeated() {
    let (_two, two, second) = folder("2", "two").await;
    for after in [false, true] {
        for aliased in [false, true] {
            let mut seen = Vec::new();
            for step in 0.. {
                let bucket = Bucket::new();
                bucket.put_version("1", "one").await;
                if aliased {
                    bucket.put("m/current", "1").await;
                }
                let running = bucket.registry();
                assert_eq!(served_whole(&running).await, "1");
                bucket.crash_at(step, after);
                let pushed = push(&two, &second, &bucket.registry()).await;
                bucket.mend();

                let served = served_whole(&bucket.registry()).await;
                advance(FRESH).await;
                assert_eq!(served_whole(&running).await, served, "step {step}: a running process and a new one differ");
                seen.push(served.clone());
                // Only an alias that was moved shows the new version.
                let alias = bucket.registry().alias(&name()).await.unwrap();
                assert_eq!(served == "2", alias == Some(version("2")), "step {step}");
                push(&two, &second, &bucket.registry()).await.unwrap();
                assert_eq!(served_whole(&bucket.registry()).await, "2");
                if pushed.is_ok() {
                    break;
                }
            }
            assert!(seen.len() > 8, "{seen:?}");
            assert!(seen.is_sorted(), "{seen:?}");
            // Where the last write took effect although its answer was lost, the push reports a failure and is done.
            assert_eq!(seen.iter().filter(|served| *served == "2").count(), if after { 2 } else { 1 }, "{seen:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_bytes_under_the_same_version_are_refused_and_change_nothing() {
    let bucket = Bucket::new();
    let (_one, one, first) = folder("1", "one").await;
    push(&one, &first, &bucket.registry()).await.unwrap();
    let (_other, other, changed) = folder("1", "another").await;
    let error = push(&other, &changed, &bucket.registry()).await.unwrap_err();
    assert_eq!(error.to_string(), "version 1 of m is there already, with another model.toml");
    // The same where the one before stopped halfway.
    bucket.delete("m/1/model.toml").await;
    let error = push(&other, &changed, &bucket.registry()).await.unwrap_err();
    assert_eq!(error.to_string(), "version 1 of m is there already, with another a.bin");
    push(&one, &first, &bucket.registry()).await.unwrap();
    assert_eq!(served_whole(&bucket.registry()).await, "1");
}

#[tokio::test(start_paused = true)]
async fn of_two_versions_pushed_at_once_the_higher_one_is_served() {
    let (_two, two, second) = folder("2", "two").await;
    let (_three, three, third) = folder("3", "three").await;
    let mut refused = 0;
    for seed in 1..=200 {
        let bucket = Bucket::new();
        bucket.put_version("1", "one").await;
        bucket.interleave(seed);
        let (a, b) = (bucket.registry(), bucket.registry());
        let (lower, higher) = tokio::join!(push(&two, &second, &a), push(&three, &third, &b));
        higher.unwrap();
        match lower {
            Ok(_) => {}
            Err(PublishError::Backwards { served, .. }) if served == version("3") => refused += 1,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
        assert_eq!(served_whole(&bucket.registry()).await, "3", "seed {seed}");
    }
    assert!((1..200).contains(&refused), "both orders must occur, {refused} of 200 were refused");
}

#[tokio::test(start_paused = true)]
async fn of_two_bundles_pushed_as_one_version_at_once_one_is_there_whole() {
    let (_one, one, mine) = folder("2", "mine").await;
    let (_two, two, yours) = folder("2", "yours").await;
    let mut wins = [0, 0];
    for seed in 1..=200 {
        let bucket = Bucket::new();
        bucket.put_version("1", "one").await;
        bucket.interleave(seed);
        let (a, b) = (bucket.registry(), bucket.registry());
        let outcomes = tokio::join!(push(&one, &mine, &a), push(&two, &yours, &b));
        let (winner, loser) = match outcomes {
            (Ok(_), Err(error)) => (&mine, error),
            (Err(error), Ok(_)) => (&yours, error),
            other => panic!("seed {seed}: {other:?}"),
        };
        assert!(matches!(loser, PublishError::Different { .. }), "seed {seed}: {loser:?}");
        wins[usize::from(winner.digest == yours.digest)] += 1;
        let registry = bucket.registry();
        assert_eq!(served_whole(&registry).await, "2", "seed {seed}");
        assert_eq!(registry.resolve(&name()).await.unwrap().unwrap().digest, winner.digest, "seed {seed}");
    }
    assert!(wins[0] > 0 && wins[1] > 0, "{wins:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_bundle_pushed_twice_at_once_is_there_once() {
    let (_two, two, second) = folder("2", "two").await;
    for seed in 1..=100 {
        let bucket = Bucket::new();
        bucket.interleave(seed);
        let (a, b) = (bucket.registry(), bucket.registry());
        let (one, other) = tokio::join!(push(&two, &second, &a), push(&two, &second, &b));
        assert_eq!(one.unwrap().written + other.unwrap().written, 3, "seed {seed}");
        assert_eq!(served_whole(&bucket.registry()).await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn the_alias_moves_back_only_when_that_is_meant() {
    let bucket = Bucket::new();
    for number in ["1", "2"] {
        bucket.put_version(number, number).await;
    }
    let to = bucket.registry();
    assert_eq!(to.move_alias(&name(), &version("2"), Direction::Forward).await.unwrap(), None);
    let error = to.move_alias(&name(), &version("1"), Direction::Forward).await.unwrap_err();
    assert_eq!(error.to_string(), "m serves version 2, which is higher than 1");
    assert_eq!(to.move_alias(&name(), &version("1"), Direction::Any).await.unwrap(), Some(version("2")));
    assert_eq!(served_whole(&bucket.registry()).await, "1");
    // A version that nobody could serve is no place to go to.
    let error = to.move_alias(&name(), &version("3"), Direction::Any).await.unwrap_err();
    assert!(matches!(error, PublishError::Registry(RegistryError::VersionMissing { .. })));
    bucket.delete("m/2/a.bin").await;
    let error = to.move_alias(&name(), &version("2"), Direction::Any).await.unwrap_err();
    assert_eq!(error.to_string(), "model m version 2 lacks its file a.bin");
    // An alias that says nothing is mended by whoever says what it is to say.
    bucket.put("m/current", "\n").await;
    assert!(to.move_alias(&name(), &version("1"), Direction::Forward).await.is_err());
    assert_eq!(to.move_alias(&name(), &version("1"), Direction::Any).await.unwrap(), None);
}

#[tokio::test]
async fn a_folder_takes_pushes_as_a_bucket_does() {
    let root = tempfile::tempdir().unwrap();
    let to = Registry::directory(root.path());
    let (_one, one, first) = folder("1", "one").await;
    let (_two, two, second) = folder("2", "two").await;
    assert_eq!(push(&one, &first, &to).await.unwrap().written, 3);
    assert_eq!(push(&two, &second, &to).await.unwrap().written, 3);
    assert_eq!(push(&two, &second, &to).await.unwrap().there, 3);
    assert_eq!(served_whole(&Registry::directory(root.path())).await, "2");
    let (_other, other, changed) = folder("2", "another").await;
    let error = push(&other, &changed, &to).await.unwrap_err();
    assert!(matches!(error, PublishError::Different { .. }), "{error:?}");
    assert!(matches!(push(&one, &first, &to).await, Err(PublishError::Backwards { .. })));
    assert_eq!(to.move_alias(&name(), &version("1"), Direction::Any).await.unwrap(), Some(version("2")));
    assert_eq!(served_whole(&Registry::directory(root.path())).await, "1");
    let left: Vec<_> = std::fs::read_dir(root.path().join("m")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// Threads that race for the alias of a folder: all but moves forward are refused, so the highest one stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_pushes_to_a_folder_end_with_the_highest() {
    let root = tempfile::tempdir().unwrap();
    for number in 1..=8 {
        write(root.path(), &number.to_string(), "same");
    }
    let mut pushes = tokio::task::JoinSet::new();
    for number in 1..=8 {
        let to = Registry::directory(root.path());
        let number = version(&number.to_string());
        pushes.spawn(async move { to.move_alias(&name(), &number, Direction::Forward).await });
    }
    while let Some(moved) = pushes.join_next().await {
        match moved.unwrap() {
            Ok(_) | Err(PublishError::Backwards { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(served_whole(&Registry::directory(root.path())).await, "8");
}
