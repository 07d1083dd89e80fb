//! How long a photo takes on its way to a net and back, in milliseconds: `picture_speed PHOTO [RUNS]` prints one JSON object with the least and the
//! median time of each stage, on one thread. models/train/bench_pictures.py sets it beside Pillow.

use std::time::Instant;

use bundle::ImageSchema;
use infer::picture::{Format, decode, encode};

/// As the model line-art has it.
const MAX_SIDE: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a photo")?;
    let runs: usize = arguments.next().map_or(Ok(15), |runs| runs.parse())?;
    let bytes = std::fs::read(path)?;
    let mut stages: [(&str, Vec<f64>); 4] =
        ["decode", "resize", "encode PNG", "encode JPEG"].map(|stage| (stage, Vec::new()));
    for _ in 0..runs {
        let started = Instant::now();
        let decoded = decode(&bytes, ImageSchema::DEFAULT_MAX_PIXELS)?;
        let decoding = started.elapsed();
        let started = Instant::now();
        let picture = decoded.fit(MAX_SIDE);
        let resizing = started.elapsed();
        let started = Instant::now();
        std::hint::black_box(encode(&picture, Format::Png)?);
        let png = started.elapsed();
        let started = Instant::now();
        std::hint::black_box(encode(&picture, Format::Jpeg { quality: 90 })?);
        let times = [decoding, resizing, png, started.elapsed()];
        for ((_, all), time) in stages.iter_mut().zip(times) {
            all.push(time.as_secs_f64() * 1000.0);
        }
    }
    let stages = stages.into_iter().map(|(stage, mut times)| {
        times.sort_by(f64::total_cmp);
        (stage.to_owned(), serde_json::json!({"least": times[0], "median": times[times.len() / 2]}))
    });
    println!("{}", serde_json::Value::Object(stages.collect()));
    Ok(())
}
