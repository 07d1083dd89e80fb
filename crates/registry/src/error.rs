//! Why a registry or one of its models is of no use.

use bundle::ManifestError;
use cloud::StoreError;
use job::error::{Code, Problem};
use job::id::{ModelName, Version};

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
    /// The file `current` names no version.
    #[error("the file `current` of model {name} does not hold a version's name")]
    Alias {
        /// The model.
        name: ModelName,
    },
    /// The file `current` names a version that is not there.
    #[error("model {name} is to serve version {version}, which has no model.toml")]
    VersionMissing {
        /// The model.
        name: ModelName,
        /// What `current` says.
        version: Version,
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
            Self::Manifest { .. }
            | Self::Alias { .. }
            | Self::VersionMissing { .. }
            | Self::FileMissing { .. }
            | Self::FileDigest { .. } => false,
        }
    }

    /// Which version it is about, if it is about one.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Manifest { version, .. }
            | Self::VersionMissing { version, .. }
            | Self::FileMissing { version, .. }
            | Self::FileDigest { version, .. } => Some(version),
            Self::Directory(_) | Self::Bucket(_) | Self::Alias { .. } => None,
        }
    }

    /// The error and what caused it, in one line.
    pub fn reason(&self) -> String {
        let mut reason = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            reason = format!("{reason}: {error}");
            source = error.source();
        }
        reason
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
