//! Where a registry's files lie, and how they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use cloud::{GetOptions, Listing, ObjectStore, StoreError};
use job::id::ETag;

use crate::RegistryError;

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Directory(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: String },
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size_bytes: u64,
    /// The ETag, or when it was written.
    version: String,
}

/// The files of a folder.
pub(crate) type Stamps = BTreeMap<String, Stamp>;

impl Source {
    /// A file by its path, which is made of checked names alone; none if it is not there.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Bytes>, RegistryError> {
        Ok(self.read_tagged(path).await?.map(|(bytes, _)| bytes))
    }

    /// A file and what a conditional write of it must match.
    pub(crate) async fn read_tagged(&self, path: &str) -> Result<Option<(Bytes, ETag)>, RegistryError> {
        match self {
            Self::Directory(root) => match tokio::fs::read(root.join(path)).await {
                Ok(bytes) => {
                    let tag = content_tag(&bytes);
                    Ok(Some((bytes.into(), tag)))
                }
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(RegistryError::Directory(error)),
            },
            Self::Bucket { store, prefix } => {
                match store.get(&format!("{prefix}{path}"), GetOptions::default()).await {
                    Ok(object) => Ok(Some((object.body, object.meta.etag))),
                    Err(StoreError::NotFound) => Ok(None),
                    Err(error) => Err(RegistryError::Bucket(error)),
                }
            }
        }
    }

    /// The names of the folders in `path` (empty, or ending in `/`).
    pub(crate) async fn folders(&self, path: &str) -> Result<BTreeSet<String>, RegistryError> {
        let mut names = BTreeSet::new();
        match self {
            Self::Directory(root) => {
                // Without the registry itself nothing can be said.
                let Some(mut entries) = entries(root.join(path), !path.is_empty()).await? else { return Ok(names) };
                while let Some(entry) = entries.next_entry().await.map_err(RegistryError::Directory)? {
                    let folder = tokio::fs::metadata(entry.path()).await.is_ok_and(|meta| meta.is_dir());
                    if let (true, Ok(name)) = (folder, entry.file_name().into_string()) {
                        names.insert(name);
                    }
                }
            }
            Self::Bucket { store, prefix } => {
                each_page(&**store, &format!("{prefix}{path}"), |page, cut| {
                    let names_of = page.objects.iter().filter_map(|object| object.key[cut..].split_once('/'));
                    names.extend(names_of.map(|(name, _)| name.to_owned()));
                })
                .await?;
            }
        }
        Ok(names)
    }

    /// The files right in the folder `path` (ending in `/`); none if there is no such folder.
    pub(crate) async fn files(&self, path: &str) -> Result<Stamps, RegistryError> {
        let mut files = Stamps::new();
        match self {
            Self::Directory(root) => {
                let Some(mut entries) = entries(root.join(path), true).await? else { return Ok(files) };
                while let Some(entry) = entries.next_entry().await.map_err(RegistryError::Directory)? {
                    let Ok(meta) = tokio::fs::metadata(entry.path()).await else { continue };
                    let Ok(name) = entry.file_name().into_string() else { continue };
                    if meta.is_file() {
                        let written = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                        let version = written.unwrap_or_default().as_nanos().to_string();
                        files.insert(name, Stamp { size_bytes: meta.len(), version });
                    }
                }
            }
            Self::Bucket { store, prefix } => {
                each_page(&**store, &format!("{prefix}{path}"), |page, cut| {
                    for object in &page.objects {
                        let version = object.etag.unquoted().to_owned();
                        let stamp = Stamp { size_bytes: object.size_bytes, version };
                        files.insert(object.key[cut..].to_owned(), stamp);
                    }
                })
                .await?;
            }
        }
        Ok(files)
    }
}

/// What stands for an ETag in a folder.
pub(crate) fn content_tag(bytes: &[u8]) -> ETag {
    ETag::new(bundle::digest(bytes))
}

pub(crate) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

async fn entries(folder: PathBuf, may_be_absent: bool) -> Result<Option<tokio::fs::ReadDir>, RegistryError> {
    match tokio::fs::read_dir(folder).await {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if may_be_absent && is_absent(&error) => Ok(None),
        Err(error) => Err(RegistryError::Directory(error)),
    }
}

/// Calls `each` with each page of what begins with `prefix`, and the prefix's length.
async fn each_page(
    store: &dyn ObjectStore,
    prefix: &str,
    mut each: impl FnMut(&Listing, usize),
) -> Result<(), RegistryError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.list(prefix, after.as_deref(), 1000).await.map_err(RegistryError::Bucket)?;
        each(&page, prefix.len());
        match page.objects.last() {
            Some(last) if page.more => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}
