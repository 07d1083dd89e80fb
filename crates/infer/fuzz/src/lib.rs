//! What every target does with its bytes: load a model from them, and if that succeeds, predict once.

mod bounded;

use std::hint::black_box;
use std::sync::Once;

use infer::sklearn::AnyModel;
use infer::{char_rnn, onnx_trees, xgboost};

#[allow(unused_imports, reason = "the targets use one, and the tests the other")]
pub use bounded::{Target, bounded, replay};

/// All targets.
pub const TARGETS: &[Target] = &[
    ("dump", dump),
    ("lightgbm", lightgbm),
    ("net", net),
    ("onnx_trees", onnx_trees),
    ("picture", picture),
    ("safetensors", safetensors),
    ("sklearn", sklearn),
    ("tfidf", tfidf),
    ("torch", torch),
    ("xgboost", xgboost),
];

/// Rows to predict: more than go one by one.
const ROWS: usize = 9;

/// Values that go left, right, and missing.
fn rows(features: usize) -> Vec<f32> {
    (0..features * ROWS).map(|at| [0.25, -1e9, f32::NAN, f32::INFINITY, 0.0][at % 5]).collect()
}

fn rows_of_f64(features: usize) -> Vec<f64> {
    rows(features).into_iter().map(f64::from).collect()
}

/// XGBoost, JSON and UBJ.
pub fn xgboost(data: &[u8]) {
    if let Ok(model) = xgboost::load(data) {
        let mut out = Vec::new();
        model.predict(&rows(model.num_features), &mut out, &|| false).expect("whole rows");
        assert_eq!(out.len(), ROWS * model.outputs_per_row());
    }
}

/// XGBoost's dumps: as a bundle has them, or bare.
pub fn dump(data: &[u8]) {
    let beside = xgboost::dump::Beside { objective: "multi:softprob", base_score: "0.5", num_class: 2, features: None };
    let completed = if xgboost::dump::is_dump(data) { xgboost::dump::complete(data, &beside).ok() } else { None };
    if let Ok(model) = xgboost::dump::load(completed.as_deref().unwrap_or(data)) {
        let mut out = Vec::new();
        model.predict(&rows(model.num_features), &mut out, &|| false).expect("whole rows");
        assert_eq!(out.len(), ROWS * model.outputs_per_row());
    }
}

/// LightGBM's text.
pub fn lightgbm(data: &[u8]) {
    if let Ok(model) = infer::lightgbm::load(data) {
        let mut out = Vec::new();
        model.predict(&rows_of_f64(model.num_features()), &mut out, &|| false).expect("whole rows");
        assert_eq!(out.len(), ROWS * model.outputs_per_row());
    }
}

/// scikit-learn's trees.
pub fn sklearn(data: &[u8]) {
    let mut out = Vec::new();
    match infer::sklearn::load(data) {
        Ok(AnyModel::Single(model)) => {
            model.predict_raw(&rows(model.num_features), &mut out, &|| false).expect("whole rows");
            out.chunks(model.outputs_per_row()).for_each(|raw| drop((model.class(raw), model.numbers(raw))));
        }
        Ok(AnyModel::Double(model)) => {
            model.predict_raw(&rows_of_f64(model.num_features), &mut out, &|| false).expect("whole rows");
            out.chunks(model.outputs_per_row()).for_each(|raw| drop((model.class(raw), model.numbers(raw))));
        }
        Err(_) => {}
    }
}

/// Trees in ONNX.
pub fn onnx_trees(data: &[u8]) {
    if let Ok(model) = onnx_trees::load(data) {
        let mut out = Vec::new();
        model.predict_raw(&rows(model.num_features), &mut out, &|| false).expect("whole rows");
        out.chunks(model.outputs_per_row()).for_each(|sums| drop((model.class(sums), model.scores(sums))));
    }
    black_box(onnx_trees::is_model(data));
}

/// PyTorch's weights, and what becomes of them.
pub fn torch(data: &[u8]) {
    if let Ok(tensors) = infer::torch::read(data)
        && let Ok(weights) = char_rnn::to_safetensors(&tensors)
    {
        safetensors(&weights);
    }
}

/// A character RNN's weights.
pub fn safetensors(data: &[u8]) {
    let _ = char_rnn::Network::read(data);
}

/// Lets pass the panics of libraries that become errors; those that escape still end the process.
fn libraries_may_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// A net, read but not run: what a run may take is bounded by its inputs.
pub fn net(data: &[u8]) {
    libraries_may_panic();
    let _ = infer::onnx::Net::read(data);
}

/// A linear classifier of texts.
pub fn tfidf(data: &[u8]) {
    if let Ok(model) = infer::tfidf::TfidfModel::read(data) {
        let decision = model.decide("영화 film, e\u{301}!", &mut infer::tfidf::Scratch::default());
        black_box(model.class(&decision));
        if model.has_probabilities() {
            black_box(model.probabilities(&decision));
        }
    }
}

/// A picture of at most a megapixel, which may take 16 bytes a pixel on its way.
pub fn picture(data: &[u8]) {
    libraries_may_panic();
    if let Ok(picture) = infer::picture::decode(data, 1 << 20) {
        black_box(picture.upright());
    }
}
