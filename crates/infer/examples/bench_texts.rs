//! How long a classifier of scikit-learn's text features takes, for `models/train/bench_tfidf.py`, which asks scikit-learn the same.
//!
//!     cargo run --release -p infer --example bench_texts -- FILE.tfidf TEXTS.json
//!
//! writes microseconds for a text: the median alone, and the best of 25 runs over all texts together.

use std::time::Instant;

use infer::tfidf::{Scratch, TfidfModel};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), Some(texts)) = (arguments.next(), arguments.next()) else {
        return Err("give a model's file and a JSON file of texts".into());
    };
    let start = Instant::now();
    let bytes = std::fs::read(file)?;
    let model = TfidfModel::read(&bytes)?;
    let load = start.elapsed().as_secs_f64() * 1e6;
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;

    let mut sum = 0.0;
    let mut single: Vec<f64> = texts
        .iter()
        .map(|text| {
            let start = Instant::now();
            sum += model.probabilities(&model.decide(text, &mut Scratch::default()))[1];
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    single.sort_unstable_by(f64::total_cmp);
    let batch = (0..25).map(|_| {
        let (mut scratch, start) = (Scratch::default(), Instant::now());
        sum += texts.iter().map(|text| model.probabilities(&model.decide(text, &mut scratch))[1]).sum::<f64>();
        start.elapsed().as_secs_f64() * 1e6 / texts.len() as f64
    });
    let batch = batch.fold(f64::INFINITY, f64::min);
    // The sum of all probabilities shows that the same was computed.
    println!(
        "{}",
        serde_json::json!({"load": load, "one": single[single.len() / 2], "batch": batch, "sum": sum / 26.0})
    );
    Ok(())
}
