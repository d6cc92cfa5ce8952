//! Protects what happens while TensorRT has no engine for a model yet: another process builds it, the next provider
//! works meanwhile and the result says so, and TensorRT takes over, or does not and says why. There is no TensorRT here:
//! a library that tells its version stands for it, beside the real ONNX Runtime, and a script for the building.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::render::render;
use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider, ProviderChoices, Recipe};
use upscaled::fs::RealFilesystem;
use upscaled::inference::{Catalogue, Model, Runtime, SessionSettings, missing_engine};
use upscaled::pipeline::executor::{EngineBuild, Executor, ExecutorSettings};

const MODEL: &str = "span-x2";
const DEVICE_BYTES: u64 = 1 << 30;

struct Bench {
    dir: tempfile::TempDir,
    picture: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let picture = dir.path().join("picture.png");
        support::photo(24, 16).save(&picture).unwrap();
        Self { dir, picture }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn session(&self) -> SessionSettings {
        SessionSettings {
            providers: vec![Provider::Tensorrt, Provider::Cuda, Provider::Cpu],
            device_id: 0,
            threads: Some(1),
            precision: Precision::Auto,
            engines_dir: self.path("engines"),
            choices: ProviderChoices::default(),
        }
    }

    fn executor(&self, library: &Path, builder: PathBuf) -> Executor {
        let settings = ExecutorSettings {
            catalogue: Arc::new(Catalogue::new(Vec::new(), None, RealFilesystem::shared())),
            library: Some(library.to_owned()),
            session: self.session(),
            warn_skipped: true,
            device_bytes: Some(DEVICE_BYTES),
            host_bytes: Some(1 << 30),
            engine_builder: Some(builder),
            begins_on_cpu: true,
            unload_after: None,
        };
        let host = settings.host_budget();
        Executor::start(settings, host, SystemClock::shared()).unwrap()
    }

    /// What the report of a picture warns of.
    fn render(&self, executor: &Executor) -> String {
        let recipe = Recipe {
            model: MODEL.to_owned(),
            ..Recipe::default()
        };
        let (_, report) = render(executor, &self.picture, recipe);
        report.warnings.join("\n")
    }

    /// A program that builds as the script says, once the file `go` is there.
    fn builder(&self, script: &str) -> PathBuf {
        let program = self.path("builder");
        let go = self.path("go");
        let text = format!("#!/bin/sh\nwhile [ ! -e {go:?} ]; do sleep 0.01; done\n{script}\n");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn build_ends(&self, executor: &Executor) {
        std::fs::write(self.path("go"), "").unwrap();
        for _ in 0..6000 {
            if executor.facts().building.is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the build came to no end");
    }
}

/// ONNX Runtime with a TensorRT beside it that only tells its version.
fn runtime_with_tensorrt(dir: &Path) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let source = dir.join("nvinfer.c");
    std::fs::write(&source, "int getInferLibVersion(void) { return 101601; }\n").unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libnvinfer.so.10", "-o"])
        .arg(dir.join("libnvinfer.so.10"))
        .arg(&source)
        .status()
        .expect("a C compiler, which the build needs too");
    assert!(built.success());
    let library = dir.join("libonnxruntime.so");
    symlink(support::runtime_library().canonicalize().unwrap(), &library).unwrap();
    library
}

/// One test: what is loaded beside ONNX Runtime is loaded once in a process.
#[test]
fn another_provider_works_until_tensorrt_has_its_engine() {
    let runtimes = tempfile::tempdir().unwrap();
    let library = runtime_with_tensorrt(&runtimes.path().join("runtime"));
    let runtime = Runtime::load(Some(&library)).unwrap();
    let model = Model::built_in(MODEL).unwrap();

    // Built.
    let bench = Bench::new();
    let engine = &missing_engine(&runtime, &model, &bench.session(), DEVICE_BYTES).unwrap();
    let script = format!(
        "mkdir -p {engine:?}; touch {:?}; echo '\"built\"'",
        engine.join("built")
    );
    let executor = bench.executor(&library, bench.builder(&script));
    for _ in 0..2 {
        let told = bench.render(&executor);
        let awaited = "its engine for span-x2 is being built; the next provider works until it is there";
        assert!(told.contains(awaited), "{told}");
    }
    let facts = executor.facts();
    let Some(EngineBuild { model: built, .. }) = &facts.building else {
        panic!("nothing is being built: {facts:?}");
    };
    assert_eq!(built, MODEL);
    assert_eq!(
        facts.device_bytes,
        Some(DEVICE_BYTES / 2),
        "the build takes its part"
    );
    bench.build_ends(&executor);
    let told = bench.render(&executor);
    assert!(!told.contains("being built"), "{told}");
    assert!(
        told.contains("tensorrt is not available"),
        "it is asked again, and there is none: {told}"
    );
    assert_eq!(executor.facts().device_bytes, Some(DEVICE_BYTES));

    // Not built, and why.
    let bench = Bench::new();
    let executor = bench.executor(
        &library,
        bench.builder("echo '{\"failed\":\"an operation it does not know\"}'"),
    );
    bench.render(&executor);
    bench.build_ends(&executor);
    for _ in 0..2 {
        let told = bench.render(&executor);
        let why = "its engine could not be built: an operation it does not know";
        assert!(told.contains(why), "{told}");
    }

    // By this program itself, as the service has it done. The provider's library is not there, and it says so.
    let bench = Bench::new();
    let executor = bench.executor(&library, PathBuf::from(env!("CARGO_BIN_EXE_upscaled")));
    bench.render(&executor);
    bench.build_ends(&executor);
    let told = bench.render(&executor);
    assert!(told.contains("its engine could not be built: "), "{told}");
    assert!(told.contains("fetch-runtime --tensorrt"), "{told}");
    assert!(!told.contains("without an answer"), "{told}");
}
