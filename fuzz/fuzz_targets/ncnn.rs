//! Any pair of files for the reader of ncnn networks: a text, a zero, and the weights.
#![no_main]

use upscaled::models::ncnn;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (param, bin) = bytes.split_at(end);
    if let Err(error) = ncnn::read(param, bin.get(1..).unwrap_or_default()) {
        assert!(!error.to_string().contains('\n'), "one line");
    }
});
