//! What holds of every target: no panic, and no more memory than four times the input and 64 MB.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;

/// A target's name, and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs a target, and says what is wrong. The memory is the whole process's, so one at a time.
pub fn fault(data: &[u8], target: fn(&[u8])) -> Option<String> {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(data))) {
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        return Some(text.unwrap_or("it panicked").to_owned());
    }
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    (peak > 4 * data.len() + (64 << 20)).then(|| format!("{peak} bytes for an input of {}", data.len()))
}

/// Ends the process at a fault, which libFuzzer takes for a crash. The fault is said here, because the hook may be silent.
pub fn bounded(data: &[u8], target: fn(&[u8])) {
    if let Some(fault) = fault(data, target) {
        eprintln!("FAULT: {fault}");
        std::process::abort()
    }
}

/// Runs the inputs kept in `folder`, which has a folder for each of some targets; how many there are, and all that is wrong.
pub fn replay(folder: &Path, targets: &[Target]) -> (usize, Vec<String>) {
    let (mut count, mut faults) = (0, Vec::new());
    for target_folder in paths(folder) {
        let name = target_folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((_, target)) = targets.iter().find(|(target, _)| *target == name) else {
            faults.push(format!("{} is no target's", target_folder.display()));
            continue;
        };
        for path in paths(&target_folder) {
            let data = std::fs::read(&path).expect("an input");
            count += 1;
            faults.extend(fault(&data, *target).map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    (count, faults)
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}
