//! Any file as an AVIF.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(4, b"ftypavif")], bytes));
