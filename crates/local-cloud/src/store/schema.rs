//! The tables, and opening a database: settings, integrity, version.

use std::path::Path;
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::blobs::sync_dir;
use super::error::{Result, StoreError};

const VERSION: i64 = 2;

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
    -- A file's name, or a row of small_blobs.
    blob TEXT,
    small INTEGER,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    head TEXT NOT NULL,
    PRIMARY KEY (bucket, key),
    CHECK ((blob IS NULL) <> (small IS NULL))
) STRICT, WITHOUT ROWID;

-- An id is never used again: whoever looks for bytes that are gone finds nothing, not another's.
CREATE TABLE small_blobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bytes BLOB NOT NULL
) STRICT;

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

/// From format 1, in which every object was a file.
const FROM_1: &str = "
CREATE TABLE small_blobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bytes BLOB NOT NULL
) STRICT;
ALTER TABLE objects RENAME TO objects_1;
CREATE TABLE objects (
    bucket INTEGER NOT NULL REFERENCES buckets (id),
    key TEXT NOT NULL,
    blob TEXT,
    small INTEGER,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    head TEXT NOT NULL,
    PRIMARY KEY (bucket, key),
    CHECK ((blob IS NULL) <> (small IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO objects (bucket, key, blob, size, etag, modified_ms, head)
    SELECT bucket, key, blob, size, etag, modified_ms, head FROM objects_1;
DROP TABLE objects_1;
";

/// Opens the database at `path`, creating it if need be, and checks it.
///
/// # Errors
/// `Damaged` if the file is; `OtherFormat` if another version wrote it. It is left as it was.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    if !path.try_exists()? {
        create(path)?;
    }
    open_existing(path).map_err(|error| match error {
        StoreError::Sqlite(error)
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
        {
            StoreError::Damaged(error.to_string())
        }
        other => other,
    })
}

fn open_existing(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // What is refused is not written to either: a connection that is closed carries the log over.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        1 | VERSION => {}
        // It gets its name only once it is complete, so something has emptied it.
        0 => return Err(StoreError::Damaged("it is empty".into())),
        other => return Err(StoreError::OtherFormat(other, VERSION)),
    }
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if health != "ok" {
        return Err(StoreError::Damaged(health));
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // 32 MB of the log before it is carried over: each time costs two more syncs.
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    connection.set_prepared_statement_cache_capacity(64);
    if version == 1 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(FROM_1)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Makes an empty database that is complete and durable once it is there.
fn create(path: &Path) -> Result<()> {
    let unfinished = path.with_extension("new");
    for suffix in ["new", "new-journal"] {
        match fs::remove_file(path.with_extension(suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut connection = Connection::open(&unfinished)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&unfinished, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_format_1_is_brought_up_to_date() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        let old = Connection::open(&path).expect("opens");
        old.execute_batch(
            "CREATE TABLE buckets (id INTEGER PRIMARY KEY, name TEXT) STRICT;
             INSERT INTO buckets VALUES (1, 'b');
             CREATE TABLE objects (bucket INTEGER NOT NULL REFERENCES buckets (id), key TEXT NOT NULL,
                 blob TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified_ms INTEGER NOT NULL,
                 head TEXT NOT NULL, PRIMARY KEY (bucket, key)) STRICT, WITHOUT ROWID;
             INSERT INTO objects VALUES (1, 'k', 'a file', 3, 'e', 7, '{}');
             PRAGMA user_version = 1;",
        )
        .expect("runs");
        drop(old);
        for _ in 0..2 {
            let connection = open(&path).expect("opens");
            let row: (String, Option<i64>, i64) = connection
                .query_row("SELECT blob, small, size FROM objects WHERE key = 'k'", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .expect("the object is there");
            assert_eq!(row, ("a file".to_owned(), None, 3));
        }
    }
}
