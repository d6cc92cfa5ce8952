//! Owns what every part needs: sessions and executors on the card, a picture through them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider, ProviderChoices, Recipe};
use upscaled::fs::RealFilesystem;
use upscaled::inference::{
    Catalogue, InferenceError, Model, OrtUpscaler, Planes, Runtime, SessionSettings, Upscaler,
};
use upscaled::pipeline::executor::{Executor, ExecutorSettings};
use upscaled::report::RenderReport;
use upscaled::size::Size;

use super::support;

/// Enough for weights, windows of 512 px, two lanes, and what CUDA takes beside them.
pub const ENOUGH_BYTES: u64 = 4 << 30;

/// The machine.
pub struct Rig {
    pub runtime: Runtime,
    pub is_rehearsal: bool,
    pub dir: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            runtime: support::runtime(),
            is_rehearsal: std::env::var_os("UPSCALED_GPU_REHEARSAL").is_some(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// CUDA, or what plays it.
    pub fn cuda(&self) -> Provider {
        if self.is_rehearsal {
            Provider::Cpu
        } else {
            Provider::Cuda
        }
    }

    /// Those of this machine, with the name that each has in the report.
    pub fn providers(&self) -> Vec<Provider> {
        let mut providers = vec![self.cuda()];
        if self.tensorrt().is_ok() {
            providers.push(Provider::Tensorrt);
        }
        providers
    }

    /// Whether TensorRT is there; why not.
    pub fn tensorrt(&self) -> Result<(), String> {
        self.open(Provider::Tensorrt, Precision::Fp32, "span-x2", ENOUGH_BYTES)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// `channels_last`: whether CUDA keeps a pixel's channels together; `None`: as it does by itself.
    pub fn session(
        &self,
        providers: &[Provider],
        precision: Precision,
        channels_last: Option<bool>,
    ) -> SessionSettings {
        SessionSettings {
            providers: providers.to_vec(),
            device_id: 0,
            threads: None,
            precision,
            engines_dir: self.dir.path().join("engines"),
            choices: ProviderChoices {
                channels_last,
                ..ProviderChoices::default()
            },
        }
    }

    pub fn catalogue(&self) -> Catalogue {
        let library = Some(self.runtime.path.clone());
        Catalogue::new(
            vec![self.dir.path().join("state")],
            library,
            RealFilesystem::shared(),
        )
    }

    /// A built-in model with its half-precision variant, where that is wanted.
    pub fn model(&self, name: &str, precision: Precision) -> Model {
        let mut model = Model::built_in(name).expect("a built-in model");
        if precision == Precision::Fp16 {
            model.half = self.catalogue().half(&model);
        }
        model
    }

    pub fn open(
        &self,
        provider: Provider,
        precision: Precision,
        model: &str,
        device_bytes: u64,
    ) -> Result<OrtUpscaler, InferenceError> {
        let settings = self.session(&[provider], precision, None);
        let model = self.model(model, precision);
        let (upscaler, _) = OrtUpscaler::open(&self.runtime, model, settings, device_bytes)?;
        assert_eq!(upscaler.place().provider, provider);
        Ok(upscaler)
    }

    pub fn executor(&self, providers: &[Provider], device_bytes: u64) -> Executor {
        let settings = ExecutorSettings {
            catalogue: Arc::new(self.catalogue()),
            library: Some(self.runtime.path.clone()),
            session: self.session(providers, Precision::Fp32, None),
            warn_skipped: true,
            device_bytes: Some(device_bytes),
            host_bytes: Some(4 << 30),
            engine_builder: None,
            begins_on_cpu: true,
            unload_after: None,
        };
        let host = settings.host_budget();
        Executor::start(settings, host, SystemClock::shared()).unwrap()
    }

    /// A picture through the whole pipeline.
    pub fn render(
        &self,
        executor: &Executor,
        source: &Path,
        tile_px: u32,
    ) -> (image::RgbImage, RenderReport) {
        let recipe = Recipe {
            model: "span-x2".to_owned(),
            tile_px: Some(tile_px),
            ..Recipe::default()
        };
        support::render::render(executor, source, recipe)
    }

    pub fn photo(&self, width: u32, height: u32) -> PathBuf {
        let path = self.dir.path().join(format!("{width}x{height}.png"));
        support::photo(width, height).save(&path).unwrap();
        path
    }

    /// What `upscaled doctor` says of the machine.
    pub fn doctor(&self) -> String {
        let config = self.dir.path().join("doctor.toml");
        let text = format!(
            "state_dir = \"doctor\"\n[runtime]\nlibrary = {:?}\n[[folder]]\nname = \"a\"\ninput = \"in\"\noutput = \"out\"\n",
            self.runtime.path
        );
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir_all(self.dir.path().join("in")).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_upscaled"))
            .arg("--config")
            .arg(&config)
            .arg("doctor")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The photo of a window through a session: planes of the result.
pub fn run(upscaler: &mut dyn Upscaler, side_px: u32, budget: u64) -> Result<Vec<f32>, InferenceError> {
    let size = Size::new(side_px, side_px);
    let tile = planes(side_px);
    let mut result = Vec::new();
    upscaler.prepare(size, 1, budget)?;
    upscaler.upscale(Planes::new(&tile, size), &mut |planes| {
        result.extend_from_slice(planes.data);
    })?;
    Ok(result)
}

/// A photo as a session takes it.
pub fn planes(side_px: u32) -> Vec<f32> {
    let photo = support::photo(side_px, side_px);
    let plane = |channel: usize| photo.pixels().map(move |pixel| f32::from(pixel[channel]) / 255.0);
    (0..3).flat_map(plane).collect()
}

/// Bytes for a person.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
