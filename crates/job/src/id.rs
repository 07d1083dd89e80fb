//! Newtypes for everything that names something.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, HEXLOWER, Specification};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest;

/// A string that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct InvalidId {
    /// Which id was expected.
    pub what: &'static str,
    /// The rule it breaks, for a person.
    pub why: &'static str,
}

/// RFC 4648 base32 in lower case, unpadded: safe in keys, URLs and host names, and readable aloud.
static BASE32: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("a valid base32 alphabet")
});

macro_rules! string_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

/// A job's id: 128 bits, written as 26 characters of base32.
///
/// Random for jobs from the API, so that nobody guesses another's; derived for idempotent and dropped ones, so that a
/// repeat finds the same job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId([u8; 16]);

impl JobId {
    /// An id of 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id of the job that `tenant` submits under an `Idempotency-Key`.
    pub fn for_idempotency_key(tenant: &Tenant, key: &str) -> Self {
        Self::from_digest(&["millpond idempotency 1", tenant.as_str(), key])
    }

    /// The id of the job for one version of a dropped file.
    ///
    /// The first 16 bytes of SHA-256 over five lines joined by `\n`: `millpond drop 1`, the bucket, the ETag without
    /// quotes, Last-Modified as `YYYY-MM-DDTHH:MM:SSZ`, and the key, which comes last because only it may hold a line
    /// break. A client computes the same from a HEAD of what it dropped.
    pub fn for_dropped_file(bucket: &str, key: &str, etag: &ETag, last_modified: Timestamp) -> Self {
        let modified = whole_seconds(last_modified).to_string();
        Self::from_digest(&["millpond drop 1", bucket, etag.unquoted(), &modified, key])
    }

    fn from_digest(lines: &[&str]) -> Self {
        let digest = sha2::Sha256::digest(lines.join("\n"));
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// HTTP dates carry whole seconds, so a store that keeps more must not change the id.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("a second within the range it came from")
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32.encode(&self.0))
    }
}

impl FromStr for JobId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "job id", why: "26 characters of a-z and 2-7 are expected" };
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| invalid.clone())?;
        bytes.try_into().map(Self).map_err(|_| invalid)
    }
}
string_serde!(JobId);

/// One run of one job by one worker: 64 random bits, never the receive count, which two deliveries can share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId([u8; 8]);

impl AttemptId {
    /// An id of 8 random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for AttemptId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "attempt id", why: "16 lower-case hexadecimal digits are expected" };
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| invalid.clone())?;
        bytes.try_into().map(Self).map_err(|_| invalid)
    }
}
string_serde!(AttemptId);

/// A SHA-256, written in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes themselves; S3's checksum headers want them in base64.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Sha256 {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "SHA-256", why: "64 hexadecimal digits are expected" };
        let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).map_err(|_| invalid.clone())?;
        bytes.try_into().map(Self).map_err(|_| invalid)
    }
}
string_serde!(Sha256);

/// Declares a newtype over a string that one predicate admits.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $what:literal, $why:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text as it is written in keys and documents.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId { what: $what, why: $why }) }
            }
        }
        string_serde!($name);
    };
}

fn is_name(text: &str, extra: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

checked_string!(
    /// A model's name: it is a folder, a part of keys and of URLs.
    ModelName,
    "model name",
    "1 to 64 lower-case letters, digits and hyphens are expected, a letter or digit first",
    |text| is_name(text, "-") && !text.contains(|c: char| c.is_ascii_uppercase())
);

checked_string!(
    /// A version of a model: any short label; `1`, `2`, `2026-05-01`, `1.4.0-rc1`.
    Version,
    "version",
    "1 to 64 letters, digits, dots, hyphens and underscores are expected, a letter or digit first",
    |text| is_name(text, ".-_")
);

checked_string!(
    /// Whose job it is. A line break in it would make derived ids ambiguous.
    Tenant,
    "tenant",
    "1 to 128 printable ASCII characters without spaces are expected",
    |text| (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
);

/// An object's entity tag, quotes included when S3 sent them so.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes a tag as any API reports it; S3 quotes it in headers and leaves the quotes out of events.
    pub fn new(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    /// Without quotes, as in events and derived ids.
    pub fn unquoted(&self) -> &str {
        self.0.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(&self.0)
    }

    /// With quotes, as in `If-Match`.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.unquoted())
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        self.unquoted() == other.unquoted()
    }
}
impl Eq for ETag {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive_their_text(bytes: [u8; 16], short: [u8; 8], long: [u8; 32]) {
            let id = JobId::from_random(bytes);
            prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            prop_assert_eq!(id.to_string().len(), 26);
            let attempt = AttemptId::from_random(short);
            prop_assert_eq!(attempt.to_string().parse::<AttemptId>().unwrap(), attempt);
            let digest = Sha256(long);
            prop_assert_eq!(digest.to_string().parse::<Sha256>().unwrap(), digest);
        }

        #[test]
        fn an_id_has_one_spelling(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<JobId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn trailing_bits_and_capitals_are_refused() {
        let id = JobId::from_random([0x5a; 16]).to_string();
        assert!(id.to_uppercase().parse::<JobId>().is_err());
        let other = format!("{}7", &id[..25]);
        assert_ne!(other, id);
        assert!(other.parse::<JobId>().is_err(), "two spellings of one id would be two keys of one job");
    }

    #[test]
    fn a_dropped_file_s_id_can_be_computed_by_anyone() {
        // printf 'millpond drop 1\ninbox\n9b2cf5\n2026-11-20T13:21:15Z\ndrop/m/a b+c/한글.json' | sha256sum
        // | cut -c1-32 | xxd -r -p | base32 | tr A-Z a-z | tr -d =
        let id = JobId::for_dropped_file(
            "inbox",
            "drop/m/a b+c/한글.json",
            &ETag::new("\"9b2cf5\""),
            "2026-11-20T13:21:15.25Z".parse().unwrap(),
        );
        assert_eq!(id.to_string(), "x6ymd6sngn4pul5uicmtpo7p6a");
    }

    #[test]
    fn tags_are_equal_with_and_without_quotes() {
        assert_eq!(ETag::new("\"a\""), ETag::new("a"));
        assert_eq!(ETag::new("a").quoted(), "\"a\"");
    }

    #[test]
    fn names_are_checked() {
        for good in ["wine-quality", "a", "0x"] {
            assert!(good.parse::<ModelName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "Wine", "a/b", "..", "a b", "한글", &"a".repeat(65)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
        for bad in ["", ".", "..", "a/b", "-"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
