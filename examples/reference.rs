//! Makes the references of the built-in models anew, `models/*.reference`: what the processor makes of a fixed patch at
//! single precision, against which `upscaled models verify` holds other providers. Needed when the weights or the patch
//! (`src/inference/reference.rs`) change, and only then: a reference that follows every change protects nothing.
//!
//! ```sh
//! cargo run --release --example reference
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::path::Path;
use std::process::ExitCode;

use upscaled::inference::{Reference, Runtime, card};

fn main() -> ExitCode {
    match make() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("reference: {message}");
            ExitCode::FAILURE
        }
    }
}

fn make() -> Result<(), String> {
    let runtime = Runtime::load(None).map_err(|error| error.to_string())?;
    for model in card::built_in() {
        let name = format!("models/{}.reference", model.card.name);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let reference = Reference::make(&runtime, &model).map_err(|error| error.to_string())?;
        std::fs::write(&path, reference.to_bytes()).map_err(|error| format!("{name}: {error}"))?;
        println!("wrote {name}");
    }
    Ok(())
}
