//! Copies of objects, on the server.

mod common;

use common::{Answer, Client, start};

const SOURCE: &str = "/millpond-outbox/a%20b+c";

async fn copy(client: &Client, to: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("x-amz-copy-source", SOURCE)];
    all.extend_from_slice(headers);
    client.s3("PUT", to, &all, b"").await
}

async fn put_source(client: &Client) -> String {
    let headers = [("content-type", "text/plain"), ("cache-control", "no-store"), ("x-amz-meta-a", "1")];
    client.s3("PUT", SOURCE, &headers, b"abc").await.expect(200).etag()
}

#[tokio::test]
async fn a_copy_has_its_sources_headers_or_new_ones() {
    let running = start().await;
    let client = &running.client;
    let etag = put_source(client).await;
    let copied = copy(client, "/millpond-inbox/kept", &[]).await.expect(200).text();
    assert!(copied.contains("<CopyObjectResult") && copied.contains(etag.trim_matches('"')), "{copied}");
    let kept = client.s3("GET", "/millpond-inbox/kept", &[], b"").await.expect(200);
    assert_eq!((kept.text().as_str(), kept.etag()), ("abc", etag.clone()));
    assert_eq!(
        (&kept.headers["x-amz-meta-a"], &kept.headers["cache-control"]),
        (&"1".parse().unwrap(), &"no-store".parse().unwrap())
    );

    // Without the directive, headers of the request are none of the copy's.
    let new = [("content-type", "image/png"), ("x-amz-meta-b", "2")];
    copy(client, "/millpond-inbox/same", &new).await.expect(200);
    let same = client.s3("HEAD", "/millpond-inbox/same", &[], b"").await.expect(200);
    assert_eq!(same.headers["content-type"], "text/plain");
    let replace = [new.as_slice(), &[("x-amz-metadata-directive", "REPLACE")]].concat();
    copy(client, "/millpond-inbox/new", &replace).await.expect(200);
    let replaced = client.s3("HEAD", "/millpond-inbox/new", &[], b"").await.expect(200);
    assert_eq!(
        (&replaced.headers["content-type"], &replaced.headers["x-amz-meta-b"]),
        (&"image/png".parse().unwrap(), &"2".parse().unwrap())
    );
    assert!(!replaced.headers.contains_key("x-amz-meta-a") && !replaced.headers.contains_key("cache-control"));

    copy(client, SOURCE, &[]).await.expect_code(400, "InvalidRequest");
    copy(client, SOURCE, &replace).await.expect(200);
    let source = client.s3("GET", SOURCE, &[], b"").await.expect(200);
    assert_eq!((source.text().as_str(), &source.headers["x-amz-meta-b"]), ("abc", &"2".parse().unwrap()));
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_copy_may_depend_on_its_source_and_on_its_place() {
    let running = start().await;
    let client = &running.client;
    let to = "/millpond-outbox/copy";
    copy(client, to, &[]).await.expect_code(404, "NoSuchKey");
    let etag = put_source(client).await;
    for (name, value) in [
        ("x-amz-copy-source-if-match", "\"other\""),
        ("x-amz-copy-source-if-none-match", etag.as_str()),
        ("x-amz-copy-source-if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("x-amz-copy-source-if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("if-match", "\"other\""),
    ] {
        let answer = copy(client, to, &[(name, value)]).await;
        // What is to be replaced is not there; every other condition is of the source.
        let code = if name == "if-match" { (404, "NoSuchKey") } else { (412, "PreconditionFailed") };
        answer.expect_code(code.0, code.1);
        client.s3("HEAD", to, &[], b"").await.expect(404);
    }
    copy(client, to, &[("x-amz-copy-source-if-match", &etag), ("if-none-match", "*")]).await.expect(200);
    copy(client, to, &[("if-none-match", "*")]).await.expect_code(412, "PreconditionFailed");
    copy(client, to, &[("if-match", &etag)]).await.expect(200);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_copy_is_whole_whatever_parts_its_source_came_in() {
    let running = start().await;
    let client = &running.client;
    let begun = client.s3("POST", &format!("{SOURCE}?uploads"), &[], b"").await.expect(200).text();
    let upload = begun.split_once("<UploadId>").expect("an id").1.split_once('<').expect("an end").0.to_owned();
    let part = client.s3("PUT", &format!("{SOURCE}?partNumber=1&uploadId={upload}"), &[], b"abc").await.expect(200);
    let part = part.etag();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    );
    client.s3("POST", &format!("{SOURCE}?uploadId={upload}"), &[], list.as_bytes()).await.expect(200);
    let source = client.s3("HEAD", SOURCE, &[], b"").await.expect(200).etag();
    assert!(source.ends_with("-1\""), "{source}");

    let to = "/millpond-inbox/whole";
    copy(client, to, &[("x-amz-checksum-algorithm", "SHA256")]).await.expect(200);
    let whole = client.s3("GET", to, &[("x-amz-checksum-mode", "ENABLED")], b"").await.expect(200);
    assert_eq!((whole.text().as_str(), whole.etag()), ("abc", part), "the MD5 of its bytes");
    assert_eq!(whole.headers["x-amz-checksum-sha256"], "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    assert_eq!(whole.headers["x-amz-checksum-type"], "FULL_OBJECT");
    let numbered = client.s3("HEAD", &format!("{to}?partNumber=1"), &[], b"").await.expect(206);
    assert!(!numbered.headers.contains_key("x-amz-mp-parts-count"));
    running.cloud.shutdown().await;
}
