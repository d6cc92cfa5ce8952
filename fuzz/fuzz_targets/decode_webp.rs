//! Any file as a WebP, still or animated.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"RIFF"), decode::Magic(8, b"WEBP")], bytes));
