//! Uploads in parts: what is checked of them, and what becomes of them.

mod common;

use common::{Answer, Client, Running, eventually, start};

const PATH: &str = "/millpond-outbox/big";

fn tag(text: &str, tag: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
}

async fn begin(client: &Client, headers: &[(&str, &str)]) -> String {
    let text = client.s3("POST", &format!("{PATH}?uploads"), headers, b"").await.expect(200).text();
    tag(&text, "UploadId").expect("an id")
}

async fn part(client: &Client, upload: &str, number: u32, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client.s3("PUT", &format!("{PATH}?partNumber={number}&uploadId={upload}"), headers, body).await
}

async fn complete(client: &Client, upload: &str, parts: &[(u32, &str)], headers: &[(&str, &str)]) -> Answer {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    client.s3("POST", &format!("{PATH}?uploadId={upload}"), headers, body.as_bytes()).await
}

fn files(running: &Running) -> usize {
    let folder =
        |name: &str| std::fs::read_dir(running.directory.path().join("data").join(name)).expect("a folder").count();
    folder("blobs") + folder("uploading")
}

const WHOLE_PART: usize = 5 << 20;

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let running = start().await;
    let client = &running.client;
    let upload = begin(client, &[]).await;
    let etag = part(client, &upload, 1, &[], &vec![b'x'; WHOLE_PART]).await.expect(200).etag();
    part(client, &upload, 2, &[], b"tail").await.expect(200);
    let listed = client.s3("GET", "/millpond-outbox?uploads", &[], b"").await.expect(200).text();
    assert_eq!((tag(&listed, "Key").as_deref(), tag(&listed, "UploadId").as_ref()), (Some("big"), Some(&upload)));
    client.s3("DELETE", &format!("{PATH}?uploadId={upload}"), &[], b"").await.expect(204);
    // Files are removed after the answer.
    eventually(|| async { (files(&running) == 0).then_some(()) }).await;
    client.s3("DELETE", &format!("{PATH}?uploadId={upload}"), &[], b"").await.expect_code(404, "NoSuchUpload");
    part(client, &upload, 3, &[], b"late").await.expect_code(404, "NoSuchUpload");
    complete(client, &upload, &[(1, &etag)], &[]).await.expect_code(404, "NoSuchUpload");
    let listed = client.s3("GET", "/millpond-outbox?uploads", &[], b"").await.expect(200).text();
    assert_eq!(tag(&listed, "UploadId"), None);
    client.s3("GET", PATH, &[], b"").await.expect_code(404, "NoSuchKey");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_part_is_numbered_checked_and_replaced() {
    let running = start().await;
    let client = &running.client;
    let upload = begin(client, &[]).await;
    for number in [0, 10_001] {
        part(client, &upload, number, &[], b"x").await.expect_code(400, "InvalidArgument");
    }
    part(client, &upload, 1, &[("x-amz-checksum-crc32", "AAAAAA==")], b"x").await.expect_code(400, "BadDigest");
    part(client, &upload, 1, &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], b"x").await.expect_code(400, "BadDigest");
    complete(client, &upload, &[(1, "\"9dd4e461268c8034f5c8564e155c67a6\"")], &[])
        .await
        .expect_code(400, "InvalidPart");
    let first = part(client, &upload, 1, &[], b"first").await.expect(200).etag();
    let second = part(client, &upload, 1, &[], b"second").await.expect(200).etag();
    complete(client, &upload, &[(1, &first)], &[]).await.expect_code(400, "InvalidPart");
    complete(client, &upload, &[], &[]).await.expect(400);
    complete(client, &upload, &[(1, &second)], &[]).await.expect(200);
    assert_eq!(client.s3("GET", PATH, &[], b"").await.expect(200).text(), "second");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn completing_may_be_conditional() {
    let running = start().await;
    let client = &running.client;
    let there = client.s3("PUT", PATH, &[], b"there").await.expect(200).etag();
    let upload = begin(client, &[]).await;
    let etag = part(client, &upload, 1, &[], b"new").await.expect(200).etag();
    let parts = [(1, etag.as_str())];
    complete(client, &upload, &parts, &[("if-none-match", "*")]).await.expect_code(412, "PreconditionFailed");
    complete(client, &upload, &parts, &[("if-match", "\"other\"")]).await.expect_code(412, "PreconditionFailed");
    assert_eq!(client.s3("GET", PATH, &[], b"").await.expect(200).text(), "there");
    // The upload is still there.
    complete(client, &upload, &parts, &[("if-match", &there)]).await.expect(200);
    assert_eq!(client.s3("GET", PATH, &[], b"").await.expect(200).text(), "new");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn parts_can_be_copied_and_read_one_by_one() {
    let running = start().await;
    let client = &running.client;
    let source = [vec![b'a'; WHOLE_PART], b"0123456789".to_vec()].concat();
    client.s3("PUT", "/millpond-outbox/source", &[], &source).await.expect(200);
    let upload = begin(client, &[("x-amz-meta-a", "1")]).await;
    let mut etags = Vec::new();
    let first = format!("bytes=0-{}", WHOLE_PART - 1);
    let last = format!("bytes={}-{}", WHOLE_PART + 2, WHOLE_PART + 4);
    for (number, range) in [(1, first), (2, last)] {
        let headers = [("x-amz-copy-source", "/millpond-outbox/source"), ("x-amz-copy-source-range", range.as_str())];
        let copied = part(client, &upload, number, &headers, b"").await.expect(200).text();
        etags.push(tag(&copied, "ETag").expect("an ETag").replace("&quot;", "\""));
    }
    let beyond = format!("bytes={0}-{0}", source.len());
    let half_beyond = format!("bytes=0-{}", source.len());
    for range in [&beyond, &half_beyond, "bytes=5-2", "bytes=5-", "bytes=-3", "x"] {
        let headers = [("x-amz-copy-source", "/millpond-outbox/source"), ("x-amz-copy-source-range", range)];
        part(client, &upload, 3, &headers, b"").await.expect_code(400, "InvalidArgument");
    }
    complete(client, &upload, &[(1, &etags[0]), (2, &etags[1])], &[]).await.expect(200);
    let whole = client.s3("GET", PATH, &[], b"").await.expect(200);
    assert_eq!((whole.body.len(), &whole.headers["x-amz-meta-a"]), (WHOLE_PART + 3, &"1".parse().unwrap()));
    let part_2 = client.s3("GET", &format!("{PATH}?partNumber=2"), &[], b"").await.expect(206);
    assert_eq!((part_2.text().as_str(), &part_2.headers["x-amz-mp-parts-count"]), ("234", &"2".parse().unwrap()));
    client.s3("GET", &format!("{PATH}?partNumber=3"), &[], b"").await.expect_code(400, "InvalidPart");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_copied_part_has_the_checksum_that_the_upload_chose() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", "/millpond-outbox/source", &[], b"abc").await.expect(200);
    let upload = begin(client, &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let copied = part(client, &upload, 1, &[("x-amz-copy-source", "/millpond-outbox/source")], b"").await.expect(200);
    let (etag, sha256) = (tag(&copied.text(), "ETag").unwrap(), tag(&copied.text(), "ChecksumSHA256").unwrap());
    assert_eq!(sha256, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    let completed = complete(client, &upload, &[(1, &etag.replace("&quot;", "\""))], &[]).await.expect(200).text();
    // The SHA-256 of that one, by another implementation.
    assert_eq!(tag(&completed, "ChecksumSHA256").unwrap(), "T4tCwi3TcptRm6b2jS2nzFstYG0F2u1a1RKMwD5sY1g=-1");
    running.cloud.shutdown().await;
}

/// SHA-256 of the SHA-256s of both parts below; and CRC32 of all their bytes. Both from another implementation.
const SHA256_OF_PARTS: &str = "/CtPjHwBCKb85QIBILBLhHPLPYsvQorH+3L8VDHJxPY=-2";
const CRC32_OF_ALL: &str = "zNcrVw==";

#[tokio::test]
async fn the_parts_checksums_make_the_objects() {
    let running = start().await;
    let client = &running.client;
    let head = vec![b'x'; WHOLE_PART];
    for (begun, header, composite) in [
        (vec![("x-amz-checksum-algorithm", "SHA256")], "x-amz-checksum-sha256", true),
        (
            vec![("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")],
            "x-amz-checksum-crc32",
            false,
        ),
        (Vec::new(), "x-amz-checksum-crc64nvme", false),
    ] {
        let upload = begin(client, &begun).await;
        let mut etags = Vec::new();
        for (number, body) in [(1, head.as_slice()), (2, b"123456789")] {
            let algorithm = begun.iter().filter(|(name, _)| *name == "x-amz-checksum-algorithm");
            let algorithm: Vec<_> = algorithm.map(|(_, value)| ("x-amz-sdk-checksum-algorithm", *value)).collect();
            etags.push(part(client, &upload, number, &algorithm, body).await.expect(200).etag());
        }
        complete(client, &upload, &[(1, &etags[0]), (2, &etags[1])], &[]).await.expect(200);
        let shown = client.s3("HEAD", PATH, &[("x-amz-checksum-mode", "ENABLED")], b"").await.expect(200);
        let checksum = shown.headers[header].to_str().expect("text");
        assert_eq!(checksum.ends_with("-2"), composite, "{checksum}");
        let wanted = match header {
            "x-amz-checksum-sha256" => SHA256_OF_PARTS,
            "x-amz-checksum-crc32" => CRC32_OF_ALL,
            _ => continue,
        };
        assert_eq!(checksum, wanted);
    }
    running.cloud.shutdown().await;
}
