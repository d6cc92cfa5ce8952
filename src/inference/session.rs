//! Owns the ONNX Runtime session: opening it on the first provider that works, one window shape at a time,
//! and running tiles. One thread touches it (I9). Never cuts tiles and never decides how large they are.

use std::path::PathBuf;
use std::thread::ThreadId;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use super::arena::{self, CpuArena};
use super::card::{Model, ModelCard};
use super::classify::classify;
use super::library::Runtime;
use super::profile::Profile;
use super::providers::{self, ProviderSettings, SkippedProvider};
use super::{InferenceError, PLANES, Place, Planes, Upscaler};
use crate::config::{Precision, Provider};
use crate::size::Size;
use crate::tiling::MemoryNeed;

/// What sessions are opened with.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// Tried in this order.
    pub providers: Vec<Provider>,
    /// The device's number.
    pub device_id: u32,
    /// Intra-op threads of the CPU provider; `None`: one per core.
    pub threads: Option<usize>,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Where TensorRT keeps engines and timings.
    pub engines_dir: PathBuf,
}

/// What is assumed of a model that nobody measured: more than most need.
const UNMEASURED: Profile = Profile {
    memory: MemoryNeed {
        fixed_bytes: 256 << 20,
        bytes_per_pixel: 8192.0,
    },
    speeds: Vec::new(),
    learned: None,
};

/// A model in ONNX Runtime.
pub struct OrtUpscaler {
    runtime: Runtime,
    model: Model,
    settings: SessionSettings,
    place: Place,
    profile: Profile,
    shape: Option<(Size, u32, u64)>,
    open: Option<OpenSession>,
    owner: ThreadId,
}

/// The session before the arena: fields drop in order, and the arena must outlive the session.
struct OpenSession {
    session: Session,
    arena: Option<CpuArena>,
}

impl std::fmt::Debug for OrtUpscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrtUpscaler")
            .field("model", &self.model.card.name)
            .field("place", &self.place)
            .finish()
    }
}

impl OrtUpscaler {
    /// Loads `model` on the first provider of `settings` that works, under a budget of `device_bytes`, and
    /// tells which providers before it did not.
    ///
    /// # Errors
    /// [`InferenceError::NoProvider`] if none works.
    pub fn open(
        runtime: &Runtime,
        model: Model,
        settings: SessionSettings,
        device_bytes: u64,
    ) -> Result<(Self, Vec<SkippedProvider>), InferenceError> {
        let mut skipped = Vec::new();
        for provider in settings.providers.clone() {
            let place = Place {
                provider,
                device: providers::device_name(provider, settings.device_id),
                precision: providers::precision_name(provider, settings.precision),
            };
            let mut upscaler = Self {
                runtime: runtime.clone(),
                model: model.clone(),
                settings: settings.clone(),
                place,
                profile: model.cpu_profile.clone().unwrap_or(UNMEASURED),
                shape: None,
                open: None,
                owner: std::thread::current().id(),
            };
            match upscaler.reopen(device_bytes) {
                Ok(()) => return Ok((upscaler, skipped)),
                Err(error) => skipped.push(providers::explain(provider, error.message())),
            }
        }
        Err(InferenceError::NoProvider(skipped))
    }

    /// Ends the session and its arena, then opens both anew: nothing of earlier shapes stays allocated.
    fn reopen(&mut self, device_bytes: u64) -> ort::Result<()> {
        self.open = None;
        let arena = match self.place.provider {
            Provider::Cpu => Some(CpuArena::register(&self.runtime.environment, device_bytes)?),
            Provider::Cuda | Provider::Tensorrt => None,
        };
        let mut builder = self.builder(device_bytes)?;
        if self.place.provider == Provider::Tensorrt {
            // Engines and timings are written there, and TensorRT does not make the directory. Not before the provider
            // is known to be there: nothing is left behind where it is not.
            let engines = &self.settings.engines_dir;
            std::fs::create_dir_all(engines).map_err(|error| {
                ort::Error::new(format!(
                    "cannot create {}: {}",
                    engines.display(),
                    crate::error::plain(&error)
                ))
            })?;
        }
        let session = builder.commit_from_memory(&self.model.onnx)?;
        self.open = Some(OpenSession { session, arena });
        Ok(())
    }

    fn builder(&self, device_bytes: u64) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&self.runtime.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            // Patterns preallocate one block for the peak of a whole run: the largest possible single
            // request, which a capped arena is likeliest to refuse. Off is faster here, too.
            .with_memory_pattern(false)?
            // Spinning workers would keep a core busy between the tiles of an otherwise idle service.
            .with_intra_op_spinning(false)?;
        let builder = match self.settings.threads {
            Some(threads) => builder.with_intra_threads(threads)?,
            None => builder,
        };
        let settings = ProviderSettings {
            device_id: self.settings.device_id,
            device_bytes,
            engines_dir: &self.settings.engines_dir,
            precision: self.settings.precision,
            model_sha256: &self.model.card.sha256,
        };
        match self.place.provider {
            Provider::Cpu => Ok(builder.with_env_allocators()?),
            provider => Ok(builder.with_execution_providers(providers::registrations(provider, &settings))?),
        }
    }

    fn owned_here(&self) {
        assert_eq!(
            std::thread::current().id(),
            self.owner,
            "I9: a session was touched by a second thread"
        );
    }
}

impl Upscaler for OrtUpscaler {
    fn card(&self) -> &ModelCard {
        &self.model.card
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError> {
        self.owned_here();
        if self.open.is_some()
            && self
                .shape
                .is_none_or(|shape| shape == (window, batch, device_bytes))
        {
            self.shape = Some((window, batch, device_bytes));
            return Ok(());
        }
        // An arena keeps the regions of earlier shapes and fragments; a fresh one holds what this shape needs.
        self.reopen(device_bytes)
            .map_err(|error| classify(error.message()))?;
        self.shape = Some((window, batch, device_bytes));
        Ok(())
    }

    fn upscale(&mut self, tile: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        self.owned_here();
        let card = &self.model.card;
        let side = |len: u32| card.scale.of(len.saturating_sub(2 * card.border_crop_px));
        let due = Size::new(side(tile.size.width), side(tile.size.height));
        let Some(OpenSession { session, .. }) = &mut self.open else {
            return Err(InferenceError::Model(
                "the session is closed after an earlier failure".to_owned(),
            ));
        };
        let shape = [
            tile.count,
            PLANES,
            tile.size.height as usize,
            tile.size.width as usize,
        ];
        let mut run = || -> ort::Result<()> {
            let input = TensorRef::from_array_view((shape, tile.data))?;
            let outputs = session.run(ort::inputs![input])?;
            let (shape, data) = outputs[0].try_extract_tensor::<f32>()?;
            let wanted = [
                tile.count as i64,
                PLANES as i64,
                i64::from(due.height),
                i64::from(due.width),
            ];
            if **shape != wanted {
                return Err(ort::Error::new(format!(
                    "it returned the shape {shape:?} where {wanted:?} was due"
                )));
            }
            take(Planes::batch(data, due, tile.count));
            Ok(())
        };
        run().map_err(|error| classify(error.message()))
    }

    fn fall_back(&mut self, _device_bytes: u64) -> Result<bool, InferenceError> {
        Ok(false)
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        open.arena.as_ref().and_then(|_| arena::peak_bytes(&open.session))
    }
}
