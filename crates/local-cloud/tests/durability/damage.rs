//! A database that is damaged, or used by another process, is refused with a message that tells what is wrong, and is not
//! touched. Nothing is ever made anew in its place.

use std::path::{Path, PathBuf};

use local_cloud::{Config, LocalCloud, StartError};
use tempfile::TempDir;

use super::child::Launch;
use super::common::{KEY, SECRET};

const PAGE_BYTES: usize = 4096;

/// A data directory with some of everything, closed.
async fn filled() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Launch::at(directory.path()).start();
    for n in 0..60 {
        let path = format!("/millpond-inbox/uploads/{n}");
        server.client.s3("PUT", &path, &[], format!("{n}").repeat(50).as_bytes()).await.expect(200);
    }
    // Blobs, wherever small objects are kept.
    server.client.s3("PUT", "/millpond-inbox/uploads/large", &[], &vec![b'x'; 1 << 20]).await.expect(200);
    let queue = server.queue_url("millpond-jobs");
    for n in 0..20 {
        // One that needs pages of its own.
        let length = if n == 10 { 20_000 } else { 300 };
        server.client.send_message(&queue, &format!("{n}").repeat(length)).await;
    }
    server.shut_down();
    // All in one file, where a damaged page matters.
    let connection = rusqlite::Connection::open(database(directory.path())).expect("opens");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("done");
    directory
}

fn database(directory: &Path) -> PathBuf {
    directory.join("cloud.sqlite3")
}

async fn start(directory: &Path) -> Result<LocalCloud, StartError> {
    LocalCloud::start(Config::new(directory, KEY, SECRET)).await
}

fn blobs(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("blobs")).expect("a folder").count()
}

/// Starting is refused with a message about the file, and leaves it and the blobs alone.
async fn assert_refused(directory: &Path, what: &str) {
    let (before, blobs_before) = (std::fs::read(database(directory)).ok(), blobs(directory));
    let error = start(directory).await.err().unwrap_or_else(|| panic!("{what}: started"));
    let message = error.to_string();
    assert!(matches!(error, StartError::Damaged(..)), "{what}: {message}");
    assert!(message.contains(database(directory).to_str().expect("UTF-8")), "{what}: {message}");
    assert!(message.contains("damaged") && message.contains("restore"), "{what}: {message}");
    assert!(std::fs::read(database(directory)).ok() == before, "{what}: the file was changed");
    assert_eq!(blobs(directory), blobs_before, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_refused_and_left_alone() {
    let directory = filled().await;
    let path = database(directory.path());
    let whole = std::fs::read(&path).expect("there");
    let pages = whole.len() / PAGE_BYTES;
    assert!(pages > 10 && blobs(directory.path()) > 0);
    let refused_with = async |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).expect("written");
        assert_refused(directory.path(), what).await;
    };

    for page in 0..pages {
        let mut flipped = whole.clone();
        flipped[page * PAGE_BYTES..][..PAGE_BYTES].iter_mut().for_each(|byte| *byte = !*byte);
        refused_with(&flipped, &format!("page {page} of {pages} flipped")).await;
    }
    for length in [0, 50, PAGE_BYTES, whole.len() / 2 + 13, whole.len() - PAGE_BYTES] {
        refused_with(&whole[..length], &format!("cut to {length} of {} bytes", whole.len())).await;
    }
    refused_with(b"This is no database.\n", "a short text").await;
    refused_with(&b"This is no database.\n".repeat(1000), "a long text").await;
    std::fs::remove_file(&path).expect("removed");
    assert_refused(directory.path(), "the file is gone").await;
    assert!(!path.exists(), "it is not made anew");

    std::fs::write(&path, &whole).expect("written");
    start(directory.path()).await.expect("starts with what it was").shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_replaced_beside_its_log_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Launch::at(directory.path()).start();
    server.client.s3("PUT", "/millpond-outbox/kept", &[], b"kept").await.expect(200);
    server.kill();
    assert!(directory.path().join("cloud.sqlite3-wal").exists());
    std::fs::write(database(directory.path()), "no database").expect("written");
    assert_refused(directory.path(), "replaced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_version_is_refused() {
    let directory = filled().await;
    let connection = rusqlite::Connection::open(database(directory.path())).expect("opens");
    connection.pragma_update(None, "user_version", 1_000_000).expect("set");
    drop(connection);
    let error = start(directory.path()).await.err().expect("refused");
    assert!(error.to_string().contains("format 1000000"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut first = Launch::at(directory.path()).start();
    let refused = Launch::at(directory.path()).try_start().err();
    let wanted = format!("another process is using the data directory {}", directory.path().display());
    assert_eq!(refused, Some(wanted));
    first.client.s3("PUT", "/millpond-outbox/kept", &[], b"kept").await.expect(200);
    // The lock goes with its process, however that ends.
    first.kill();
    let second = Launch::at(directory.path()).start();
    assert_eq!(second.client.s3("GET", "/millpond-outbox/kept", &[], b"").await.expect(200).text(), "kept");
}
