//! Whatever the bytes are, reading them fails with a reason, in bounded memory, or gives a model that answers.

use infer::tfidf::{ReadError, Scratch, TfidfModel, is_model};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::ALLOCATED;
use super::common::folder;

/// A file before it is written.
struct Parts {
    settings: Value,
    tensors: Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>,
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Three terms, two labels.
fn small() -> Parts {
    let settings = json!({
        "scikit_learn": "1.9.1",
        "vectorizer": {"analyzer": "char", "ngram_range": [1, 2], "lowercase": true, "min_word": 2, "stop_words": []},
        "binary": false, "sublinear_tf": true, "norm": "l2", "estimator": "LogisticRegression", "link": "logistic",
        "labels": ["no", "yes"],
    });
    let tensors = vec![
        ("terms", Dtype::U8, vec![5], "a한b".as_bytes().to_vec()),
        ("lengths", Dtype::U8, vec![3], vec![1, 3, 1]),
        ("idf", Dtype::F32, vec![3], floats(&[1.0, 2.0, 3.0])),
        ("weights", Dtype::F32, vec![1, 3], floats(&[1.0, -1.0, 2.0])),
        ("intercept", Dtype::F32, vec![1], floats(&[0.5])),
    ];
    Parts { settings, tensors }
}

impl Parts {
    fn with_setting(mut self, pointer: &str, value: Value) -> Self {
        *self.settings.pointer_mut(pointer).expect(pointer) = value;
        self
    }

    fn with_tensor(mut self, name: &'static str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Self {
        self.tensors.retain(|tensor| tensor.0 != name);
        self.tensors.push((name, dtype, shape.to_vec(), data.to_vec()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.tensors.retain(|tensor| tensor.0 != name);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes_in_version("1")
    }

    fn bytes_in_version(&self, version: &str) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
            (*name, TensorView::new(*dtype, shape.clone(), data).expect("the test's tensors are whole"))
        });
        let metadata = [("format", "tfidf-linear"), ("version", version), ("settings", &self.settings.to_string())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        safetensors::serialize(views, Some(metadata.into())).unwrap()
    }

    fn reason(&self) -> String {
        let error = TfidfModel::read(&self.bytes()).expect_err("it is refused");
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    }
}

#[test]
fn a_small_model_answers() {
    let bytes = small().bytes();
    assert!(is_model(&bytes));
    let model = TfidfModel::read(&bytes).unwrap();
    let mut scratch = Scratch::default();
    assert_eq!(model.features("xAx", &mut scratch), [(0, 1.0)]);
    assert_eq!(model.decide("a", &mut scratch), [1.5]);
    assert_eq!(model.decide("", &mut scratch), [0.5]);
    let (a, b) = (1.0 / 10_f64.sqrt(), 3.0 / 10_f64.sqrt());
    assert_eq!(model.features("BA", &mut scratch), [(0, a), (2, b)]);
    assert_eq!(model.class(&[0.0]), 0);
    assert_eq!(model.class(&[0.0, 1.0, 1.0]), 1);
    assert_eq!(model.estimator(), ("LogisticRegression", "1.9.1"));
}

#[test]
fn faults_are_named() {
    let nan = floats(&[1.0, f32::NAN, 2.0]);
    let huge = 1e101_f64.to_le_bytes();
    let reasons = [
        small().without("terms").reason(),
        small().without("weights").reason(),
        small().with_tensor("more", Dtype::U8, &[1], &[0]).reason(),
        small().with_tensor("terms", Dtype::U8, &[5], b"a\xff\xff\xffb").reason(),
        small().with_tensor("terms", Dtype::F32, &[1], &[0; 4]).reason(),
        small().with_tensor("terms", Dtype::U8, &[5], "b한b".as_bytes()).reason(),
        small().with_tensor("lengths", Dtype::U8, &[3], &[1, 2, 2]).reason(),
        small().with_tensor("lengths", Dtype::U8, &[3], &[1, 3, 0]).reason(),
        small().with_tensor("lengths", Dtype::U8, &[2], &[1, 3]).reason(),
        small().with_tensor("lengths", Dtype::U8, &[4], &[1, 3, 1, 1]).reason(),
        small().with_tensor("lengths", Dtype::I8, &[3], &[1, 3, 1]).reason(),
        small().with_tensor("idf", Dtype::F32, &[2], &floats(&[1.0, 2.0])).reason(),
        small().with_tensor("idf", Dtype::F32, &[3], &nan).reason(),
        small().with_tensor("weights", Dtype::F32, &[1, 3], &nan).reason(),
        small().with_tensor("weights", Dtype::F32, &[3, 1], &nan).reason(),
        small().with_tensor("weights", Dtype::F16, &[1, 3], &[0; 6]).reason(),
        small().with_tensor("intercept", Dtype::F64, &[1], &huge).reason(),
        small().with_setting("/labels", json!(["a"])).reason(),
        small().with_setting("/labels", json!(["a", "a"])).reason(),
        small().with_setting("/labels", json!(["a", "b", "c"])).reason(),
        small().with_setting("/link", json!("softmax")).reason(),
        small().with_setting("/link", json!("probit")).reason(),
        small().with_setting("/norm", json!("max")).reason(),
        small().with_setting("/vectorizer/analyzer", json!("sentence")).reason(),
        small().with_setting("/vectorizer/ngram_range", json!([0, 2])).reason(),
        small().with_setting("/vectorizer/ngram_range", json!([3, 2])).reason(),
        small().with_setting("/vectorizer/ngram_range", json!([1, 101])).reason(),
        small().with_setting("/vectorizer/min_word", json!(3)).reason(),
        small().with_setting("/vectorizer/stop_words", json!(["the"])).reason(),
        small().with_setting("/vectorizer/analyzer", json!("x".repeat(10_000))).reason(),
    ];
    insta::assert_snapshot!(reasons.join("\n"));
    let version = TfidfModel::read(&small().bytes_in_version("2")).unwrap_err();
    assert_eq!(version.to_string(), "its metadata is not of the format tfidf-linear in version 1");
}

#[test]
fn other_bytes_are_refused() {
    let mut lying = small().bytes();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let names = std::fs::read(folder("../../../../models/names/1/model.safetensors")).unwrap();
    for bytes in [&b""[..], b"{}", b"\x80\x04", &lying, &[0; 100], &names] {
        assert!(!is_model(bytes));
        assert!(matches!(TfidfModel::read(bytes), Err(ReadError::Format(_) | ReadError::Metadata(_))));
    }
}

/// A word of any length, any number of times: only what is as long as a term is looked at.
#[test]
fn long_words_take_no_time() {
    let bytes = small()
        .with_setting("/vectorizer/analyzer", json!("word"))
        .with_setting("/vectorizer/ngram_range", json!([1, 100]))
        .bytes();
    let model = TfidfModel::read(&bytes).unwrap();
    let text = ["x".repeat(100_000), "y ".repeat(100_000), "ab ".repeat(100_000)].concat();
    assert!(model.features(&text, &mut Scratch::default()).is_empty());
}

/// Each file's peak is measured above what was there before; what other tests allocate meanwhile is small beside the limit.
#[test]
fn memory_is_bounded_by_the_file() {
    let terms: Vec<String> = (0..400_000_u32).map(|at| format!("{at:x}")).collect();
    let lengths: Vec<u8> = terms.iter().map(|term| term.len() as u8).collect();
    let (text, count) = (terms.concat(), terms.len());
    let weights = |rows: usize| vec![0_u8; rows * count * 4];
    let large = |rows: usize| {
        small()
            .with_tensor("terms", Dtype::U8, &[text.len()], text.as_bytes())
            .with_tensor("lengths", Dtype::U8, &[count], &lengths)
            .with_tensor("weights", Dtype::F32, &[rows, count], &weights(rows))
            .with_tensor("intercept", Dtype::F32, &[rows], &vec![0; rows * 4])
    };
    let labels = |count: usize| (0..count).map(|at| Value::from(at.to_string())).collect::<Vec<_>>();
    let long_header = json!((0..60_000).map(|at| format!("{at:x}")).collect::<Vec<_>>());
    let files = [
        large(1).with_tensor("idf", Dtype::F32, &[count], &weights(1)).bytes(),
        large(1).without("idf").bytes(),
        large(9).without("idf").with_setting("/labels", json!(labels(9))).bytes(),
        small()
            .with_setting("/vectorizer/analyzer", json!("word"))
            .with_setting("/vectorizer/stop_words", long_header)
            .bytes(),
        small().with_setting("/labels", json!(vec![""; 100_000])).bytes(),
    ];
    for (at, bytes) in files.iter().enumerate() {
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let read = TfidfModel::read(bytes);
        let peak = ALLOCATED.peak_usage().saturating_sub(before);
        assert_eq!(read.is_ok(), at < 4, "file {at}: {:?}", read.err());
        assert!(peak <= 4 * bytes.len() + (64 << 20), "file {at}: {peak} bytes for {}", bytes.len());
    }
}

/// Reads, and answers if that succeeds.
fn try_out(bytes: &[u8]) {
    if let Ok(model) = TfidfModel::read(bytes) {
        let mut scratch = Scratch::default();
        for text in ["", "a한b A b\u{301}", "Σ the THE  \t 한"] {
            let decision = model.decide(text, &mut scratch);
            assert!(decision.iter().all(|value| value.is_finite()));
            assert!(model.probabilities(&decision).iter().all(|p| (0.0..=1.0).contains(p)));
            assert!(model.class(&decision) < model.labels().len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(
        which in 0..4_usize,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..5),
        digits in proptest::collection::vec((any::<proptest::sample::Index>(), b'0'..=b'9'), 0..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let file = |name: &str| std::fs::read(folder("tfidf").join(name)).unwrap();
        let model = match which {
            0 => small().bytes(),
            1 => small().with_setting("/vectorizer/analyzer", json!("char_wb")).bytes(),
            2 => file("binary_counts.tfidf"),
            _ => file("transformed.tfidf"),
        };
        try_out(&model[..cut.index(model.len())]);
        let mut bytes = model.clone();
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
        for (at, digit) in &digits {
            bytes[places[at.index(places.len())]] = *digit;
        }
        try_out(&bytes);
        for (at, byte, kind) in &edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => { bytes.remove(at); }
            }
        }
        try_out(&bytes);
    }

    #[test]
    fn any_text_is_answered(text: String) {
        try_out(&small().bytes());
        let model = TfidfModel::read(&small().bytes()).unwrap();
        prop_assert!(model.decide(&text, &mut Scratch::default())[0].is_finite());
    }
}
