//! Where a registry's files lie.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cloud::{GetOptions, ObjectStore, StoreError};

use crate::RegistryError;

#[derive(Debug)]
pub(crate) enum Source {
    Directory(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: String },
}

impl Source {
    /// A file by its path, which is made of checked names alone; none if it is not there.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Bytes>, RegistryError> {
        match self {
            Self::Directory(root) => match tokio::fs::read(root.join(path)).await {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
                Err(error) => Err(RegistryError::Directory(error)),
            },
            Self::Bucket { store, prefix } => {
                match store.get(&format!("{prefix}{path}"), GetOptions::default()).await {
                    Ok(object) => Ok(Some(object.body)),
                    Err(StoreError::NotFound) => Ok(None),
                    Err(error) => Err(RegistryError::Bucket(error)),
                }
            }
        }
    }

    /// The names of the folders in `path` (empty, or ending in `/`).
    pub(crate) async fn folders(&self, path: &str) -> Result<BTreeSet<String>, RegistryError> {
        match self {
            Self::Directory(root) => {
                let mut names = BTreeSet::new();
                let mut entries = match tokio::fs::read_dir(root.join(path)).await {
                    Ok(entries) => entries,
                    // But without the registry itself nothing can be said.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                            && !path.is_empty() =>
                    {
                        return Ok(names);
                    }
                    Err(error) => return Err(RegistryError::Directory(error)),
                };
                while let Some(entry) = entries.next_entry().await.map_err(RegistryError::Directory)? {
                    let folder = tokio::fs::metadata(entry.path()).await.is_ok_and(|meta| meta.is_dir());
                    if let (true, Ok(name)) = (folder, entry.file_name().into_string()) {
                        names.insert(name);
                    }
                }
                Ok(names)
            }
            Self::Bucket { store, prefix } => {
                let prefix = format!("{prefix}{path}");
                let mut names: BTreeSet<String> = BTreeSet::new();
                let mut after: Option<String> = None;
                loop {
                    let page = store.list(&prefix, after.as_deref(), 1000).await.map_err(RegistryError::Bucket)?;
                    for object in &page.objects {
                        if let Some((name, _)) = object.key[prefix.len()..].split_once('/') {
                            names.insert(name.to_owned());
                        }
                    }
                    match page.objects.last() {
                        Some(last) if page.more => after = Some(last.key.clone()),
                        _ => return Ok(names),
                    }
                }
            }
        }
    }
}
