//! How a version gets into a registry, and how the alias moves.
//!
//! A version's files are written one after another, each only if nothing is there under its name, `model.toml` last; then
//! the alias is moved, by compare-and-swap. Whoever stops at any line leaves the version before served, and whoever comes
//! again goes on from there: what is there already is compared, not written. Versions never change: other bytes under the
//! same version are refused. Since all pushers write in the same order, of two with different bundles under one version the
//! one that loses the first differing file stops there, and the other one ends whole.

use bytes::Bytes;
use cloud::{Condition, StoreError};
use job::id::{ModelName, Sha256, Version};

use crate::{MANIFEST, Published, Registry, RegistryError, version_order};

/// How often the alias is tried to be moved while others move it.
const ALIAS_TRIES: u32 = 20;

/// Why a version was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The folder can't be written to.
    #[error("the model registry cannot be written to")]
    Directory(#[source] std::io::Error),
    /// The bucket can't be written to.
    #[error("the model registry cannot be written to")]
    Bucket(#[source] StoreError),
    /// The bundle or the registry can't be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The same version is there with other content.
    #[error("version {version} of {name} is there already, with another {file}")]
    Different {
        /// The model.
        name: ModelName,
        /// Its version.
        version: Version,
        /// The first file that differs.
        file: String,
    },
    /// A higher version is served.
    #[error("{name} serves version {served}, which is higher than {version}")]
    Backwards {
        /// The model.
        name: ModelName,
        /// What was to be served.
        version: Version,
        /// What is.
        served: Version,
    },
    /// Others keep writing the same file.
    #[error("others keep changing {0}")]
    Contended(String),
}

/// What copying a version came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files written, `model.toml` included.
    pub written: usize,
    /// Their bytes.
    pub written_bytes: u64,
    /// Files that were there already.
    pub there: usize,
}

/// Which way the alias may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To higher versions alone; a lower one is [`PublishError::Backwards`].
    Forward,
    /// To any.
    Any,
}

impl Registry {
    /// What the alias says; none if there is no alias. [`RegistryError::Alias`] if it says nothing.
    pub async fn alias(&self, name: &ModelName) -> Result<Option<Version>, RegistryError> {
        let Some(text) = self.source.read(&alias_path(name)).await? else { return Ok(None) };
        parse(name, &text).map(Some)
    }

    /// Copies a version of another registry into this one. `done` is called with each file and its length.
    ///
    /// Where there is no alias yet but a version that is served, an alias to that version is written first: without one, the
    /// new version would be served as soon as it is complete.
    ///
    /// Cancellation: a dropped future leaves a version without `model.toml`, which is not served, or a complete one.
    pub async fn copy_from(
        &self,
        from: &Registry,
        model: &Published,
        done: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<Copied, PublishError> {
        let Published { name, version, .. } = model;
        let there = self.source.files(&format!("{name}/{version}/")).await?;
        let manifest = from.manifest_of(model).await?;
        // Found out before anything is written.
        if there.contains_key(MANIFEST) {
            self.same(model, MANIFEST, &manifest).await?;
        }
        self.pin_served(name).await?;
        let mut copied = Copied::default();
        for file in model.manifest.files.keys().map(String::as_str).chain([MANIFEST]) {
            let bytes = if file == MANIFEST { manifest.clone() } else { from.file(model, file).await? };
            let size = bytes.len() as u64;
            let stamp = there.get(file);
            if stamp.is_some_and(|stamp| stamp.size_bytes != size) {
                return Err(different(model, file));
            }
            let path = format!("{name}/{version}/{file}");
            if stamp.is_none() && self.source.write(&path, Condition::Absent, bytes.clone()).await? {
                copied.written += 1;
                copied.written_bytes += size;
            } else {
                self.same(model, file, &bytes).await?;
                copied.there += 1;
            }
            done(file, size);
        }
        Ok(copied)
    }

    /// Moves the alias of `name` to `version`, which must be complete. What it said before; none if there was no alias.
    pub async fn move_alias(
        &self,
        name: &ModelName,
        version: &Version,
        direction: Direction,
    ) -> Result<Option<Version>, PublishError> {
        let Some(published) = self.version(name, version).await? else {
            return Err(RegistryError::VersionMissing { name: name.clone(), version: version.clone() }.into());
        };
        self.stamps(&published).await?;
        let path = alias_path(name);
        let mut before = None;
        for _ in 0..ALIAS_TRIES {
            let condition = match self.source.read_tagged(&path).await? {
                None => Condition::Absent,
                Some((text, tag)) => {
                    let served = match parse(name, &text) {
                        Ok(served) => Some(served),
                        // Whoever says which version is meant mends it.
                        Err(_) if direction == Direction::Any => None,
                        Err(error) => return Err(error.into()),
                    };
                    if served.as_ref() == Some(version) {
                        return Ok(before.unwrap_or(served));
                    }
                    if let (Direction::Forward, Some(served)) = (direction, &served)
                        && version_order(served, version).is_gt()
                    {
                        let (name, version, served) = (name.clone(), version.clone(), served.clone());
                        return Err(PublishError::Backwards { name, version, served });
                    }
                    before = Some(served);
                    Condition::Matches(tag)
                }
            };
            if self.source.write(&path, condition, Bytes::from(format!("{version}\n"))).await? {
                return Ok(before.flatten());
            }
        }
        Err(PublishError::Contended(path))
    }

    /// Writes down which version is served, if nobody has yet.
    async fn pin_served(&self, name: &ModelName) -> Result<(), PublishError> {
        if self.source.read(&alias_path(name)).await?.is_some() {
            return Ok(());
        }
        match self.resolve(name).await {
            Ok(Some(served)) => {
                let text = Bytes::from(format!("{}\n", served.version));
                self.source.write(&alias_path(name), Condition::Absent, text).await?;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.is_transient() => Err(error.into()),
            // Nothing is served that could be pinned.
            Err(_) => Ok(()),
        }
    }

    /// The text of the model's `model.toml`, as it was when it was read first.
    async fn manifest_of(&self, model: &Published) -> Result<Bytes, RegistryError> {
        let read = self.source.read(&format!("{}/{}/{MANIFEST}", model.name, model.version)).await?;
        read.filter(|bytes| Sha256::of(bytes) == model.digest).ok_or_else(|| model.lacks(MANIFEST))
    }

    async fn same(&self, model: &Published, file: &str, bytes: &Bytes) -> Result<(), PublishError> {
        let path = format!("{}/{}/{file}", model.name, model.version);
        match self.source.read(&path).await? {
            Some(there) if there == *bytes => Ok(()),
            Some(_) => Err(different(model, file)),
            // Removed in between.
            None => Err(PublishError::Contended(path)),
        }
    }
}

fn different(model: &Published, file: &str) -> PublishError {
    let (name, version) = (model.name.clone(), model.version.clone());
    PublishError::Different { name, version, file: file.to_owned() }
}

fn alias_path(name: &ModelName) -> String {
    format!("{name}/current")
}

fn parse(name: &ModelName, text: &[u8]) -> Result<Version, RegistryError> {
    let version = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    version.ok_or_else(|| RegistryError::Alias { name: name.clone() })
}
