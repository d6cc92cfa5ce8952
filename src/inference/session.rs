//! Owns the ONNX Runtime session: opening it on the first provider that works, one window shape at a time,
//! and running tiles. One thread touches it (I9). Never cuts tiles and never decides how large they are.

mod outlook;

use std::sync::Arc;
use std::thread::ThreadId;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session};

use super::arena::{self, CpuArena};
use super::card::{Model, ModelCard};
use super::classify::classify;
use super::library::Runtime;
use super::preload;
use super::profile::Profile;
use super::providers::{self, Half, Memory, ProviderSettings, Shapes, SkippedProvider, describe};
use super::staging::Staging;
use super::tensor::{self, Format, Running, Scratch};
use super::tensorrt::{self, Engine};
use super::{InferenceError, PLANES, Place, Planes, Upscaler, Windows};
use crate::config::Provider;
use crate::progress::Terminator;
use crate::size::Size;

pub use outlook::{SessionSettings, missing_engine};
use outlook::{assumed, engine_side_px, place};

/// A model in ONNX Runtime.
pub struct OrtUpscaler {
    runtime: Runtime,
    model: Model,
    settings: SessionSettings,
    place: Place,
    /// Which of the settings' providers that is.
    position: usize,
    /// What the provider left to the processor, in words.
    left: Option<String>,
    /// Largest side of the windows that an engine is built for. It stays, whatever the budget becomes: a picture that
    /// runs out of memory must not wait for another engine.
    engine_side_px: u32,
    profile: Profile,
    prepared: Option<Prepared>,
    open: Option<OpenSession>,
    scratch: Scratch,
    /// Of the picture in work: once its runs were ended, those of the next one need others.
    run_options: Arc<RunOptions>,
    owner: ThreadId,
}

/// What the open session was last opened for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Prepared {
    window: Size,
    batch: u32,
}

impl Prepared {
    /// Whether the session can stay for other windows: none larger, so that no region has to grow in an arena that is
    /// already in pieces; not much smaller either, because an arena never gives back what the larger ones took.
    fn serves(self, next: Self) -> bool {
        let run_pixels = |of: Self| of.window.pixels() * u64::from(of.batch);
        next.window.pixels() <= self.window.pixels()
            && next.batch <= self.batch
            && run_pixels(next) * 2 >= run_pixels(self)
    }
}

/// The session before the arena: fields drop in order, and the arena must outlive the session.
struct OpenSession {
    staging: Option<Staging>,
    session: Session,
    /// Held for as long as the session lives.
    _arena: Option<CpuArena>,
    /// The budget that was enforced when it was opened.
    device_bytes: u64,
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
        Self::open_beside(runtime, model, settings, device_bytes, device_bytes)
    }

    /// As [`OrtUpscaler::open`], for a session that has only a part of a budget, since others are beside it: engines are
    /// those of the whole budget, `engine_bytes`, whatever the part is at the moment.
    ///
    /// # Errors
    /// [`InferenceError::NoProvider`] if none works.
    pub fn open_beside(
        runtime: &Runtime,
        model: Model,
        settings: SessionSettings,
        device_bytes: u64,
        engine_bytes: u64,
    ) -> Result<(Self, Vec<SkippedProvider>), InferenceError> {
        let [first, ..] = settings.providers[..] else {
            return Err(InferenceError::NoProvider(Vec::new()));
        };
        let run_options = RunOptions::new().map_err(|error| classify(error.message()))?;
        let mut upscaler = Self {
            runtime: runtime.clone(),
            place: place(first, &settings, &model),
            position: 0,
            left: None,
            engine_side_px: 0,
            profile: assumed(&model),
            model,
            settings,
            prepared: None,
            open: None,
            scratch: Scratch::default(),
            run_options: Arc::new(run_options),
            owner: std::thread::current().id(),
        };
        let mut skipped = Vec::new();
        if upscaler.open_first_of(0, device_bytes, engine_bytes, &mut skipped) {
            Ok((upscaler, skipped))
        } else {
            Err(InferenceError::NoProvider(skipped))
        }
    }

    /// Opens the session on the first provider, from this one of the settings on, that works; the others are added to
    /// `skipped`. `false`, with no session open, if none does.
    fn open_first_of(
        &mut self,
        start: usize,
        device_bytes: u64,
        engine_bytes: u64,
        skipped: &mut Vec<SkippedProvider>,
    ) -> bool {
        let providers = self.settings.providers.clone();
        let found = providers::first_that_opens(&providers, start, skipped, |position, provider| {
            self.place = place(provider, &self.settings, &self.model);
            self.position = position;
            self.engine_side_px = engine_side_px(&self.model, provider, engine_bytes);
            self.reopen(device_bytes)
                .map_err(|error| error.message().to_owned())
        });
        found.is_some()
    }

    /// Ends the session and its arena, then opens both anew: nothing of earlier shapes stays allocated.
    fn reopen(&mut self, device_bytes: u64) -> ort::Result<()> {
        self.open = None;
        self.prepared = None;
        let arena = match describe(self.place.provider).memory {
            Memory::HostArena => {
                let most_bytes = device_bytes.saturating_sub(self.weights_outside_bytes());
                Some(CpuArena::register(&self.runtime.environment, most_bytes)?)
            }
            Memory::Host | Memory::Nvidia | Memory::Card => None,
        };
        preload::beside(&self.runtime.path, self.place.provider);
        let engine = match self.place.provider {
            Provider::Tensorrt => self.engine()?,
            _ => None,
        };
        let settings = ProviderSettings {
            device_id: self.settings.device_id,
            device_bytes,
            precision: self.settings.precision,
            is_half: self.place.precision == "fp16",
            threads: self.settings.threads,
            choices: &self.settings.choices,
            engine: engine.as_ref().map(|engine| &engine.settings),
        };
        let (key, value) = providers::RECORD;
        let builder = base_builder(&self.runtime, self.settings.threads)?.with_config_entry(key, value)?;
        let registered = providers::register(&self.runtime, builder, self.place.provider, &settings)?;
        let mut builder = registered.builder;
        let session = match engine {
            Some(engine) => engine.open_with(|| builder.commit_from_memory(self.onnx()))?,
            None => builder.commit_from_memory(self.onnx())?,
        };
        self.left = self.left_to_the_processor(&session)?;
        if let Some(device) = registered.device {
            self.place.device = device;
        }
        if !registered.is_half {
            self.place.precision = "fp32";
        }
        self.open = Some(OpenSession {
            staging: self.staging(&session),
            session,
            _arena: arena,
            device_bytes,
        });
        Ok(())
    }

    /// What TensorRT is told of engines; the directories are not made where there is no TensorRT.
    fn engine(&self) -> ort::Result<Option<Engine>> {
        let root = &self.settings.engines_dir;
        let runtime = self.runtime.version();
        let wanted = outlook::engine(
            &self.settings,
            &runtime,
            &self.model,
            &self.place,
            self.engine_side_px,
        );
        Engine::open(root, &wanted).map_err(|error| {
            let why = crate::error::plain(&error);
            ort::Error::new(format!("cannot use {} for engines: {why}", root.display()))
        })
    }

    /// What the provider left to the processor, in words.
    ///
    /// # Errors
    /// If that is everything: it would be a silent fall to the processor.
    fn left_to_the_processor(&self, session: &Session) -> ort::Result<Option<String>> {
        if self.place.provider == Provider::Cpu {
            return Ok(None);
        }
        let asked_for = match self.place.provider {
            Provider::Plugin => None,
            provider => Some(describe(provider).name),
        };
        match providers::left_to_the_processor(session, asked_for) {
            Some(shares) if shares.own == 0 => Err(ort::Error::new(format!(
                "it takes no part of {}; use another provider for it",
                self.model.card.name
            ))),
            Some(shares) => Ok(shares.told()),
            None => Ok(None),
        }
    }

    /// The way of the pixels to a GPU. Without page-locked memory, of which the system grants no end, copies are slower.
    fn staging(&self, session: &Session) -> Option<Staging> {
        let kind = providers::host_memory(self.place.provider)?;
        match Staging::open(session, &kind, self.settings.device_id) {
            Ok(staging) => Some(staging),
            Err(error) => {
                tracing::info!("no page-locked memory for copies: {}", error.message());
                None
            }
        }
    }

    /// The file for the place where it runs now.
    fn onnx(&self) -> &[u8] {
        match &self.model.half {
            // Others round the weights themselves, as they see fit.
            Some(half)
                if describe(self.place.provider).half == Half::Variant && self.place.precision == "fp16" =>
            {
                half
            }
            _ => &self.model.onnx,
        }
    }

    /// Bytes of weights that lie outside the arena: ONNX Runtime takes those of the CPU provider from the heap.
    fn weights_outside_bytes(&self) -> u64 {
        match describe(self.place.provider).memory {
            Memory::HostArena => self.model.card.weights_bytes,
            Memory::Host | Memory::Nvidia | Memory::Card => 0,
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

/// A session's options on whatever provider. `threads`: of the CPU provider; `None`: one per core.
pub(super) fn base_builder(runtime: &Runtime, threads: Option<usize>) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // Patterns preallocate one block for the peak of a whole run: the largest possible single
        // request, which a capped arena is likeliest to refuse. Off is faster here, too.
        .with_memory_pattern(false)?
        // Spinning workers would keep a core busy between the tiles of an otherwise idle service.
        .with_intra_op_spinning(false)?;
    match threads {
        Some(threads) => Ok(builder.with_intra_threads(threads)?),
        None => Ok(builder),
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

    fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    fn windows(&self) -> Windows {
        if self.model.card.fixed_shape.is_some() {
            return Windows::Any;
        }
        let side_px = self.engine_side_px;
        match describe(self.place.provider).shapes {
            Shapes::Any => Windows::Any,
            Shapes::Range => Windows::Within(tensorrt::SIDE_MIN_PX, side_px),
            Shapes::Single => Windows::Only(Size::new(side_px, side_px)),
        }
    }

    fn left(&self) -> Option<String> {
        let left = self.left.as_ref()?;
        let (provider, model) = (self.place.provider.as_str(), &self.model.card.name);
        Some(format!("{provider} takes only a part of {model}: {left}"))
    }

    fn shrink(&mut self) -> Result<(), InferenceError> {
        let (Memory::Nvidia, Some(prepared)) = (describe(self.place.provider).memory, self.prepared) else {
            return Ok(());
        };
        let options = |set: Option<(&str, String)>| {
            let mut options = RunOptions::new()?;
            if let Some((key, value)) = set {
                options.set(key, value)?;
            }
            Ok::<_, ort::Error>(Arc::new(options))
        };
        let failed = |error: ort::Error| classify(error.message());
        // onnxruntime_run_options_config_keys.h
        let device = format!("gpu:{}", self.settings.device_id);
        self.run_options = options(Some(("memory.enable_memory_arena_shrinkage", device))).map_err(failed)?;
        let grey = vec![0.5; PLANES * prepared.window.pixels() as usize];
        let ran = self.upscale(Planes::new(&grey, prepared.window), &mut |_| {});
        self.run_options = options(None).map_err(failed)?;
        ran
    }

    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError> {
        self.owned_here();
        let next = Prepared { window, batch };
        // Another budget is another cap on the arena, which is set when it is made. A smaller one counts as well: it
        // is a promise, also where the windows would stay below it.
        let same_budget = self
            .open
            .as_ref()
            .is_some_and(|open| open.device_bytes == device_bytes);
        match self.prepared {
            None if same_budget => self.prepared = Some(next),
            Some(prepared) if same_budget && prepared.serves(next) => {}
            _ => {
                self.reopen(device_bytes)
                    .map_err(|error| classify(error.message()))?;
                self.prepared = Some(next);
            }
        }
        Ok(())
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        self.owned_here();
        let card = &self.model.card;
        let side = |len: u32| card.scale.of(len.saturating_sub(2 * card.border_crop_px));
        let due = Size::new(side(tiles.size.width), side(tiles.size.height));
        let Some(OpenSession { session, staging, .. }) = &mut self.open else {
            return Err(InferenceError::Model(
                "the session is closed after an earlier failure".to_owned(),
            ));
        };
        let mut running = Running {
            session,
            options: &self.run_options,
            staging: staging.as_mut(),
        };
        let format = Format::of(card);
        let scratch = &mut self.scratch;
        tensor::run_tiles(&mut running, &format, card.batches, tiles, due, scratch, take)
            .map_err(|error| classify(&error.to_string()))
    }

    fn fall_back(&mut self, device_bytes: u64) -> Result<bool, InferenceError> {
        self.owned_here();
        let (place, position) = (self.place.clone(), self.position);
        if position + 1 >= self.settings.providers.len() {
            return Ok(false);
        }
        let mut skipped = Vec::new();
        let found = self.open_first_of(position + 1, device_bytes, device_bytes, &mut skipped);
        for skipped in &skipped {
            tracing::info!(provider = skipped.provider.as_str(), "{skipped}");
        }
        if found {
            self.profile = assumed(&self.model);
        } else {
            // As before, but closed: the next `prepare` opens it anew.
            self.place = place;
            self.position = position;
        }
        Ok(found)
    }

    fn terminator(&mut self) -> Option<Terminator> {
        let options = Arc::new(RunOptions::new().ok()?);
        self.run_options = Arc::clone(&options);
        Some(Arc::new(move || {
            // It fails only for a null pointer; who waits for the end gives up by itself.
            if let Err(error) = options.terminate() {
                tracing::warn!("cannot end the run in work: {error}");
            }
        }))
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        let arena = match describe(self.place.provider).memory {
            Memory::HostArena => arena::Device::Cpu,
            // What TensorRT holds for its engines is its own; CUDA's arena serves the rest.
            Memory::Nvidia => arena::Device::Cuda(self.settings.device_id),
            Memory::Host | Memory::Card => return None,
        };
        let peak = arena::peak_bytes(&self.open.as_ref()?.session, arena)?;
        Some(peak + self.weights_outside_bytes())
    }
}
