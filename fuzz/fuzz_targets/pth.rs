//! Any file for the reader of `.pth` files; what it reads goes on to the table of networks.
#![no_main]

use upscaled::models::{arch, pth};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match pth::read(bytes) {
        Ok(weights) => drop(arch::build(weights)),
        Err(error) => assert!(!error.to_string().contains('\n'), "one line"),
    }
});
