//! Owns the life of the service: every task and channel is on this screen. Never touches a pixel and never writes
//! SQL.
//!
//! ```text
//! signals ──▶ wishes ──▶ run ──stop──▶ worker, intakes, overview
//! ledger ──▶ steering ────┤
//!                         │ config (SIGHUP)
//!    intake per folder ──work──▶ worker ──▶ executor's thread
//!             └────────news──▶ overview ──▶ status.json, service.json, systemd ◀──news──┘
//!                                └─seen──▶ answers (GET /metrics, /health)
//!    every end of a job ──▶ post ──pipe──▶ messenger (another process) ──▶ hooks, webhooks
//! ```

mod adopt;
mod answers;
mod attempt;
mod blocks;
mod dispose;
mod drive;
mod environment;
mod error;
mod ground;
mod housekeeping;
mod intakes;
mod metrics;
mod overview;
mod queueing;
mod reach;
mod shared;
mod sidecar;
mod signals;
mod start;
mod steering;
mod watchdog;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use crate::config::{Config, Provider};
use crate::error::{Reason, ReasonCode};
use crate::fs::set_umask;
use crate::inference::{Catalogue, Runtime, SessionSettings};
use crate::news::{Messenger, Post};
use crate::pipeline::executor::{DeviceFacts, ExecutorSettings};
use crate::publish::{Instance, Publisher};
use crate::queue::{InstanceLock, QueueError, aside};
use crate::sandbox;

pub use environment::prepare_output;
pub use error::ServiceError;
pub use ground::{Ground, MakeExecutor};
pub use sidecar::{Companion, carry_sidecars};
pub use signals::Wish;

use intakes::Intakes;
use overview::Overview;
use queueing::Queueing;
use shared::{OnEnd, Shared};
use steering::Heard;
use worker::Worker;

/// How long a claim is promised; renewed while the picture moves. For people and logs: the instance lock, not
/// this time, tells whose a claim is.
const LEASE: Duration = Duration::from_secs(60);

/// Between two signs of life while something runs that reports no progress.
const BEAT: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal ends it. `catalogue` finds its models, `messenger` tells others what happened.
///
/// # Errors
/// [`ServiceError`]: it cannot start, or must not go on.
pub async fn run(
    config: Config,
    config_path: PathBuf,
    catalogue: Arc<Catalogue>,
    messenger: Messenger,
) -> Result<(), ServiceError> {
    let wishes = signals::listen()?;
    let post = Post::open(messenger)?;
    live(Ground::real(), wishes, config, config_path, catalogue, post).await
}

/// As [`run`], on this ground, until a wish ends it or nobody is left to wish. Nobody is told what happened.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    ground: Ground,
    wishes: mpsc::Receiver<Wish>,
    config: Config,
    config_path: PathBuf,
    catalogue: Arc<Catalogue>,
) -> Result<(), ServiceError> {
    live(ground, wishes, config, config_path, catalogue, Post::nobody()).await
}

async fn live(
    ground: Ground,
    mut wishes: mpsc::Receiver<Wish>,
    config: Config,
    config_path: PathBuf,
    catalogue: Arc<Catalogue>,
    post: Post,
) -> Result<(), ServiceError> {
    let mut house = House::open(ground, config, &config_path, catalogue, post, None).await?;
    let shared = Arc::clone(&house.shared);
    let (stop, stopping) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    tokio::spawn(answers::run(Arc::clone(&shared), ended.clone()));

    start::check_models(&shared.catalogue, &shared.config()).await?;
    start::recover(&shared).await?;
    start::retell(&shared).await?;
    let mut intakes = Intakes::start(&shared);
    let overview = Overview::new(Arc::clone(&shared), intakes.views(), stopping.clone());
    let overview = tokio::spawn(overview.run(ended));
    let writer = keep_writing(&shared);
    let (mut heard, steering) = steering::listen(&shared);
    let worker = Worker::new(Arc::clone(&shared), shared.start_executor()?, stopping.clone());
    let mut worker = tokio::spawn(Queueing::new(Arc::clone(&shared), worker).run(stopping));
    watchdog::ready("watching");
    let housekeeping = keep_house(&shared);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        folders = shared.config().folders.len(),
        "started"
    );

    let mut out_of_reach = std::pin::pin!(reach::out_of_reach(Arc::clone(&shared)));
    let outcome = loop {
        tokio::select! {
            outcome = &mut worker => break joined(outcome),
            Some(heard) = heard.recv() => match heard {
                Heard::Rescan => intakes.rescan(&shared),
                Heard::Damaged => break Err(damaged(&shared).into()),
            },
            error = &mut out_of_reach => {
                stop.send_replace(true);
                break joined(worker.await).and(Err(error));
            }
            wish = wishes.recv() => match wish {
                Some(Wish::Rescan) => intakes.rescan(&shared),
                Some(Wish::Reload) => house.reload(&config_path, &mut intakes).await,
                Some(Wish::Stop) | None => {
                    watchdog::stopping("finishing the running job");
                    tracing::info!("stopping");
                    stop.send_replace(true);
                    break joined(worker.await);
                }
            },
        }
    };
    tell_end(&shared, &outcome);
    steering.abort();
    housekeeping.abort();
    intakes.stop().await;
    writer.abort();
    shared.write_rest().await;
    end.send_replace(true);
    let _ = overview.await;
    shared.store.close().await;
    shared.close_post().await;
    tracing::info!("stopped");
    outcome
}

/// What one pass came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pass {
    /// Blocked folders, with what they wait for.
    pub blocked: Vec<(String, Reason)>,
    /// Jobs that are left waiting: for another attempt, or for the end of the pause.
    pub waiting: u64,
    /// A person paused the queue.
    pub is_paused: bool,
    /// A signal ended it before its time.
    pub interrupted: bool,
}

/// One scan of the watched folders, or of one of them; everything that is ready is processed. `on_end` sees
/// every job that ended.
///
/// # Errors
/// [`ServiceError`]: nothing could be done at all.
pub async fn once(
    config: Config,
    config_path: PathBuf,
    catalogue: Arc<Catalogue>,
    folder: Option<&str>,
    messenger: Option<Messenger>,
    on_end: OnEnd,
) -> Result<Pass, ServiceError> {
    let mut wishes = signals::listen()?;
    let config = only(config, folder)?;
    let post = messenger.map_or_else(|| Ok(Post::nobody()), Post::open)?;
    let ground = Ground::real();
    let house = House::open(ground, config, &config_path, catalogue, post, Some(on_end)).await?;
    let shared = Arc::clone(&house.shared);
    let (stop, stopping) = watch::channel(false);

    start::check_models(&shared.catalogue, &shared.config()).await?;
    start::recover(&shared).await?;
    start::retell(&shared).await?;
    let worker = Worker::new(Arc::clone(&shared), shared.start_executor()?, stopping.clone());
    // Who types it means now.
    let mut queueing = Queueing::new(Arc::clone(&shared), worker).at_any_time();
    let (end, ended) = watch::channel(false);
    let overview = Overview::new(
        Arc::clone(&shared),
        watch::channel(Vec::new()).1,
        stopping.clone(),
    );
    let overview = tokio::spawn(overview.run(ended));
    let writer = keep_writing(&shared);
    let scanned = tokio::spawn(intakes::scan_all(Arc::clone(&shared), stopping.clone()));
    let mut pass = std::pin::pin!(queueing.drain(scanned, stopping));
    let mut interrupted = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut pass => break outcome,
            wish = wishes.recv(), if !interrupted => if !matches!(wish, Some(Wish::Rescan | Wish::Reload)) {
                interrupted = true;
                stop.send_replace(true);
            },
        }
    };
    tell_end(&shared, &outcome);
    housekeeping::dispose_of_rest(&shared).await;
    writer.abort();
    shared.write_rest().await;
    end.send_replace(true);
    let _ = overview.await;
    let paused = shared.store.paused().await;
    shared.store.close().await;
    shared.close_post().await;
    let (waiting, is_paused) = (outcome?, paused?.is_some());
    let names = shared.blocks.names();
    let blocked = names
        .into_iter()
        .filter_map(|name| shared.blocks.reason(&name).map(|reason| (name, reason)));
    Ok(Pass {
        blocked: blocked.collect(),
        waiting,
        is_paused,
        interrupted,
    })
}

/// Has the last status say why the service ends by itself.
fn tell_end<T>(shared: &Shared, outcome: &Result<T, ServiceError>) {
    let Err(error) = outcome else { return };
    watchdog::stopping(&error.to_string());
    if let ServiceError::DeviceLost(_) = error {
        let reason = Reason::new(ReasonCode::Model, error.to_string());
        for folder in &shared.config().folders {
            shared
                .blocks
                .block(&folder.name, &reason, shared.clock.monotonic());
        }
    }
}

/// The task that writes job files for those who must not wait.
fn keep_writing(shared: &Arc<Shared>) -> tokio::task::JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move { shared.keep_writing().await })
}

/// The task that does what can wait.
fn keep_house(shared: &Arc<Shared>) -> tokio::task::JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move { housekeeping::keep(&shared).await })
}

fn damaged(shared: &Shared) -> QueueError {
    QueueError::Corrupt {
        path: shared.store.path().to_owned(),
        detail: "SQLite met a page that is not what it should be".to_owned(),
    }
}

/// What is held for as long as the service lives.
#[derive(Debug)]
struct House {
    shared: Arc<Shared>,
    config: watch::Sender<Arc<Config>>,
    _lock: InstanceLock,
}

impl House {
    async fn open(
        ground: Ground,
        config: Config,
        config_path: &Path,
        catalogue: Arc<Catalogue>,
        post: Post,
        on_end: Option<OnEnd>,
    ) -> Result<Self, ServiceError> {
        if config.folders.is_empty() {
            return Err(ServiceError::NoFolder(config_path.display().to_string()));
        }
        start::find_runtime(&config)?;
        let lock = InstanceLock::acquire(&config.state_dir)?;
        let Ground {
            clock,
            fs,
            make_executor,
        } = ground;
        if aside::is_suspect(&config.state_dir) {
            watchdog::busy("checking the ledger");
        }
        // Where the damaged one is now, is told by the log, and from then on by its name.
        let (store, _) = aside::open_or_set_aside(&config.state_dir, clock.clone()).await?;
        for damaged in aside::set_aside_before(&config.state_dir) {
            tracing::warn!("{}", aside::reminder(&damaged));
        }
        let publisher = Publisher::new(Arc::clone(&fs), Instance::of_state_dir(&config.state_dir));
        // Unlike any other process's, also after the kernel has used the number again.
        let owner = format!("{}@{}", std::process::id(), clock.wall().as_millisecond());
        let (sender, receiver) = watch::channel(Arc::new(config));
        let shared = Shared {
            store,
            clock,
            fs,
            publisher,
            make_executor,
            owner,
            catalogue,
            config: receiver,
            blocks: blocks::Blocks::default(),
            work: Notify::new(),
            news: Notify::new(),
            rescan: Notify::new(),
            model_changed: Notify::new(),
            pulse: watchdog::Pulse::default(),
            current: std::sync::Mutex::default(),
            device: std::sync::Mutex::new(DeviceFacts::default()),
            on_end,
            post,
            metrics: metrics::Metrics::default(),
            seen: watch::Sender::new(None),
            tally: std::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            unwritten: std::sync::Mutex::default(),
            written: Notify::new(),
            undisposed: std::sync::Mutex::default(),
            opened_folders: std::sync::Mutex::default(),
            opened: Notify::new(),
            quiet: std::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            config: sender,
            _lock: lock,
        })
    }

    /// Reads the configuration again. A wrong one is reported and the old one stays; the state directory cannot
    /// change while it is held.
    async fn reload(&mut self, path: &Path, intakes: &mut Intakes) {
        watchdog::reloading();
        match Config::load_to_watch(path) {
            Err(error) => {
                for problem in error.to_string().lines() {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration is wrong; the one before stays in force");
            }
            Ok(new) if new.state_dir != self.shared.config().state_dir => {
                tracing::error!(
                    "state_dir changed; that needs a restart, the configuration before stays in force"
                );
            }
            Ok(new) if !sandbox_lacks(&new, path).is_empty() => {
                for what in sandbox_lacks(&new, path) {
                    tracing::error!(
                        "{what} lies outside of what the sandbox allows since the start; that needs a restart"
                    );
                }
                tracing::error!("the configuration before stays in force");
            }
            Ok(new) => {
                if let Err(error) = start::check_models(&self.shared.catalogue, &new).await {
                    tracing::error!("{error}");
                    tracing::error!("the configuration before stays in force");
                    return watchdog::ready("watching");
                }
                // systemd's own SIGHUP and the unit's ExecReload= may both arrive.
                if new == *self.shared.config() {
                    intakes.rescan(&self.shared);
                    tracing::info!("the configuration is the one in force");
                    return watchdog::ready("watching");
                }
                intakes.stop().await;
                set_umask(new.umask);
                self.shared.blocks.retain(|name| new.folder(name).is_some());
                self.config.send_replace(Arc::new(new));
                for folder in &self.shared.config().folders {
                    start::open_folder(&self.shared, folder).await;
                }
                intakes.restart(&self.shared);
                self.shared.post.reload();
                self.shared.work.notify_one();
                tracing::info!(
                    folders = self.shared.config().folders.len(),
                    "configuration read again"
                );
            }
        }
        watchdog::ready("watching");
    }
}

/// What of a new configuration the kernel would keep from us.
fn sandbox_lacks(new: &Config, path: &Path) -> Vec<String> {
    let library = Runtime::locate(new.runtime.library.as_deref()).ok();
    sandbox::lacking(new, path, library.as_deref())
}

/// The configuration with that folder alone.
fn only(mut config: Config, folder: Option<&str>) -> Result<Config, ServiceError> {
    if let Some(name) = folder {
        let known = config
            .folders
            .iter()
            .map(|folder| folder.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        config.folders.retain(|folder| folder.name == name);
        if config.folders.is_empty() {
            return Err(ServiceError::UnknownFolder {
                name: name.to_owned(),
                known,
            });
        }
    }
    Ok(config)
}

/// What the configuration says to the executor. One executor, on the first device.
pub fn executor_settings(config: &Config, catalogue: &Arc<Catalogue>) -> ExecutorSettings {
    let runtime = &config.runtime;
    ExecutorSettings {
        catalogue: Arc::clone(catalogue),
        library: runtime.library.clone(),
        session: SessionSettings {
            providers: runtime.providers.clone(),
            device_id: runtime.device_ids.first().copied().unwrap_or(0),
            threads: runtime.threads,
            precision: runtime.precision,
            engines_dir: config.state_dir.join("engines"),
            choices: runtime.choices.clone(),
        },
        // The default list tries everything; only a list that somebody wrote is a wish.
        warn_skipped: runtime.providers_chosen && runtime.providers != [Provider::Cpu],
        device_bytes: config.memory.device_bytes,
        host_bytes: config.memory.host_bytes,
        unload_after: runtime.unload_after,
    }
}

fn joined(ended: Result<Result<(), ServiceError>, tokio::task::JoinError>) -> Result<(), ServiceError> {
    match ended {
        Ok(ended) => ended,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(()),
        },
    }
}
