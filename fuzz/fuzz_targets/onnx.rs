//! Any file for the readers of ONNX models.
#![no_main]

use upscaled::inference::onnx;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(onnx::inspect(bytes, None));
    drop(onnx::widen(bytes));
});
