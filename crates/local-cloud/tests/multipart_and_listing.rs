//! Uploads in parts, and listings in pages.

mod common;

use common::{Answer, Client, event_keys, start};

fn between(text: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

async fn complete(client: &Client, path: &str, upload: &str, parts: &[(u32, &str)]) -> Answer {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    client.s3("POST", &format!("{path}?uploadId={upload}"), &[], body.as_bytes()).await
}

#[tokio::test]
async fn parts_are_checked_joined_and_announced_once() {
    let running = start().await;
    let client = &running.client;
    let path = "/millpond-inbox/drop/m/big";
    let started = client.s3("POST", &format!("{path}?uploads"), &[], b"").await.expect(200);
    let upload = between(&started.text(), "UploadId").remove(0);
    let bytes = vec![b'x'; 5 << 20];
    let mut etags = Vec::new();
    for (number, body) in [(1, bytes.as_slice()), (2, b"small"), (3, b"tail")] {
        let part = format!("{path}?partNumber={number}&uploadId={upload}");
        etags.push(client.s3("PUT", &part, &[], body).await.expect(200).etag());
    }
    let [one, two, three] = [0, 1, 2].map(|index| etags[index].as_str());
    let all = [(1, one), (2, two), (3, three)];
    complete(client, path, &upload, &all).await.expect_code(400, "EntityTooSmall");
    complete(client, path, &upload, &[(3, three), (1, one)]).await.expect_code(400, "InvalidPartOrder");
    complete(client, path, &upload, &[(1, two)]).await.expect_code(400, "InvalidPart");
    complete(client, path, &upload, &[(4, one)]).await.expect_code(400, "InvalidPart");
    let listed = client.s3("GET", &format!("{path}?uploadId={upload}"), &[], b"").await.expect(200);
    assert_eq!(between(&listed.text(), "PartNumber"), ["1", "2", "3"]);
    client.s3("GET", path, &[], b"").await.expect(404);

    complete(client, path, &upload, &[(1, one), (3, three)]).await.expect(200);
    let whole = client.s3("GET", path, &[], b"").await.expect(200);
    assert_eq!(whole.body.len(), bytes.len() + 4);
    assert!(whole.text().ends_with("xtail") && whole.etag().ends_with("-2\""));
    complete(client, path, &upload, &[(1, one)]).await.expect_code(404, "NoSuchUpload");
    let queue = running.cloud.queue_url(&running.stack.queue);
    assert_eq!(event_keys(&client.drain(&queue).await), ["drop/m/big"]);
    let blobs = std::fs::read_dir(running.directory.path().join("data/blobs")).expect("a folder").count();
    assert_eq!(blobs, 1, "the parts are gone");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn pages_of_any_size_give_each_name_once_and_in_order() {
    let running = start().await;
    let client = &running.client;
    for key in ["a", "a/1", "a/2", "a0", "b//c", "b/d", "c", "z/1/2", "z/3"] {
        client.s3("PUT", &format!("/millpond-outbox/{key}"), &[], b"1").await.expect(200);
    }
    for (query, wanted) in [
        ("", vec!["a", "a/1", "a/2", "a0", "b//c", "b/d", "c", "z/1/2", "z/3"]),
        ("&delimiter=%2F", vec!["a", "a/", "a0", "b/", "c", "z/"]),
        ("&delimiter=%2F&prefix=z%2F", vec!["z/1/", "z/3"]),
        ("&delimiter=%2F&prefix=b%2F", vec!["b//", "b/d"]),
        ("&prefix=a%2F", vec!["a/1", "a/2"]),
        ("&prefix=nothing", vec![]),
    ] {
        for size in 1..=4 {
            let (mut names, mut token) = (Vec::new(), String::new());
            loop {
                let path = format!("/millpond-outbox?list-type=2&max-keys={size}{query}{token}");
                let text = client.s3("GET", &path, &[], b"").await.expect(200).text();
                let mut page = between(&text, "Key");
                let groups = text.split("<CommonPrefixes>").skip(1).flat_map(|group| between(group, "Prefix"));
                page.extend(groups);
                page.sort();
                assert!(page.len() <= size, "{text}");
                names.extend(page);
                match between(&text, "NextContinuationToken").pop() {
                    Some(next) => token = format!("&continuation-token={next}"),
                    None => break,
                }
            }
            assert_eq!(names, wanted, "{query} in pages of {size}");
        }
    }
    running.cloud.shutdown().await;
}
