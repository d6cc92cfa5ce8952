//! Owns what lives on an executor's thread: the device's budget, the session that is warm on it (I9), what was learned
//! of it. Never decides which picture comes next.

use std::sync::Arc;

use super::budget::budget;
use super::{DeviceFacts, EngineBuild, ExecutorSettings, Order, SharedFacts, Tuned, Work};
use crate::budget::Budget;
use crate::clock::SharedClock;
use crate::codec::DecodeLimits;
use crate::config::{Precision, Provider};
use crate::fs::RealFilesystem;
use crate::inference::engine_builds::{BuildOrder, Standing};
use crate::inference::lanes::OpenLane;
use crate::inference::learned::{self, Evidence};
use crate::inference::measure;
use crate::inference::profile_store::{ProfileKey, ProfileStore, profile_dirs};
use crate::inference::providers::{Memory, describe};
use crate::inference::{
    EngineBuilds, InferenceError, Lanes, Model, OrtUpscaler, Profile, Runtime, SessionSettings,
    SkippedProvider, Upscaler, missing_engine,
};
use crate::machine::{self, nvidia::FreeMemory};
use crate::pipeline::{DeviceBudget, PipelineError, Render, render};
use crate::progress::Cancel;
use crate::report::RenderReport;
use crate::tiling::Speed;

/// A device and the model that is warm on it.
pub(super) struct Device {
    settings: ExecutorSettings,
    clock: SharedClock,
    free_memory: FreeMemory,
    host: Arc<Budget>,
    facts: SharedFacts,
    profiles: ProfileStore,
    /// `None` where whoever needs an engine waits for it.
    builds: Option<EngineBuilds>,
    warm: Option<Warm>,
}

/// The model that is loaded.
struct Warm {
    upscaler: Box<dyn Upscaler>,
    /// Until TensorRT has its engine.
    stands_in: bool,
    /// Version of the library that runs it: another one needs other amounts.
    runtime: String,
}

impl Warm {
    /// What its profile is kept under: where it runs now.
    fn profile_key(&self) -> ProfileKey {
        ProfileKey {
            model_sha256: self.upscaler.card().sha256.to_string(),
            place: self.upscaler.place().clone(),
            runtime: self.runtime.clone(),
        }
    }
}

impl Device {
    /// With nothing loaded.
    pub(super) fn new(
        settings: ExecutorSettings,
        host: Arc<Budget>,
        clock: SharedClock,
        facts: SharedFacts,
        free_memory: FreeMemory,
    ) -> Self {
        facts.update(|facts| facts.host_bytes = host.total_bytes());
        let dirs = profile_dirs(settings.catalogue.state_dirs());
        let builds = settings.engine_builder.clone().map(|program| {
            let (facts, clock) = (facts.clone(), clock.clone());
            let told = move |model: Option<&str>| {
                let building = model.map(|model| EngineBuild {
                    model: model.to_owned(),
                    since: clock.wall(),
                });
                facts.update(|facts| facts.building = building);
            };
            EngineBuilds::new(program, Arc::new(told))
        });
        Self {
            profiles: ProfileStore::new(RealFilesystem::shared(), dirs),
            builds,
            settings,
            clock,
            free_memory,
            host,
            facts,
            warm: None,
        }
    }

    /// Draws the lesson from a picture's runs, for the place where it began.
    fn learn(&mut self, key: &ProfileKey, device_bytes: u64, report: &RenderReport) {
        let Some(warm) = self.warm.as_mut().filter(|warm| warm.profile_key() == *key) else {
            // Another provider finished it: what failed before is over, and what it did is no evidence about the first.
            return;
        };
        let evidence = Evidence {
            device_bytes,
            worked_pixels: report.runs.worked_pixels,
            failed_pixels: report.runs.failed_pixels,
        };
        let known = warm.upscaler.profile().clone();
        let profile = self.profiles.update(key, &known, |profile| {
            learned::after_picture(profile, &evidence);
        });
        warm.upscaler.set_profile(profile);
    }

    /// What is known of the warm model where it runs: kept from earlier, known beforehand, or measured now.
    fn find_profile(
        &mut self,
        warm: &mut Warm,
        known: Option<Profile>,
        device_bytes: u64,
    ) -> Result<(), InferenceError> {
        let key = warm.profile_key();
        let known = known.filter(|_| key.place.provider == Provider::Cpu);
        let profile = match self.profiles.load(&key).or(known) {
            Some(profile) => profile,
            None => {
                let memory = measure::need(warm.upscaler.as_mut(), device_bytes, self.clock.as_ref())?;
                let profile = Profile {
                    memory,
                    speeds: Vec::new(),
                    learned: None,
                };
                tracing::info!(
                    model = %warm.upscaler.card().name,
                    provider = key.place.provider.as_str(),
                    bytes_per_pixel = memory.bytes_per_pixel,
                    fixed_bytes = memory.fixed_bytes,
                    "measured what windows need"
                );
                self.profiles.update(&key, &profile, |_| {})
            }
        };
        warm.upscaler.set_profile(profile);
        Ok(())
    }

    /// Makes `name` the warm model, under a budget of `device_bytes` or, beside the building of an engine, what is left
    /// of it; gives that.
    fn load(&mut self, name: &str, device_bytes: u64) -> Result<u64, InferenceError> {
        // By what it is and not by its name alone: the file may have been replaced.
        let wanted = self.settings.catalogue.card(name)?;
        let is_warm = self
            .warm
            .as_ref()
            .map(|warm| warm.upscaler.card())
            .is_some_and(|card| (&card.name, &card.sha256) == (&wanted.name, &wanted.sha256));
        let builds = self.builds.as_ref();
        let is_relieved = self.warm.as_ref().is_some_and(|warm| warm.stands_in)
            && builds.is_some_and(|builds| !builds.is_at_work());
        if is_warm && !is_relieved {
            let device_bytes = beside_a_build(device_bytes, builds);
            self.facts.update(|facts| facts.device_bytes = Some(device_bytes));
            return Ok(device_bytes);
        }
        self.warm = None;
        let mut model = self.settings.catalogue.find(name)?;
        // Asked for by the configuration only: on the processor nobody needs it, and it would lie about in memory.
        model.half = match self.settings.session.precision {
            Precision::Fp16 => self.settings.catalogue.half(&model),
            Precision::Auto | Precision::Fp32 => None,
        };
        let known = model.cpu_profile.clone();
        let runtime = Runtime::load(self.settings.library.as_deref())?;
        let mut session = self.settings.session.clone();
        let awaited = self.await_engine(&runtime, &model, &mut session, device_bytes);
        let engine_bytes = device_bytes;
        let device_bytes = beside_a_build(device_bytes, self.builds.as_ref());
        let (upscaler, mut skipped) = OrtUpscaler::open_beside(
            &runtime,
            model.clone(),
            session.clone(),
            device_bytes,
            engine_bytes,
        )?;
        let stands_in = awaited
            .as_ref()
            .is_some_and(|(_, standing)| *standing == Standing::Awaited);
        skipped.extend(awaited.map(|(skipped, _)| skipped));
        if upscaler.place().provider == Provider::Cpu && !self.settings.begins_on_cpu {
            skipped.push(SkippedProvider {
                provider: Provider::Cpu,
                reason: "it works for the first device of device_id already".to_owned(),
            });
            return Err(InferenceError::NoProvider(skipped));
        }
        let mut warm = Warm {
            upscaler: in_lanes(upscaler, &runtime, model, session, [device_bytes, engine_bytes])?,
            stands_in,
            runtime: runtime.version(),
        };
        self.find_profile(&mut warm, known, device_bytes)?;
        for skipped in &skipped {
            tracing::info!(provider = skipped.provider.as_str(), "{skipped}");
        }
        let notes: Vec<String> = warm.upscaler.left().into_iter().collect();
        for note in &notes {
            tracing::warn!("{note}");
        }
        tracing::info!(
            model = name,
            provider = warm.upscaler.place().provider.as_str(),
            device_bytes,
            "model loaded"
        );
        let facts = DeviceFacts {
            place: Some(warm.upscaler.place().clone()),
            model: Some(name.to_owned()),
            skipped,
            notes,
            device_bytes: Some(device_bytes),
            host_bytes: self.host.total_bytes(),
            out_of_use: None,
            building: None,
        };
        self.facts.update(|told| {
            let building = told.building.take();
            *told = DeviceFacts { building, ..facts };
        });
        self.warm = Some(warm);
        Ok(device_bytes)
    }

    /// Leaves TensorRT out of the session's providers for as long as the model's engine is being built in another
    /// process, or where that failed, and says so; nothing to do where no other provider of the list has a card.
    fn await_engine(
        &mut self,
        runtime: &Runtime,
        model: &Model,
        session: &mut SessionSettings,
        device_bytes: u64,
    ) -> Option<(SkippedProvider, Standing)> {
        let builds = self.builds.as_mut()?;
        stand_in(&session.providers)?;
        let missing = missing_engine(runtime, model, session, device_bytes)?;
        let order = BuildOrder {
            model: model.card.name.to_string(),
            library: self.settings.library.clone(),
            state_dirs: self.settings.catalogue.state_dirs().to_vec(),
            engines_dir: session.engines_dir.clone(),
            device_id: session.device_id,
            device_bytes,
            precision: session.precision,
        };
        let standing = builds.ask(&missing, &order);
        session
            .providers
            .retain(|provider| *provider != Provider::Tensorrt);
        let reason = match &standing {
            Standing::Failed(why) => why.clone(),
            Standing::Awaited => {
                let model = &order.model;
                format!("its engine for {model} is being built; the next provider works until it is there")
            }
        };
        let skipped = SkippedProvider {
            provider: Provider::Tensorrt,
            reason,
        };
        Some((skipped, standing))
    }

    /// The budget of the next picture.
    fn device_budget(&self) -> u64 {
        let warm = self.warm.as_ref().map(|warm| warm.upscaler.as_ref());
        budget(&self.settings, &self.free_memory, warm)
    }
}

/// Who works while TensorRT's engine is built: the next of the list that has a card. The processor would take longer for
/// a picture than the build.
fn stand_in(providers: &[Provider]) -> Option<Provider> {
    let mut after = providers
        .iter()
        .copied()
        .skip_while(|provider| *provider != Provider::Tensorrt);
    after.next()?;
    after.find(|provider| matches!(describe(*provider).memory, Memory::Nvidia | Memory::Card))
}

/// What is left of a budget beside the building of an engine, which takes as much again as its sessions will.
fn beside_a_build(device_bytes: u64, builds: Option<&EngineBuilds>) -> u64 {
    match builds {
        Some(builds) if builds.is_at_work() => device_bytes / 2,
        _ => device_bytes,
    }
}

/// As many sessions as the place where the first one works is worth.
fn in_lanes(
    first: OrtUpscaler,
    runtime: &Runtime,
    model: Model,
    settings: SessionSettings,
    [device_bytes, engine_bytes]: [u64; 2],
) -> Result<Box<dyn Upscaler>, InferenceError> {
    let lanes = describe(first.place().provider).lanes;
    if lanes == 1 {
        return Ok(Box::new(first));
    }
    // It belongs to this thread, and lanes have their own (I9).
    drop(first);
    let runtime = runtime.clone();
    let share = device_bytes / lanes as u64;
    let open: OpenLane = Arc::new(move || {
        let (upscaler, _) =
            OrtUpscaler::open_beside(&runtime, model.clone(), settings.clone(), share, engine_bytes)?;
        Ok(Box::new(upscaler) as Box<dyn Upscaler>)
    });
    Ok(Box::new(Lanes::open(lanes, &open)?))
}

impl Work for Device {
    fn render(&mut self, order: Order, report: &mut RenderReport) -> Result<(), PipelineError> {
        let device_bytes = self.device_budget();
        let inference = |error: InferenceError| PipelineError::Inference {
            source_name: order.source.display().to_string(),
            error,
        };
        let device_bytes = self.load(&order.recipe.model, device_bytes).map_err(inference)?;
        let facts = self.facts.get();
        if self.settings.warn_skipped {
            report
                .warnings
                .extend(facts.skipped.iter().map(ToString::to_string));
        }
        report.warnings.extend(facts.notes);
        let Some(warm) = &mut self.warm else {
            return Err(inference(InferenceError::Model("no session is open".to_owned())));
        };
        let key = warm.profile_key();
        let upscaler = warm.upscaler.as_mut();
        // Somebody may have tuned it since the last picture.
        if let Some(profile) = self.profiles.load(&key) {
            upscaler.set_profile(profile);
        }
        let (settings, free_memory, builds) = (&self.settings, &self.free_memory, self.builds.as_ref());
        let job = Render {
            source: &order.source,
            recipe: &order.recipe,
            decode_limits: &DecodeLimits::default(),
            out: order.out,
            host: &self.host,
            device_bytes,
            budget: DeviceBudget(&|upscaler| {
                beside_a_build(budget(settings, free_memory, Some(upscaler)), builds)
            }),
            window_pixels_ceiling: learned::ceiling(upscaler.profile(), device_bytes),
            progress: &order.progress,
            cancel: &order.cancel,
            clock: self.clock.as_ref(),
        };
        let result = render(job, upscaler, report);
        self.learn(&key, device_bytes, report);
        if result.as_ref().is_err_and(PipelineError::is_device_lost) {
            // CUDA's provider throws while it is closed on a lost device, and that aborts the process
            // (microsoft/onnxruntime#2963) before the loss is recorded. The process ends anyway, after that.
            std::mem::forget(self.warm.take());
        } else if let Err(PipelineError::Inference { .. }) = result {
            // A session that failed is not trusted with the next picture.
            self.warm = None;
        } else if self
            .warm
            .as_ref()
            .is_some_and(|warm| *warm.upscaler.place() != key.place)
        {
            // What filled the device may be gone by the next picture, which begins with the first provider again.
            self.warm = None;
        }
        result
    }

    fn warm_up(&mut self, model: &str) -> Result<(), InferenceError> {
        let device_bytes = self.device_budget();
        self.load(model, device_bytes).map(drop)
    }

    fn tune(
        &mut self,
        name: &str,
        cancel: &Cancel,
        told: &mut dyn FnMut(&Speed),
    ) -> Result<Tuned, InferenceError> {
        let device_bytes = self.device_budget();
        let device_bytes = self.load(name, device_bytes)?;
        let Some(warm) = &mut self.warm else {
            return Err(InferenceError::Model("no session is open".to_owned()));
        };
        let speeds = measure::tune(
            warm.upscaler.as_mut(),
            device_bytes,
            self.clock.as_ref(),
            cancel,
            told,
        )?;
        let known = warm.upscaler.profile().clone();
        let profile = self.profiles.update(&warm.profile_key(), &known, |profile| {
            if !speeds.is_empty() {
                profile.speeds = speeds;
            }
        });
        warm.upscaler.set_profile(profile.clone());
        Ok(Tuned {
            place: warm.upscaler.place().clone(),
            profile,
            device_bytes,
        })
    }

    /// Gives back what only runs need: on a card other programs may want it.
    fn pause(&mut self) {
        if let Some(Err(error)) = self.warm.as_mut().map(|warm| warm.upscaler.shrink()) {
            tracing::debug!("cannot shrink the device's arena: {error}");
            self.warm = None;
        }
    }

    /// Gives the model's memory back, for whatever else the machine does.
    fn rest(&mut self) {
        let Some(warm) = self.warm.take() else { return };
        tracing::info!(model = %warm.upscaler.card().name, "model unloaded: nothing to do");
        drop(warm);
        self.facts.update(|facts| facts.model = None);
        machine::give_back_freed_memory();
        if let Ok(library) = Runtime::locate(self.settings.library.as_deref()) {
            machine::let_go_of_code(&library);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_provider_with_a_card_stands_in_for_tensorrt() {
        use Provider as P;
        let cases: [(&[P], Option<P>); 6] = [
            (&[P::Tensorrt, P::Cuda, P::Cpu], Some(P::Cuda)),
            (&[P::Tensorrt, P::Openvino, P::Webgpu], Some(P::Webgpu)),
            // It waits: a minute, or hours on the processor.
            (&[P::Tensorrt, P::Cpu], None),
            (&[P::Tensorrt], None),
            // What comes before it was preferred to it.
            (&[P::Cuda, P::Tensorrt], None),
            (&[P::Cuda, P::Cpu], None),
        ];
        for (providers, expected) in cases {
            assert_eq!(stand_in(providers), expected, "{providers:?}");
        }
    }
}
