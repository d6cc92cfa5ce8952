//! Owns what turns a small picture into a larger one: the [`Upscaler`] seam, model cards, and behind them
//! ONNX Runtime. Nothing outside this module names `ort`. Never cuts tiles and never reads files of pictures.

pub mod apart;
pub mod arena;
pub mod card;
pub mod catalogue;
pub mod classify;
pub mod engine_builds;
pub mod engines;
mod half;
pub mod lanes;
pub mod learned;
pub mod library;
pub mod measure;
pub mod onnx;
pub mod preload;
pub mod probe;
pub mod profile;
pub mod profile_store;
pub mod providers;
pub mod reference;
pub mod session;
mod staging;
mod tensor;
mod tensorrt;

use crate::config::Provider;
use crate::error::{Disposition, Fault, ReasonCode};
use crate::progress::Terminator;
use crate::size::Size;

pub use card::{Model, ModelCard};
pub use catalogue::{Catalogue, ModelError};
pub use engine_builds::EngineBuilds;
pub use half::DECIBELS_MIN as HALF_DECIBELS_MIN;
pub use lanes::Lanes;
pub use library::{LibraryError, Runtime, forbid_telemetry};
pub use profile::{Learned, Profile};
pub use providers::SkippedProvider;
pub use reference::{Difference, Reference};
pub use session::{OrtUpscaler, SessionSettings, missing_engine};

/// Colour planes that every model takes and gives: red, green, blue.
pub const PLANES: usize = 3;

/// Tiles as the seam passes them: float32, NCHW, RGB, nominally 0..1 (results are not clamped). What a model wants
/// instead (NHWC, 0..255, half precision, one channel) is the implementation's business.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// `count · 3 · height · width` values, tile by tile, plane by plane, row by row.
    pub data: &'a [f32],
    /// Columns × rows of each plane.
    pub size: Size,
    /// Number of tiles, N.
    pub count: usize,
}

impl<'a> Planes<'a> {
    /// Wraps the values of one tile of this size.
    ///
    /// # Panics
    /// If their number is not `3 · height · width`.
    pub fn new(data: &'a [f32], size: Size) -> Self {
        Self::batch(data, size, 1)
    }

    /// Wraps the values of `count` tiles of this size.
    ///
    /// # Panics
    /// If their number is not `count · 3 · height · width`.
    pub fn batch(data: &'a [f32], size: Size, count: usize) -> Self {
        assert_eq!(
            data.len() as u64,
            (count * PLANES) as u64 * size.pixels(),
            "planes do not fit their size"
        );
        Self { data, size, count }
    }

    /// One of the tiles.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn tile(&self, index: usize) -> Self {
        let len = self.data.len() / self.count;
        Self::new(&self.data[index * len..(index + 1) * len], self.size)
    }

    /// One row of one plane of the first tile.
    pub fn row(&self, plane: usize, y: usize) -> &'a [f32] {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let start = (plane * height + y) * width;
        &self.data[start..start + width]
    }
}

/// One run's tiles, as they are handed over.
#[derive(Debug, Clone)]
pub struct Run {
    /// As [`Planes::data`].
    pub planes: Vec<f32>,
    /// Columns × rows of each tile.
    pub window: Size,
    /// Number of tiles.
    pub count: usize,
}

impl Run {
    /// The tiles.
    pub fn tiles(&self) -> Planes<'_> {
        Planes::batch(&self.planes, self.window, self.count)
    }
}

/// Runs that somebody has done: makes their tiles, and takes what comes of them.
pub trait Runs {
    /// The next run; `None` if there is no more.
    fn next(&mut self) -> Option<Run>;

    /// Takes the results of the earliest run whose results were not taken yet.
    fn take(&mut self, results: Planes<'_>);

    /// Takes a buffer back that [`Runs::next`] filled.
    fn give_back(&mut self, planes: Vec<f32>);
}

/// Where a model runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The execution provider.
    pub provider: Provider,
    /// Its device: `cpu`, `cuda:0`.
    pub device: String,
    /// Arithmetic: `fp32` or `fp16`.
    pub precision: &'static str,
}

/// Which windows a place takes, of those that the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// All of them.
    Any,
    /// One at a time, with sides from the first to the second.
    Within(u32, u32),
    /// One at a time, and of this shape only.
    Only(Size),
}

/// The seam in front of ONNX Runtime: one loaded model on one device. It belongs to one thread (I9).
pub trait Upscaler {
    /// What is known of the model.
    fn card(&self) -> &ModelCard;

    /// Where it runs.
    fn place(&self) -> &Place;

    /// What was measured of it there. Plans are made from it.
    fn profile(&self) -> &Profile;

    /// What is known of it at the place where it runs now; what was known before is forgotten.
    fn set_profile(&mut self, profile: Profile);

    /// Runs that are in flight at once.
    fn lanes(&self) -> usize {
        1
    }

    /// Which windows it takes there: what is built for shapes beforehand takes no others, or only after a minute.
    fn windows(&self) -> Windows {
        Windows::Any
    }

    /// What its provider left to the processor of the model's work on pixels, for a person; `None`: nothing.
    fn left(&self) -> Option<String> {
        None
    }

    /// Gives back what the arena of a card holds beyond the model, for other programs. Nothing where there is no such
    /// arena.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`].
    fn shrink(&mut self) -> Result<(), InferenceError> {
        Ok(())
    }

    /// Announces runs of up to `batch` windows of up to this shape under this device budget. Called before the first
    /// tile of a shape; the implementation may rebuild its session so that memory of earlier shapes is given back.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`].
    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError>;

    /// Runs one or several tiles; `take` is called once with the results, valid during the call: as many tiles, each
    /// `scale` times as large as its input less the card's border crop on each side. Runs to the end of the run.
    ///
    /// # Errors
    /// [`InferenceError::OutOfMemory`] leaves the session usable; the other kinds may not.
    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError>;

    /// Has all `runs` done; results are taken in the order of the runs. Whoever can have several in flight asks for the
    /// next before it hands over the results of the last.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`], for the first run that fails; what was before it has been taken.
    fn upscale_all(&mut self, runs: &mut dyn Runs) -> Result<(), InferenceError> {
        while let Some(run) = runs.next() {
            self.upscale(run.tiles(), &mut |results| runs.take(results))?;
            runs.give_back(run.planes);
        }
        Ok(())
    }

    /// Goes on to the next provider of the configuration, for good: the foot of the out-of-memory ladder. `false`
    /// where there is none. The profile, the place and the memory are another's afterwards.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`].
    fn fall_back(&mut self, device_bytes: u64) -> Result<bool, InferenceError>;

    /// What ends the run in work, and all that follow until this is called again, from another thread: they fail with
    /// [`InferenceError::Terminated`]. `None` where runs cannot be ended.
    fn terminator(&mut self) -> Option<Terminator> {
        None
    }

    /// Most bytes that inference held on the device since the last [`Upscaler::prepare`], where the device
    /// tells.
    fn device_peak_bytes(&self) -> Option<u64>;
}

/// What can go wrong in a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The device has no room for this tile; a smaller one may fit.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// The device is gone or its context is broken: nothing works before a restart.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// The model or the runtime failed.
    #[error("the model failed: {0}")]
    Model(String),
    /// Somebody ended the run by its [`Upscaler::terminator`].
    #[error("the run was ended on request")]
    Terminated,
    /// No provider of the configuration could be used.
    #[error("no execution provider can be used: {}; correct [runtime] providers", list(.0))]
    NoProvider(Vec<SkippedProvider>),
    /// The model's name gives no model.
    #[error(transparent)]
    Catalogue(#[from] ModelError),
    /// There is no usable ONNX Runtime.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

impl InferenceError {
    /// Whose fault it is.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::OutOfMemory(_) | Self::Model(_) => Disposition::Quarantine,
            Self::Terminated => Disposition::Release,
            Self::DeviceLost(_) | Self::NoProvider(_) | Self::Catalogue(_) | Self::Library(_) => {
                Disposition::Block
            }
        }
    }
}

impl From<InferenceError> for Fault {
    fn from(error: InferenceError) -> Self {
        let code = match error {
            InferenceError::OutOfMemory(_) => ReasonCode::OutOfMemory,
            _ => ReasonCode::Model,
        };
        Self {
            disposition: error.disposition(),
            reason: crate::error::Reason::new(code, error.to_string()),
        }
    }
}

fn list(skipped: &[SkippedProvider]) -> String {
    skipped
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
