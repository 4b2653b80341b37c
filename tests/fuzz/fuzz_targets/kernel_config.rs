//! libFuzzer's way into the target `kernel_config` of `sakshi_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sakshi_tests::fuzz::run("kernel_config", data));
