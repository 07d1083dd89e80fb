//! Whose a presented key is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use job::Tenant;
use job::error::causes;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::rate::Bucket;
use crate::{ApiKey, Entry, KeyFile, KeyId, KeysError, Store};

/// A key that was revoked works for this long at most, if the document can be read.
const READ_EVERY: Duration = Duration::from_secs(60);
/// An unknown key may have just been added; but whoever guesses keys makes nobody read more often than this.
const READ_FOR_UNKNOWN: Duration = Duration::from_secs(2);
/// After a failed attempt.
const READ_AGAIN: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// All keys that count. It keeps what it has read while the document cannot be read.
#[derive(Debug)]
pub struct KeyRing {
    store: Store,
    entries: RwLock<HashMap<KeyId, Entry>>,
    reads: tokio::sync::Mutex<Reads>,
    /// What is left of each rate in this process; others have their own.
    buckets: Mutex<HashMap<KeyId, Bucket>>,
}

#[derive(Debug)]
struct Reads {
    last: Instant,
    due: Instant,
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The key's id.
    pub key: KeyId,
    /// Whose it is.
    pub tenant: Tenant,
}

/// Why a key is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody has that key.
    #[error("the API key is not valid")]
    Unknown,
    /// It is used more often than it may be.
    #[error("the API key may be used again in {0:?}")]
    TooOften(Duration),
}

impl KeyRing {
    /// Reads the keys for the first time.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub async fn open(store: Store) -> Result<Self, KeysError> {
        let entries = by_id(store.read().await?);
        Ok(Self::of(store, entries))
    }

    /// The same, where the first key may still be to be made: until then, no key is valid.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub async fn open_or_wait(store: Store) -> Result<Self, KeysError> {
        match Self::open(store.clone()).await {
            Err(KeysError::Missing(place)) => {
                tracing::warn!("there is no {place} yet, so nobody may call; `millpond keys add` makes the first key");
                Ok(Self::of(store, HashMap::new()))
            }
            opened => opened,
        }
    }

    fn of(store: Store, entries: HashMap<KeyId, Entry>) -> Self {
        let now = Instant::now();
        let reads = tokio::sync::Mutex::new(Reads { last: now, due: now + READ_EVERY });
        Self { store, entries: RwLock::new(entries), reads, buckets: Mutex::default() }
    }

    /// Whose the key is that somebody presents; takes one request from its rate.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn check(&self, presented: &str) -> Result<Holder, Refusal> {
        let key = ApiKey::presented(presented);
        self.read_if(|reads, now| now >= reads.due).await;
        let entry = match self.find(&key) {
            Some(entry) => entry,
            None => {
                self.read_if(|reads, now| now >= reads.last + READ_FOR_UNKNOWN).await;
                self.find(&key).ok_or(Refusal::Unknown)?
            }
        };
        if let Some(rate) = entry.rate {
            let now = Instant::now();
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let bucket = buckets.entry(entry.id.clone()).or_insert_with(|| Bucket::full(now));
            bucket.take(rate, now).map_err(Refusal::TooOften)?;
        }
        Ok(Holder { key: entry.id, tenant: entry.tenant })
    }

    /// Ids are no secret and may be looked up; digests are compared in a time that does not depend on them.
    fn find(&self, key: &ApiKey) -> Option<Entry> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key.id())?;
        bool::from(entry.sha256.as_bytes().ct_eq(key.digest().as_bytes())).then(|| entry.clone())
    }

    /// Reads the document again if it is time, and nobody is at it.
    async fn read_if(&self, is_time: impl Fn(&Reads, Instant) -> bool) {
        let Ok(mut reads) = self.reads.try_lock() else { return };
        if !is_time(&reads, Instant::now()) {
            return;
        }
        let read = tokio::time::timeout(READ_TIMEOUT, self.store.read()).await;
        let now = Instant::now();
        let next = match read {
            Ok(Ok(file)) => {
                let entries = by_id(file);
                self.buckets.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| entries.contains_key(id));
                *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
                READ_EVERY
            }
            Ok(Err(error)) => {
                let error = format_args!("{error}{}", causes(&error));
                tracing::error!(%error, "the API keys could not be read again; those read before go on");
                READ_AGAIN
            }
            Err(_) => {
                tracing::error!("the API keys could not be read again in time; those read before go on");
                READ_AGAIN
            }
        };
        *reads = Reads { last: now, due: now + next };
    }
}

fn by_id(file: KeyFile) -> HashMap<KeyId, Entry> {
    file.keys.into_iter().map(|entry| (entry.id.clone(), entry)).collect()
}

#[cfg(test)]
mod tests {
    use cloud::{Entropy, SeededEntropy};

    use super::*;
    use crate::Rate;

    fn entry(key: &ApiKey, tenant: &str, rate: Option<f64>) -> Entry {
        let rate = rate.map(|rate| Rate::try_from(rate).unwrap());
        let created_at = "2026-11-27T09:00:00Z".parse().unwrap();
        Entry { rate, ..Entry::of(key, tenant.parse().unwrap(), created_at) }
    }

    async fn add(store: &Store, entry: Entry) {
        store.edit(move |file| file.keys.push(entry.clone())).await.unwrap();
    }

    #[tokio::test]
    async fn each_key_is_its_tenant_s_and_no_other_text_is_anyone_s() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::file(folder.path().join("keys.json"));
        let entropy = SeededEntropy::new(3);
        let keys: Vec<ApiKey> = (0..3).map(|_| ApiKey::generate(&entropy)).collect();
        for (key, tenant) in keys.iter().zip(["one", "one", "two"]) {
            add(&store, entry(key, tenant, None)).await;
        }
        let ring = KeyRing::open(store).await.unwrap();
        for (key, tenant) in keys.iter().zip(["one", "one", "two"]) {
            let holder = Holder { key: key.id().clone(), tenant: tenant.parse().unwrap() };
            assert_eq!(ring.check(key.reveal()).await, Ok(holder), "several keys are valid at once");
        }
        let mut other = keys[0].reveal().to_owned();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        let stranger = ApiKey::generate(&entropy);
        for text in ["", &other, stranger.reveal(), keys[0].reveal().trim_start_matches("mp_"), "mp_"] {
            assert_eq!(ring.check(text).await, Err(Refusal::Unknown), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_key_may_come_after_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::file(folder.path().join("keys.json"));
        assert!(matches!(KeyRing::open(store.clone()).await, Err(KeysError::Missing(_))));
        let ring = KeyRing::open_or_wait(store.clone()).await.unwrap();
        let key = ApiKey::generate(&SeededEntropy::new(3));
        assert_eq!(ring.check(key.reveal()).await, Err(Refusal::Unknown));
        add(&store, entry(&key, "one", None)).await;
        tokio::time::advance(READ_AGAIN).await;
        assert_eq!(ring.check(key.reveal()).await.map(|holder| holder.tenant.to_string()), Ok("one".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_added_key_counts_at_once_and_a_revoked_one_for_a_minute_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let store = Store::file(&path);
        let entropy: &dyn Entropy = &SeededEntropy::new(3);
        let (first, second) = (ApiKey::generate(entropy), ApiKey::generate(entropy));
        add(&store, entry(&first, "one", None)).await;
        let ring = KeyRing::open(store.clone()).await.unwrap();
        add(&store, entry(&second, "two", None)).await;
        assert_eq!(ring.check(second.reveal()).await, Err(Refusal::Unknown), "just read");
        tokio::time::advance(READ_FOR_UNKNOWN).await;
        assert!(ring.check(second.reveal()).await.is_ok());

        store.edit(|file| file.keys.truncate(1)).await.unwrap();
        assert!(ring.check(second.reveal()).await.is_ok(), "not read again yet");
        tokio::time::advance(READ_EVERY).await;
        assert_eq!(ring.check(second.reveal()).await, Err(Refusal::Unknown));

        std::fs::write(&path, "damaged").unwrap();
        tokio::time::advance(READ_EVERY).await;
        assert!(ring.check(first.reveal()).await.is_ok(), "what was read before goes on");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(READ_EVERY).await;
        assert!(ring.check(first.reveal()).await.is_ok());
        assert!(KeyRing::open(store).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_a_rate_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::file(folder.path().join("keys.json"));
        let entropy = SeededEntropy::new(3);
        let (slow, free) = (ApiKey::generate(&entropy), ApiKey::generate(&entropy));
        add(&store, entry(&slow, "t", Some(2.0))).await;
        add(&store, entry(&free, "t", None)).await;
        let ring = KeyRing::open(store).await.unwrap();
        for _ in 0..2 {
            assert!(ring.check(slow.reveal()).await.is_ok());
        }
        assert_eq!(ring.check(slow.reveal()).await, Err(Refusal::TooOften(Duration::from_millis(500))));
        for _ in 0..100 {
            assert!(ring.check(free.reveal()).await.is_ok());
        }
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(ring.check(slow.reveal()).await.is_ok());
    }
}
