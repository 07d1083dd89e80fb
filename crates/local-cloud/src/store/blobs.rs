//! Object bytes: one file each, named by a UUID, so that no key can alias another or escape the directory; small ones in the database.
//!
//! A file costs two syncs of its own before the transaction that names it, its bytes' and its directory's. A row shares the transaction's,
//! and so those of all requests that are committed with it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};
use rusqlite::params;
use s3s::checksum::ChecksumHasher;
use s3s::dto::Checksum;

use super::db::{Change, Effect};
use super::error::Result as StoreResult;

/// Up to here an object's bytes lie in the database. Jobs' documents do, and the answers in them.
pub(crate) const SMALL_MAX_BYTES: usize = 64 << 10;

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A blob of this name.
    File(String),
    /// A row of `small_blobs`.
    Row(i64),
}

impl Stored {
    /// From the two columns of a record, of which one is set.
    pub(super) fn of_columns(blob: Option<String>, small: Option<i64>) -> Self {
        match (blob, small) {
            (_, Some(row)) => Self::Row(row),
            (blob, None) => Self::File(blob.unwrap_or_default()),
        }
    }

    /// Removes the bytes, which no record names any more: a row now, a file once the change is durable.
    pub(super) fn remove(self, change: &Change<'_>) -> StoreResult<()> {
        match self {
            Self::File(name) => change.after_commit(Effect::RemoveBlob(name)),
            Self::Row(row) => {
                change.prepare_cached("DELETE FROM small_blobs WHERE id = ?1")?.execute([row])?;
            }
        }
        Ok(())
    }
}

/// The folder of blobs, and beside it the folder of uploads under way.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    blobs: Arc<Path>,
    uploading: Arc<Path>,
}

impl Blobs {
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let blobs = data_dir.join("blobs");
        let uploading = data_dir.join("uploading");
        fs::create_dir_all(&blobs)?;
        fs::create_dir_all(&uploading)?;
        sync_dir(data_dir)?;
        Ok(Self { blobs: blobs.into(), uploading: uploading.into() })
    }

    /// Removes what a crash left behind: uploads under way, and blobs that no record names.
    pub(crate) fn sweep(&self, named: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.uploading)? {
            fs::remove_file(entry?.path())?;
            removed += 1;
        }
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| named.contains(name)) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> io::Result<bool> {
        Ok(fs::read_dir(&self.blobs)?.next().is_some())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.blobs.join(name)
    }

    /// Removes a blob. One that is gone already is no error; the next start sweeps what could not be removed.
    pub(crate) fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, blob = name, "a blob could not be removed");
        }
    }

    pub(crate) fn create(&self, checksums: ChecksumHasher) -> BlobWriter {
        BlobWriter {
            blobs: self.clone(),
            target: Target::Memory(Vec::new()),
            md5: Md5::new(),
            checksums,
            size_bytes: 0,
        }
    }

    fn create_file(&self) -> io::Result<(File, StagedFile)> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.uploading.join(&name);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok((file, StagedFile { name, path, keep: false }))
    }

    /// Makes a file durable under its final name.
    fn settle(&self, file: &File, staged: &mut StagedFile) -> io::Result<()> {
        file.sync_all()?;
        let target = self.path(&staged.name);
        fs::rename(&staged.path, &target)?;
        staged.path = target;
        sync_dir(&self.blobs)
    }

    /// The same bytes, in a file.
    pub(crate) fn in_file(&self, staged: StagedBlob) -> io::Result<StagedFile> {
        match staged {
            StagedBlob::File(staged) => Ok(staged),
            StagedBlob::Small(bytes) => {
                let (mut file, mut staged) = self.create_file()?;
                file.write_all(&bytes)?;
                self.settle(&file, &mut staged)?;
                Ok(staged)
            }
        }
    }

    /// A second name for the bytes of a blob, ready to be recorded. Blobs never change, so a link is a copy.
    pub(crate) fn link(&self, source: &str) -> io::Result<StagedBlob> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        let staged = StagedFile { name, path, keep: false };
        if fs::hard_link(self.path(source), &staged.path).is_err() {
            fs::copy(self.path(source), &staged.path)?;
            File::open(&staged.path)?.sync_all()?;
        }
        sync_dir(&self.blobs)?;
        Ok(StagedBlob::File(staged))
    }

    /// The bytes of several blobs, one after the other.
    pub(crate) fn concatenate(&self, sources: &[String], checksums: ChecksumHasher) -> io::Result<FinishedBlob> {
        let mut writer = self.create(checksums);
        let mut buffer = vec![0; 1 << 18];
        for source in sources {
            let mut file = File::open(self.path(source))?;
            loop {
                let length = file.read(&mut buffer)?;
                if length == 0 {
                    break;
                }
                writer.write(&buffer[..length])?;
            }
        }
        writer.finish()
    }
}

/// A blob being written: in memory as long as it is small. Dropped before `finish`, it removes its file.
pub(crate) struct BlobWriter {
    blobs: Blobs,
    target: Target,
    md5: Md5,
    checksums: ChecksumHasher,
    size_bytes: u64,
}

enum Target {
    Memory(Vec<u8>),
    File(File, StagedFile),
}

impl BlobWriter {
    /// Whether so many more bytes touch no file.
    pub(crate) fn stays_small(&self, more: usize) -> bool {
        matches!(&self.target, Target::Memory(bytes) if bytes.len() + more <= SMALL_MAX_BYTES)
    }

    /// Blocking, unless it stays small.
    pub(crate) fn write(&mut self, more: &[u8]) -> io::Result<()> {
        self.md5.update(more);
        self.checksums.update(more);
        self.size_bytes += more.len() as u64;
        if let Target::Memory(bytes) = &mut self.target {
            if bytes.len() + more.len() <= SMALL_MAX_BYTES {
                bytes.extend_from_slice(more);
                return Ok(());
            }
            let (mut file, staged) = self.blobs.create_file()?;
            file.write_all(bytes)?;
            self.target = Target::File(file, staged);
        }
        match &mut self.target {
            Target::File(file, _) => file.write_all(more),
            Target::Memory(_) => Ok(()),
        }
    }

    /// Makes a file's bytes durable under their final name; small ones become so with their record. Blocking, unless it stayed small.
    pub(crate) fn finish(self) -> io::Result<FinishedBlob> {
        let staged = match self.target {
            Target::Memory(bytes) => StagedBlob::Small(bytes),
            Target::File(file, mut staged) => {
                self.blobs.settle(&file, &mut staged)?;
                StagedBlob::File(staged)
            }
        };
        Ok(FinishedBlob {
            staged,
            size_bytes: self.size_bytes,
            md5: self.md5.finalize().into(),
            checksums: self.checksums.finalize(),
        })
    }
}

/// What was written, but is not yet named by any record.
pub(crate) struct FinishedBlob {
    pub(crate) staged: StagedBlob,
    pub(crate) size_bytes: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksum,
}

/// Bytes ready to be recorded.
pub(crate) enum StagedBlob {
    Small(Vec<u8>),
    File(StagedFile),
}

impl StagedBlob {
    /// Hands the bytes over to the record that names them, within its transaction.
    pub(super) fn store(self, change: &Change<'_>) -> StoreResult<Stored> {
        match self {
            Self::File(staged) => Ok(Stored::File(change.name_blob(staged))),
            Self::Small(bytes) => {
                change.prepare_cached("INSERT INTO small_blobs (bytes) VALUES (?1)")?.execute(params![bytes])?;
                Ok(Stored::Row(change.last_insert_rowid()))
            }
        }
    }
}

/// A durable file that removes itself unless it is kept, so that a failed or abandoned request leaves nothing behind.
pub(crate) struct StagedFile {
    name: String,
    path: PathBuf,
    keep: bool,
}

impl StagedFile {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the file where it is.
    pub(super) fn keep(mut self) -> String {
        self.keep = true;
        std::mem::take(&mut self.name)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "an abandoned upload could not be removed");
        }
    }
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
