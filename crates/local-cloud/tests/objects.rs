//! Objects: conditions, keys, checksums, events.

mod common;

use common::{config, event_keys, start};
use local_cloud::{LocalCloud, StartError};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_racing_writers_exactly_one_wins() {
    let running = start().await;
    for round in 0..4 {
        let path = format!("/millpond-outbox/jobs/{round}/outcome.json");
        let mut writers = JoinSet::new();
        for writer in 0..32 {
            let (client, path) = (running.client.clone(), path.clone());
            writers.spawn(async move {
                // A row of the database, and a file.
                let body = format!("writer {writer} ").repeat(if round % 2 == 0 { 1 } else { 8_000 });
                let answer = client.s3("PUT", &path, &[("if-none-match", "*")], body.as_bytes()).await;
                (answer.status.as_u16(), body)
            });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<_> = outcomes.iter().filter(|(status, _)| *status == 200).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|(status, _)| [200, 412].contains(status)), "{outcomes:?}");
        let kept = running.client.s3("GET", &path, &[], b"").await.expect(200);
        assert_eq!(kept.text(), winners[0].1);
    }
    let blobs = std::fs::read_dir(running.directory.path().join("data/blobs")).expect("a folder").count();
    assert_eq!(blobs, 2, "losers leave no files behind");
    running.cloud.shutdown().await;
}

/// How many objects have their bytes in a file, and how many in the database.
fn kept(data: &std::path::Path) -> (usize, i64) {
    let files = std::fs::read_dir(data.join("blobs")).expect("a folder").count();
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(data.join("cloud.sqlite3"), flags).expect("opens");
    (files, db.query_row("SELECT count(*) FROM small_blobs", [], |row| row.get(0)).expect("a number"))
}

/// Files go after the answer, and the test does not outrun them.
async fn keeps(data: &std::path::Path, wanted: (usize, i64), size: usize) {
    for _ in 0..500 {
        if kept(data) == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(kept(data), wanted, "{size} bytes, and what they replaced is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_lie_in_the_database_and_large_ones_in_files() {
    let running = start().await;
    let (client, data) = (&running.client, running.directory.path().join("data"));
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    for (size, stored) in [(0, (0, 2)), (1, (0, 2)), (65_536, (0, 2)), (65_537, (2, 0)), (200_000, (2, 0)), (7, (0, 2))]
    {
        let body = &bytes[..size];
        let length = size.to_string();
        // Which HTTP clients leave out of an empty body.
        client.s3("PUT", "/millpond-outbox/a", &[("content-length", length.as_str())], body).await.expect(200);
        let copy = [("x-amz-copy-source", "/millpond-outbox/a")];
        client.s3("PUT", "/millpond-outbox/b", &copy, b"").await.expect(200);
        keeps(&data, stored, size).await;
        for path in ["/millpond-outbox/a", "/millpond-outbox/b"] {
            assert_eq!(client.s3("GET", path, &[], b"").await.expect(200).body, body, "{size} bytes");
            if size > 6 {
                let part = client.s3("GET", path, &[("range", "bytes=3-5")], b"").await.expect(206);
                assert_eq!(part.body, body[3..6]);
            }
        }
    }
    for path in ["/millpond-outbox/a", "/millpond-outbox/b"] {
        client.s3("DELETE", path, &[], b"").await.expect(204);
    }
    keeps(&data, (0, 0), 0).await;
    running.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_swaps_from_one_version_to_the_next() {
    let running = start().await;
    let client = &running.client;
    let path = "/millpond-outbox/counter";
    client.s3("PUT", path, &[("if-match", "\"x\"")], b"0").await.expect_code(404, "NoSuchKey");
    client.s3("PUT", path, &[], b"0").await.expect(200);
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        writers.spawn(async move {
            for _ in 0..5 {
                loop {
                    let now = client.s3("GET", path, &[], b"").await.expect(200);
                    let next: u32 = now.text().parse::<u32>().expect("a number") + 1;
                    let body = next.to_string();
                    let swapped = client.s3("PUT", path, &[("if-match", now.etag().as_str())], body.as_bytes()).await;
                    match swapped.status.as_u16() {
                        200 => break,
                        412 => {}
                        other => panic!("{other}: {}", swapped.text()),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(client.s3("GET", path, &[], b"").await.text(), "40");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn reads_honour_conditions_and_ranges() {
    let running = start().await;
    let client = &running.client;
    let path = "/millpond-outbox/object";
    let etag = client.s3("PUT", path, &[("x-amz-meta-a", "1")], b"0123456789").await.expect(200).etag();
    assert_eq!(etag, "\"781e5e245d69b566979b86e28d23f2c7\"");
    let answer = client.s3("GET", path, &[("if-none-match", etag.as_str())], b"").await.expect(304);
    assert_eq!((answer.etag(), answer.body.len()), (etag.clone(), 0));
    client.s3("HEAD", path, &[("if-none-match", etag.as_str())], b"").await.expect(304);
    client.s3("GET", path, &[("if-match", "\"other\"")], b"").await.expect_code(412, "PreconditionFailed");
    let answer = client.s3("GET", path, &[("if-match", etag.as_str())], b"").await.expect(200);
    assert_eq!(answer.headers["x-amz-meta-a"], "1");
    let future = [("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")];
    client.s3("GET", path, &future, b"").await.expect(304);
    let past = [("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT")];
    client.s3("GET", path, &past, b"").await.expect(412);
    for (range, wanted) in [("bytes=0-0", "0"), ("bytes=7-", "789"), ("bytes=-2", "89"), ("bytes=8-99", "89")] {
        let answer = client.s3("GET", path, &[("range", range)], b"").await.expect(206);
        assert_eq!(answer.text(), wanted);
    }
    client.s3("GET", path, &[("range", "bytes=10-")], b"").await.expect_code(416, "InvalidRange");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn every_legal_key_is_an_object_of_its_own() {
    let running = start().await;
    let client = &running.client;
    let longest = "k".repeat(1024);
    let keys = [
        "a",
        "a/b",
        "a/",
        "a//b",
        "/a",
        "..",
        "../a",
        "./a",
        "a/../b",
        "a%20b",
        "a+b",
        "%25",
        "%00x",
        "x%3Fy%26z%3D",
        "%E6%97%A5",
        longest.as_str(),
    ];
    for key in keys {
        client.s3("PUT", &format!("/millpond-outbox/{key}"), &[], key.as_bytes()).await.expect(200);
    }
    for key in keys {
        let answer = client.s3("GET", &format!("/millpond-outbox/{key}"), &[], b"").await.expect(200);
        assert_eq!(answer.text(), key);
    }
    let path = format!("/millpond-outbox/{}", "k".repeat(1025));
    client.s3("PUT", &path, &[], b"").await.expect_code(400, "KeyTooLongError");
    let listing = client.s3("GET", "/millpond-outbox?list-type=2&encoding-type=url", &[], b"").await.expect(200);
    let text = listing.text();
    assert!(text.contains(&format!("<KeyCount>{}</KeyCount>", keys.len())), "{text}");
    for shown in ["<Key>a%20b</Key>", "<Key>a%2Bb</Key>", "<Key>%00x</Key>", "<Key>../a</Key>", "<ETag>"] {
        assert!(text.contains(shown), "{shown} is missing: {text}");
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn wrong_checksums_write_nothing() {
    let running = start().await;
    let client = &running.client;
    let path = "/millpond-outbox/checked";
    let zeros_32 = "AAAAAA==";
    for (header, wrong) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-checksum-crc32", zeros_32),
        ("x-amz-checksum-crc32c", zeros_32),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        client.s3("PUT", path, &[(header, wrong)], b"123456789").await.expect_code(400, "BadDigest");
    }
    client.s3("PUT", path, &[("content-md5", "short")], b"x").await.expect_code(400, "InvalidDigest");
    client.s3("GET", path, &[], b"").await.expect(404);
    // The check values of "123456789" in the catalogue of parametrised CRC algorithms.
    for (header, right) in [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
    ] {
        let answer = client.s3("PUT", path, &[(header, right)], b"123456789").await.expect(200);
        assert_eq!(answer.headers[header], right);
        let asked = [("x-amz-checksum-mode", "ENABLED")];
        let answer = client.s3("GET", path, &asked, b"").await.expect(200);
        assert_eq!(answer.headers[header], right);
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_trailing_checksum_is_verified() {
    let running = start().await;
    let client = &running.client;
    for (checksum, wanted) in [("y/Q5Jg==", 200), ("AAAAAA==", 400)] {
        let body = format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "9"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        let path = format!("/millpond-outbox/trailing-{wanted}");
        let answer = client.s3_chunked("PUT", &path, &headers, body.as_bytes()).await.expect(wanted);
        let got = client.s3("GET", &path, &[], b"").await;
        if wanted == 200 {
            assert_eq!(answer.headers["x-amz-checksum-crc32"], checksum);
            assert_eq!(got.text(), "123456789");
            assert!(!got.headers.contains_key("content-encoding"));
        } else {
            got.expect(404);
        }
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn an_object_and_its_event_are_written_together() {
    let running = start().await;
    let client = &running.client;
    let queue = running.cloud.queue_url(&running.stack.queue);
    client.s3("PUT", "/millpond-inbox/uploads/j1/a%20b.txt", &[("if-none-match", "*")], b"1").await.expect(200);
    // Refused, so it sends no second event.
    client.s3("PUT", "/millpond-inbox/uploads/j1/a%20b.txt", &[("if-none-match", "*")], b"2").await.expect(412);
    client.s3("PUT", "/millpond-inbox/elsewhere/x", &[], b"3").await.expect(200);
    let copied = [("x-amz-copy-source", "/millpond-inbox/elsewhere/x")];
    client.s3("PUT", "/millpond-inbox/drop/m/x", &copied, b"").await.expect(200);
    client.s3("DELETE", "/millpond-inbox/drop/m/x", &[], b"").await.expect(204);
    let bodies = client.drain(&queue).await;
    assert_eq!(event_keys(&bodies), ["drop/m/x", "uploads/j1/a+b.txt"]);
    let first: serde_json::Value = serde_json::from_str(&bodies[0]).expect("JSON");
    let record = &first["Records"][0];
    assert_eq!(record["eventName"], "ObjectCreated:Put");
    assert_eq!(record["eventVersion"], "2.1");
    assert_eq!(record["s3"]["bucket"]["name"], "millpond-inbox");
    assert_eq!(record["s3"]["object"]["size"], 1);
    assert_eq!(record["s3"]["object"]["eTag"], "c4ca4238a0b923820dcc509a6f75849b");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_later_one_finds_everything() {
    let running = start().await;
    let config = config(&running.directory);
    let second = LocalCloud::start(config.clone()).await;
    assert!(matches!(second, Err(StartError::InUse(_))));
    running.client.s3("PUT", "/millpond-outbox/kept", &[], b"kept").await.expect(200);
    running.cloud.shutdown().await;
    let uploading = config.data_dir.join("uploading/left-behind");
    let orphan = config.data_dir.join("blobs/orphan");
    std::fs::write(&uploading, "x").expect("written");
    std::fs::write(&orphan, "x").expect("written");
    let again = LocalCloud::start(config).await.expect("starts again");
    again.provision(&running.stack).await.expect("provisions again");
    assert!(!uploading.exists() && !orphan.exists());
    let client = common::Client::new(&again.s3_endpoint(), &again.sqs_endpoint());
    assert_eq!(client.s3("GET", "/millpond-outbox/kept", &[], b"").await.text(), "kept");
    again.shutdown().await;
}
