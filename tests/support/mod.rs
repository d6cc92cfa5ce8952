//! What the integration tests share: finding the runtime, making pictures, running the binary.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod ground;
pub mod render;
pub mod site;
pub mod whole;

use std::path::PathBuf;

use upscaled::inference::Runtime;

/// The ONNX Runtime that the tests run on.
///
/// # Panics
/// Without one: a test that needs something missing fails and says what.
pub fn runtime() -> Runtime {
    Runtime::load(Some(&runtime_library())).expect("ONNX Runtime loads")
}

/// `ORT_DYLIB_PATH`, or what `make runtime` fetched.
pub fn runtime_library() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "these tests need ONNX Runtime at {}: run `make runtime` first",
        path.display()
    );
    path
}

/// A picture with what photos have: soft gradients, edges, fine texture; the same for the same size.
pub fn photo(width: u32, height: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (f64::from(x), f64::from(y));
        let sky = 90.0 + 60.0 * (u / 97.0).sin() + 40.0 * (v / 61.0).cos();
        let texture = 12.0 * ((u * 0.9).sin() * (v * 0.7).cos());
        let edge = if (u - 40.0).hypot(v - 45.0) < 30.0 || (x / 23 + y / 31) % 5 == 0 {
            55.0
        } else {
            0.0
        };
        let level = |shift: f64| (sky + texture + edge + shift).clamp(0.0, 255.0) as u8;
        image::Rgb([
            level(0.0),
            level(-20.0 + 15.0 * (v / 33.0).sin()),
            level(25.0 - edge / 2.0),
        ])
    })
}
