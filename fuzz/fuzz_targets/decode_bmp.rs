//! Any file as a BMP.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"BM"), decode::Magic(14, b"\x28\0\0\0")], bytes));
