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
use crate::config::{Provider, Recipe};
use crate::inference::{
    Catalogue, InferenceError, OrtUpscaler, Place, Runtime, SessionSettings, SkippedProvider, Upscaler,
};
use crate::machine;
use crate::progress::{Cancel, Progress};
use crate::report::RenderReport;

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
            let mut worker = ExecutorThread {
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
    warm: Option<OrtUpscaler>,
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
        let Some(upscaler) = &mut self.warm else {
            return Err(inference(InferenceError::Model("no session is open".to_owned())));
        };
        let job = Render {
            source: &order.source,
            recipe: &order.recipe,
            decode_limits: &DecodeLimits::default(),
            out: order.out,
            host: &self.host,
            device_bytes,
            window_pixels_ceiling: None,
            progress: &order.progress,
            cancel: &order.cancel,
            clock: self.clock.as_ref(),
        };
        let result = render(job, upscaler, report);
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

    /// Makes `name` the warm model.
    fn load(&mut self, name: &str, device_bytes: u64) -> Result<(), InferenceError> {
        // By what it is and not by its name alone: the file may have been replaced.
        let wanted = self.settings.catalogue.card(name)?;
        let is_warm = self
            .warm
            .as_ref()
            .is_some_and(|warm| (&warm.card().name, &warm.card().sha256) == (&wanted.name, &wanted.sha256));
        if is_warm {
            self.facts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .device_bytes = Some(device_bytes);
            return Ok(());
        }
        self.warm = None;
        let model = self.settings.catalogue.find(name)?;
        let runtime = Runtime::load(self.settings.library.as_deref())?;
        let (upscaler, skipped) =
            OrtUpscaler::open(&runtime, model, self.settings.session.clone(), device_bytes)?;
        for skipped in &skipped {
            tracing::info!(provider = skipped.provider.as_str(), "{skipped}");
        }
        tracing::info!(
            model = name,
            provider = upscaler.place().provider.as_str(),
            device_bytes,
            "model loaded"
        );
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = DeviceFacts {
            place: Some(upscaler.place().clone()),
            model: Some(name.to_owned()),
            skipped,
            device_bytes: Some(device_bytes),
            host_bytes: self.host.total_bytes(),
        };
        self.warm = Some(upscaler);
        Ok(())
    }

    /// The budget of the next picture: the configured one, or three quarters of what is free now.
    fn device_budget(&self) -> u64 {
        if let Some(bytes) = self.settings.device_bytes {
            return bytes;
        }
        let on_cpu = self
            .warm
            .as_ref()
            .is_none_or(|warm| warm.place().provider == Provider::Cpu);
        if on_cpu {
            // In steps, so that small changes do not make the session start anew for every picture.
            const STEP: u64 = 256 << 20;
            let held = self
                .warm
                .as_ref()
                .and_then(Upscaler::device_peak_bytes)
                .unwrap_or(0);
            let free = machine::available_memory_bytes().saturating_add(held);
            (free / 4 * 3 / STEP * STEP).clamp(STEP, MOST_CPU_BYTES)
        } else {
            MOST_GPU_BYTES
        }
    }
}

/// More than the largest window ever needs; a cap keeps a mistaken estimate from filling the machine.
const MOST_CPU_BYTES: u64 = 4 << 30;

/// A GPU's free memory cannot be read yet; half of a small card of today.
const MOST_GPU_BYTES: u64 = 4 << 30;
