//! `upscaled`: see the library for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: this is the first statement of the process. No other thread exists that could read the environment
    // while it changes.
    unsafe { upscaled::inference::forbid_telemetry() };
    upscaled::cli::main()
}
