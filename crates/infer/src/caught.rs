//! Panics of libraries that read what strangers made: whoever sent it should see an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives; its panic's message if it panics. Nothing that it changed may be looked at afterwards.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("it contradicts itself").to_owned()
    })
}
