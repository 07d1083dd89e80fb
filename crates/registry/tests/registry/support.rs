//! What the tests share: bundles, and a bucket that fails, waits and counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloud::clock::TokioClock;
use cloud::memory::MemoryObjectStore;
use cloud::{
    GetOptions, Listing, Object, ObjectMeta, ObjectStore, PresignPut, PresignedRequest, PutOptions, StoreError,
};
use job::id::{ETag, ModelName, Version};
use registry::{Published, Registry};

/// The files of a version, `model.toml` last.
pub fn bundle(version: &str, content: &str) -> Vec<(String, Bytes)> {
    let files = [("a.bin", format!("a of {content}")), ("model.ubj", format!("model of {content}"))];
    let digests: String =
        files.iter().map(|(file, text)| format!("{file:?} = {:?}\n", bundle::digest(text.as_bytes()))).collect();
    let manifest = format!(
        r#"
format = 1
name = "m"
version = "{version}"
title = "A model"
engine = {{ format = "xgboost", file = "model.ubj" }}
input = {{ kind = "table", columns = [{{ name = "a" }}] }}
output = {{ kind = "number" }}
[files]
{digests}"#
    );
    let mut all: Vec<(String, Bytes)> = files.map(|(file, text)| (file.to_owned(), text.into())).into();
    all.push(("model.toml".to_owned(), manifest.into()));
    all
}

pub fn name() -> ModelName {
    "m".parse().unwrap()
}

pub fn version(version: &str) -> Version {
    version.parse().unwrap()
}

/// A folder with one version of `m`, to push from, and that version.
pub async fn folder(number: &str, content: &str) -> (tempfile::TempDir, Registry, Arc<Published>) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), number, content);
    let registry = Registry::directory(root.path());
    let published = registry.version(&name(), &version(number)).await.unwrap().unwrap();
    (root, registry, published)
}

pub fn write(root: &std::path::Path, number: &str, content: &str) {
    let at = root.join("m").join(number);
    std::fs::create_dir_all(&at).unwrap();
    for (file, bytes) in bundle(number, content) {
        std::fs::write(at.join(file), bytes).unwrap();
    }
}

/// A bucket in memory that can be told to fail, to be slow and to let others in between.
#[derive(Debug)]
pub struct Bucket {
    inner: MemoryObjectStore,
    calls: AtomicUsize,
    /// From this call on, all fail; counted from 0.
    crash_at: AtomicUsize,
    /// Whether the first that fails takes effect first.
    crash_after: AtomicBool,
    /// What decides how often a call lets others run before it takes effect.
    seed: AtomicU64,
    /// How long the bodies of model files take.
    pub slow: std::sync::Mutex<Duration>,
    /// How often a model file was read.
    pub files_read: AtomicUsize,
}

impl Bucket {
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(TokioClock::starting_at("2026-11-20T12:00:00Z".parse().unwrap()));
        Arc::new(Self {
            inner: MemoryObjectStore::new("registry", clock),
            calls: AtomicUsize::new(0),
            crash_at: AtomicUsize::new(usize::MAX),
            crash_after: AtomicBool::new(false),
            seed: AtomicU64::new(0),
            slow: std::sync::Mutex::default(),
            files_read: AtomicUsize::new(0),
        })
    }

    pub fn registry(self: &Arc<Self>) -> Registry {
        Registry::bucket(self.clone(), "models/")
    }

    pub async fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        self.inner.put(&format!("models/{path}"), bytes.into(), PutOptions::default()).await.unwrap();
    }

    pub async fn delete(&self, path: &str) {
        self.inner.delete(&format!("models/{path}")).await.unwrap();
    }

    /// Puts a whole version there by hand.
    pub async fn put_version(&self, number: &str, content: &str) {
        for (file, bytes) in bundle(number, content) {
            self.put(&format!("m/{number}/{file}"), bytes).await;
        }
    }

    /// From the `nth` call from now on, nobody is answered; the first one may still take effect.
    pub fn crash_at(&self, nth: usize, after: bool) {
        self.calls.store(0, Ordering::SeqCst);
        self.crash_at.store(nth, Ordering::SeqCst);
        self.crash_after.store(after, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.crash_at.store(usize::MAX, Ordering::SeqCst);
    }

    pub fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    pub fn interleave(&self, seed: u64) {
        self.seed.store(seed, Ordering::SeqCst);
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut seed = self.seed.load(Ordering::SeqCst);
        if seed != 0 {
            // Xorshift (Marsaglia 2003).
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            self.seed.store(seed, Ordering::SeqCst);
            for _ in 0..seed % 5 {
                tokio::task::yield_now().await;
            }
        }
        let (number, at) = (self.calls.fetch_add(1, Ordering::SeqCst), self.crash_at.load(Ordering::SeqCst));
        if number > at || (number == at && !self.crash_after.load(Ordering::SeqCst)) {
            return Err(StoreError::Unavailable("crashed".into()));
        }
        let answer = call.await;
        if number == at { Err(StoreError::Unavailable("crashed".into())) } else { answer }
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    async fn put(&self, key: &str, body: Bytes, options: PutOptions) -> Result<ETag, StoreError> {
        self.call(self.inner.put(key, body, options)).await
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
        if key.ends_with(".ubj") {
            self.files_read.fetch_add(1, Ordering::SeqCst);
            let slow = *self.slow.lock().unwrap();
            tokio::time::sleep(slow).await;
        }
        self.call(self.inner.get(key, options)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.call(self.inner.head(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call(self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
        self.call(self.inner.list(prefix, after, max)).await
    }

    async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_put(key, put).await
    }

    async fn presign_get(
        &self,
        key: &str,
        expires_in: Duration,
        filename: Option<&str>,
    ) -> Result<PresignedRequest, StoreError> {
        self.inner.presign_get(key, expires_in, filename).await
    }
}
