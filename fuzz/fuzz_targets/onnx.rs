//! Owns the fuzzing of everything that is done with an ONNX file before ONNX Runtime sees it. What is written is read
//! again, and what was rewritten once needs no second time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upscaled::inference::onnx::{Adapt, OnnxError, adapt, decode, encode, inspect, narrow, note, rounded, widen};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = decode(bytes) {
        // As bytes: a number that is none does not equal itself.
        let bytes = encode(&model);
        let read = decode(&bytes).map(|model| encode(&model));
        assert_eq!(read.as_ref(), Ok(&bytes), "what is written is read");
    }
    if let Err(error) = inspect(bytes, None) {
        one_line(&error);
    }
    again(bytes, &widen);
    again(bytes, &narrow);
    if let Err(error) = rounded(bytes) {
        one_line(&error);
    }
    again(bytes, &|bytes| adapt(bytes, &Adapt { bgr: false }));
    again(bytes, &|bytes| {
        note(bytes, &[("license", "MIT"), ("source", "a fuzzer")])
    });
    // Twice blue first is red first, so it is not said of an adapted model.
    if let Ok(swapped) = adapt(bytes, &Adapt { bgr: true }) {
        again(&swapped, &|bytes| adapt(bytes, &Adapt { bgr: false }));
    }
});

/// Rewrites, and then rewrites what came out, which must change nothing.
fn again(bytes: &[u8], rewrite: &dyn Fn(&[u8]) -> Result<Vec<u8>, OnnxError>) {
    match rewrite(bytes) {
        Ok(once) => assert_eq!(rewrite(&once).as_ref(), Ok(&once), "once is enough"),
        Err(error) => one_line(&error),
    }
}

fn one_line(error: &OnnxError) {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text}");
}
