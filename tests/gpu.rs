//! Protects what only a machine with an NVIDIA GPU can show: CUDA and TensorRT give the processor's pixels, a card that
//! others fill costs rows and no pictures, what worked is learned, engines are built once, every device works. It also
//! measures, and writes all of it into one report.
//!
//! `make test-gpu` runs it, with a GPU build of ONNX Runtime and CUDA's libraries that it fetches; everywhere else it is
//! compiled, so that it does not rot. `UPSCALED_GPU_REHEARSAL=1` goes through all of it on the processor, as far as one
//! can: it tests this file and nothing else, and its report says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[path = "gpu/devices.rs"]
mod devices;
#[path = "gpu/engines.rs"]
mod engines;
#[path = "gpu/hog.rs"]
mod hog;
#[path = "gpu/memory.rs"]
mod memory;
#[path = "gpu/pixels.rs"]
mod pixels;
#[path = "gpu/report.rs"]
mod report;
#[path = "gpu/rig.rs"]
mod rig;
#[path = "gpu/speed.rs"]
mod speed;
mod support;

use report::Report;
use rig::Rig;

/// One test, and its parts one after the other: there is one card, and what fills it is a part of it.
#[test]
#[ignore = "needs an NVIDIA GPU: make test-gpu"]
fn a_card_does_what_the_processor_does_and_the_report_says_how_fast() {
    let rig = Rig::new();
    let mut report = Report::new(&rig);
    report.part("Pixels beside the processor's", || pixels::check(&rig));
    report.part("Out of memory on a full card", || memory::out_of_memory(&rig));
    report.part("The ladder, and what is learned", || memory::ladder(&rig));
    report.part("TensorRT's engines", || engines::check(&rig));
    report.part("Several devices", devices::check);
    report.part("Throughput", || speed::measure(&rig));
    report.finish();
}
