//! Any file as a PNG, still or animated.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"\x89PNG\r\n\x1a\n")], bytes));
