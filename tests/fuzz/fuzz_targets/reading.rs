//! libFuzzer's way into the target `reading` of `sakshi_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sakshi_tests::fuzz::run("reading", data));
