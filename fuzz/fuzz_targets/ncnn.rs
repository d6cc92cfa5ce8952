//! Any text and any weights give a network or one line. The text ends at the first zero byte; weights follow.
//!
//! Good seeds are the `.param` and `.bin` of tests/fixtures/models/ncnn-*, with a zero byte between them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use upscaled::models::ncnn;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (param, bin) = data.split_at(end);
    let bin = bin.get(1..).unwrap_or_default();
    if let Err(error) = ncnn::read(param, bin) {
        assert!(!error.to_string().contains('\n'), "more than one line");
    }
});
