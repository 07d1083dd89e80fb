//! How a registry's files are written: whole or not at all, and only over what the writer knows of.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Condition, PutOptions, StoreError};

use crate::PublishError;
use crate::source::{Source, content_tag, is_absent};

/// How often a write is tried that meets another one.
const TRIES: u32 = 6;

impl Source {
    /// Writes a file if what is there is as the condition asks; whether it was written. A write whose answer was lost can
    /// come out as `false`: compare what is there.
    pub(crate) async fn write(&self, path: &str, condition: Condition, bytes: Bytes) -> Result<bool, PublishError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(path);
                let written = tokio::task::spawn_blocking(move || write_file(&path, &condition, &bytes));
                written.await.map_err(std::io::Error::other).flatten().map_err(PublishError::Directory)
            }
            Self::Bucket { store, prefix } => {
                let (key, mut pause) = (format!("{prefix}{path}"), Duration::from_millis(100));
                for _ in 0..TRIES {
                    let options = PutOptions { condition: condition.clone(), ..PutOptions::default() };
                    match store.put(&key, bytes.clone(), options).await {
                        Ok(_) => return Ok(true),
                        Err(StoreError::PreconditionFailed) => return Ok(false),
                        Err(StoreError::NotFound) if matches!(condition, Condition::Matches(_)) => return Ok(false),
                        Err(StoreError::Conflict) => tokio::time::sleep(pause).await,
                        Err(error) => return Err(PublishError::Bucket(error)),
                    }
                    pause *= 2;
                }
                Err(PublishError::Bucket(StoreError::Conflict))
            }
        }
    }
}

fn write_file(path: &Path, condition: &Condition, bytes: &[u8]) -> std::io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // What writes only over what it knows holds the folder's lock between reading and renaming.
    let _lock = match condition {
        Condition::Matches(_) => Some(lock(folder)?),
        Condition::Absent | Condition::None => None,
    };
    if let Condition::Matches(tag) = condition {
        match std::fs::read(path) {
            Ok(there) if content_tag(&there) == *tag => {}
            Ok(_) => return Ok(false),
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    let mut file = tempfile::Builder::new().prefix(".pushing-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are private; a registry's are for all to read.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.as_file().sync_all()?;
    if *condition == Condition::Absent {
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.error),
        }
    } else {
        file.persist(path).map_err(|error| error.error)?;
    }
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(true)
}

/// The folder itself is locked, so that nothing is left behind; the lock ends with the file.
#[cfg(unix)]
fn lock(folder: &Path) -> std::io::Result<std::fs::File> {
    let folder = std::fs::File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

/// Folders cannot be opened here; two pushes to one folder at the same moment may each believe that theirs is served.
#[cfg(not(unix))]
fn lock(_: &Path) -> std::io::Result<()> {
    Ok(())
}
