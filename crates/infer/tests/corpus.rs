//! What fuzzing has found, or found worth keeping, in `fuzz/seeds`: each input again, as its target takes it.

#[allow(dead_code, reason = "a test has no entry but these")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

// The only test here: it measures the memory of the process.
#[test]
fn what_was_fuzzed_once_has_no_fault() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let (count, faults) = fuzz::replay(&folder, fuzz::TARGETS);
    // A target may have silenced it.
    let _ = std::panic::take_hook();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "only {count} inputs");
}
