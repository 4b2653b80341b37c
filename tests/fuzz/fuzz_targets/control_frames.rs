//! libFuzzer's way into the target `control_frames` of `sakshi_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sakshi_tests::fuzz::run("control_frames", data));
