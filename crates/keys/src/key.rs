//! What a key looks like: `mp_`, its id, `_`, and 160 random bits, in lower-case hexadecimal.

use std::fmt;

use cloud::Entropy;
use data_encoding::HEXLOWER;
use job::Sha256;
use serde::{Deserialize, Serialize};

const PREFIX: &str = "mp_";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 20;

/// What a key is called by: no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for KeyId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// A key as its holder has it. It shows itself by [`ApiKey::reveal`] alone.
pub struct ApiKey {
    id: KeyId,
    text: String,
}

impl ApiKey {
    /// A new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        entropy.fill(&mut id);
        entropy.fill(&mut secret);
        let id = HEXLOWER.encode(&id);
        let text = format!("{PREFIX}{id}_{}", HEXLOWER.encode(&secret));
        Self { id: KeyId(id), text }
    }

    /// What somebody presents; whether it is anyone's key remains to be seen.
    pub fn presented(text: &str) -> Self {
        let id = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map_or("", |(id, _)| id);
        Self { id: id.into(), text: text.to_owned() }
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What is kept of it.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(self.text.as_bytes())
    }

    /// The key itself, to be handed to its holder.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cloud::OsEntropy;

    use super::*;

    #[test]
    fn a_key_names_its_id_and_hides_its_secret() {
        let key = ApiKey::generate(&OsEntropy);
        assert_eq!(key.reveal().len(), 3 + 8 + 1 + 40);
        let presented = ApiKey::presented(key.reveal());
        assert_eq!((presented.id(), presented.digest()), (key.id(), key.digest()));
        assert_eq!(format!("{key:?}"), format!("ApiKey(KeyId({:?}), ..)", key.id().to_string()));
        assert_ne!(ApiKey::generate(&OsEntropy).digest(), key.digest());
    }

    #[test]
    fn anything_can_be_presented() {
        for text in ["", "mp_", "mp__", "mp_a", "secret", "mp_a_b_c", "한글"] {
            let key = ApiKey::presented(text);
            assert_eq!(key.reveal(), text);
        }
        assert_eq!(ApiKey::presented("mp_a_b_c").id(), &KeyId::from("a"));
    }
}
