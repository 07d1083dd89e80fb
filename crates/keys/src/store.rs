//! Where `keys.json` is, and how it is read and edited.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cloud::{Condition, GetOptions, ObjectStore, PutOptions, StoreError};
use fs4::FileExt;

use crate::{KeyFile, KeyFileError};

/// Tens of thousands of keys fit.
const MAX_BYTES: u64 = 8 << 20;
/// How often an edit begins anew because another one came between.
const TRIES: usize = 10;

/// Where the document is.
#[derive(Debug, Clone)]
pub struct Store {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Object(Arc<dyn ObjectStore>, String),
}

/// Why the keys could not be read or edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// There is no document.
    #[error("there are no keys at {0}")]
    Missing(String),
    /// The file cannot be read or written.
    #[error("cannot use the keys at {0}")]
    File(String, #[source] std::io::Error),
    /// The object cannot be read or written.
    #[error("cannot use the keys at {0}")]
    Object(String, #[source] StoreError),
    /// What is there is not what Millpond wrote.
    #[error("cannot use the keys at {0}: {1}")]
    Document(String, KeyFileError),
    /// Others edit it all the time.
    #[error("the keys at {0} are being edited by others; try again")]
    Busy(String),
}

impl Store {
    /// In a file, which only its owner can read once it has been edited.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::File(path.into()) }
    }

    /// In an object.
    pub fn object(bucket: Arc<dyn ObjectStore>, key: impl Into<String>) -> Self {
        Self { place: Place::Object(bucket, key.into()) }
    }

    /// At a place, whose bucket, if it has one, is this.
    pub fn at(place: crate::Place, bucket: impl FnOnce(String) -> Arc<dyn ObjectStore>) -> Self {
        match place {
            crate::Place::File(path) => Self::file(path),
            crate::Place::Object { bucket: name, key } => Self::object(bucket(name), key),
        }
    }

    /// What people call it.
    pub fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Object(bucket, key) => format!("s3://{}/{key}", bucket.bucket()),
        }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub async fn read(&self) -> Result<KeyFile, KeysError> {
        match &self.place {
            Place::File(path) => {
                let path = path.clone();
                let bytes = blocking(move || std::fs::read(path)).await;
                match bytes {
                    Ok(bytes) => self.parse(&bytes),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(KeysError::Missing(self.name())),
                    Err(error) => Err(KeysError::File(self.name(), error)),
                }
            }
            Place::Object(bucket, key) => match bucket.get(key, bounded()).await {
                Ok(object) => self.parse(&object.body),
                Err(StoreError::NotFound) => Err(KeysError::Missing(self.name())),
                Err(error) => Err(KeysError::Object(self.name(), error)),
            },
        }
    }

    /// Changes the document, which is made if it is not there: whole or not at all, and losing no edit that others make at
    /// the same time. `edit` may be called again, over what they left.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub async fn edit<T: Send + 'static>(
        &self,
        mut edit: impl FnMut(&mut KeyFile) -> T + Send + 'static,
    ) -> Result<T, KeysError> {
        match &self.place {
            Place::File(path) => {
                let (this, path) = (self.clone(), path.clone());
                let failed = self.name();
                let edited = blocking(move || {
                    let _lock = lock(&path)?;
                    let mut file = match std::fs::read(&path) {
                        Ok(bytes) => match this.parse(&bytes) {
                            Ok(file) => file,
                            Err(error) => return Ok(Err(error)),
                        },
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => KeyFile::default(),
                        Err(error) => return Err(error),
                    };
                    let result = edit(&mut file);
                    replace(&path, &file.to_json())?;
                    Ok(Ok(result))
                });
                edited.await.map_err(|error| KeysError::File(failed, error))?
            }
            Place::Object(bucket, key) => {
                let failed = |error| KeysError::Object(self.name(), error);
                for _ in 0..TRIES {
                    let (mut file, condition) = match bucket.get(key, bounded()).await {
                        Ok(object) => (self.parse(&object.body)?, Condition::Matches(object.meta.etag)),
                        Err(StoreError::NotFound) => (KeyFile::default(), Condition::Absent),
                        Err(error) => return Err(failed(error)),
                    };
                    let result = edit(&mut file);
                    match bucket.put(key, Bytes::from(file.to_json()), PutOptions::json(condition)).await {
                        Ok(_) => return Ok(result),
                        // Somebody else was faster; also if the object has gone meanwhile.
                        Err(StoreError::PreconditionFailed | StoreError::Conflict | StoreError::NotFound) => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
                Err(KeysError::Busy(self.name()))
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<KeyFile, KeysError> {
        KeyFile::parse(bytes).map_err(|error| KeysError::Document(self.name(), error))
    }
}

fn bounded() -> GetOptions {
    GetOptions { max_bytes: Some(MAX_BYTES), ..GetOptions::default() }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Holds others off until it is dropped. The file itself is replaced, so the lock is one beside it.
fn lock(path: &Path) -> std::io::Result<File> {
    let beside = path.with_added_extension("lock");
    let file = File::options().write(true).create(true).truncate(false).open(beside)?;
    FileExt::lock(&file)?;
    Ok(file)
}

/// Writes a file that only its owner reads, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are readable by their owner only.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use cloud::clock::TokioClock;
    use cloud::memory::MemoryObjectStore;
    use job::Sha256;

    use super::*;
    use crate::{Entry, KeyId};

    fn entry(id: &str) -> Entry {
        Entry {
            id: KeyId::from(id),
            sha256: Sha256::of(b"a key"),
            tenant: "t".parse().unwrap(),
            rate: None,
            created_at: "2026-11-27T09:00:00Z".parse().unwrap(),
            note: None,
        }
    }

    fn in_memory() -> Store {
        let clock = Arc::new(TokioClock::starting_at("2026-11-27T09:00:00Z".parse().unwrap()));
        Store::object(Arc::new(MemoryObjectStore::new("config", clock)), "keys.json")
    }

    async fn many_edits(store: Store) {
        assert!(matches!(store.read().await, Err(KeysError::Missing(_))));
        let edits: Vec<_> = (0..8)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.edit(move |file| file.keys.push(entry(&n.to_string()))).await })
            })
            .collect();
        for edit in edits {
            edit.await.unwrap().unwrap();
        }
        let mut ids: Vec<String> = store.read().await.unwrap().keys.iter().map(|entry| entry.id.to_string()).collect();
        ids.sort();
        assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7"], "no edit is lost");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn edits_at_once_all_count() {
        let folder = tempfile::tempdir().unwrap();
        many_edits(Store::file(folder.path().join("keys.json"))).await;
        many_edits(in_memory()).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_is_its_owner_s_and_a_damaged_one_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let store = Store::file(&path);
        store.edit(|file| file.keys.push(entry("a"))).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "{").unwrap();
        let error = store.edit(|file| file.keys.push(entry("b"))).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot use the keys at {}: it is no list", path.display())));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    }
}
