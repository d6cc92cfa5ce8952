//! Protects execution providers, as far as they run without their devices: what becomes of a picture where they are
//! missing, and, with `make test-providers`, OpenVINO on the processor, WebGPU on a graphics card made of software, and
//! whether the real CUDA provider knows every option that it is given.
//!
//! The latter need builds of ONNX Runtime of 2 GB, in the directory that `UPSCALED_TEST_RUNTIMES` names: `openvino/`,
//! `webgpu/` and `cuda/`, each with a `libonnxruntime.so`. What is missing there fails a test that needs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::RgbImage;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _};
use ort::session::Session;
use serde_json::Value;
use support::runtime_library;
use support::site::Site;
use upscaled::config::{Precision, ProviderChoices};
use upscaled::inference::providers::keys;
use upscaled::inference::providers::options::{self, EngineSettings, ProfileShapes, ProviderSettings};

/// Where Debian's package chromium-common puts Vulkan made of software.
const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";

/// A directory of the runtimes that were fetched for these tests.
fn fetched(name: &str) -> PathBuf {
    let dir = std::env::var_os("UPSCALED_TEST_RUNTIMES")
        .map(PathBuf::from)
        .expect("this test needs UPSCALED_TEST_RUNTIMES, the directory of fetched runtimes: run `make test-providers`");
    let dir = dir.join(name);
    assert!(
        dir.join("libonnxruntime.so").is_file(),
        "this test needs a build of ONNX Runtime with {name} in {}: run `make test-providers`",
        dir.display()
    );
    dir
}

/// A place with these providers, on the library of this directory.
fn site(runtime: &Path, providers: &str, more: &str) -> Site {
    let site = Site::new("");
    reconfigure(&site, runtime, providers, more);
    site
}

fn reconfigure(site: &Site, runtime: &Path, providers: &str, more: &str) {
    site.configure("");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let library = format!("{:?}", runtime_library());
    assert!(config.contains(&library) && config.contains("providers = [\"cpu\"]"));
    let config = config
        .replace(&library, &format!("{:?}", runtime.join("libonnxruntime.so")))
        .replace("providers = [\"cpu\"]", &format!("providers = {providers}"));
    std::fs::write(site.config(), format!("{config}\n{more}\n")).unwrap();
}

/// Upscales a photo by the whole product: the job document, and the pixels.
fn upscale(site: &Site, photo: &Path, prepare: impl FnOnce(&mut Command)) -> (Value, RgbImage) {
    let result = site.path("result.png");
    let mut command = site.command(["upscale", "--json", "--overwrite", "-o"]);
    command.arg(&result).arg(photo);
    prepare(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (document, image::open(result).unwrap().into_rgb8())
}

/// The pixels that the processor makes of it.
fn on_the_processor(site: &Site, photo: &Path) -> RgbImage {
    let runtime = runtime_library().parent().unwrap().to_owned();
    reconfigure(site, &runtime, "[\"cpu\"]", "");
    let (document, pixels) = upscale(site, photo, |_| {});
    assert_eq!(document["plan"]["provider"], "cpu");
    pixels
}

fn worst_difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    let pairs = a.as_raw().iter().zip(b.as_raw());
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn whoever_falls_to_the_processor_is_told_in_the_job_file_the_log_and_the_status() {
    let runtime = runtime_library().parent().unwrap().to_owned();
    let library = "[plugin]\nlibrary = \"missing.so\"";
    let site = site(
        &runtime,
        "[\"cuda\", \"openvino\", \"webgpu\", \"plugin\", \"cpu\"]",
        library,
    );
    site.drop_photo("a.png", 64, 48);
    let daemon = site.daemon();
    let job = site.wait_for_state("a.png", "done");
    let told = texts(&job["warnings"]);
    assert_eq!(told.len(), 4, "{told:?}");
    for (provider, remedy) in [
        ("cuda", "fetch-runtime --cuda"),
        ("openvino", "fetch-runtime --openvino"),
        ("webgpu", "fetch-runtime --webgpu"),
        ("plugin", "correct library in [plugin]"),
    ] {
        let begins = format!("{provider} is not available: ");
        let reason = told.iter().find(|text| text.starts_with(&begins));
        assert!(
            reason.is_some_and(|text| text.ends_with(remedy)),
            "{provider}: {told:?}"
        );
        assert!(site.log().contains(reason.unwrap()), "{}", site.log());
    }
    assert_eq!(job["plan"]["provider"], "cpu");
    // It is written now and then.
    let status = site.wait_for("the status tells of the device", || {
        let status = site.json(["status", "--json"]);
        status["device"]["provider"].is_string().then_some(status)
    });
    assert_eq!(texts(&status["device"]["skipped"]), told);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn only_this_provider_or_none() {
    let runtime = runtime_library().parent().unwrap().to_owned();
    for provider in ["cuda", "tensorrt", "migraphx", "openvino", "webgpu"] {
        let site = site(&runtime, &format!("[{provider:?}]"), "");
        let photo = site.drop_photo("a.png", 64, 48);
        let output = site.run(["upscale", "-o", "result.png", photo.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(69), "{provider}: {output:?}");
        assert!(
            stderr(&output).contains(&format!("{provider} is not available: ")),
            "{output:?}"
        );
        assert!(!site.path("result.png").exists());
    }
}

#[test]
#[ignore = "needs OpenVINO: make test-providers"]
fn openvino_makes_the_processors_pixels_through_the_whole_product() {
    let runtime = fetched("openvino");
    let site = site(&runtime, "[\"openvino\"]", "");
    let photo = site.drop_photo("a.png", 300, 220);
    let (document, pixels) = upscale(&site, &photo, |_| {});
    assert_eq!(
        (&document["plan"]["provider"], &document["plan"]["device"]),
        (&"openvino".into(), &"openvino:cpu".into())
    );
    assert_eq!(document["warnings"], Value::Array(Vec::new()));
    let due = on_the_processor(&site, &photo);
    assert!(worst_difference(&pixels, &due) <= 1);

    // The service too, inside its sandbox.
    reconfigure(&site, &runtime, "[\"openvino\", \"cpu\"]", "");
    let once = site.run(["once"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let job = site.job_file("a.png").unwrap();
    assert_eq!(
        (&job["state"], &job["plan"]["provider"], &job["warnings"]),
        (&"done".into(), &"openvino".into(), &Value::Array(Vec::new()))
    );
}

#[test]
#[ignore = "needs OpenVINO: make test-providers"]
fn a_library_of_somebodys_own_is_found_by_path_and_device_and_given_its_options() {
    let library = fetched("openvino").join("libonnxruntime_providers_openvino_plugin.so");
    // The build for processors, and a plug-in that lies elsewhere.
    let runtime = runtime_library().parent().unwrap().to_owned();
    let plugin = |device: &str, options: &str| {
        format!("[plugin]\nlibrary = {library:?}\ndevice = {device:?}\noptions = {options}\n")
    };
    let exact = r#"{ load_config = '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}' }"#;
    let site = site(&runtime, "[\"plugin\"]", &plugin("cpu", exact));
    let photo = site.drop_photo("a.png", 120, 90);
    let (document, pixels) = upscale(&site, &photo, |_| {});
    assert_eq!(document["plan"]["device"], "plugin:cpu");
    let due = on_the_processor(&site, &photo);
    assert!(worst_difference(&pixels, &due) <= 1);

    let wrong = r#"{ load_config = '{"CPU": {"NO_SUCH_PROPERTY": "1"}}' }"#;
    for (more, reason) in [
        (plugin("cpu", wrong), "NO_SUCH_PROPERTY"),
        (
            plugin("gpu", "{}"),
            "found no such device with the number 0 (it found cpu)",
        ),
    ] {
        reconfigure(&site, &runtime, "[\"plugin\"]", &more);
        let output = site.run(["upscale", "-o", "wrong.png", photo.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(stderr(&output).contains(reason), "{reason}: {output:?}");
    }
}

/// A device with memory, adapters and a queue of its own, though a slow one: half a minute for the smallest window.
#[test]
#[ignore = "needs ONNX Runtime with WebGPU, and SwiftShader: make test-providers"]
fn webgpu_makes_the_processors_pixels_through_the_whole_product() {
    let runtime = fetched("webgpu");
    let icd = std::env::var("VK_ICD_FILENAMES").unwrap_or_else(|_| SWIFTSHADER.to_owned());
    assert!(
        Path::new(&icd).is_file(),
        "this test needs a Vulkan driver, {icd}: apt install chromium-common libvulkan1, or set VK_ICD_FILENAMES"
    );
    let site = site(&runtime, "[\"webgpu\"]", "");
    let photo = site.drop_photo("a.png", 40, 32);
    let (document, pixels) = upscale(&site, &photo, |command| {
        command.env("VK_ICD_FILENAMES", &icd).env("VK_DRIVER_FILES", &icd);
    });
    assert_eq!(
        (&document["plan"]["provider"], &document["plan"]["device"]),
        (&"webgpu".into(), &"webgpu:0".into())
    );
    assert_eq!(document["warnings"], Value::Array(Vec::new()));
    let due = on_the_processor(&site, &photo);
    assert!(worst_difference(&pixels, &due) <= 1);

    // Without a driver it says so.
    reconfigure(&site, &runtime, "[\"webgpu\"]", "");
    let mut without = site.command(["upscale", "-o", "none.png"]);
    without
        .arg(&photo)
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("VK_DRIVER_FILES", "/nonexistent");
    let output = without.output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(
        stderr(&output).contains("there is no graphics card with a Vulkan driver"),
        "{output:?}"
    );
}

/// Loads a library for whoever needs it by its name later.
fn load(library: &Path) {
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: the path ends with a zero byte. The library is one of NVIDIA's, or a stand-in that does nothing when it is
    // loaded, and is never unloaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "{} cannot be loaded", library.display());
}

/// What the provider for CUDA needs, in the order in which they need one another, with a stand-in for the driver.
fn load_cuda(runtime: &Path, scratch: &Path) {
    let driver = scratch.join("libcuda.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/no_cuda.c");
    // The compiler that Rust links with.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(&driver)
        .arg(source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    load(&driver);
    for name in [
        "libcudart.so.13",
        "libnvrtc.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcurand.so.10",
        "libcudnn.so.9",
    ] {
        load(&runtime.join(name));
    }
}

/// Everything that a session can be opened with.
fn all_settings(tell: &mut dyn FnMut(&ProviderSettings<'_>)) {
    let shapes = ProfileShapes {
        least: "x:1x3x64x64".to_owned(),
        best: "x:1x3x512x512".to_owned(),
        most: "x:1x3x512x512".to_owned(),
    };
    let engine = EngineSettings {
        engines_dir: PathBuf::from("/nonexistent/a"),
        timings_dir: PathBuf::from("/nonexistent/timings"),
        prefix: "0123456789abcdef".to_owned(),
        shapes: Some(shapes),
    };
    for precision in [Precision::Auto, Precision::Fp32, Precision::Fp16] {
        for is_half in [false, true] {
            for channels_last in [None, Some(false), Some(true)] {
                tell(&ProviderSettings {
                    device_id: 0,
                    device_bytes: 6 << 30,
                    precision,
                    is_half,
                    threads: None,
                    choices: &ProviderChoices {
                        channels_last,
                        ..ProviderChoices::default()
                    },
                    engine: Some(&engine),
                });
            }
        }
    }
}

#[test]
#[ignore = "needs the GPU build of ONNX Runtime with CUDA's libraries: make test-providers"]
fn the_real_cuda_provider_takes_every_option_that_can_be_produced_and_refuses_a_wrong_one() {
    let runtime = fetched("cuda");
    let scratch = tempfile::tempdir().unwrap();
    load_cuda(&runtime, scratch.path());
    let environment = ort::init_from(runtime.join("libonnxruntime.so"))
        .unwrap()
        .with_logger(std::sync::Arc::new(|_, _: &str, _: &str, _: &str, _: &str| {}))
        .build()
        .unwrap();
    let register = |pairs: &[(&str, String)]| {
        let provider = pairs.iter().fold(ep::CUDA::default(), |provider, (key, value)| {
            provider.with_arbitrary_config(key, value)
        });
        let builder = Session::builder(&environment).unwrap();
        let registered = builder.with_execution_providers([provider.build().error_on_failure()]);
        registered.map(drop).map_err(|error| error.message().to_owned())
    };
    // Its number is looked for among the devices at once; that it is, says that the key is known.
    let is_number = |(key, _): &&(&str, String)| *key == "device_id";
    let mut taken = 0;
    all_settings(&mut |settings| {
        let options = options::cuda(settings);
        let (number, others): (Vec<_>, Vec<_>) = options.pairs().iter().partition(is_number);
        let others: Vec<(&str, String)> = others.into_iter().cloned().collect();
        assert_eq!(register(&others), Ok(()), "{others:?}");
        let why = register(&[number[0].clone()]).unwrap_err();
        assert!(why.contains("\"device_id\": CUDA failure 100"), "{why}");
        taken += 1;
    });
    assert_eq!(taken, 18);
    let refused = register(&[("bogus", "1".to_owned())]).unwrap_err();
    assert!(refused.contains("bogus"), "{refused}");
    let refused = register(&[("arena_extend_strategy", "kNoSuchStrategy".to_owned())]).unwrap_err();
    assert!(refused.contains("kNoSuchStrategy"), "{refused}");
}

/// Its libraries cannot be fetched everywhere, but the provider's own holds the names of all options that it knows.
#[test]
#[ignore = "needs the GPU build of ONNX Runtime: make test-providers"]
fn the_tensorrt_provider_knows_every_key_by_name() {
    let library = fetched("cuda").join("libonnxruntime_providers_tensorrt.so");
    let bytes = std::fs::read(&library).unwrap();
    let knows = |name: &str| {
        let text = [&[0], name.as_bytes(), &[0]].concat();
        bytes.windows(text.len()).any(|window| window == text)
    };
    for key in keys::TENSORRT {
        assert!(
            knows(key.name),
            "{} is no option of {}",
            key.name,
            library.display()
        );
    }
    assert!(!knows("trt_no_such_option"));
}

/// With CUDA's libraries in place and no device, the reason is the device.
#[test]
#[ignore = "needs the GPU build of ONNX Runtime with CUDA's libraries: make test-providers"]
fn without_a_device_cuda_says_that_there_is_none() {
    let runtime = fetched("cuda");
    let site = site(&runtime, "[\"cuda\"]", "");
    let photo = site.drop_photo("a.png", 64, 48);
    let mut command = site.command(["upscale", "-o", "result.png"]);
    // A machine with a device hides it.
    command
        .arg(&photo)
        .env("LD_LIBRARY_PATH", &runtime)
        .env("CUDA_VISIBLE_DEVICES", "");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let told = stderr(&output);
    assert!(told.contains("there is no NVIDIA driver or device"), "{told}");
}
