//! Object bytes: one file each, named by a UUID, so that no key can alias another or escape the directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::Checksum;

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

    pub(crate) fn create(&self, checksums: ChecksumHasher) -> io::Result<BlobWriter> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.uploading.join(&name);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(BlobWriter {
            file,
            staged: StagedBlob { name, path, home: Arc::clone(&self.blobs), keep: false },
            md5: Md5::new(),
            checksums,
            size_bytes: 0,
        })
    }

    /// A second name for the bytes of a blob, ready to be recorded. Blobs never change, so a link is a copy.
    pub(crate) fn link(&self, source: &str) -> io::Result<StagedBlob> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        if fs::hard_link(self.path(source), &path).is_err() {
            fs::copy(self.path(source), &path)?;
            File::open(&path)?.sync_all()?;
        }
        let staged = StagedBlob { name, path, home: Arc::clone(&self.blobs), keep: false };
        sync_dir(&self.blobs)?;
        Ok(staged)
    }

    /// The bytes of several blobs, one after the other.
    pub(crate) fn concatenate(&self, sources: &[String], checksums: ChecksumHasher) -> io::Result<FinishedBlob> {
        let mut writer = self.create(checksums)?;
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

/// A blob being written. Dropped before `finish`, it removes its file.
pub(crate) struct BlobWriter {
    file: File,
    staged: StagedBlob,
    md5: Md5,
    checksums: ChecksumHasher,
    size_bytes: u64,
}

impl BlobWriter {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.md5.update(bytes);
        self.checksums.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Makes the bytes durable under their final name. Blocking, like all of this module.
    pub(crate) fn finish(mut self) -> io::Result<FinishedBlob> {
        self.file.sync_all()?;
        let target = self.staged.home.join(&self.staged.name);
        fs::rename(&self.staged.path, &target)?;
        self.staged.path = target;
        sync_dir(&self.staged.home)?;
        Ok(FinishedBlob {
            staged: self.staged,
            size_bytes: self.size_bytes,
            md5: self.md5.finalize().into(),
            checksums: self.checksums.finalize(),
        })
    }
}

/// What was written: durable, but not yet named by any record.
pub(crate) struct FinishedBlob {
    pub(crate) staged: StagedBlob,
    pub(crate) size_bytes: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksum,
}

/// A file that removes itself unless it is kept, so that a failed or abandoned request leaves nothing behind.
pub(crate) struct StagedBlob {
    name: String,
    path: PathBuf,
    home: Arc<Path>,
    keep: bool,
}

impl StagedBlob {
    /// Hands the file over to the record that names it; call it inside the transaction that writes the record.
    pub(crate) fn keep(mut self) -> String {
        self.keep = true;
        std::mem::take(&mut self.name)
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "an abandoned upload could not be removed");
        }
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
