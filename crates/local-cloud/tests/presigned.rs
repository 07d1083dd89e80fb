//! Presigned URLs do what was signed, and nothing else.

mod common;

use std::time::Duration;

use common::{Presigning, machine_time, start};

const PATH: &str = "/millpond-inbox/uploads/job/photo.jpg";
/// SHA-256 of `abc`.
const ABC: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
const SIGNED: [(&str, &str); 4] =
    [("content-length", "3"), ("content-type", "image/jpeg"), ("if-none-match", "*"), ("x-amz-checksum-sha256", ABC)];

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    SIGNED.into_iter().filter(|(known, _)| *known != name).collect()
}

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut headers = without(name);
    headers.push((name, value));
    headers
}

#[tokio::test]
async fn a_presigned_put_writes_once_what_was_signed() {
    let running = start().await;
    let client = &running.client;
    let url = client.presign("PUT", PATH, &SIGNED, Presigning::default());
    client.send("PUT", &url, &SIGNED, b"abc").await.expect(200);
    client.send("PUT", &url, &SIGNED, b"abc").await.expect_code(412, "PreconditionFailed");
    let get = client.presign("GET", PATH, &[], Presigning::default());
    let answer = client.send("GET", &get, &[("range", "bytes=1-")], b"").await.expect(206);
    assert_eq!((answer.text().as_str(), &answer.headers["content-type"]), ("bc", &"image/jpeg".parse().unwrap()));
    let head = client.presign("HEAD", PATH, &[], Presigning::default());
    client.send("HEAD", &head, &[], b"").await.expect(200);
    let delete = client.presign("DELETE", PATH, &[], Presigning::default());
    client.send("DELETE", &delete, &[], b"").await.expect(204);
    client.send("GET", &get, &[], b"").await.expect_code(404, "NoSuchKey");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_signed_header_may_be_neither_changed_nor_left_out() {
    let running = start().await;
    let client = &running.client;
    let url = client.presign("PUT", PATH, &SIGNED, Presigning::default());
    // The client sets the length itself: a body of another length has another.
    let unsized_headers = without("content-length");
    client.send("PUT", &url, &unsized_headers, b"abcd").await.expect_code(403, "SignatureDoesNotMatch");
    client.send("PUT", &url, &unsized_headers, b"").await.expect(403);
    for (name, value) in [
        ("content-type", "text/html"),
        ("if-none-match", "\"abc\""),
        ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        client.send("PUT", &url, &with(name, value), b"abc").await.expect_code(403, "SignatureDoesNotMatch");
        client.send("PUT", &url, &without(name), b"abc").await.expect_code(403, "SignatureDoesNotMatch");
    }
    // The right length and headers, but other bytes than those whose digest was signed.
    client.send("PUT", &url, &SIGNED, b"abd").await.expect_code(400, "BadDigest");
    let get = client.presign("GET", PATH, &[], Presigning::default());
    client.send("GET", &get, &[], b"").await.expect_code(404, "NoSuchKey");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_url_is_for_its_key_method_region_and_time() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", PATH, &[], b"abc").await.expect(200);
    let url = client.presign("GET", PATH, &[], Presigning::default());
    client.send("GET", &url, &[], b"").await.expect(200);
    let other_key = url.replace("photo.jpg", "other.jpg");
    client.send("GET", &other_key, &[], b"").await.expect_code(403, "SignatureDoesNotMatch");
    client.send("PUT", &url, &[], b"abc").await.expect_code(403, "SignatureDoesNotMatch");
    client.send("DELETE", &url, &[], b"").await.expect_code(403, "SignatureDoesNotMatch");
    let longer = url.replace("X-Amz-Expires=900", "X-Amz-Expires=9000");
    client.send("GET", &longer, &[], b"").await.expect_code(403, "SignatureDoesNotMatch");
    let more = format!("{url}&response-content-type=text/html");
    client.send("GET", &more, &[], b"").await.expect_code(403, "SignatureDoesNotMatch");

    let an_hour_ago = machine_time() - Duration::from_secs(3600);
    let expired = Presigning { time: an_hour_ago, ..Presigning::default() };
    let url = client.presign("GET", PATH, &[], expired);
    client.send("GET", &url, &[], b"").await.expect_code(403, "AccessDenied");
    let in_an_hour = machine_time() + Duration::from_secs(3600);
    let url = client.presign("GET", PATH, &[], Presigning { time: in_an_hour, ..Presigning::default() });
    client.send("GET", &url, &[], b"").await.expect(403);
    let a_week = Duration::from_secs(604_800);
    let url = client.presign("GET", PATH, &[], Presigning { expires: a_week, ..Presigning::default() });
    client.send("GET", &url, &[], b"").await.expect(200);
    let too_long = Presigning { expires: a_week + Duration::from_secs(1), ..Presigning::default() };
    let url = client.presign("GET", PATH, &[], too_long);
    client.send("GET", &url, &[], b"").await.expect_code(400, "AuthorizationQueryParametersError");
    let elsewhere = Presigning { region: "eu-west-1", ..Presigning::default() };
    let url = client.presign("GET", PATH, &[], elsewhere);
    client.send("GET", &url, &[], b"").await.expect_code(400, "AuthorizationQueryParametersError");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn an_unsigned_amz_header_is_refused() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", "/millpond-outbox/secret", &[], b"private").await.expect(200);
    let url = client.presign("PUT", PATH, &[], Presigning::default());
    for (name, value) in [
        ("x-amz-copy-source", "/millpond-outbox/secret"),
        ("x-amz-meta-millpond-tenant", "someone-else"),
        ("x-amz-acl", "public-read"),
        ("x-amz-tagging", "a=b"),
    ] {
        client.send("PUT", &url, &[(name, value)], b"abc").await.expect_code(403, "AccessDenied");
    }
    let get = client.presign("GET", PATH, &[], Presigning::default());
    client.send("GET", &get, &[], b"").await.expect_code(404, "NoSuchKey");
    client.send("PUT", &url, &[("x-other", "fine")], b"abc").await.expect(200);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn amz_headers_presigned_as_parameters_count() {
    let running = start().await;
    let client = &running.client;
    let digest = ABC.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let path = format!("{PATH}?x-amz-checksum-sha256={digest}&x-amz-meta-a=1");
    let url = client.presign("PUT", &path, &[], Presigning::default());
    client.send("PUT", &url, &[], b"abd").await.expect_code(400, "BadDigest");
    client.send("PUT", &url, &[], b"abc").await.expect(200);
    let get = client.presign("GET", PATH, &[], Presigning::default());
    assert_eq!(client.send("GET", &get, &[], b"").await.expect(200).headers["x-amz-meta-a"], "1");
    let without = url.replace("x-amz-meta-a=1", "x-amz-meta-a=2");
    client.send("PUT", &without, &[], b"abc").await.expect_code(403, "SignatureDoesNotMatch");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn requests_without_a_good_signature_are_refused() {
    let running = start().await;
    let client = &running.client;
    let url = format!("{}{PATH}", client.s3);
    client.send("GET", &url, &[], b"").await.expect_code(403, "AccessDenied");
    client.send("PUT", &url, &[], b"abc").await.expect_code(403, "AccessDenied");
    let version_2 = format!("{url}?AWSAccessKeyId=local&Signature=x&Expires=99999999999");
    client.send("GET", &version_2, &[], b"").await.expect_code(400, "InvalidRequest");
    client.send("GET", &url, &[("authorization", "AWS local:abc")], b"").await.expect_code(400, "InvalidRequest");
    let mut stranger = client.clone();
    stranger.secret = "guessed".into();
    stranger.s3("GET", PATH, &[], b"").await.expect_code(403, "SignatureDoesNotMatch");
    for (minutes, wanted) in [(14, 404), (16, 403)] {
        let skew = Duration::from_secs(minutes * 60);
        client.s3_at(machine_time() - skew, "GET", PATH, &[], b"").await.expect(wanted);
        client.s3_at(machine_time() + skew, "GET", PATH, &[], b"").await.expect(wanted);
    }
    let presigned = client.presign("GET", PATH, &[], Presigning::default());
    let both = [("authorization", "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=y")];
    client.send("GET", &presigned, &both, b"").await.expect(400);
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn preflights_are_answered_unsigned() {
    let running = start().await;
    let client = &running.client;
    let url = client.presign("PUT", PATH, &SIGNED, Presigning::default());
    let asking = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type,if-none-match,x-amz-checksum-sha256"),
    ];
    let answer = client.send("OPTIONS", &url, &asking, b"").await.expect(200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let mut delete = asking;
    delete[1].1 = "DELETE";
    client.send("OPTIONS", &url, &delete, b"").await.expect(403);
    let mut headers = SIGNED.to_vec();
    headers.push(("origin", "https://app.example"));
    let answer = client.send("PUT", &url, &headers, b"abc").await.expect(200);
    assert_eq!(answer.headers["access-control-expose-headers"], "ETag");
    running.cloud.shutdown().await;
}
