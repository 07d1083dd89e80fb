#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| infer_fuzz::bounded(data, infer_fuzz::tfidf));
