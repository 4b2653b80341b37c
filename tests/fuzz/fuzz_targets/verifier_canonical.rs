//! libFuzzer's way into the target `verifier_canonical` of `sakshi_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sakshi_tests::fuzz::run("verifier_canonical", data));
