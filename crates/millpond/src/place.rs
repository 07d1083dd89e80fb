//! Where a registry of models is, and how to reach it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use cloud_aws::{Aws, Endpoint};
use registry::{Place, Registry};

use crate::env;
use crate::failure;
use crate::local::Endpoints;

/// Which S3 a registry lies in. Credentials and region come from where every AWS tool looks, but for a running `up`.
#[derive(clap::Args)]
pub struct S3Args {
    /// The S3 and the credentials of a running `millpond up`: its endpoints.json
    #[arg(long, value_name = "FILE")]
    endpoints: Option<PathBuf>,
    /// Another S3 than Amazon's
    #[arg(long, env = env::S3_URL, value_name = "URL")]
    s3_url: Option<String>,
}

impl S3Args {
    /// The registry at this place.
    pub async fn open(&self, place: &str) -> anyhow::Result<Registry> {
        Ok(match parse(place)? {
            Place::Directory(path) => Registry::directory(existing(&path)?),
            Place::Bucket { bucket, prefix } => Registry::bucket(Arc::new(self.aws().await?.bucket(bucket)), prefix),
        })
    }

    /// The same for a registry that may be about to begin: a folder need not be there.
    pub async fn open_or_make(&self, place: &str) -> anyhow::Result<Registry> {
        if let Place::Directory(path) = parse(place)? {
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        self.open(place).await
    }

    /// The S3 itself.
    pub async fn aws(&self) -> anyhow::Result<Aws> {
        let endpoint = match &self.endpoints {
            Some(path) => Endpoints::read(path)?.endpoint(),
            None => s3_at(self.s3_url.clone()),
        };
        Ok(Aws::connect(&endpoint).await)
    }
}

/// Amazon's S3, or the one at this URL, with whatever region and credentials are around.
pub fn s3_at(url: Option<String>) -> Endpoint {
    // Whatever stands in for S3 does so under an address, not under a domain with a name for each bucket.
    Endpoint { force_path_style: url.is_some(), s3_url: url, ..Endpoint::default() }
}

/// A folder, or `s3://bucket/prefix`.
pub fn parse(place: &str) -> anyhow::Result<Place> {
    Ok(place.parse().map_err(|error: registry::InvalidPlace| {
        failure::usage(error.to_string(), "write s3://bucket/models, or a folder's path")
    })?)
}

/// A folder of models, which must be there.
pub fn existing(dir: &Path) -> anyhow::Result<&Path> {
    if !dir.is_dir() {
        let message = format!("there is no folder of models at {}", dir.display());
        return Err(failure::hint(message, "name it with --models DIR, or make one with `millpond models add`").into());
    }
    Ok(dir)
}
