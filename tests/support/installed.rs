//! What this machine may lack: programs that other people wrote, which `tests/install-clients` installs.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whatever is waited for comes within this, or the test fails. Generous: CI machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A program that this machine may lack; the test says so and is left out.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain([clients().join("bin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("`{name}` is not installed (tests/install-clients installs the AWS CLI)"));
    }
    found
}

/// Says that a test was left out. `cargo test` shows what a test prints only if it fails, but for what goes past its capture.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Where `tests/install-clients` puts the clients that CI runs.
fn clients() -> PathBuf {
    cache().join("clients")
}

/// Where `tests/install-clients` puts the libraries that train models.
pub fn libraries() -> PathBuf {
    cache().join("libraries")
}

/// Where `tests/install-clients` puts all that it installs, each in a folder of its own.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_default().join("millpond")
}

/// How `tests/install-clients` installs what a test runs, and so whether CI has it.
#[derive(Clone, Copy)]
pub enum Installed {
    /// Without an argument, as CI calls it.
    InCi,
    /// With `all`.
    WithAll,
}

/// Whether a client's files are all there. In CI, which has installed its own clients, it is an error if they are not.
pub fn present(client: &str, installed: Installed, files: &[&Path]) -> bool {
    let Some(missing) = files.iter().find(|file| !file.exists()) else { return true };
    let how = match installed {
        Installed::InCi => {
            assert!(std::env::var_os("CI").is_none(), "CI runs {client}, but there is no {}", missing.display());
            "tests/install-clients"
        }
        Installed::WithAll => "tests/install-clients all",
    };
    skipped(&format!("{client}, for want of {}; `bash {how}` installs the clients", missing.display()));
    false
}

/// A command without this process's environment, such as credentials and proxies.
pub fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

/// Runs a `bare` command that must end well, in a folder of its own; what it printed.
pub fn log_of(command: &mut Command, patience: Duration) -> String {
    let scratch = tempfile::tempdir().expect("a folder");
    let log = scratch.path().join("log");
    let output = std::fs::File::create(&log).expect("a log");
    command
        .current_dir(scratch.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", scratch.path())
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a log"))
        .stderr(output);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let log = String::from_utf8_lossy(&std::fs::read(log).expect("a log")).into_owned();
    match status {
        Some(status) => assert!(status.success(), "{status}\n{log}"),
        None => panic!("it does not end\n{log}"),
    }
    log
}
