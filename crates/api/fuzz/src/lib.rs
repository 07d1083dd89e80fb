//! What every target does with its bytes: read them as the service would, and hold what was read to what must be true of it.

#[path = "../../../infer/fuzz/src/bounded.rs"]
mod bounded;
mod documents;
mod input;
mod messages;
mod models;
mod request;

#[allow(unused_imports, reason = "the targets use one, and the tests the other")]
pub use bounded::{Target, bounded, replay};
pub use documents::{documents, keys_file, manifest};
pub use input::input;
pub use messages::{envelope, key};
pub use request::request;

/// All of them.
pub const TARGETS: &[Target] = &[
    ("documents", documents),
    ("envelope", envelope),
    ("input", input),
    ("key", key),
    ("keys_file", keys_file),
    ("manifest", manifest),
    ("request", request),
];
