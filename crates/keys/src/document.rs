//! `keys.json`.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use job::{Sha256, Tenant};
use serde::{Deserialize, Serialize};

use crate::{ApiKey, KeyId};

/// The one version of the document that there is.
const VERSION: u32 = 1;

/// All keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    version: u32,
    /// In the order in which they were added.
    pub keys: Vec<Entry>,
}

/// What is kept of one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called by.
    pub id: KeyId,
    /// The SHA-256 of the whole key.
    pub sha256: Sha256,
    /// Whose it is.
    pub tenant: Tenant,
    /// How many requests a second; as many as they like, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// When it was added.
    pub created_at: Timestamp,
    /// What it is for, in the words of whoever added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Entry {
    /// What is kept of `key`, which may be used at any rate.
    pub fn of(key: &ApiKey, tenant: Tenant, created_at: Timestamp) -> Self {
        Self { id: key.id().clone(), sha256: key.digest(), tenant, rate: None, created_at, note: None }
    }
}

/// Requests a second: above 0 and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

/// The number is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number of requests a second, from 0.001 to 1000000")]
pub struct InvalidRate;

impl TryFrom<f64> for Rate {
    type Error = InvalidRate;

    fn try_from(per_second: f64) -> Result<Self, InvalidRate> {
        if (0.001..=1e6).contains(&per_second) { Ok(Self(per_second)) } else { Err(InvalidRate) }
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        text.parse::<f64>().map_err(|_| InvalidRate)?.try_into()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a text is no [`KeyFile`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is no JSON of that shape.
    #[error("it is no list of keys: {0}")]
    Form(#[from] serde_json::Error),
    /// A newer version of Millpond wrote it.
    #[error("it has version {0}; this one reads version {VERSION}")]
    Version(u32),
    /// Two keys have one id.
    #[error("two keys have the id {0}")]
    Repeated(KeyId),
}

impl Default for KeyFile {
    fn default() -> Self {
        Self { version: VERSION, keys: Vec::new() }
    }
}

impl KeyFile {
    /// Reads the document.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        // The version first: of a newer one, nothing else may be as expected.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let Head { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(KeyFileError::Version(version));
        }
        let file: Self = serde_json::from_slice(bytes)?;
        let mut ids = std::collections::BTreeSet::new();
        match file.keys.iter().find(|entry| !ids.insert(&entry.id)) {
            Some(entry) => Err(KeyFileError::Repeated(entry.id.clone())),
            None => Ok(file),
        }
    }

    /// Writes it, to be read by people too.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("the document is JSON");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> String {
        let sha256 = "0".repeat(64);
        format!(r#"{{"id":"{id}","sha256":"{sha256}","tenant":"t","rate":2.5,"created_at":"2026-11-27T09:00:00Z"}}"#)
    }

    #[test]
    fn the_document_survives_its_text() {
        let file = KeyFile::parse(format!(r#"{{"version":1,"keys":[{},{}]}}"#, entry("a"), entry("b")).as_bytes());
        let file = file.unwrap();
        assert_eq!((file.keys.len(), file.keys[0].rate.map(f64::from)), (2, Some(2.5)));
        assert_eq!(KeyFile::parse(&file.to_json()).unwrap(), file);
        assert_eq!(KeyFile::parse(&KeyFile::default().to_json()).unwrap(), KeyFile::default());
    }

    #[test]
    fn what_is_wrong_with_a_document_is_said() {
        let refused = |text: &str| KeyFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(r#"{"version":2,"other":[]}"#), "it has version 2; this one reads version 1");
        let twice = format!(r#"{{"version":1,"keys":[{0},{0}]}}"#, entry("a"));
        assert_eq!(refused(&twice), "two keys have the id a");
        for text in ["", "[]", "{}", r#"{"version":1}"#, r#"{"version":1,"keys":[],"more":1}"#] {
            assert!(refused(text).starts_with("it is no list of keys: "), "{text}");
        }
        let never = entry("a").replace("2.5", "0");
        assert!(refused(&format!(r#"{{"version":1,"keys":[{never}]}}"#)).contains("a rate is a number"));
    }

    #[test]
    fn rates_are_bounded() {
        for good in ["0.001", "1", "1e6"] {
            assert!(good.parse::<Rate>().is_ok(), "{good}");
        }
        for bad in ["0", "-1", "NaN", "inf", "1e7", "ten", ""] {
            assert_eq!(bad.parse::<Rate>(), Err(InvalidRate), "{bad}");
        }
    }
}
