//! What a model says that it holds, against what the process grows by.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::path::Path;

/// How many copies are loaded: enough that the pages of one do not matter.
const COPIES: u64 = 200;

/// The process's resident memory, in bytes: the second number of `statm`, in pages.
/// <https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html>
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    // Pages of 4 KiB, which all of our targets' kernels are built with.
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// The cap on loaded models is only as good as this.
#[test]
fn memory_bytes_is_about_what_a_model_holds() {
    // The moons model takes 4 KB, less than what loading leaves behind.
    for name in ["wine-quality", "names"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("1");
        let manifest = bundle::Manifest::parse(&std::fs::read_to_string(folder.join("model.toml")).unwrap()).unwrap();
        let files: HashMap<String, Vec<u8>> =
            manifest.files.keys().map(|file| (file.clone(), std::fs::read(folder.join(file)).unwrap())).collect();
        // What loading leaves to the allocator is there before the first measured copy.
        let says = infer::load(&manifest, &files).unwrap().memory_bytes();
        let before = resident_bytes();
        let models: Vec<_> = (0..COPIES).map(|_| infer::load(&manifest, &files).unwrap()).collect();
        let holds = resident_bytes().saturating_sub(before) / COPIES;
        drop(models);
        println!("{name}: says {says}, holds {holds}");
        // A schema and an allocator's rounding are some kilobytes, whatever the model.
        assert!(says + 16_384 >= holds, "{name} says {says} and holds {holds}");
        assert!(says <= 4 * holds, "{name} says {says} and holds {holds}");
    }
}
