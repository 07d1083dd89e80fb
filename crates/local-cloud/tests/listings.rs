//! Listings of versions 1 and 2 and of null versions.

mod common;

use common::{Running, start};

fn all(text: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

fn one(text: &str, tag: &str) -> Option<String> {
    all(text, tag).into_iter().next()
}

async fn start_with_keys() -> Running {
    let running = start().await;
    for key in ["a", "b%20c/1", "b%20c/2", "d/1", "e"] {
        running.client.s3("PUT", &format!("/millpond-outbox/{key}"), &[], key.as_bytes()).await.expect(200);
    }
    running
}

async fn list(running: &Running, query: &str) -> String {
    running.client.s3("GET", &format!("/millpond-outbox?{query}"), &[], b"").await.expect(200).text()
}

/// Keys and common prefixes, in order.
fn names(text: &str) -> Vec<String> {
    let mut names = all(text, "Key");
    names.extend(text.split("<CommonPrefixes>").skip(1).filter_map(|group| one(group, "Prefix")));
    names.sort();
    names
}

#[tokio::test]
async fn version_1_goes_on_from_a_marker() {
    let running = start_with_keys().await;
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = list(&running, &format!("max-keys=2&delimiter=%2F&marker={marker}")).await;
        seen.extend(names(&page));
        if one(&page, "IsTruncated").as_deref() == Some("false") {
            assert_eq!(one(&page, "NextMarker"), None);
            break;
        }
        let next = one(&page, "NextMarker").expect("a marker");
        marker = next.replace(' ', "%20").replace('/', "%2F");
    }
    assert_eq!(seen, ["a", "b c/", "d/", "e"]);
    // Without a delimiter the last key is the marker, and is not repeated.
    let page = list(&running, "max-keys=2").await;
    assert_eq!((names(&page), one(&page, "NextMarker")), (vec!["a".into(), "b c/1".into()], None));
    assert_eq!(names(&list(&running, "marker=b%20c%2F1").await), ["b c/2", "d/1", "e"]);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn version_2_starts_anywhere_and_says_what_was_asked() {
    let running = start_with_keys().await;
    let page = list(&running, "list-type=2&start-after=b%20c%2F1").await;
    assert_eq!(
        (names(&page), one(&page, "KeyCount").as_deref()),
        (vec!["b c/2".into(), "d/1".into(), "e".into()], Some("3"))
    );
    assert_eq!(one(&page, "StartAfter").as_deref(), Some("b c/1"));
    assert_eq!(one(&page, "Owner"), None);
    assert!(one(&list(&running, "list-type=2&fetch-owner=true").await, "Owner").is_some());
    let none = list(&running, "list-type=2&max-keys=0").await;
    assert_eq!((names(&none), one(&none, "IsTruncated").as_deref()), (Vec::new(), Some("false")));
    let first = list(&running, "list-type=2&max-keys=1").await;
    let token = one(&first, "NextContinuationToken").expect("a token");
    // The token goes before where the listing began.
    let second = list(&running, &format!("list-type=2&max-keys=1&start-after=z&continuation-token={token}")).await;
    assert_eq!((names(&first), names(&second)), (vec!["a".into()], vec!["b c/1".into()]));
    let client = &running.client;
    for bad in ["continuation-token=%21", "max-keys=-1", "encoding-type=rot13"] {
        client
            .s3("GET", &format!("/millpond-outbox?list-type=2&{bad}"), &[], b"")
            .await
            .expect_code(400, "InvalidArgument");
    }
    client.s3("GET", "/no-such-bucket?list-type=2", &[], b"").await.expect_code(404, "NoSuchBucket");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn names_are_encoded_when_asked() {
    let running = start_with_keys().await;
    for kind in ["list-type=2", "", "versions"] {
        let page = list(&running, &format!("{kind}&encoding-type=url&delimiter=%2F&prefix=b%20c")).await;
        assert_eq!(one(&page, "EncodingType").as_deref(), Some("url"), "{page}");
        assert_eq!(names(&page), ["b%20c/"], "{page}");
        assert!(all(&page, "Prefix").iter().any(|prefix| prefix == "b%20c"), "{page}");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn every_object_has_one_version_called_null() {
    let running = start_with_keys().await;
    let client = &running.client;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&running, &format!("versions&max-keys=2{after}")).await;
        seen.extend(all(&page, "Key"));
        assert!(all(&page, "VersionId").iter().all(|version| version == "null"), "{page}");
        assert!(all(&page, "IsLatest").iter().all(|latest| latest == "true"), "{page}");
        let Some(next) = one(&page, "NextKeyMarker") else { break };
        after = format!("&key-marker={}&version-id-marker=null", next.replace(' ', "%20").replace('/', "%2F"));
    }
    assert_eq!(seen, ["a", "b c/1", "b c/2", "d/1", "e"]);
    client.s3("GET", "/millpond-outbox/a?versionId=null", &[], b"").await.expect(200);
    client.s3("GET", "/millpond-outbox/a?versionId=x", &[], b"").await.expect_code(404, "NoSuchVersion");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn listings_tell_of_what_kind_checksums_are() {
    let running = start_with_keys().await;
    let client = &running.client;
    let sha256 = [("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")];
    client.s3("PUT", "/millpond-outbox/e", &sha256, b"abc").await.expect(200);
    for query in ["list-type=2", "", "versions="] {
        let listing = list(&running, &format!("{query}&prefix=d")).await;
        assert_eq!(all(&listing, "ChecksumAlgorithm"), ["CRC64NVME"], "{listing}");
        let listing = list(&running, &format!("{query}&prefix=e")).await;
        assert_eq!(all(&listing, "ChecksumAlgorithm"), ["SHA256"], "{listing}");
        assert_eq!(all(&listing, "ChecksumType"), ["FULL_OBJECT"], "{listing}");
    }
    running.cloud.shutdown().await;
}
