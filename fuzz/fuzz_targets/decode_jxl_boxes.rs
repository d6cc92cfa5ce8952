//! Any file as a JPEG XL in its container.
#![no_main]

mod decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode::decode(&[decode::Magic(0, b"\0\0\0\x0cJXL \r\n\x87\n")], bytes));
