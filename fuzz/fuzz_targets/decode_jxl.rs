//! Any file as a JPEG XL without a container.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"\xff\x0a")], bytes));
