//! libFuzzer's way into the target `http2` of `sakshi_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sakshi_tests::fuzz::run("http2", data));
