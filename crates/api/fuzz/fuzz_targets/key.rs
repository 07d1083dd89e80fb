#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| api_fuzz::bounded(data, api_fuzz::key));
