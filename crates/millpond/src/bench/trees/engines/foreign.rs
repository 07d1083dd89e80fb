//! Other people's shared libraries, loaded while the program runs: the one place here with `unsafe`.
//!
//! Whoever names a library vouches for it: its code runs in this process. The declarations are those of the headers `c_api.h` of XGBoost 3.2
//! and LightGBM 4.7; all their functions answer 0, or leave a text for `GetLastError`.

#![expect(unsafe_code, reason = "functions of a shared library can be called in no other way")]

/// The library's function of this name, as the type that it is taken for.
macro_rules! named {
    ($library:ident, $name:literal) => {
        // SAFETY: the field has the type that the header declares for this function.
        unsafe { function(&$library, $name, WHOSE, FROM) }?
    };
}

mod lightgbm;
mod xgboost;

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;

use anyhow::Context;
use libloading::Library;

use crate::failure;

pub use lightgbm::{LightGbm, LightGbmBooster};
pub use xgboost::{RowsDescription, XgBoost, XgBoostBooster};

/// Loads a shared library; `whose` and `from` say which, should it fail.
fn open(path: &Path, whose: &str, from: &str) -> anyhow::Result<Library> {
    // A bare name would be looked for where the system has its libraries.
    let absolute = std::path::absolute(path)?;
    // SAFETY: runs what the library runs when it is loaded, as whoever named it asked for.
    let library = unsafe { Library::new(absolute) };
    library.with_context(|| {
        let message = format!("cannot load {whose} from {}", path.display());
        failure::usage(message, format!("give the shared library itself, {from}"))
    })
}

/// A function of the library.
///
/// # Safety
///
/// The library's function must have the type `F`, which must be a pointer to a function.
unsafe fn function<F: Copy>(library: &Library, name: &str, whose: &str, from: &str) -> anyhow::Result<F> {
    // SAFETY: the caller's.
    let found = unsafe { library.get::<F>(name) };
    found.map(|function| *function).with_context(|| {
        let message = format!("the library given for {whose} is another one, or too old");
        failure::usage(message, format!("give the shared library itself, {from}"))
    })
}

/// Whether a call went well; else what the library says.
fn checked(code: c_int, whose: &str, last_error: unsafe extern "C" fn() -> *const c_char) -> anyhow::Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the library keeps the text, which ends in NUL, until this thread's next call of it.
    let text = unsafe { CStr::from_ptr(last_error()) };
    // XGBoost's have a stack trace below the first line.
    let text = text.to_string_lossy();
    anyhow::bail!("{whose}: {}", text.lines().next().unwrap_or("failed without a word"))
}
