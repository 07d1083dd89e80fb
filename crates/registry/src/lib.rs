//! A model registry: `<name>/<version>/model.toml` and its files, in a directory or under a bucket's prefix.
//!
//! Which version is served is decided by the file `<name>/current`, whose text is a version's name; without it, the
//! highest version is. Both are looked at again every few seconds, so that a new model is served without a restart.

mod source;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bundle::{InputError, Manifest, ManifestError};
use bytes::Bytes;
use cloud::{ObjectStore, StoreError};
use job::error::{Code, Problem};
use job::id::{ModelName, Sha256, Version};
use tokio::time::Instant;

use source::Source;

/// How old a looked-up model may be.
const FRESH: Duration = Duration::from_secs(2);

/// A registry of models.
#[derive(Debug)]
pub struct Registry {
    source: Source,
    current: Mutex<HashMap<ModelName, LookedUp>>,
}

/// When a model was looked up, and what was found.
type LookedUp = (Instant, Option<Arc<Published>>);

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

/// Why a model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The directory can't be read.
    #[error("the model registry cannot be read")]
    Directory(#[source] std::io::Error),
    /// The bucket can't be read.
    #[error("the model registry cannot be read")]
    Bucket(#[source] StoreError),
    /// There is a `model.toml`, but it is of no use.
    #[error("model {name} version {version} is not usable")]
    Manifest {
        /// Its folder.
        name: ModelName,
        /// Its folder.
        version: Version,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// A file that the manifest names is missing.
    #[error("model {name} version {version} lacks its file {file}")]
    FileMissing {
        /// The model.
        name: ModelName,
        /// Its version.
        version: Version,
        /// The file.
        file: String,
    },
    /// A file is not the one that the manifest names.
    #[error("model {name} version {version}: file {file} does not match the SHA-256 in model.toml")]
    FileDigest {
        /// The model.
        name: ModelName,
        /// Its version.
        version: Version,
        /// The file.
        file: String,
    },
}

impl RegistryError {
    /// Whether the same call may succeed later without anybody mending the bundle.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::Bucket(error) => error.is_transient(),
            Self::Manifest { .. } | Self::FileMissing { .. } | Self::FileDigest { .. } => false,
        }
    }

    /// What a client is told.
    pub fn problem(&self) -> Problem {
        if self.is_transient() {
            Problem::new(Code::StorageUnavailable, "the model registry could not be read; try again shortly")
        } else {
            Problem::new(Code::ModelBroken, "the model's bundle is damaged; its operator has to mend it")
        }
    }
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
        Self { source, current: Mutex::default() }
    }

    /// The version of `name` that new jobs get; none if there is no such model.
    pub async fn resolve(&self, name: &ModelName) -> Result<Option<Arc<Published>>, RegistryError> {
        if let Some((at, found)) = self.current.lock().expect("no panic while it is held").get(name)
            && at.elapsed() < FRESH
        {
            return Ok(found.clone());
        }
        let found = self.served(name).await?;
        // Names come from requests: what is absent is not remembered, lest the map grow without bound.
        let mut current = self.current.lock().expect("no panic while it is held");
        match &found {
            Some(_) => current.insert(name.clone(), (Instant::now(), found.clone())),
            None => current.remove(name),
        };
        Ok(found)
    }

    /// This very version; none if it is not there.
    pub async fn version(&self, name: &ModelName, version: &Version) -> Result<Option<Arc<Published>>, RegistryError> {
        let Some(bytes) = self.source.read(&format!("{name}/{version}/model.toml")).await? else {
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
        versions.sort_by(|a, b| natural_order(a.as_str(), b.as_str()));
        Ok(versions)
    }

    async fn served(&self, name: &ModelName) -> Result<Option<Arc<Published>>, RegistryError> {
        if let Some(text) = self.source.read(&format!("{name}/current")).await? {
            if let Some(named) = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()) {
                return self.version(name, &named).await;
            }
            tracing::warn!(model = %name, "the file `current` names no version; the highest one is served");
        }
        // A folder without a manifest is still being copied in, or no version at all.
        for version in self.versions(name).await?.iter().rev() {
            if let Some(published) = self.version(name, version).await? {
                return Ok(Some(published));
            }
        }
        Ok(None)
    }

    /// One of the bundle's files, its digest checked.
    pub async fn file(&self, model: &Published, file: &str) -> Result<Bytes, RegistryError> {
        let (name, version) = (model.name.clone(), model.version.clone());
        let expected = model.manifest.files.get(file);
        let bytes = match expected {
            Some(_) => self.source.read(&format!("{name}/{version}/{file}")).await?,
            None => None,
        };
        let Some(bytes) = bytes else {
            return Err(RegistryError::FileMissing { name, version, file: file.to_owned() });
        };
        if expected != Some(&bundle::digest(&bytes)) {
            return Err(RegistryError::FileDigest { name, version, file: file.to_owned() });
        }
        Ok(bytes)
    }

    /// All of the bundle's files, their digests checked.
    pub async fn files(&self, model: &Published) -> Result<HashMap<String, Bytes>, RegistryError> {
        let mut files = HashMap::new();
        for file in model.manifest.files.keys() {
            files.insert(file.clone(), self.file(model, file).await?);
        }
        Ok(files)
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

/// `9` before `10`, `1.9` before `1.10`, `2-rc1` before `2`: runs of digits compare as numbers, everything else as text, and
/// what begins with a hyphen comes before the end, as in semantic versioning.
fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    fn part(part: &[u8]) -> (u8, usize, &str) {
        let part = std::str::from_utf8(part).expect("a version is ASCII");
        let digits = part.trim_start_matches('0');
        match part.as_bytes()[0] {
            b'-' => (0, 0, part),
            b'0'..=b'9' => (2, digits.len(), digits),
            _ => (3, 0, part),
        }
    }
    fn parts(text: &str) -> impl Iterator<Item = (u8, usize, &str)> {
        let end = (1, 0, "");
        text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).map(part).chain([end])
    }
    parts(a).cmp(parts(b)).then_with(|| a.cmp(b))
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

    #[test]
    fn versions_are_ordered_as_people_read_them() {
        let mut versions =
            ["10", "2", "1.10", "1.9", "1", "a", "2-rc1", "2-rc10", "2-rc9", "2.0", "2026-05-01", "2026-11-01"];
        versions.sort_by(|a, b| natural_order(a, b));
        let expected =
            ["1", "1.9", "1.10", "2-rc1", "2-rc9", "2-rc10", "2", "2.0", "10", "2026-05-01", "2026-11-01", "a"];
        assert_eq!(versions, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_highest_version_is_served_unless_another_is_named() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "10"] {
            publish(root.path(), version);
        }
        let registry = Registry::directory(root.path());
        let name: ModelName = "m".parse().unwrap();
        let served = registry.resolve(&name).await.unwrap().unwrap();
        assert_eq!(served.version.as_str(), "10");
        std::fs::write(root.path().join("m/current"), "9\n").unwrap();
        tokio::time::advance(FRESH).await;
        let served = registry.resolve(&name).await.unwrap().unwrap();
        assert_eq!(served.version.as_str(), "9");
        assert!(registry.resolve(&"absent".parse().unwrap()).await.unwrap().is_none());
        assert_eq!(registry.names().await.unwrap().len(), 1);
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
