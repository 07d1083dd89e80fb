//! Times an XGBoost model on rows of f32 in a file, ns a row by batch size:
//!
//!     trees_speed MODEL ROWS.f32 [ANSWERS.f32 [walk|portable|avx2|avx512]]

use std::time::Instant;

use infer::trees::Layout;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(rows)) = (args.next(), args.next()) else { panic!("MODEL and ROWS.f32 are missing") };
    let bytes = std::fs::read(model).expect("the model");
    let values = std::fs::read(rows).expect("the rows");
    let rows: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let load = median(21, || drop(infer::xgboost::load(&bytes).expect("a model")));
    let (answers, layout) = (args.next(), args.next());
    let mut model = infer::xgboost::load(&bytes).expect("a model");
    if let Some(layout) = layout {
        let named = |known: &Layout| format!("{known:?}").eq_ignore_ascii_case(&layout);
        model =
            model.laid_out(Layout::available().into_iter().find(named).expect("a layout that this machine can run"));
    }
    let features = model.num_features;
    let mut out = Vec::new();
    println!("load {load:.0}");
    for batch in [1, 64, 4096] {
        let repeats = 16384 / batch;
        let time = median(7, || {
            for at in 0..repeats.min(2000) {
                let rows = &rows[at * batch * features..][..batch * features];
                model.predict_margin(rows, &mut out, &|| false).expect("whole rows");
                std::hint::black_box(&out);
            }
        });
        println!("{batch} {:.1}", time / (repeats.min(2000) * batch) as f64);
    }
    if let Some(path) = answers {
        model.predict_margin(&rows, &mut out, &|| false).expect("whole rows");
        let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(path, bytes).expect("a place for the answers");
    }
}

/// Nanoseconds that the call takes.
fn median(times: usize, mut call: impl FnMut()) -> f64 {
    let mut taken: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[times / 2]
}
