//! What the clients make of a server that fails: scripted answers, one a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cloud::{GetOptions, ObjectStore, PutOptions, Queue, QueueError, StoreError};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLast-Modified: Fri, 01 May 2026 12:00:00 GMT\r\n\
                     Content-Length: 10\r\nConnection: close\r\n\r\n0123456789";
const BROKEN_OFF: &str = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLast-Modified: Fri, 01 May 2026 12:00:00 GMT\r\n\
                          Content-Length: 10\r\nConnection: close\r\n\r\n01234";
const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\nContent-Length: 56\r\nConnection: close\r\n\r\n\
                         <Error><Code>SlowDown</Code><Message>.</Message></Error>";
const TOO_LARGE: &str = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLast-Modified: Fri, 01 May 2026 12:00:00 GMT\r\n\
                         Content-Length: 99999999999\r\nConnection: close\r\n\r\n";
const CONFLICT: &str = "HTTP/1.1 409 Conflict\r\nContent-Length: 74\r\nConnection: close\r\n\r\n\
                        <Error><Code>ConditionalRequestConflict</Code><Message>.</Message></Error>";
const EXPIRED_RECEIPT: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n\
                               x-amzn-query-error: InvalidParameterValue;Sender\r\nContent-Length: 148\r\n\
                               Connection: close\r\n\r\n{\"__type\":\"com.amazonaws.sqs#InvalidParameterValueException\",\
                               \"message\":\"Value AQEB for parameter ReceiptHandle is invalid. Reason: it has expired.\"}";

/// A server that answers its connections with `script` in turn, and with the last of it from then on.
struct Scripted {
    url: String,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Scripted {
    async fn start(script: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        let count = asked.clone();
        serving.spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                answer(connection, script[number.min(script.len() - 1)]).await;
            }
        });
        Self { url, asked, _serving: serving }
    }

    async fn aws(&self) -> Aws {
        let credentials = StaticCredentials { access_key: "AKID".to_owned(), secret_key: "secret".to_owned() };
        Aws::connect(&Endpoint {
            region: Some("us-east-1".to_owned()),
            s3_url: Some(self.url.clone()),
            sqs_url: Some(self.url.clone()),
            credentials: Some(credentials),
            force_path_style: true,
        })
        .await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Reads the headers, which is all that requests without a body have, and answers.
async fn answer(mut connection: TcpStream, answer: &str) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    // A client that hung up has what it wanted.
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again() {
    let server = Scripted::start(&[BROKEN_OFF, BROKEN_OFF, WHOLE]).await;
    let got = server.aws().await.bucket("b").get("k", GetOptions::default()).await.unwrap();
    assert_eq!(got.body, "0123456789");
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_given_up() {
    let server = Scripted::start(&[BROKEN_OFF]).await;
    let got = server.aws().await.bucket("b").get("k", GetOptions::default()).await;
    assert!(matches!(got, Err(StoreError::Unavailable(_))), "{got:?}");
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn a_throttled_call_is_repeated() {
    let server = Scripted::start(&[SLOW_DOWN, WHOLE]).await;
    let got = server.aws().await.bucket("b").get("k", GetOptions::default()).await.unwrap();
    assert_eq!(got.body, "0123456789");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_call_that_stays_throttled_is_given_up_as_such() {
    let server = Scripted::start(&[SLOW_DOWN]).await;
    let listed = server.aws().await.bucket("b").list("", None, 10).await;
    assert!(matches!(listed, Err(StoreError::Throttled(_))), "{listed:?}");
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn an_object_that_is_too_large_is_not_read() {
    let server = Scripted::start(&[TOO_LARGE]).await;
    let options = GetOptions { if_match: None, max_bytes: Some(1 << 20) };
    let got = server.aws().await.bucket("b").get("k", options).await;
    assert!(matches!(got, Err(StoreError::TooLarge { size_bytes: 99_999_999_999 })), "{got:?}");
}

#[tokio::test]
async fn a_conflict_is_the_caller_s_to_repeat() {
    let server = Scripted::start(&[CONFLICT]).await;
    let put = server.aws().await.bucket("b").put("k", Bytes::new(), PutOptions::json_once()).await;
    assert!(matches!(put, Err(StoreError::Conflict)), "{put:?}");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn an_expired_receipt_is_stale() {
    let server = Scripted::start(&[EXPIRED_RECEIPT]).await;
    let queue = server.aws().await.queue(format!("{}/000000000000/q", server.url));
    let changed = queue.change_visibility(&cloud::ReceiptHandle("AQEB".to_owned()), Duration::from_secs(30)).await;
    assert!(matches!(changed, Err(QueueError::StaleReceipt)), "{changed:?}");
}
