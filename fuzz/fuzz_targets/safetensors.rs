//! Any file for the reader of `.safetensors` files; what it reads goes on to the table of networks.
#![no_main]

use upscaled::models::{arch, safetensors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match safetensors::read(bytes) {
        Ok(weights) => drop(arch::build(weights)),
        Err(error) => assert!(!error.to_string().contains('\n'), "one line"),
    }
});
