//! The tables, and opening a database: settings, integrity, version.

use std::path::Path;

use rusqlite::Connection;

use super::error::{Result, StoreError};

const VERSION: i64 = 1;

/// Keys are compared bytewise (SQLite's BINARY collation over UTF-8), which is the order in which S3 lists.
const TABLES: &str = "
CREATE TABLE buckets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    cors TEXT,
    notification TEXT
) STRICT;

CREATE TABLE objects (
    bucket INTEGER NOT NULL REFERENCES buckets (id),
    key TEXT NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    head TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket INTEGER NOT NULL REFERENCES buckets (id),
    key TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    head TEXT NOT NULL,
    algorithm TEXT,
    full_object INTEGER NOT NULL
) STRICT;

CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    checksums TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    attributes TEXT NOT NULL
) STRICT;

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    body TEXT NOT NULL,
    attributes TEXT,
    group_id TEXT,
    trace TEXT,
    sent_ms INTEGER NOT NULL,
    visible_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    receive_count INTEGER NOT NULL DEFAULT 0,
    first_received_ms INTEGER,
    last_received_ms INTEGER,
    receipt TEXT,
    dead_letter_source TEXT
) STRICT;

CREATE INDEX messages_by_visibility ON messages (queue, visible_ms, id);
CREATE INDEX messages_by_expiry ON messages (queue, expires_ms);

CREATE TABLE sequencer (next INTEGER NOT NULL) STRICT;
INSERT INTO sequencer VALUES (1);
";

/// Opens the database at `path`, creating it if need be, and checks it.
///
/// # Errors
/// `Invalid` if the file is damaged or was written by a newer version.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if health != "ok" {
        return Err(StoreError::Invalid(format!("the database is damaged: {health}")));
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        other => {
            return Err(StoreError::Invalid(format!(
                "the database has format {other}, this version reads format {VERSION}"
            )));
        }
    }
    Ok(connection)
}
