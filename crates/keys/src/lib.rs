//! API keys: how they are made and kept, and whose a presented one is.
//!
//! A key is a random text that its holder keeps and nobody else does: `keys.json`, a file or an object, holds its SHA-256
//! only, with the tenant that it stands for and how many requests a second it may make ([`KeyFile`]). [`Store`] reads and
//! edits that document; a [`KeyRing`] answers whose a key is, and reads the document again once a minute, so that an added
//! or revoked key counts everywhere within that.
//!
//! A fast digest is enough here, as it would not be for passwords: there are 160 random bits to guess.

mod document;
mod key;
mod place;
mod rate;
mod ring;
mod store;

pub use document::{Entry, InvalidRate, KeyFile, KeyFileError, Rate};
pub use key::{ApiKey, KeyId};
pub use place::{InvalidPlace, Place};
pub use ring::{Holder, KeyRing, Refusal};
pub use store::{KeysError, Store};
