//! Owns the executor: one named thread for one device, the session that is warm on it (I9), and the order in
//! which pictures reach it. Never touches the ledger.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{PipelineError, Render, render};
use crate::budget::Budget;
use crate::clock::SharedClock;
use crate::codec::DecodeLimits;
use crate::config::{Precision, Provider, Recipe};
use crate::fs::RealFilesystem;
use crate::inference::learned::{self, Evidence};
use crate::inference::measure;
use crate::inference::profile_store::{ProfileKey, ProfileStore, profile_dirs};
use crate::inference::{
    Catalogue, InferenceError, OrtUpscaler, Place, Profile, Runtime, SessionSettings, SkippedProvider,
    Upscaler,
};
use crate::machine;
use crate::progress::{Cancel, Progress};
use crate::report::RenderReport;
use crate::tiling::Speed;

/// What an executor is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorSettings {
    /// Where models are found.
    pub catalogue: Arc<Catalogue>,
    /// The ONNX Runtime library; `None`: looked for.
    pub library: Option<PathBuf>,
    /// Providers, device, threads, precision.
    pub session: SessionSettings,
    /// Whether skipped providers are worth a warning in each report.
    pub warn_skipped: bool,
    /// Most bytes that inference may hold on the device; `None`: what is free when a job starts, less a reserve.
    pub device_bytes: Option<u64>,
    /// Most bytes that the data plane may hold on the host; `None`: a quarter of the memory.
    pub host_bytes: Option<u64>,
}

/// A picture for the executor. Owned, since it crosses threads.
#[derive(Debug)]
pub struct Order {
    /// The source.
    pub source: PathBuf,
    /// What decides the pixels.
    pub recipe: Recipe,
    /// Where the result is written.
    pub out: File,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Whether to stop.
    pub cancel: Cancel,
}

/// What became of an order: the facts as far as they got known, and the error if there was one.
pub type Rendered = (RenderReport, Result<(), PipelineError>);

/// What the thread is asked to do, with where the answer goes.
enum Task {
    Render(Box<Order>, Box<dyn FnOnce(Rendered) + Send>),
    WarmUp(String, Box<dyn FnOnce(Result<(), InferenceError>) + Send>),
    Tune(Box<TuneOrder>),
}

/// A model to be measured for speed.
pub struct TuneOrder {
    /// Its name.
    pub model: String,
    /// Whether to stop; what was measured by then counts.
    pub cancel: Cancel,
    /// Hears of each window as it is measured, on the executor's thread.
    pub told: Box<dyn FnMut(&Speed) + Send>,
    /// Gets the result, on the executor's thread.
    pub reply: Box<dyn FnOnce(Result<Tuned, InferenceError>) + Send>,
}

impl std::fmt::Debug for TuneOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TuneOrder")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// What tuning found.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// Where it was measured.
    pub place: Place,
    /// The profile, as it is kept from now on.
    pub profile: Profile,
    /// The budget that bounded the windows, bytes.
    pub device_bytes: u64,
}

/// What is loaded at the moment, for status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceFacts {
    /// Where the warm session runs; `None` before the first picture.
    pub place: Option<Place>,
    /// The warm model.
    pub model: Option<String>,
    /// Providers of the configuration that could not be used.
    pub skipped: Vec<SkippedProvider>,
    /// The device budget of the last picture.
    pub device_bytes: Option<u64>,
    /// The host budget.
    pub host_bytes: u64,
}

/// The handle of the executor's thread. Dropping it ends the thread after the picture in work.
#[derive(Debug)]
pub struct Executor {
    tasks: Option<Sender<Task>>,
    facts: Arc<Mutex<DeviceFacts>>,
    thread: Option<JoinHandle<()>>,
}

impl Executor {
    /// Starts the thread; nothing is loaded before the first order.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start(settings: ExecutorSettings, clock: SharedClock) -> std::io::Result<Self> {
        let (tasks, inbox) = channel::<Task>();
        let host = Budget::new(
            settings
                .host_bytes
                .unwrap_or_else(|| machine::total_memory_bytes() / 4),
        );
        let facts = Arc::new(Mutex::new(DeviceFacts {
            host_bytes: host.total_bytes(),
            ..DeviceFacts::default()
        }));
        let name = format!("executor-{}", settings.session.device_id);
        let thread_facts = Arc::clone(&facts);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let profiles = ProfileStore::new(
                RealFilesystem::shared(),
                profile_dirs(settings.catalogue.state_dirs()),
            );
            let mut worker = ExecutorThread {
                profiles,
                settings,
                clock,
                host,
                facts: thread_facts,
                warm: None,
            };
            while let Ok(task) = inbox.recv() {
                match task {
                    Task::Render(order, reply) => {
                        let mut report = RenderReport::default();
                        let result = worker.work(*order, &mut report);
                        reply((report, result));
                    }
                    Task::WarmUp(model, reply) => {
                        let device_bytes = worker.device_budget();
                        reply(worker.load(&model, device_bytes));
                    }
                    Task::Tune(order) => {
                        let TuneOrder {
                            model,
                            cancel,
                            mut told,
                            reply,
                        } = *order;
                        reply(worker.tune(&model, &cancel, &mut *told));
                    }
                }
            }
        })?;
        Ok(Self {
            tasks: Some(tasks),
            facts,
            thread: Some(thread),
        })
    }

    /// Hands over a picture; `reply` is called on the executor's thread when it is done. If the executor is
    /// gone, `reply` is dropped.
    pub fn submit(&self, order: Order, reply: impl FnOnce(Rendered) + Send + 'static) {
        self.send(Task::Render(Box::new(order), Box::new(reply)));
    }

    /// Loads a model, so that whoever asks learns whether that works; as for [`Executor::submit`].
    pub fn warm_up(&self, model: String, reply: impl FnOnce(Result<(), InferenceError>) + Send + 'static) {
        self.send(Task::WarmUp(model, Box::new(reply)));
    }

    /// Measures how long a model's windows take here; as for [`Executor::submit`].
    pub fn tune(&self, order: TuneOrder) {
        self.send(Task::Tune(Box::new(order)));
    }

    fn send(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // A thread that is gone drops the reply, which is how the caller learns of it.
            let _ = tasks.send(task);
        }
    }

    /// Renders a picture and waits for it.
    ///
    /// Returns `None` if the executor's thread is gone.
    pub fn render_blocking(&self, order: Order) -> Option<Rendered> {
        let (send, receive) = channel();
        self.submit(order, move |rendered| drop(send.send(rendered)));
        receive.recv().ok()
    }

    /// What is loaded now.
    pub fn facts(&self) -> DeviceFacts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What lives on the executor's thread.
struct ExecutorThread {
    settings: ExecutorSettings,
    clock: SharedClock,
    host: Arc<Budget>,
    facts: Arc<Mutex<DeviceFacts>>,
    profiles: ProfileStore,
    warm: Option<Warm>,
}

/// The model that is loaded.
struct Warm {
    upscaler: OrtUpscaler,
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

impl ExecutorThread {
    fn work(&mut self, order: Order, report: &mut RenderReport) -> Result<(), PipelineError> {
        let device_bytes = self.device_budget();
        let inference = |error: InferenceError| PipelineError::Inference {
            source_name: order.source.display().to_string(),
            error,
        };
        self.load(&order.recipe.model, device_bytes).map_err(inference)?;
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.settings.warn_skipped {
            report
                .warnings
                .extend(facts.skipped.iter().map(ToString::to_string));
        }
        let Some(warm) = &mut self.warm else {
            return Err(inference(InferenceError::Model("no session is open".to_owned())));
        };
        let key = warm.profile_key();
        let upscaler = &mut warm.upscaler;
        // Somebody may have tuned it since the last picture.
        if let Some(profile) = self.profiles.load(&key) {
            upscaler.set_profile(profile);
        }
        let job = Render {
            source: &order.source,
            recipe: &order.recipe,
            decode_limits: &DecodeLimits::default(),
            out: order.out,
            host: &self.host,
            device_bytes,
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
        }
        result
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
                let memory = measure::need(&mut warm.upscaler, device_bytes, self.clock.as_ref())?;
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

    fn tune(
        &mut self,
        name: &str,
        cancel: &Cancel,
        told: &mut dyn FnMut(&Speed),
    ) -> Result<Tuned, InferenceError> {
        let device_bytes = self.device_budget();
        self.load(name, device_bytes)?;
        let Some(warm) = &mut self.warm else {
            return Err(InferenceError::Model("no session is open".to_owned()));
        };
        let speeds = measure::tune(
            &mut warm.upscaler,
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

    /// Makes `name` the warm model.
    fn load(&mut self, name: &str, device_bytes: u64) -> Result<(), InferenceError> {
        // By what it is and not by its name alone: the file may have been replaced.
        let wanted = self.settings.catalogue.card(name)?;
        let is_warm = self
            .warm
            .as_ref()
            .map(|warm| warm.upscaler.card())
            .is_some_and(|card| (&card.name, &card.sha256) == (&wanted.name, &wanted.sha256));
        if is_warm {
            self.facts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .device_bytes = Some(device_bytes);
            return Ok(());
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
        let (upscaler, skipped) =
            OrtUpscaler::open(&runtime, model, self.settings.session.clone(), device_bytes)?;
        let mut warm = Warm {
            upscaler,
            runtime: runtime.version(),
        };
        self.find_profile(&mut warm, known, device_bytes)?;
        for skipped in &skipped {
            tracing::info!(provider = skipped.provider.as_str(), "{skipped}");
        }
        tracing::info!(
            model = name,
            provider = warm.upscaler.place().provider.as_str(),
            device_bytes,
            "model loaded"
        );
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = DeviceFacts {
            place: Some(warm.upscaler.place().clone()),
            model: Some(name.to_owned()),
            skipped,
            device_bytes: Some(device_bytes),
            host_bytes: self.host.total_bytes(),
        };
        self.warm = Some(warm);
        Ok(())
    }

    /// The budget of the next picture: the configured one, or what is free on the device now, less a reserve.
    fn device_budget(&self) -> u64 {
        if let Some(bytes) = self.settings.device_bytes {
            return bytes;
        }
        let warm = self.warm.as_ref().map(|warm| &warm.upscaler);
        // What the warm session holds is ours to use again.
        let held = warm.and_then(Upscaler::device_peak_bytes).unwrap_or(0);
        let provider = warm.map(|warm| warm.place().provider);
        let first = self.settings.session.providers.first().copied();
        match provider.or(first).unwrap_or(Provider::Cpu) {
            Provider::Cpu => {
                // A quarter stays with everything else that the machine does.
                let free = machine::available_memory_bytes().saturating_add(held);
                in_steps(free / 4 * 3, MOST_CPU_BYTES)
            }
            Provider::Cuda | Provider::Tensorrt => {
                let Some(free) = machine::nvidia_free_bytes(self.settings.session.device_id) else {
                    return UNKNOWN_GPU_BYTES;
                };
                let free = free.saturating_add(held);
                // The context, workspaces outside the arena, and other programs' next allocation.
                let reserve = (free / 10).max(GPU_RESERVE_BYTES);
                in_steps(free.saturating_sub(reserve), u64::MAX)
            }
        }
    }
}

/// In steps, so that small changes do not make the session start anew for every picture.
fn in_steps(bytes: u64, most: u64) -> u64 {
    const STEP: u64 = 256 << 20;
    (bytes / STEP * STEP).clamp(STEP, most)
}

/// More than the largest window ever needs; a cap keeps a mistaken estimate from filling the machine.
const MOST_CPU_BYTES: u64 = 4 << 30;

/// A CUDA context and a desktop take about so much.
const GPU_RESERVE_BYTES: u64 = 512 << 20;

/// Where the driver does not tell what is free: half of a small card of today.
const UNKNOWN_GPU_BYTES: u64 = 4 << 30;
