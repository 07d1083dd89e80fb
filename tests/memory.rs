//! How much memory the whole service takes while many of the largest inputs that its models allow are in hand at once (J6).

mod support;

use std::time::Instant;

use futures::{StreamExt, stream};
use serde_json::json;
use support::{Up, id};

/// As many jobs at once as a large machine has processors.
const JOBS: usize = 16;
/// What their inputs may take together, and about as much again for what is made of them, beside the models and the program.
const MAX_RESIDENT: u64 = 1 << 30;

/// An input of the most rows and bytes that the manifests of wine-quality and moons allow.
fn largest(row: &str, rows: usize, bytes: usize) -> Vec<u8> {
    let mut input = Vec::with_capacity(bytes);
    input.push(b'[');
    for number in 0..rows {
        input.extend_from_slice(if number == 0 { b"" } else { b"," });
        input.extend_from_slice(row.as_bytes());
    }
    // Blanks may stand anywhere.
    input.resize(bytes - 1, b' ');
    input.push(b']');
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn j6_memory_is_bounded_under_the_largest_inputs() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return support::skipped("the system does not tell how much memory a process takes");
    }
    let data = tempfile::tempdir().expect("a folder");
    let up = Up::start_with(data.path(), &support::root().join("models"), &["--workers", &JOBS.to_string()]).await;
    let before = up.peak_resident_bytes();
    let wines: Vec<serde_json::Value> = serde_json::from_slice(&support::wines()).expect("JSON");
    let inputs = [
        ("wine-quality", largest(&wines[0].to_string(), 150_000, 64 << 20)),
        ("moons", largest(r#"{"data1":0.5,"data2":-0.2}"#, 1_000_000, 64 << 20)),
    ];
    let began = Instant::now();
    let ended = stream::iter(0..JOBS)
        .map(async |number| {
            let (model, input) = &inputs[number % inputs.len()];
            let job = up.create_upload(model, input.len()).await;
            assert_eq!(up.put(&job, input.clone()).await, 200);
            up.ended(id(&job)).await
        })
        .buffered(JOBS)
        .collect::<Vec<_>>()
        .await;
    for job in &ended {
        assert_eq!(job["state"], json!("succeeded"), "{job}");
    }
    let peak = up.peak_resident_bytes();
    let mib = |bytes: u64| bytes >> 20;
    eprintln!(
        "{JOBS} jobs of 64 MiB each, all at once, in {:.0} s: {} MiB resident at most, {} MiB before",
        began.elapsed().as_secs_f64(),
        mib(peak),
        mib(before),
    );
    assert!(peak < MAX_RESIDENT, "{} MiB", mib(peak));
}
