//! Owns what the tasks of the service share: the ledger, the configuration of the moment, the blocks, the job in
//! work, and how a job's news reaches its files. Never decides what happens to a job.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::blocks::Blocks;
use super::ground::MakeExecutor;
use super::metrics::{Metrics, Seen};
use super::watchdog::Pulse;
use crate::clock::{Monotonic, SharedClock};
use crate::config::{Config, Folder};
use crate::error::Reason;
use crate::fs::SharedFilesystem;
use crate::inference::{Catalogue, ModelCard, ModelError};
use crate::news::{Event, Post, Tally};
use crate::pipeline::executor::{DeviceFacts, SharedFacts};
use crate::progress::{Progress, eta};
use crate::publish::Publisher;
use crate::queue::{Job, JobId, QueueError, Store};
use crate::status::{JobFiles, Tenancy};

/// Called with every job that has ended, for commands that report them.
pub type OnEnd = Box<dyn Fn(&Job) + Send + Sync>;

/// What the tasks share.
pub struct Shared {
    /// The ledger.
    pub store: Store,
    /// Time.
    pub clock: SharedClock,
    /// Durable steps.
    pub fs: SharedFilesystem,
    /// The renames.
    pub publisher: Publisher,
    /// Starts executors.
    pub make_executor: MakeExecutor,
    /// Marks this process's claims.
    pub owner: String,
    /// The configuration of the moment.
    pub config: watch::Receiver<Arc<Config>>,
    /// Finds the folders' models.
    pub catalogue: Arc<Catalogue>,
    /// Folders that wait.
    pub blocks: Blocks,
    /// There may be something to claim.
    pub work: Notify,
    /// There is something new to tell.
    pub news: Notify,
    /// Somebody asked for a rescan.
    pub rescan: Notify,
    /// A job was found to be queued for a model that is another one now.
    pub model_changed: Notify,
    /// Proof of life.
    pub pulse: Pulse,
    /// The jobs in work, by the number of the device that works on them.
    pub(super) current: Mutex<BTreeMap<u32, Current>>,
    /// What is known of each device, by its number.
    pub(super) devices: Mutex<BTreeMap<u32, SharedFacts>>,
    pub(super) on_end: Option<OnEnd>,
    /// Tells other programs what happened.
    pub post: Post,
    /// Counted since the start.
    pub metrics: Metrics,
    /// What the overview saw last.
    pub seen: watch::Sender<Option<Seen>>,
    /// What ended since the queue ran empty last.
    pub(super) tally: Mutex<Tally>,
    /// Held while a job's files are written.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Jobs whose files are to be written; as many as there are jobs at most.
    pub(super) unwritten: Mutex<BTreeSet<JobId>>,
    pub(super) written: Notify,
    /// Jobs that are done and whose sources lie there again.
    pub(super) undisposed: Mutex<BTreeSet<JobId>>,
    /// Folders that were opened and whose finished sources housekeeping has not looked at yet.
    pub(super) opened_folders: Mutex<BTreeSet<String>>,
    /// There is one more of those.
    pub(super) opened: Notify,
    /// Folders outside of their hours, and when those begin.
    pub(super) quiet: Mutex<BTreeMap<String, Timestamp>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// The job in work.
#[derive(Debug, Clone)]
pub struct Current {
    /// Its number.
    pub job: JobId,
    /// Its folder.
    pub folder: String,
    /// Its source below the input folder.
    pub source: PathBuf,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// When its work began.
    pub started: Monotonic,
}

impl Current {
    /// What is left at the speed so far.
    pub fn left(&self, now: Monotonic) -> Option<Duration> {
        eta(self.started, now, self.progress.fraction())
    }
}

impl Shared {
    /// The configuration of the moment.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Whether the ledger knows what the folder's job files tell: before, every picture in it would be taken for new,
    /// and its job file overwritten by one that says so.
    pub async fn has_learned(&self, folder: &Folder) -> bool {
        self.store.has_adopted(&folder.name).await.unwrap_or(false)
    }

    /// The jobs in work, with the numbers of the devices that work on them.
    pub fn current(&self) -> BTreeMap<u32, Current> {
        lock(&self.current).clone()
    }

    /// What is loaded on each device, by its number.
    pub fn devices(&self) -> BTreeMap<u32, DeviceFacts> {
        let devices = lock(&self.devices);
        devices
            .iter()
            .map(|(device_id, facts)| (*device_id, facts.get()))
            .collect()
    }

    /// Tells those who asked for ends of jobs, and writes the job's files.
    pub async fn announce(&self, job: &Job) {
        if job.state.shown().is_final() {
            if let Some(on_end) = &self.on_end {
                on_end(job);
            }
            self.tell(job);
        }
        self.write_files(job.id).await;
    }

    /// Has others told of a job that ended.
    fn tell(&self, job: &Job) {
        lock(&self.tally).count(job.state.shown());
        self.metrics.ended(&job.folder, job.state.shown());
        let config = self.config();
        let input = config.folder(&job.folder).map(|folder| folder.input.as_path());
        let source = input.unwrap_or(Path::new("")).join(&job.source);
        let result = job.result.as_ref().map(|result| job.output_root.join(result));
        let event = Event::of_job(self.clock.wall(), job.document(), &source, result.as_deref());
        if let Some(event) = event {
            self.post.tell(event);
        }
    }

    /// Has others told that the queue ran empty, if something ended since it did last.
    pub fn tell_idle(&self) {
        let ended = std::mem::take(&mut *lock(&self.tally));
        if !ended.is_empty() {
            self.post.tell(Event::idle(self.clock.wall(), ended));
        }
    }

    /// Whether something ended since the queue ran empty last.
    pub fn is_idle_news(&self) -> bool {
        !lock(&self.tally).is_empty()
    }

    /// Has told what waits to be told, and ends the messenger.
    pub async fn close_post(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        blocking(move || shared.post.close()).await;
    }

    /// Has the job's files written soon. For tasks that must not wait.
    pub fn announce_later(&self, job: JobId) {
        lock(&self.unwritten).insert(job);
        self.written.notify_one();
    }

    /// Has the source of a job that is done disposed of soon, once more.
    pub fn dispose_later(&self, job: JobId) {
        lock(&self.undisposed).insert(job);
        self.opened.notify_one();
    }

    /// Writes what [`Shared::announce_later`] left, until dropped.
    pub async fn keep_writing(&self) {
        loop {
            self.write_rest().await;
            self.written.notified().await;
        }
    }

    /// Writes what [`Shared::announce_later`] left so far.
    pub async fn write_rest(&self) {
        loop {
            let next = lock(&self.unwritten).pop_first();
            let Some(job) = next else { return };
            self.write_files(job).await;
        }
    }

    /// Writes what the ledger says of the job to its files. A file that cannot be written is logged and does not
    /// change the job: the ledger is the truth, the next change writes it again.
    async fn write_files(&self, job: JobId) {
        self.news.notify_one();
        // One at a time, and each writes what the ledger says by then: intake's "queued" cannot overwrite the
        // worker's "running".
        let _writing = self.writing.lock().await;
        let job = match self.current_of_its_source(job).await {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(error) => return tracing::warn!(job = job.0, "{error}"),
        };
        let Some(files) = self.job_files(&job.folder, job.output_root.clone()) else {
            return;
        };
        let (document, source) = (job.document(), job.source.clone());
        let written = blocking(move || files.write(&document, &source)).await;
        if let Err(error) = written {
            tracing::warn!(job = job.id.0, "{error}");
        }
    }

    /// Removes the files of a source whose last job was removed. As [`Shared::write_files`] where it fails.
    pub async fn forget_files(&self, removed: &Job) {
        let _writing = self.writing.lock().await;
        match self.store.has_job_of(&removed.folder, &removed.source).await {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => return tracing::warn!(job = removed.id.0, "{error}"),
        }
        let Some(files) = self.job_files(&removed.folder, removed.output_root.clone()) else {
            return;
        };
        let source = removed.source.clone();
        if let Err(error) = blocking(move || files.forget(&source)).await {
            tracing::debug!(job = removed.id.0, "{error}");
        }
    }

    /// The job files of a folder below this output folder; `None` where the configuration has no folder of that name.
    pub(super) fn job_files(&self, folder: &str, output_root: PathBuf) -> Option<JobFiles> {
        let config = self.config();
        let index = config.folders.iter().position(|known| known.name == folder)?;
        let tenancy = Tenancy::of(&config.folders, index);
        Some(JobFiles::for_tenant(Arc::clone(&self.fs), output_root, &tenancy))
    }

    /// When the folder's quiet hours end, if they are now.
    pub fn quiet_until(&self, folder: &str) -> Option<Timestamp> {
        lock(&self.quiet).get(folder).copied()
    }

    /// The job as it is now. `None` if newer content of its source has another job by now: the job file belongs
    /// to the source, and the older job has nothing more to say there.
    async fn current_of_its_source(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        let Some(job) = self.store.get(id).await? else {
            return Ok(None);
        };
        let known = self.store.known(&job.folder, &job.source).await?;
        Ok(known.is_none_or(|known| known.job == id).then_some(job))
    }

    /// What is known of a folder's model now. Immediate for one that is known; a file that was never seen is
    /// examined, which may take a minute.
    ///
    /// # Errors
    /// [`ModelError`].
    pub async fn model(&self, folder: &Folder) -> Result<ModelCard, ModelError> {
        let (catalogue, name) = (Arc::clone(&self.catalogue), folder.recipe.model.clone());
        blocking(move || catalogue.card(&name)).await
    }

    /// Blocks a folder and says so, once.
    pub fn block(&self, folder: &str, reason: &Reason) {
        if self.blocks.block(folder, reason, self.clock.monotonic()) {
            tracing::warn!(
                folder,
                code = reason.code.as_str(),
                "folder {folder} waits: {reason}"
            );
        }
        self.news.notify_one();
    }

    /// Ends a folder's block and says so.
    pub fn unblock(&self, folder: &str) {
        if self.blocks.clear(folder) {
            tracing::info!(folder, "folder {folder} works again");
            self.news.notify_one();
            self.work.notify_one();
        }
    }
}

/// Everything that decides the pixels, the name and the place of a folder's results, with the model's own checksum.
/// The output folder is in it so that a source whose results now belong elsewhere is not taken for known.
pub fn recipe_hash(folder: &Folder, model_sha256: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&folder.recipe.hash(model_sha256));
    hasher.update(folder.output.as_os_str().as_bytes());
    *hasher.finalize().as_bytes()
}

/// Runs file work away from the async threads. Runs to its end even if the caller is dropped.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being torn down cancels blocking work, and then nobody waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A mutex whose holder panicked still holds plain data.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
