//! rten and ONNX Runtime on the same net in one process, a thread each, turn by turn:
//!
//! ```text
//! cargo run --release -p infer --features onnxruntime --example onnx_runtimes -- LIBRARY NET [NAME=SIZE...]
//! ```
//!
//! LIBRARY is ONNX Runtime's `libonnxruntime.so`; NAME is a dimension that the net leaves open, 1 if no size is given.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bundle::Dim;
use infer::onnx::{Data, Net, Tensor, use_onnx_runtime};

const ROUNDS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, file, sizes @ ..] = &arguments[..] else {
        return Err("usage: onnx_runtimes LIBRARY NET [NAME=SIZE...]".into());
    };
    let sizes: HashMap<&str, usize> = sizes
        .iter()
        .filter_map(|size| size.split_once('='))
        .map(|(name, size)| Ok((name, size.parse()?)))
        .collect::<Result<_, std::num::ParseIntError>>()?;
    let bytes = std::fs::read(file)?;
    let (rten, rten_load) = timed(|| Net::read(&bytes));
    use_onnx_runtime(Path::new(library))?;
    let (onnx_runtime, onnx_runtime_load) = timed(|| Net::read(&bytes));
    let (rten, onnx_runtime) = (rten?, onnx_runtime?);
    println!("load: rten {rten_load:.1?}, ONNX Runtime {onnx_runtime_load:.1?}");

    let inputs: Vec<(&str, Tensor)> = rten
        .inputs()
        .iter()
        .map(|port| {
            let size = |dim: &Dim| match dim {
                Dim::Fixed(size) => *size,
                Dim::Named(name) => sizes.get(name.as_str()).copied().unwrap_or(1),
            };
            let shape: Vec<usize> = port.shape.iter().flatten().map(size).collect();
            let count = shape.iter().product();
            let data = match Data::zeros(port.datatype, count) {
                Data::Fp32(_) => Data::Fp32((0..count).map(|at| (at % 251) as f32 / 251.0).collect()),
                // Tokens and masks.
                Data::Int64(_) => Data::Int64(vec![1; count]),
                other => other,
            };
            (port.name.as_str(), Tensor { shape, data })
        })
        .collect();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut greatest = 0.0_f64;
    for round in 0..=ROUNDS {
        let (reference, reference_time) = timed(|| onnx_runtime.run(inputs.clone()));
        let (answer, time) = timed(|| rten.run(inputs.clone()));
        for (a, b) in answer?.iter().zip(&reference?) {
            if let (Data::Fp32(a), Data::Fp32(b)) = (&a.data, &b.data) {
                let difference = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
                greatest = difference.fold(greatest, f64::max);
            }
        }
        // The first round warms caches up.
        if round > 0 {
            theirs.push(reference_time);
            ours.push(time);
        }
    }
    let (ours, theirs) = (fastest(ours), fastest(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("run: rten {ours:.2?}, ONNX Runtime {theirs:.2?}, ratio {ratio:.2}; greatest difference {greatest:.1e}");
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The round that others on the machine disturbed least.
fn fastest(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap_or_default()
}
