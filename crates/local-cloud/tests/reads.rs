//! Conditions and ranges of reads, beyond the plain ones.

mod common;

use common::start;

const PATH: &str = "/millpond-outbox/object";
const PAST: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, "Additional considerations about request headers".
#[tokio::test]
async fn etags_go_before_dates() {
    let running = start().await;
    let client = &running.client;
    let etag = client.s3("PUT", PATH, &[], b"0123456789").await.expect(200).etag();
    for (method, body) in [("GET", "0123456789"), ("HEAD", "")] {
        for (headers, status) in [
            (vec![("if-match", etag.as_str()), ("if-unmodified-since", PAST)], 200),
            (vec![("if-match", "\"other\""), ("if-unmodified-since", FUTURE)], 412),
            (vec![("if-none-match", etag.as_str()), ("if-modified-since", PAST)], 304),
            (vec![("if-none-match", "\"other\""), ("if-modified-since", FUTURE)], 200),
            (vec![("if-match", "\"other\""), ("if-none-match", etag.as_str())], 412),
            (vec![("if-match", etag.as_str()), ("if-none-match", etag.as_str())], 304),
            (vec![("if-match", etag.trim_matches('"'))], 200),
            (vec![("if-match", "*")], 200),
            (vec![("if-none-match", "*")], 304),
            (vec![("if-modified-since", PAST), ("if-unmodified-since", FUTURE)], 200),
        ] {
            let answer = client.s3(method, PATH, &headers, b"").await;
            assert_eq!(answer.status.as_u16(), status, "{method} {headers:?}");
            if status == 200 {
                assert_eq!(answer.text(), body, "{method} {headers:?}");
            }
        }
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_range_lies_within_the_object_or_is_refused_with_its_size() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", PATH, &[], b"0123456789").await.expect(200);
    for (range, shown, bytes) in [
        ("bytes=0-", "bytes 0-9/10", "0123456789"),
        ("bytes=9-9", "bytes 9-9/10", "9"),
        ("bytes=4-100", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-100", "bytes 0-9/10", "0123456789"),
    ] {
        let got = client.s3("GET", PATH, &[("range", range)], b"").await.expect(206);
        assert_eq!(got.text(), bytes, "{range}");
        assert_eq!(got.headers["content-range"], shown, "{range}");
        let head = client.s3("HEAD", PATH, &[("range", range)], b"").await.expect(206);
        assert_eq!(head.headers["content-length"], bytes.len().to_string().as_str(), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        let answer = client.s3("GET", PATH, &[("range", range)], b"").await.expect_code(416, "InvalidRange");
        assert_eq!(answer.headers["content-range"], "bytes */10", "{range}");
        client.s3("HEAD", PATH, &[("range", range)], b"").await.expect(416);
    }
    client.s3("PUT", PATH, &[("content-length", "0")], b"").await.expect(200);
    let tail = client.s3("GET", PATH, &[("range", "bytes=-1")], b"").await.expect(200);
    assert!(tail.body.is_empty() && !tail.headers.contains_key("content-range"));
    for range in ["bytes=0-", "bytes=0-0"] {
        let answer = client.s3("GET", PATH, &[("range", range)], b"").await.expect_code(416, "InvalidRange");
        assert_eq!(answer.headers["content-range"], "bytes */0", "{range}");
    }
    running.cloud.shutdown().await;
}
