//! What every object store must make of keys: which there can be, how they are listed, how they are presigned.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use job::id::Sha256;
use job::layout::MAX_KEY_BYTES;

use super::object_store::Bucket;
use super::{Expect, Verdict, ensure};
use crate::object_store::{Condition, PresignPut, PresignedRequest, PutOptions, StoreError};

/// Keys that a file system, a URL, XML or a careless split would trip over. Relative parts never lead above the
/// bucket, which S3 itself refuses.
const ODD_KEYS: &[&str] = &[
    "a",
    "a/",
    "a//",
    "a//b",
    "a/b",
    "/",
    "/leading",
    "trailing/",
    "up/../x",
    "here/./x",
    "dots/...",
    " spaces around ",
    "a b+c%20d%2Fe%",
    "q?x=1&y=2#fragment",
    "quote\"'`<>&;=:@,$!*()[]{}|\\^~",
    "tab\tand\nnewline",
    "control\u{1}\u{7f}",
    "Upper",
    "upper",
    "한글/파일 이름.json",
    "e\u{301} is not \u{e9}",
    "emoji-🦆🌊",
    "\u{fffd}",
    "\u{10000}",
];

pub(super) async fn keys_are_any_text(bucket: Bucket) -> Verdict {
    for key in ODD_KEYS {
        bucket.write(key, format!("body of {key}")).await?;
    }
    for key in ODD_KEYS {
        let read = bucket.read(key).await?;
        ensure!(read == format!("body of {key}"), "{key:?} held {read:?}");
    }
    let mut expected: Vec<&str> = ODD_KEYS.to_vec();
    expected.sort_unstable();
    let (names, _) = bucket.list("", None, 1000).await?;
    ensure!(names == expected, "{expected:?} was listed as {names:?}");
    for (deleted, key) in ODD_KEYS.iter().enumerate() {
        bucket.store.delete(&bucket.key(key)).await.expect_to(&format!("delete {key:?}"))?;
        let (names, _) = bucket.list("", None, 1000).await?;
        let left = ODD_KEYS.len() - deleted - 1;
        ensure!(names.len() == left && !names.iter().any(|name| name == key), "deleting {key:?} left {names:?}");
    }
    Ok(())
}

pub(super) async fn keys_have_a_limit(bucket: Bucket) -> Verdict {
    // Three bytes a letter, so that a limit on letters would be noticed.
    let room = MAX_KEY_BYTES - bucket.prefix.len();
    let longest = format!("{}{}", "한".repeat(room / 3), "x".repeat(room % 3));
    bucket.write(&longest, "fits").await?;
    let read = bucket.read(&longest).await?;
    ensure!(read == "fits", "the longest key held {read:?}");
    let (names, _) = bucket.list("", Some(&longest[..3]), 10).await?;
    ensure!(names == [longest.as_str()], "the longest key was listed as {names:?}");
    let put = bucket.put(&format!("{longest}x"), "too long", Condition::None).await;
    ensure!(matches!(put, Err(StoreError::Invalid(_))), "putting under a key of 1,025 bytes gave {put:?}");
    let put = bucket.store.put("", Bytes::new(), PutOptions::default()).await;
    ensure!(matches!(put, Err(StoreError::Invalid(_))), "putting under an empty key gave {put:?}");
    Ok(())
}

pub(super) async fn listings_are_in_byte_order(bucket: Bucket) -> Verdict {
    // UTF-16 would put the last two the other way round, and a locale would mix capitals in.
    let names = ["B", "Z", "a", "a-", "a/", "a/b", "a0", "b", "é", "한", "\u{fffd}", "🦆"];
    for name in names.iter().rev() {
        bucket.write(name, *name).await?;
    }
    let (listed, more) = bucket.list("", None, 1000).await?;
    ensure!(listed == names && !more, "{names:?} was listed as {listed:?}, more: {more}");
    for (index, name) in names.iter().enumerate() {
        let (listed, _) = bucket.list("", Some(name), 1000).await?;
        ensure!(listed == names[index + 1..], "after {name:?}, {listed:?} was listed");
    }
    let (listed, _) = bucket.list("", Some("a!"), 2).await?;
    ensure!(listed == ["a-", "a/"], "after the absent \"a!\", {listed:?} was listed");
    Ok(())
}

pub(super) async fn listings_go_on_where_they_ended(bucket: Bucket) -> Verdict {
    let names: Vec<String> = (0..24).map(|number| format!("page/{number:02} x+y")).collect();
    for name in &names {
        bucket.write(name, "x").await?;
    }
    for size in [1, 7, 8, 24, 1000] {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let (page, more) = bucket.list("page/", listed.last().map(String::as_str), size).await?;
            ensure!(page.len() <= size, "a page of {size} had {}", page.len());
            ensure!(!page.is_empty(), "after {:?} more was promised, and nothing came", listed.last());
            listed.extend(page);
            if !more {
                break;
            }
            ensure!(listed.len() < names.len(), "more was promised after the last");
        }
        ensure!(listed == names, "pages of {size} were {listed:?}");
    }
    let (page, more) = bucket.list("page/", Some("page/99"), 10).await?;
    ensure!(page.is_empty() && !more, "after the last, {page:?} was listed, more: {more}");
    Ok(())
}

pub(super) async fn listings_keep_to_their_prefix(bucket: Bucket) -> Verdict {
    for name in ["jobs/a", "jobs/b", "jobs", "jobs-old/c", "mirror/한 글/d", "mirror/한+글/e"] {
        bucket.write(name, "x").await?;
    }
    for (prefix, after, expected) in [
        ("jobs/", None, vec!["jobs/a", "jobs/b"]),
        ("jobs/", Some("jobs/a"), vec!["jobs/b"]),
        // A place before the prefix, and one behind it.
        ("jobs/", Some("a"), vec!["jobs/a", "jobs/b"]),
        ("jobs/", Some("zzz"), vec![]),
        ("mirror/한 글/", None, vec!["mirror/한 글/d"]),
        ("mirror/한+글/", None, vec!["mirror/한+글/e"]),
        ("absent/", None, vec![]),
    ] {
        let (listed, more) = bucket.list(prefix, after, 1000).await?;
        ensure!(listed == expected && !more, "under {prefix:?} after {after:?}, {listed:?} was listed, more: {more}");
    }
    Ok(())
}

pub(super) async fn presigned_requests_say_what_to_send(bucket: Bucket) -> Verdict {
    let body = b"to be uploaded";
    let put = PresignPut {
        size_bytes: body.len() as u64,
        content_type: "image/png".to_owned(),
        sha256: Some(Sha256::of(body)),
        expires_in: Duration::from_secs(900),
    };
    let PresignedRequest { method, url, headers } =
        bucket.store.presign_put(&bucket.key("a b.png"), put).await.expect_to("presign a put")?;
    ensure!(method == "PUT" && url.contains("a%20b.png"), "a put was presigned as {method} {url}");
    // The digest: printf 'to be uploaded' | openssl dgst -sha256 -binary | base64
    let expected = BTreeMap::from([
        ("content-type", "image/png"),
        ("if-none-match", "*"),
        ("x-amz-checksum-sha256", "eXbUhaJI8Xv9vFIwjRpOT3SFZNIg15chuJuog6BE8OQ="),
    ]);
    let as_given = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<BTreeMap<_, _>>();
    ensure!(as_given == expected, "the headers to send are {headers:?}");

    let get = bucket.store.presign_get(&bucket.key("absent"), Duration::from_secs(900), Some("결과 1.png")).await;
    let PresignedRequest { method, headers, .. } = get.expect_to("presign a get")?;
    ensure!(method == "GET" && headers.is_empty(), "a get was presigned as {method} with {headers:?}");
    Ok(())
}

pub(super) async fn presigned_requests_live_a_week_at_most(bucket: Bucket) -> Verdict {
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    bucket.store.presign_get(&bucket.key("x"), week, None).await.expect_to("presign for a week")?;
    for expires_in in [Duration::ZERO, week + Duration::from_secs(1)] {
        let get = bucket.store.presign_get(&bucket.key("x"), expires_in, None).await;
        ensure!(matches!(get, Err(StoreError::Invalid(_))), "presigning for {expires_in:?} gave {get:?}");
    }
    Ok(())
}
