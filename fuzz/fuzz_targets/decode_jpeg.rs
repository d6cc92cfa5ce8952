//! Any file as a JPEG.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"\xff\xd8\xff")], bytes));
