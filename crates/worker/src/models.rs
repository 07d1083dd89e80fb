//! Loaded models, kept warm under a memory cap.
//!
//! Files are kept nowhere but in the registry: each load reads them anew and checks their digests, and they are let go when
//! the model is made of them. At most the cap's worth of files is on the way at a time, a larger bundle alone, so that a
//! process holds at most the cap of idle models, the models that are in use, and as much again of files.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bundle::Manifest;
use bytes::Bytes;
use infer::{LoadError, Model};
use job::error::Code;
use job::{ModelName, Sha256, Version};
use registry::{Published, Registry};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use crate::fault::Fault;
use crate::observer::{Event, Observer};
use crate::patience::{self, within};
use crate::pool::{Load, LoadFault, Pool};

/// How long a version that was seen in the registry counts as still there.
const FRESH: Duration = Duration::from_secs(5);

/// Makes a model of a bundle. A seam: tests plug in models that panic, hang and lie.
pub trait Models: Send + Sync {
    /// Loads it; `files` maps names to bytes whose digests have been checked.
    fn load(&self, manifest: &Manifest, files: &HashMap<String, Bytes>) -> Result<Box<dyn Model>, LoadError>;
}

/// The engines of [`infer`].
#[derive(Debug, Clone, Copy, Default)]
pub struct InferModels;

impl Models for InferModels {
    fn load(&self, manifest: &Manifest, files: &HashMap<String, Bytes>) -> Result<Box<dyn Model>, LoadError> {
        infer::load(manifest, files)
    }
}

/// Which model, to the byte: what a ticket pins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pin {
    pub(crate) name: ModelName,
    pub(crate) version: Version,
    pub(crate) digest: Sha256,
}

/// The models in use, each loaded once however many jobs ask for it, the least recently used dropped first.
pub(crate) struct ModelCache {
    registry: Arc<Registry>,
    models: Arc<dyn Models>,
    max_bytes: u64,
    /// What the files that are being read may take together, in KiB.
    in_transit: Semaphore,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_pin: HashMap<Pin, Entry>,
    /// Counts uses; the lowest is the longest ago.
    uses: u64,
}

struct Entry {
    published: Arc<Published>,
    /// When the registry last had it.
    seen: Instant,
    model: Arc<OnceCell<Arc<dyn Model>>>,
    last_use: u64,
}

impl ModelCache {
    pub(crate) fn new(registry: Arc<Registry>, models: Arc<dyn Models>, max_bytes: u64) -> Self {
        let in_transit = Semaphore::new(kib(max_bytes) as usize);
        Self { registry, models, max_bytes, in_transit, entries: Mutex::default() }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the pinned version's manifest says; [`Code::ModelWithdrawn`] if it isn't there any more, or is another.
    pub(crate) async fn published(&self, pin: &Pin) -> Result<Arc<Published>, Fault> {
        if let Some(entry) = self.entries.lock().expect("no panic while it is held").by_pin.get(pin)
            && entry.seen.elapsed() < FRESH
        {
            return Ok(entry.published.clone());
        }
        let found = within(patience::CALL, self.registry.version(&pin.name, &pin.version)).await?;
        let mut entries = self.entries.lock().expect("no panic while it is held");
        let Some(published) = found.filter(|found| found.digest == pin.digest) else {
            entries.by_pin.remove(pin);
            let Pin { name, version, .. } = pin;
            let detail = format!("version {version} of {name}, with which the job was accepted, is not there any more");
            return Err(Fault::refused(Code::ModelWithdrawn, detail));
        };
        let last_use = entries.next_use();
        let entry = entries.by_pin.entry(pin.clone()).or_insert_with(|| Entry {
            published: published.clone(),
            seen: Instant::now(),
            model: Arc::default(),
            last_use,
        });
        entry.seen = Instant::now();
        entry.last_use = last_use;
        Ok(entry.published.clone())
    }

    /// The model, loaded if it isn't. Whoever comes while it is being loaded waits for that; if it fails, or its loader
    /// is dropped, the next one tries. Loading takes one of the `places` that runs take.
    pub(crate) async fn model(
        &self,
        pin: &Pin,
        published: &Arc<Published>,
        pool: &dyn Pool,
        places: &Arc<Semaphore>,
        observer: &dyn Observer,
    ) -> Result<Arc<dyn Model>, Fault> {
        let cell = {
            let mut entries = self.entries.lock().expect("no panic while it is held");
            let last_use = entries.next_use();
            let entry = entries.by_pin.entry(pin.clone()).or_insert_with(|| Entry {
                published: published.clone(),
                seen: Instant::now(),
                model: Arc::default(),
                last_use,
            });
            entry.last_use = last_use;
            entry.model.clone()
        };
        let loading = || async {
            let started = Instant::now();
            let size_bytes = within(patience::CALL, self.registry.size_bytes(published)).await?;
            let share = kib(size_bytes).min(kib(self.max_bytes));
            let _in_transit = self.in_transit.acquire_many(share).await.expect("it is never closed");
            let files = within(patience::TRANSFER, self.registry.files(published)).await?;
            let (models, manifest) = (self.models.clone(), published.manifest.clone());
            let place = places.clone().acquire_owned().await.expect("the places are never closed");
            let load = pool.load(Load { models, manifest, files, place });
            let model = within(patience::TRANSFER, load).await?;
            tracing::info!(model = %pin.name, version = %pin.version, bytes = model.memory_bytes(), "model loaded");
            observer.observe(&Event::Loaded { model: pin.name.as_str(), took: started.elapsed() });
            Ok::<_, Fault>(model)
        };
        let model = cell.get_or_try_init(loading).await?.clone();
        self.make_room(pin);
        Ok(model)
    }

    /// Drops the least recently used models until the rest fits, but neither the one just asked for nor those that runs
    /// hold: dropping one of these would free nothing, and its next job would load it a second time.
    fn make_room(&self, keep: &Pin) {
        let mut entries = self.entries.lock().expect("no panic while it is held");
        while entries.bytes() > self.max_bytes {
            let idle = |entry: &Entry| entry.model.get().is_some_and(|model| Arc::strong_count(model) == 1);
            let loaded = entries.by_pin.iter().filter(|(pin, entry)| *pin != keep && idle(entry));
            let Some(pin) = loaded.min_by_key(|(_, entry)| entry.last_use).map(|(pin, _)| pin.clone()) else {
                return;
            };
            tracing::info!(model = %pin.name, version = %pin.version, "model dropped to make room");
            entries.by_pin.remove(&pin);
        }
    }
}

/// At least one, so that whatever is read takes its place.
pub(crate) fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}

impl Entries {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn bytes(&self) -> u64 {
        self.by_pin.values().filter_map(|entry| entry.model.get()).map(|model| model.memory_bytes()).sum()
    }
}

impl fmt::Debug for ModelCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelCache").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl From<LoadFault> for Fault {
    fn from(fault: LoadFault) -> Self {
        match fault {
            LoadFault::Load(error) => Self::Load(error),
            LoadFault::Panicked => Self::LoadPanicked,
        }
    }
}
