//! What every object store must do.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use job::id::ETag;
use tokio::task::JoinSet;

use super::keys::{
    keys_are_any_text, keys_have_a_limit, listings_are_in_byte_order, listings_go_on_where_they_ended,
    listings_keep_to_their_prefix, presigned_requests_live_a_week_at_most, presigned_requests_say_what_to_send,
};
use super::{Case, Expect, Failure, Pace, Verdict, cases, ensure, run};
use crate::object_store::{Condition, GetOptions, ObjectStore, PutOptions, StoreError};

/// A place for one case: an empty bucket, or a prefix of one under which nothing lies.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// What all of the case's keys start with; empty when the bucket is its own.
    pub prefix: String,
}

/// Runs the suite; `make` gives each case a fresh place.
pub async fn object_store(pace: Pace, make: impl AsyncFn() -> Bucket) -> Vec<Failure> {
    run(CASES, pace, make).await
}

const CASES: &[Case<Bucket>] = cases![
    a_write_is_seen_at_once,
    an_absent_object_is_not_found,
    deleting_twice_succeeds,
    all_reads_agree_about_an_object,
    metadata_and_type_come_back,
    bodies_of_any_size_come_back,
    an_object_is_created_once,
    one_of_many_creators_wins,
    a_stale_tag_does_not_write,
    one_of_many_updaters_wins,
    no_update_is_lost,
    a_read_can_ask_for_one_version,
    a_read_can_be_bounded,
    nobody_reads_half_a_write,
    keys_are_any_text,
    keys_have_a_limit,
    listings_are_in_byte_order,
    listings_go_on_where_they_ended,
    listings_keep_to_their_prefix,
    presigned_requests_say_what_to_send,
    presigned_requests_live_a_week_at_most,
];

impl Bucket {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) async fn put(
        &self,
        name: &str,
        body: impl Into<Bytes>,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        self.store.put(&self.key(name), body.into(), PutOptions { condition, ..PutOptions::default() }).await
    }

    pub(super) async fn write(&self, name: &str, body: impl Into<Bytes>) -> Result<ETag, String> {
        self.put(name, body, Condition::None).await.expect_to(&format!("put {name:?}"))
    }

    pub(super) async fn read(&self, name: &str) -> Result<Bytes, String> {
        let got = self.store.get(&self.key(name), GetOptions::default()).await;
        got.map(|object| object.body).expect_to(&format!("get {name:?}"))
    }

    /// The names under `prefix` and after `after`, without the place's own prefix, and whether there are more.
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<(Vec<String>, bool), String> {
        let after = after.map(|after| self.key(after));
        let page = self.store.list(&self.key(prefix), after.as_deref(), max).await.expect_to("list")?;
        let mut names = Vec::new();
        for object in page.objects {
            let name = object.key.strip_prefix(&self.prefix);
            names.push(name.ok_or_else(|| format!("{:?} was listed", object.key))?.to_owned());
        }
        Ok((names, page.more))
    }
}

async fn a_write_is_seen_at_once(bucket: Bucket) -> Verdict {
    for round in 0..10 {
        let body = format!("round {round}");
        bucket.write("seen", body.clone()).await?;
        let read = bucket.read("seen").await?;
        ensure!(read == body, "after writing {body:?}, {read:?} was read");
        let (names, _) = bucket.list("", None, 10).await?;
        ensure!(names == ["seen"], "after a write, {names:?} was listed");
        bucket.store.delete(&bucket.key("seen")).await.expect_to("delete")?;
        let gone = bucket.store.head(&bucket.key("seen")).await;
        ensure!(matches!(gone, Err(StoreError::NotFound)), "after a delete, head gave {gone:?}");
        let (names, _) = bucket.list("", None, 10).await?;
        ensure!(names.is_empty(), "after a delete, {names:?} was listed");
    }
    Ok(())
}

async fn an_absent_object_is_not_found(bucket: Bucket) -> Verdict {
    bucket.write("absent/below", "").await?;
    let got = bucket.store.get(&bucket.key("absent"), GetOptions::default()).await;
    ensure!(matches!(got, Err(StoreError::NotFound)), "get gave {got:?}");
    let head = bucket.store.head(&bucket.key("absent")).await;
    ensure!(matches!(head, Err(StoreError::NotFound)), "head gave {head:?}");
    Ok(())
}

async fn deleting_twice_succeeds(bucket: Bucket) -> Verdict {
    bucket.write("twice", "x").await?;
    for _ in 0..2 {
        bucket.store.delete(&bucket.key("twice")).await.expect_to("delete")?;
    }
    Ok(())
}

async fn all_reads_agree_about_an_object(bucket: Bucket) -> Verdict {
    let first = bucket.write("agree", "one").await?;
    let etag = bucket.write("agree", "another").await?;
    ensure!(first != etag, "two bodies had the tag {etag:?}");
    let got = bucket.store.get(&bucket.key("agree"), GetOptions::default()).await.expect_to("get")?;
    let head = bucket.store.head(&bucket.key("agree")).await.expect_to("head")?;
    ensure!(got.meta == head, "get gave {:?} and head {head:?}", got.meta);
    ensure!(got.meta.etag == etag, "put gave the tag {etag:?} and get {:?}", got.meta.etag);
    ensure!(got.meta.size_bytes == 7, "seven bytes were counted as {}", got.meta.size_bytes);
    ensure!(got.meta.last_modified.subsec_nanosecond() == 0, "{} is no HTTP date", got.meta.last_modified);
    let listing = bucket.store.list(&bucket.key("agree"), None, 10).await.expect_to("list")?;
    let [listed] = listing.objects.as_slice() else { return Err(format!("one object was listed as {listing:?}")) };
    let agrees = (&listed.etag, listed.size_bytes, listed.last_modified) == (&head.etag, 7, head.last_modified);
    ensure!(agrees, "head gave {head:?} and list {listed:?}");
    Ok(())
}

async fn metadata_and_type_come_back(bucket: Bucket) -> Verdict {
    let metadata = BTreeMap::from([
        ("millpond-params".to_owned(), r#"{"do_fast": true, "n": 1.5}"#.to_owned()),
        ("x".to_owned(), "a=b; c, d%20e+f".to_owned()),
    ]);
    let content_type = Some("text/csv; charset=utf-8".to_owned());
    let options =
        PutOptions { content_type: content_type.clone(), metadata: metadata.clone(), ..PutOptions::default() };
    bucket.store.put(&bucket.key("meta"), Bytes::from_static(b"a,b"), options).await.expect_to("put")?;
    let head = bucket.store.head(&bucket.key("meta")).await.expect_to("head")?;
    let got = bucket.store.get(&bucket.key("meta"), GetOptions::default()).await.expect_to("get")?;
    for meta in [head, got.meta] {
        ensure!(meta.metadata == metadata, "{metadata:?} came back as {:?}", meta.metadata);
        ensure!(meta.content_type == content_type, "{content_type:?} came back as {:?}", meta.content_type);
    }
    bucket.write("meta", "a,c").await?;
    let head = bucket.store.head(&bucket.key("meta")).await.expect_to("head")?;
    ensure!(head.metadata.is_empty(), "a new version kept the metadata {:?} of the old one", head.metadata);
    Ok(())
}

async fn bodies_of_any_size_come_back(bucket: Bucket) -> Verdict {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..5 * 1024 * 1024_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for body in [Vec::new(), vec![0], all_bytes, large] {
        let size = body.len();
        bucket.write("body", body.clone()).await?;
        let read = bucket.read("body").await?;
        ensure!(read == body, "{size} bytes came back as {} others", read.len());
    }
    Ok(())
}

async fn an_object_is_created_once(bucket: Bucket) -> Verdict {
    bucket.put("once", "first", Condition::Absent).await.expect_to("create")?;
    let again = bucket.put("once", "second", Condition::Absent).await;
    ensure!(matches!(again, Err(StoreError::PreconditionFailed)), "creating it again gave {again:?}");
    let read = bucket.read("once").await?;
    ensure!(read == "first", "{read:?} is there, which was refused");
    bucket.store.delete(&bucket.key("once")).await.expect_to("delete")?;
    bucket.put("once", "third", Condition::Absent).await.expect_to("create what was deleted")?;
    Ok(())
}

/// Lets `writers` put bodies of their own under the same condition, and returns the bodies that were accepted.
async fn race(bucket: &Bucket, name: &str, writers: usize, condition: Condition) -> Result<Vec<String>, String> {
    let mut racing = JoinSet::new();
    for writer in 0..writers {
        let (bucket, name, condition) = (bucket.clone(), name.to_owned(), condition.clone());
        racing.spawn(async move {
            let body = format!("{name}, writer {writer}");
            (body.clone(), bucket.put(&name, body, condition).await)
        });
    }
    let mut accepted = Vec::new();
    for (body, put) in racing.join_all().await {
        match put {
            Ok(_) => accepted.push(body),
            Err(StoreError::PreconditionFailed | StoreError::Conflict) => {}
            Err(error) => return Err(format!("a losing writer got {error:?}")),
        }
    }
    Ok(accepted)
}

async fn one_of_many_creators_wins(bucket: Bucket) -> Verdict {
    for round in 0..6 {
        let name = format!("race {round}");
        let accepted = race(&bucket, &name, 32, Condition::Absent).await?;
        ensure!(accepted.len() == 1, "{} of 32 creators won", accepted.len());
        let read = bucket.read(&name).await?;
        ensure!(read == accepted[0], "{accepted:?} won, but {read:?} is there");
    }
    Ok(())
}

async fn a_stale_tag_does_not_write(bucket: Bucket) -> Verdict {
    let stale = bucket.write("cas", "one").await?;
    let current = bucket.put("cas", "two", Condition::Matches(stale.clone())).await.expect_to("update")?;
    let again = bucket.put("cas", "three", Condition::Matches(stale)).await;
    ensure!(matches!(again, Err(StoreError::PreconditionFailed)), "a stale tag gave {again:?}");
    let read = bucket.read("cas").await?;
    ensure!(read == "two", "{read:?} is there, which was refused");
    let unquoted = ETag::new(current.unquoted());
    bucket.put("cas", "four", Condition::Matches(unquoted.clone())).await.expect_to("update by an unquoted tag")?;
    let absent = bucket.put("never", "x", Condition::Matches(unquoted)).await;
    let refused = matches!(absent, Err(StoreError::NotFound | StoreError::PreconditionFailed));
    ensure!(refused, "updating an absent object gave {absent:?}");
    Ok(())
}

async fn one_of_many_updaters_wins(bucket: Bucket) -> Verdict {
    for round in 0..6 {
        let name = format!("race {round}");
        let etag = bucket.write(&name, "before").await?;
        let accepted = race(&bucket, &name, 32, Condition::Matches(etag)).await?;
        ensure!(accepted.len() == 1, "{} of 32 updaters won", accepted.len());
        let read = bucket.read(&name).await?;
        ensure!(read == accepted[0], "{accepted:?} won, but {read:?} is there");
    }
    Ok(())
}

/// Eight counters count to five each in one object, by read and compare-and-swap.
async fn no_update_is_lost(bucket: Bucket) -> Verdict {
    bucket.write("count", "0").await?;
    let mut counting = JoinSet::new();
    for _ in 0..8 {
        let bucket = bucket.clone();
        counting.spawn(async move {
            for _ in 0..5 {
                loop {
                    let got = bucket.store.get(&bucket.key("count"), GetOptions::default()).await.expect_to("get")?;
                    let count: u32 = String::from_utf8_lossy(&got.body).parse().expect_to("read the count")?;
                    let put = bucket.put("count", (count + 1).to_string(), Condition::Matches(got.meta.etag)).await;
                    match put {
                        Ok(_) => break,
                        Err(StoreError::PreconditionFailed | StoreError::Conflict) => {}
                        Err(error) => return Err(format!("a losing counter got {error:?}")),
                    }
                }
            }
            Ok(())
        });
    }
    counting.join_all().await.into_iter().collect::<Verdict>()?;
    let count = bucket.read("count").await?;
    ensure!(count == "40", "40 updates counted to {count:?}");
    Ok(())
}

async fn a_read_can_ask_for_one_version(bucket: Bucket) -> Verdict {
    let old = bucket.write("version", "old").await?;
    let new = bucket.write("version", "new").await?;
    let key = bucket.key("version");
    let get = async |etag| bucket.store.get(&key, GetOptions { if_match: Some(etag), max_bytes: None }).await;
    let got = get(new).await.expect_to("get the version that is there")?;
    ensure!(got.body == "new", "{:?} was read", got.body);
    let got = get(old.clone()).await;
    ensure!(matches!(got, Err(StoreError::PreconditionFailed)), "asking for the old version gave {got:?}");
    bucket.store.delete(&key).await.expect_to("delete")?;
    let got = get(old).await;
    ensure!(matches!(got, Err(StoreError::NotFound)), "asking for a version of nothing gave {got:?}");
    Ok(())
}

async fn a_read_can_be_bounded(bucket: Bucket) -> Verdict {
    bucket.write("large", vec![b'x'; 100_000]).await?;
    let key = bucket.key("large");
    let get = async |max_bytes| bucket.store.get(&key, GetOptions { if_match: None, max_bytes: Some(max_bytes) }).await;
    get(100_000).await.expect_to("get exactly as much as is allowed")?;
    let got = get(99_999).await;
    let refused = matches!(got, Err(StoreError::TooLarge { size_bytes: 100_000 }));
    ensure!(refused, "100,000 bytes where 99,999 are allowed gave {:?}", got.map(|object| object.meta));
    Ok(())
}

async fn nobody_reads_half_a_write(bucket: Bucket) -> Verdict {
    const SIZE: usize = 256 * 1024;
    bucket.write("whole", vec![b'0'; SIZE]).await?;
    let writer = bucket.clone();
    let mut writing: JoinSet<Verdict> = JoinSet::new();
    writing.spawn(async move {
        for round in 1..=20 {
            writer.write("whole", vec![b'0' + round % 10; SIZE]).await?;
        }
        Ok(())
    });
    while writing.try_join_next().transpose().expect_to("join the writer")?.transpose()?.is_none() {
        let read = bucket.read("whole").await?;
        ensure!(read.len() == SIZE, "{} of {SIZE} bytes were read", read.len());
        ensure!(read.iter().all(|byte| *byte == read[0]), "parts of two writes were read");
        tokio::task::yield_now().await;
    }
    Ok(())
}
