//! A model registry: `<name>/<version>/model.toml` and its files, in a directory or under a bucket's prefix.
//!
//! Which version is served is decided by the alias, the file `<name>/current`, whose text is a version's name; without it,
//! the highest version is whose files are all there. Both are looked at again every few seconds ([`serving`]), so that a
//! new model is served without a restart. New versions come in whole, and the alias moves last ([`publish`]).

mod error;
mod order;
mod place;
pub mod publish;
pub mod serving;
mod source;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bundle::{InputError, Manifest, ManifestError};
use bytes::Bytes;
use cloud::ObjectStore;
use job::error::{Code, Problem};
use job::id::{ModelName, Sha256, Version};
use tokio::sync::Semaphore;

pub use error::RegistryError;
pub use order::version_order;
pub use place::{InvalidPlace, Place};
pub use publish::PublishError;
pub use serving::Refusal;

use serving::Known;
use source::{Source, Stamps};

/// What a bundle's description is called.
const MANIFEST: &str = "model.toml";

/// A registry of models.
#[derive(Debug)]
pub struct Registry {
    source: Source,
    /// What is served of each model that was asked for.
    known: Mutex<HashMap<ModelName, Known>>,
    /// New versions are read one at a time, which bounds what they take of memory.
    one_check: Arc<Semaphore>,
}

/// One version of one model, as it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its name.
    pub name: ModelName,
    /// Its version.
    pub version: Version,
    /// What its `model.toml` says.
    pub manifest: Manifest,
    /// SHA-256 of its `model.toml`, which holds the digests of all its files.
    pub digest: Sha256,
}

impl Registry {
    /// The models in a directory.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::Directory(path.into()))
    }

    /// The models in a bucket, under `prefix` (empty, or ending in `/`).
    pub fn bucket(store: Arc<dyn ObjectStore>, prefix: impl Into<String>) -> Self {
        Self::new(Source::Bucket { store, prefix: prefix.into() })
    }

    fn new(source: Source) -> Self {
        Self { source, known: Mutex::default(), one_check: Arc::new(Semaphore::new(1)) }
    }

    /// This very version; none if it is not there.
    pub async fn version(&self, name: &ModelName, version: &Version) -> Result<Option<Arc<Published>>, RegistryError> {
        let Some(bytes) = self.source.read(&format!("{name}/{version}/{MANIFEST}")).await? else {
            return Ok(None);
        };
        let broken = |source| RegistryError::Manifest { name: name.clone(), version: version.clone(), source };
        let text = std::str::from_utf8(&bytes).map_err(|_| broken(ManifestError::Form("it is not UTF-8".into())))?;
        let manifest = Manifest::parse(text).map_err(broken)?;
        for (field, says, is) in
            [("name", &manifest.name, name.as_str()), ("version", &manifest.version, version.as_str())]
        {
            if says != is {
                let fault = format!("{field} is {says:?}, but its folder is {is:?}");
                return Err(broken(ManifestError::Content(fault)));
            }
        }
        let digest = Sha256::of(&bytes);
        Ok(Some(Arc::new(Published { name: name.clone(), version: version.clone(), manifest, digest })))
    }

    /// The names of all models, in order.
    pub async fn names(&self) -> Result<BTreeSet<ModelName>, RegistryError> {
        Ok(self.source.folders("").await?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The versions of a model, lowest first.
    pub async fn versions(&self, name: &ModelName) -> Result<Vec<Version>, RegistryError> {
        let mut versions: Vec<Version> =
            self.source.folders(&format!("{name}/")).await?.iter().filter_map(|version| version.parse().ok()).collect();
        versions.sort_by(version_order);
        Ok(versions)
    }

    /// One of the bundle's files, its digest checked.
    pub async fn file(&self, model: &Published, file: &str) -> Result<Bytes, RegistryError> {
        self.source.checked_file(model, file).await
    }

    /// All of the bundle's files, their digests checked.
    pub async fn files(&self, model: &Published) -> Result<HashMap<String, Bytes>, RegistryError> {
        let mut files = HashMap::new();
        for file in model.manifest.files.keys() {
            files.insert(file.clone(), self.file(model, file).await?);
        }
        Ok(files)
    }

    /// How many bytes the bundle's files have together; [`RegistryError::FileMissing`] if one is not there.
    pub async fn size_bytes(&self, model: &Published) -> Result<u64, RegistryError> {
        let there = self.stamps(model).await?;
        Ok(model.manifest.files.keys().filter_map(|file| there.get(file)).map(|stamp| stamp.size_bytes).sum())
    }

    /// The files beside the version's `model.toml`, all that it names among them.
    async fn stamps(&self, model: &Published) -> Result<Stamps, RegistryError> {
        let there = self.source.files(&format!("{}/{}/", model.name, model.version)).await?;
        match model.manifest.files.keys().find(|file| !there.contains_key(*file)) {
            Some(file) => Err(model.lacks(file)),
            None => Ok(there),
        }
    }
}

impl Source {
    pub(crate) async fn checked_file(&self, model: &Published, file: &str) -> Result<Bytes, RegistryError> {
        let Some(expected) = model.manifest.files.get(file) else { return Err(model.lacks(file)) };
        let read = self.read(&format!("{}/{}/{file}", model.name, model.version)).await?;
        let bytes = read.ok_or_else(|| model.lacks(file))?;
        if *expected != bundle::digest(&bytes) {
            let (name, version) = (model.name.clone(), model.version.clone());
            return Err(RegistryError::FileDigest { name, version, file: file.to_owned() });
        }
        Ok(bytes)
    }
}

impl Published {
    /// Whether the other is the same version with the same `model.toml`.
    fn is(&self, other: &Self) -> bool {
        (&self.version, &self.digest) == (&other.version, &other.digest)
    }

    fn lacks(&self, file: &str) -> RegistryError {
        let (name, version) = (self.name.clone(), self.version.clone());
        RegistryError::FileMissing { name, version, file: file.to_owned() }
    }
}

/// What a client is told of an input that its model does not take.
pub fn input_problem(error: &InputError) -> Problem {
    let code = match error {
        InputError::MalformedJson(_) => Code::MalformedJson,
        InputError::Empty(_) => Code::EmptyInput,
        InputError::Invalid(_) => Code::InvalidInput,
        InputError::TooLarge(_) => Code::TooLarge,
    };
    Problem::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
format = 1
name = "m"
version = "VERSION"
title = "A model"
engine = { format = "xgboost", file = "model.ubj" }
input = { kind = "table", columns = [{ name = "a" }] }
output = { kind = "number" }
[files]
"model.ubj" = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"#;

    fn publish(root: &std::path::Path, version: &str) {
        let folder = root.join("m").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.toml"), MANIFEST.replace("VERSION", version)).unwrap();
        std::fs::write(folder.join("model.ubj"), "").unwrap();
    }

    #[tokio::test]
    async fn a_folder_without_a_manifest_is_no_version() {
        let root = tempfile::tempdir().unwrap();
        publish(root.path(), "1");
        // Being copied in, and somebody's own.
        for folder in ["2", "notes"] {
            std::fs::create_dir(root.path().join("m").join(folder)).unwrap();
        }
        let served = Registry::directory(root.path()).resolve(&"m".parse().unwrap()).await.unwrap();
        assert_eq!(served.unwrap().version.as_str(), "1");
    }

    #[tokio::test]
    async fn a_file_beside_the_models_is_no_model() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("readme"), "").unwrap();
        assert!(Registry::directory(root.path()).resolve(&"readme".parse().unwrap()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_changed_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        publish(root.path(), "1");
        let registry = Registry::directory(root.path());
        let served = registry.resolve(&"m".parse().unwrap()).await.unwrap().unwrap();
        assert!(registry.file(&served, "model.ubj").await.unwrap().is_empty());
        std::fs::write(root.path().join("m/1/model.ubj"), "x").unwrap();
        assert!(matches!(registry.file(&served, "model.ubj").await, Err(RegistryError::FileDigest { .. })));
        std::fs::remove_file(root.path().join("m/1/model.ubj")).unwrap();
        assert!(matches!(registry.file(&served, "model.ubj").await, Err(RegistryError::FileMissing { .. })));
        assert!(matches!(registry.file(&served, "../../x").await, Err(RegistryError::FileMissing { .. })));
    }

    #[tokio::test]
    async fn a_folder_under_another_name_is_refused() {
        let root = tempfile::tempdir().unwrap();
        publish(root.path(), "1");
        std::fs::rename(root.path().join("m/1"), root.path().join("m/2")).unwrap();
        let registry = Registry::directory(root.path());
        let error = registry.resolve(&"m".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Manifest { .. }));
        assert_eq!(error.problem().code, Code::ModelBroken);
    }
}
