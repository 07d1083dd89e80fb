//! Checksums behind the body, as SDKs send them, and what is left when one does not hold.

mod common;

use common::{Running, start};

/// Of `123456789`: the check values of the catalogue of parametrised CRC algorithms, and the digests of another implementation.
const ALGORITHMS: [(&str, &str); 5] = [
    ("crc32", "y/Q5Jg=="),
    ("crc32c", "4waSgw=="),
    ("crc64nvme", "rosUhgp5mIg="),
    ("sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];
const DATA: &[u8] = b"123456789";

/// The files of objects, and of uploads that are under way.
fn files(running: &Running) -> usize {
    let data = running.directory.path().join("data");
    let folder = |name: &str| std::fs::read_dir(data.join(name)).expect("a folder").count();
    folder("blobs") + folder("uploading")
}

#[tokio::test]
async fn a_checksum_of_any_kind_may_come_behind_the_body() {
    let running = start().await;
    let client = &running.client;
    let before = files(&running);
    for (algorithm, right) in ALGORITHMS {
        let path = format!("/millpond-outbox/{algorithm}");
        let header = format!("x-amz-checksum-{algorithm}");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "9"),
            ("x-amz-trailer", header.as_str()),
        ];
        // A checksum of other bytes, none at all, and one that is no checksum of this kind.
        let wrong = format!("{}{}", if right.starts_with('A') { 'B' } else { 'A' }, &right[1..]);
        for (trailer, code) in [
            (format!("{header}:{wrong}\r\n"), "BadDigest"),
            (String::new(), "IncompleteBody"),
            (format!("{header}:AA==\r\n"), "BadDigest"),
        ] {
            let body = format!("9\r\n123456789\r\n0\r\n{trailer}\r\n");
            client.s3_chunked("PUT", &path, &headers, body.as_bytes()).await.expect_code(400, code);
            client.s3("HEAD", &path, &[], b"").await.expect(404);
        }
        assert_eq!(files(&running), before, "what was refused leaves no file behind");
        let body = format!("4\r\n1234\r\n5\r\n56789\r\n0\r\n{header}:{right}\r\n\r\n");
        let answer = client.s3_chunked("PUT", &path, &headers, body.as_bytes()).await.expect(200);
        assert_eq!(answer.headers[header.as_str()], right);
        let got = client.s3("GET", &path, &[("x-amz-checksum-mode", "ENABLED")], b"").await.expect(200);
        assert_eq!((got.body.as_ref(), &got.headers[header.as_str()]), (DATA, &right.parse().expect("a header")));
        client.s3("DELETE", &path, &[], b"").await.expect(204);
        common::eventually(|| async { (files(&running) == before).then_some(()) }).await;
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn chunks_and_trailers_may_be_signed() {
    let running = start().await;
    let client = &running.client;
    let before = files(&running);
    let path = "/millpond-outbox/signed";
    let right = [("x-amz-checksum-crc32", "y/Q5Jg==")];
    let wrong = [("x-amz-checksum-crc32", "AAAAAA==")];
    client.s3_signed_chunks(path, DATA, &wrong, |body| body).await.expect_code(400, "BadDigest");
    let other_bytes = |body: String| body.replace("123456789", "123456780");
    client.s3_signed_chunks(path, DATA, &right, other_bytes).await.expect_code(403, "SignatureDoesNotMatch");
    // The right checksum, but not the one that was signed.
    let other_trailer = |body: String| body.replace("AAAAAA==", "y/Q5Jg==");
    client.s3_signed_chunks(path, DATA, &wrong, other_trailer).await.expect_code(403, "SignatureDoesNotMatch");
    client.s3("HEAD", path, &[], b"").await.expect(404);
    assert_eq!(files(&running), before);
    client.s3_signed_chunks(path, DATA, &right, |body| body).await.expect(200);
    assert_eq!(client.s3("GET", path, &[], b"").await.expect(200).body, DATA);
    running.cloud.shutdown().await;
}
