//! Owns what a session on TensorRT needs beyond its options: the one range of windows that a model's engine is built for
//! under a budget, and the place where the engine is found again. TensorRT itself builds it.

use std::ffi::{c_int, c_void};
use std::io;
use std::path::{Path, PathBuf};

use super::card::{Layout, Model, ModelCard};
use super::engines::{self, BYTES_MAX, Bench, Building, EngineKey, EngineStore};
use super::onnx;
use super::providers::{EngineSettings, ProfileShapes};
use crate::machine::nvidia;
use crate::tiling::MemoryNeed;

/// Sides of windows that engines are built for, pixels. Few, so that a budget that changes a little finds the engine of
/// yesterday; above the first the halo is small already, and building takes memory for the largest window.
const SIDES: [u32; 5] = [512, 384, 256, 128, 64];

/// The least side of a window: smaller pictures are extended to it.
pub(super) const SIDE_MIN_PX: u32 = 64;

/// The largest side of a window that fits half of the budget; the other half is for the workspace.
pub(super) fn side_px(card: &ModelCard, need: &MemoryNeed, device_bytes: u64) -> u32 {
    let [.., least] = SIDES;
    let fits = |side: &u32| need.budget_of_window(u64::from(*side).pow(2)) <= device_bytes / 2;
    let side = SIDES.into_iter().find(fits).unwrap_or(least);
    side.max(card.minimum_px)
        .next_multiple_of(card.alignment_px.max(1))
}

/// An engine that somebody wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedEngine<'a> {
    /// Number of the card.
    pub device_id: u32,
    /// Version of ONNX Runtime.
    pub runtime: &'a str,
    /// The model.
    pub model: &'a Model,
    /// Arithmetic: `fp32` or `fp16`.
    pub precision: &'static str,
    /// Largest side of a window, pixels.
    pub side_px: u32,
}

impl WantedEngine<'_> {
    /// By what it is found again; `None` where there is no TensorRT.
    fn name(&self) -> Option<(Bench, EngineKey)> {
        let tensorrt = version()?;
        // Boards with a card of their own have no NVML.
        let survey = nvidia::survey().ok();
        let gpu = survey
            .as_ref()
            .and_then(|survey| survey.devices.get(self.device_id as usize));
        let bench = Bench {
            gpu: gpu.map_or_else(|| format!("device {}", self.device_id), |gpu| gpu.name.clone()),
            driver: survey
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), |survey| survey.driver.clone()),
            tensorrt,
            runtime: self.runtime.to_owned(),
        };
        let key = EngineKey {
            model_sha256: self.model.card.sha256.to_string(),
            precision: self.precision,
            side_px: self.side_px,
        };
        Some((bench, key))
    }
}

/// An engine whose place is made, for the session that is about to build it or to find it.
#[derive(Debug)]
pub(super) struct Engine {
    /// What TensorRT is told.
    pub settings: EngineSettings,
    building: Option<Building>,
}

impl Engine {
    /// Makes its place below `root`, once nobody else builds it; `None` where there is no TensorRT, which then says so
    /// itself.
    ///
    /// # Errors
    /// Those of the directories.
    pub(super) fn open(root: &Path, wanted: &WantedEngine<'_>) -> io::Result<Option<Self>> {
        let Some((bench, key)) = wanted.name() else {
            return Ok(None);
        };
        let dirs = EngineStore::new(root, BYTES_MAX).open(&bench, &key)?;
        let building = dirs.claim()?;
        if building.is_some() {
            let model = &wanted.model.card.name;
            tracing::info!("TensorRT builds its engine for {model}: a minute or more, this once");
        }
        Ok(Some(Self {
            settings: EngineSettings {
                engines_dir: dirs.engines,
                timings_dir: dirs.timings,
                prefix: key.prefix(),
                shapes: shapes(wanted.model, wanted.side_px),
            },
            building,
        }))
    }

    /// Opens a session on it. One that has just been built counts once another session has read it from the disk, which
    /// TensorRT writes without looking whether that went well; one that cannot be read any more is built again next time.
    ///
    /// # Errors
    /// Those of the session.
    pub(super) fn open_with<S, E: std::fmt::Display>(
        self,
        mut open: impl FnMut() -> Result<S, E>,
    ) -> Result<S, E> {
        let Some(building) = self.building else {
            return open().inspect_err(|error| {
                if says_unreadable(&error.to_string()) {
                    engines::forget(&self.settings.engines_dir);
                }
            });
        };
        drop(open()?);
        let session = open()?;
        if let Err(error) = building.finish() {
            let why = crate::error::plain(&error);
            tracing::warn!("TensorRT will build its engine again, as its place cannot be written: {why}");
        }
        Ok(session)
    }
}

/// tensorrt_execution_provider.cc: "could not deserialize engine from cache", in several spellings.
fn says_unreadable(error: &str) -> bool {
    error.to_lowercase().contains("deserialize")
}

/// The directory of an engine below `root` that nobody has completed; `None` also where there is no TensorRT.
pub(super) fn missing(root: &Path, wanted: &WantedEngine<'_>) -> Option<PathBuf> {
    let (bench, key) = wanted.name()?;
    EngineStore::new(root, BYTES_MAX).missing(&bench, &key)
}

/// The shapes of the range, or the one of a model whose window is fixed: its file may leave it open, and then an engine
/// would be built in the first run only. `None` for a file that does not tell its input's name.
fn shapes(model: &Model, side_px: u32) -> Option<ProfileShapes> {
    let input = onnx::inspect(&model.onnx, None).ok()?.input;
    let channels = model.card.channels;
    let shape = |side: u32| {
        let [width, height] = model.card.fixed_shape.unwrap_or([side, side]);
        let dims = match model.card.layout {
            Layout::Nchw => [1, channels, height, width],
            Layout::Nhwc => [1, height, width, channels],
        };
        format!("{input}:{}", dims.map(|dim| dim.to_string()).join("x"))
    };
    Some(ProfileShapes {
        least: shape(SIDE_MIN_PX.min(side_px)),
        best: shape(side_px),
        most: shape(side_px),
    })
}

/// Version of TensorRT's library, if that can be loaded. It then stays loaded, for the provider.
fn version() -> Option<String> {
    // SAFETY: both texts end with a zero byte. Loading the library runs its initialisers, as it would when the provider is
    // loaded; it is never unloaded, so the function stays where it is found.
    let function = unsafe {
        let library = libc::dlopen(c"libnvinfer.so.10".as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        libc::dlsym(library, c"getInferLibVersion".as_ptr())
    };
    if function.is_null() {
        return Some("10".to_owned());
    }
    // SAFETY: NvInferRuntime.h: `extern "C" int32_t getInferLibVersion() noexcept`, in every version 10.
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(function) };
    // Major · 10000 + minor · 100 + patch.
    let number = function();
    Some(format!(
        "{}.{}.{}",
        number / 10_000,
        number / 100 % 100,
        number % 100
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_range_of_windows_for_budgets_that_are_alike() {
        let model = Model::built_in("span-x4").unwrap();
        let need = model.cpu_profile.as_ref().unwrap().memory;
        let side = |bytes| side_px(&model.card, &need, bytes);
        assert_eq!(side(8 << 30), 512);
        assert_eq!(side(7 << 30), 512, "another program took a little");
        assert_eq!(side(768 << 20), 384);
        assert_eq!(side(16 << 20), 64, "below that the ladder finds out");
        let aligned = ModelCard {
            alignment_px: 100,
            ..model.card.clone()
        };
        assert_eq!(side_px(&aligned, &need, 8 << 30), 600);
    }

    #[test]
    fn the_range_is_told_in_the_models_order() {
        let mut model = Model::built_in("span-x2").unwrap();
        let input = onnx::inspect(&model.onnx, None).unwrap().input;
        let told = shapes(&model, 512).unwrap();
        assert_eq!(told.least, format!("{input}:1x3x64x64"));
        assert_eq!(
            (&told.best, &told.most),
            (&format!("{input}:1x3x512x512"), &told.best)
        );
        model.card.layout = Layout::Nhwc;
        assert_eq!(shapes(&model, 256).unwrap().most, format!("{input}:1x256x256x3"));
        model.card.fixed_shape = Some([96, 64]);
        let told = shapes(&model, 512).unwrap();
        assert_eq!(
            told.best,
            format!("{input}:1x64x96x3"),
            "the only one that it has"
        );
        assert_eq!((&told.least, &told.most), (&told.best, &told.best));
    }
}
