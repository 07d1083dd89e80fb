//! Which version new jobs get, and how a new one takes over.
//!
//! What is served is looked up when it is asked for, and again after [`FRESH`]: two reads of small objects, the alias and
//! `model.toml`. A process that is asked all day long makes 86,400 of them for a model.
//!
//! A version takes over from another one only when it is whole: all of its files there, and each of the SHA-256 that
//! `model.toml` has. Until then the one before goes on, and the log says why, once. A process that has served nothing of the
//! model yet does not look for something older: whoever moved the alias meant that version, and a fleet in which some
//! machines silently answer by another one, depending on when they were started, is harder to understand than an error
//! that names the file at fault. For the same reason it is an error that goes away only when the registry is mended or the
//! alias is moved back. Such a process reads no file of the version (that is for the workers, and would make each cold start
//! of an API as slow as the download of all models); that the files are there is looked at.
//!
//! Without an alias there is no such word of anybody: an incomplete folder is one that is still being copied, and the
//! highest complete version is served everywhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use job::id::{ModelName, Version};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::source::Stamps;
use crate::{Published, Registry, RegistryError};

/// How old a looked-up model may be.
pub const FRESH: Duration = Duration::from_secs(2);
/// How long whoever finds a new version waits for its files to be read; then the one before is taken once more.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);
/// Larger files of a new version are not read before it is served, since they would have to fit into memory; that they are
/// there is looked at. Workers check their digests when they load them.
const MAX_CHECKED_BYTES: u64 = 64 << 20;

/// A version that is not served although it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The version, if the fault is a version's.
    pub version: Option<Version>,
    /// What is wrong with it.
    pub reason: String,
}

/// What is known of a model that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    looked_up: Instant,
    served: Arc<Published>,
    /// The version that is about to take over.
    next: Option<Next>,
    refused: Option<Refusal>,
}

/// A version that should be served.
struct Candidate {
    published: Arc<Published>,
    /// Its files; none if it is served already.
    stamps: Option<Stamps>,
    /// Why a higher one isn't.
    passed_over: Option<RegistryError>,
}

#[derive(Clone)]
struct Next {
    published: Arc<Published>,
    stamps: Stamps,
    check: Shared<BoxFuture<'static, Result<(), Arc<RegistryError>>>>,
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("version", &self.published.version).finish_non_exhaustive()
    }
}

impl Next {
    fn is(&self, published: &Published, stamps: &Stamps) -> bool {
        self.published.is(published) && self.stamps == *stamps
    }
}

impl From<&RegistryError> for Refusal {
    fn from(error: &RegistryError) -> Self {
        Self { version: error.version().cloned(), reason: error.reason() }
    }
}

impl Registry {
    /// The version of `name` that new jobs get; none if there is no such model.
    pub async fn resolve(&self, name: &ModelName) -> Result<Option<Arc<Published>>, RegistryError> {
        let before = self.known.lock().expect("no panic while it is held").get(name).cloned();
        if let Some(known) = before.as_ref().filter(|known| known.looked_up.elapsed() < FRESH) {
            return Ok(Some(known.served.clone()));
        }
        let begun = Instant::now();
        let candidate = match self.candidate(name, before.as_ref().map(|known| &*known.served)).await {
            Ok(Some(candidate)) => candidate,
            // Names come from requests: what is absent is not remembered, lest the map grow without bound.
            Ok(None) => {
                self.forget(name);
                return Ok(None);
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                let Some(known) = before else { return Err(error) };
                match self.version(name, &known.served.version).await {
                    Ok(Some(there)) if there.is(&known.served) => {}
                    Err(unknown) if unknown.is_transient() => return Err(unknown),
                    // Removed, or changed: its jobs would be refused.
                    Ok(_) | Err(_) => {
                        self.forget(name);
                        return Err(error);
                    }
                }
                let refused = Some(Refusal::from(&error));
                return Ok(Some(self.serve(name, begun, known.served, None, refused)));
            }
        };
        let passed_over = candidate.passed_over.as_ref().map(Refusal::from);
        let (Some(known), Some(stamps)) = (before, candidate.stamps) else {
            return Ok(Some(self.serve(name, begun, candidate.published, None, passed_over)));
        };
        let next = self.next(name, candidate.published, stamps);
        let (served, next, refused) = match timeout(CHECK_PATIENCE, next.check.clone()).await {
            Ok(Ok(())) => {
                let (from, to) = (&known.served.version, &next.published.version);
                tracing::info!(model = %name, %from, %to, "another version is served");
                (next.published, None, passed_over)
            }
            // Tried again at the next look; nothing is wrong with the version.
            Ok(Err(error)) if error.is_transient() => {
                tracing::warn!(model = %name, "a new version could not be read yet: {}", error.reason());
                (known.served, None, known.refused)
            }
            // Known as long as the files are the same ones.
            Ok(Err(error)) => (known.served, Some(next), Some(Refusal::from(&*error))),
            Err(_) => (known.served, Some(next), known.refused),
        };
        Ok(Some(self.serve(name, begun, served, next, refused)))
    }

    /// Why the version that should be served isn't, if this process has served another one before.
    pub fn refused(&self, name: &ModelName) -> Option<Refusal> {
        self.known.lock().expect("no panic while it is held").get(name)?.refused.clone()
    }

    /// What is to be served. `served` is what is: its files are not looked for again.
    async fn candidate(
        &self,
        name: &ModelName,
        served: Option<&Published>,
    ) -> Result<Option<Candidate>, RegistryError> {
        let whole = async |published: Arc<Published>| {
            let stamps = match served {
                Some(served) if served.is(&published) => None,
                _ => Some(self.stamps(&published).await?),
            };
            Ok::<_, RegistryError>(Candidate { published, stamps, passed_over: None })
        };
        if let Some(version) = self.alias(name).await? {
            let Some(published) = self.version(name, &version).await? else {
                return Err(RegistryError::VersionMissing { name: name.clone(), version });
            };
            return Ok(Some(whole(published).await?));
        }
        let mut passed_over = None;
        for version in self.versions(name).await?.iter().rev() {
            // A folder without a manifest is still being copied in, or no version at all.
            let Some(published) = self.version(name, version).await? else { continue };
            match whole(published).await {
                Ok(candidate) => return Ok(Some(Candidate { passed_over, ..candidate })),
                Err(error @ RegistryError::FileMissing { .. }) => passed_over = passed_over.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        passed_over.map_or(Ok(None), Err)
    }

    /// The check of a version that is to take over: the one under way, or the one that found these very files at fault, or
    /// else a new one.
    fn next(&self, name: &ModelName, published: Arc<Published>, stamps: Stamps) -> Next {
        let mut all = self.known.lock().expect("no panic while it is held");
        let known = all.get_mut(name);
        let under_way = known.as_ref().and_then(|known| known.next.clone());
        let next = under_way.filter(|next| next.is(&published, &stamps));
        let next = next.unwrap_or_else(|| self.check(published, stamps));
        if let Some(known) = known {
            known.next = Some(next.clone());
        }
        next
    }

    /// Reads the files of a version that is to take over.
    fn check(&self, published: Arc<Published>, stamps: Stamps) -> Next {
        let (source, one_check) = (self.source.clone(), self.one_check.clone());
        let (model, sizes) = (published.clone(), stamps.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let _permit = one_check.acquire().await;
            for file in model.manifest.files.keys() {
                if sizes.get(file).is_some_and(|stamp| stamp.size_bytes <= MAX_CHECKED_BYTES) {
                    source.checked_file(&model, file).await.map_err(Arc::new)?;
                }
            }
            Ok(())
        }));
        let ended = |ended: Result<_, tokio::task::JoinError>| {
            ended.unwrap_or_else(|error| Err(Arc::new(RegistryError::Directory(std::io::Error::other(error)))))
        };
        Next { published, stamps, check: task.map(ended).boxed().shared() }
    }

    /// Takes down what a look that was begun then has found, unless a later one has found something since.
    fn serve(
        &self,
        name: &ModelName,
        begun: Instant,
        served: Arc<Published>,
        next: Option<Next>,
        refused: Option<Refusal>,
    ) -> Arc<Published> {
        let mut all = self.known.lock().expect("no panic while it is held");
        if let Some(later) = all.get(name).filter(|known| known.looked_up > begun) {
            return later.served.clone();
        }
        if let Some(refusal) = &refused
            && all.get(name).and_then(|known| known.refused.as_ref()) != Some(refusal)
        {
            let (serves, refused) = (&served.version, refusal.version.as_ref().map(tracing::field::display));
            tracing::warn!(model = %name, refused, %serves, "a version is not served: {}", refusal.reason);
        }
        all.insert(name.clone(), Known { looked_up: begun, served: served.clone(), next, refused });
        served
    }

    fn forget(&self, name: &ModelName) {
        self.known.lock().expect("no panic while it is held").remove(name);
    }
}
