//! Owns the executor: one named thread for one device and the order in which pictures reach it. What is warm on the
//! device is [`device`]'s. Never touches the ledger.

mod budget;
mod device;

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::PipelineError;
use crate::budget::Budget;
use crate::clock::SharedClock;
use crate::config::Recipe;
use crate::inference::{Catalogue, InferenceError, Place, Profile, SessionSettings, SkippedProvider};
use crate::machine::nvidia::{self, FreeMemory};
use crate::machine::total_memory_bytes;
use crate::progress::{Cancel, Progress};
use crate::report::RenderReport;
use crate::tiling::Speed;
use device::Device;

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
    /// Most bytes that the data plane may hold on the host, all executors together; `None`: a quarter of the memory.
    pub host_bytes: Option<u64>,
    /// This program, if it may build TensorRT's engines in a process of its own while another provider works; `None`:
    /// whoever needs an engine waits for it.
    pub engine_builder: Option<PathBuf>,
    /// Whether it may begin on the processor. Of several executors one may; the others only get there by the ladder.
    pub begins_on_cpu: bool,
    /// How long a loaded model is kept without work; `None`: for as long as the executor lives.
    pub unload_after: Option<Duration>,
}

impl ExecutorSettings {
    /// What executors of these settings share of the host.
    pub fn host_budget(&self) -> Arc<Budget> {
        Budget::new(self.host_bytes.unwrap_or_else(|| total_memory_bytes() / 4))
    }
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
    /// What else a person should know of where it runs: work that went to the processor after all.
    pub notes: Vec<String>,
    /// The engine that is being built beside the work.
    pub building: Option<EngineBuild>,
    /// The device budget of the last picture.
    pub device_bytes: Option<u64>,
    /// The host budget.
    pub host_bytes: u64,
    /// Why the device is not used any more.
    pub out_of_use: Option<String>,
}

/// An engine that is being built, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineBuild {
    /// Of this model.
    pub model: String,
    /// When that began.
    pub since: Timestamp,
}

/// The facts, written by the executor's thread and read by whoever tells them.
#[derive(Debug, Clone, Default)]
pub struct SharedFacts(Arc<Mutex<DeviceFacts>>);

impl SharedFacts {
    /// The facts now.
    pub fn get(&self) -> DeviceFacts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes them.
    pub fn update(&self, change: impl FnOnce(&mut DeviceFacts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is done on an executor's thread. [`Executor::start`] puts a device there; tests put something that needs none.
pub trait Work: 'static {
    /// Renders a picture.
    ///
    /// # Errors
    /// [`PipelineError`].
    fn render(&mut self, order: Order, report: &mut RenderReport) -> Result<(), PipelineError>;

    /// Loads a model.
    ///
    /// # Errors
    /// [`InferenceError`].
    fn warm_up(&mut self, model: &str) -> Result<(), InferenceError>;

    /// Measures a model's windows.
    ///
    /// # Errors
    /// [`InferenceError`].
    fn tune(
        &mut self,
        model: &str,
        cancel: &Cancel,
        told: &mut dyn FnMut(&Speed),
    ) -> Result<Tuned, InferenceError>;

    /// There has been nothing to do for a moment.
    fn pause(&mut self) {}

    /// There has been nothing to do for a while.
    fn rest(&mut self);
}

/// No task for so long is a pause, and no wait between two pictures of a queue.
const PAUSE: Duration = Duration::from_secs(3);

/// The next task; `None` when no more will come.
fn next(inbox: &Receiver<Task>, idle_after: Option<Duration>, work: &mut dyn Work) -> Option<Task> {
    let pause = idle_after.map_or(PAUSE, |idle_after| PAUSE.min(idle_after));
    match inbox.recv_timeout(pause) {
        Ok(task) => return Some(task),
        Err(RecvTimeoutError::Disconnected) => return None,
        Err(RecvTimeoutError::Timeout) => work.pause(),
    }
    if let Some(idle_after) = idle_after {
        match inbox.recv_timeout(idle_after.saturating_sub(pause)) {
            Ok(task) => return Some(task),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => work.rest(),
        }
    }
    inbox.recv().ok()
}

impl Task {
    fn done_by(self, work: &mut dyn Work) {
        match self {
            Self::Render(order, reply) => {
                let mut report = RenderReport::default();
                let result = work.render(*order, &mut report);
                reply((report, result));
            }
            Self::WarmUp(model, reply) => reply(work.warm_up(&model)),
            Self::Tune(order) => {
                let TuneOrder {
                    model,
                    cancel,
                    mut told,
                    reply,
                } = *order;
                reply(work.tune(&model, &cancel, &mut *told));
            }
        }
    }
}

/// The handle of the executor's thread. Dropping it ends the thread after the picture in work.
#[derive(Debug)]
pub struct Executor {
    tasks: Option<Sender<Task>>,
    facts: SharedFacts,
    thread: Option<JoinHandle<()>>,
}

impl Executor {
    /// Starts the thread; nothing is loaded before the first order. `host` is shared with the executors beside it.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start(settings: ExecutorSettings, host: Arc<Budget>, clock: SharedClock) -> std::io::Result<Self> {
        Self::start_on(settings, host, clock, Arc::new(nvidia::free_bytes))
    }

    /// As [`Executor::start`], on devices of which somebody else says what is free.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start_on(
        settings: ExecutorSettings,
        host: Arc<Budget>,
        clock: SharedClock,
        free_memory: FreeMemory,
    ) -> std::io::Result<Self> {
        let name = format!("executor-{}", settings.session.device_id);
        let idle_after = settings.unload_after;
        Self::start_with(name, idle_after, move |facts| {
            Device::new(settings, host, clock, facts, free_memory)
        })
    }

    /// Starts a thread that has its tasks done by what `make` makes on it: a session is the thread's that opened it
    /// (I9). Without a task for `idle_after`, it is told so, once.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start_with<W: Work>(
        name: String,
        idle_after: Option<Duration>,
        make: impl FnOnce(SharedFacts) -> W + Send + 'static,
    ) -> std::io::Result<Self> {
        let (tasks, inbox) = channel::<Task>();
        let facts = SharedFacts::default();
        let for_thread = facts.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let mut work = make(for_thread);
            while let Some(task) = next(&inbox, idle_after, &mut work) {
                task.done_by(&mut work);
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
        self.facts.get()
    }

    /// What is loaded at whatever moment it is asked, and what was at last once the executor is gone.
    pub fn shared_facts(&self) -> SharedFacts {
        self.facts.clone()
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
