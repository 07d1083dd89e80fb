//! Reads of keys that are not there: 404, or 403 as S3 answers whoever lacks `s3:ListBucket`.

mod common;

use common::{Presigning, Running, config, start_with};
use local_cloud::{AbsentKeys, Stack};

async fn start_with_absent_keys(absent_keys: AbsentKeys) -> Running {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(&directory);
    config.absent_keys = absent_keys;
    start_with(directory, config, Stack::default()).await
}

#[tokio::test]
async fn reads_of_absent_keys_are_answered_as_configured() {
    for (absent_keys, status, code) in
        [(AbsentKeys::NotFound, 404, "NoSuchKey"), (AbsentKeys::Forbidden, 403, "AccessDenied")]
    {
        let running = start_with_absent_keys(absent_keys).await;
        let client = &running.client;
        let path = "/millpond-outbox/absent";
        client.s3("GET", path, &[], b"").await.expect_code(status, code);
        client.s3("GET", path, &[("if-match", "\"x\"")], b"").await.expect_code(status, code);
        client
            .s3("GET", path, &[("if-none-match", "\"x\""), ("range", "bytes=0-1")], b"")
            .await
            .expect_code(status, code);
        assert!(client.s3("HEAD", path, &[], b"").await.expect(status).body.is_empty());
        let url = client.presign("GET", path, &[], Presigning::default());
        client.send("GET", &url, &[], b"").await.expect_code(status, code);
        let copied = [("x-amz-copy-source", path)];
        client.s3("PUT", "/millpond-outbox/copy", &copied, b"").await.expect_code(status, code);
        let begun = client.s3("POST", "/millpond-outbox/big?uploads", &[], b"").await.expect(200).text();
        let upload = begun.split(['<', '>']).skip_while(|text| *text != "UploadId").nth(1).expect("an id");
        let part = format!("/millpond-outbox/big?partNumber=1&uploadId={upload}");
        client.s3("PUT", &part, &copied, b"").await.expect_code(status, code);
        running.cloud.shutdown().await;
    }
}

#[tokio::test]
async fn everything_else_is_answered_as_ever() {
    let running = start_with_absent_keys(AbsentKeys::Forbidden).await;
    let client = &running.client;
    let path = "/millpond-outbox/x";
    client.s3("PUT", path, &[("if-match", "\"x\"")], b"x").await.expect_code(404, "NoSuchKey");
    client.s3("DELETE", path, &[], b"").await.expect(204);
    client.s3("GET", "/no-such-bucket/x", &[], b"").await.expect_code(404, "NoSuchBucket");
    client.s3("GET", "/millpond-outbox?list-type=2", &[], b"").await.expect(200);
    client.s3("PUT", path, &[("if-none-match", "*")], b"x").await.expect(200);
    assert_eq!(client.s3("GET", path, &[], b"").await.expect(200).text(), "x");
    client.s3("GET", path, &[("if-match", "\"x\"")], b"").await.expect_code(412, "PreconditionFailed");
    running.cloud.shutdown().await;
}
