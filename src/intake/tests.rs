//! Real files, a real ledger and, where not said otherwise, the kernel's own events. Every wait is for a condition
//! and ends at a deadline; scans are an hour apart, so that what is found was found by events.

mod once;
mod watching;

use std::fs::File;
use std::io::Read as _;
use std::sync::Mutex;

use tokio::sync::{mpsc, watch as state};
use tokio::task::JoinHandle;

use super::watch::{EventSender, FsEvent, Watch, WatchError};
use super::*;
use crate::clock::SystemClock;
use crate::fs::{Filesystem as _, RealFilesystem};
use crate::queue::{Filter, Job};

/// Far more than anything here takes, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Ends a picture in these tests.
const END: &str = "END";

pub(super) fn folder_at(input: &Path) -> Folder {
    use crate::config::{OnConflict, OnSuccess, Recipe};
    Folder {
        name: "photos".to_owned(),
        input: input.to_owned(),
        output: input.with_file_name("out"),
        recipe: Recipe::default(),
        recursive: true,
        include: ["*.jpg", "*.jpeg", "*.png", "*.tif", "*.tiff", "*.bmp"]
            .map(str::to_owned)
            .to_vec(),
        exclude: Vec::new(),
        settle: None,
        rescan: None,
        on_success: OnSuccess::Keep,
        on_conflict: OnConflict::Rename,
        priority: 3,
        schedule: None,
    }
}

fn ends(path: &Path) -> io::Result<bool> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(content.ends_with(END.as_bytes()))
}

/// Events that a test makes up.
#[derive(Debug, Default)]
struct Script {
    sender: Mutex<Option<EventSender>>,
    refuse: Option<WatchError>,
}

impl Script {
    fn send(&self, event: FsEvent) {
        self.sender.lock().unwrap().as_ref().unwrap().send(event);
    }
}

impl WatchSource for Script {
    fn watch(&self, _: &Path, _: bool) -> Result<Watch, WatchError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        let (sender, attach) = Watch::channel();
        *self.sender.lock().unwrap() = Some(sender);
        Ok(attach(Box::new(())))
    }
}

/// A folder, a ledger, and what intake makes of them.
struct Place {
    dir: tempfile::TempDir,
    ctx: FolderIntake,
    admitted: mpsc::UnboundedReceiver<Admitted>,
}

impl Place {
    async fn new(settle_ms: u64) -> Self {
        Self::with_clock(settle_ms, SystemClock::shared()).await
    }

    async fn with_clock(settle_ms: u64, clock: SharedClock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        std::fs::create_dir(&input).unwrap();
        let mut folder = folder_at(&input);
        folder.settle = Some(Duration::from_millis(settle_ms));
        folder.rescan = Some(Duration::from_secs(3600));
        let (sender, admitted) = mpsc::unbounded_channel();
        let ctx = FolderIntake {
            filter: NameFilter::new(&folder).unwrap(),
            folder,
            chained: Vec::new(),
            recipe: [7; 32],
            store: Store::open(&dir.path().join("state"), Arc::clone(&clock))
                .await
                .unwrap(),
            clock,
            source: Arc::new(NotifySource),
            plan_output: Arc::new(|rel| Ok(rel.with_extension("out.png"))),
            looks_complete: ends,
            candidates: settle::MAX_CANDIDATES,
            hashing: hashing_permits(),
            on_admitted: Arc::new(move |admitted| drop(sender.send(admitted.clone()))),
        };
        Self { dir, ctx, admitted }
    }

    fn input(&self, name: impl AsRef<Path>) -> PathBuf {
        self.ctx.folder.input.join(name)
    }

    /// A place beside the input folder, on the same file system.
    fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn drop_file(&self, name: impl AsRef<Path>, content: &str) {
        std::fs::write(self.input(name), format!("{content}{END}")).unwrap();
    }

    async fn run(self) -> Running {
        let (rescan, on_rescan) = mpsc::channel(1);
        let (on_status, status) = state::channel(IntakeStatus::default());
        let (stop, on_stop) = state::channel(false);
        let task = tokio::spawn(watch_folder(self.ctx.clone(), on_rescan, on_status, on_stop));
        Running {
            place: self,
            rescan,
            status,
            stop,
            task,
        }
    }

    /// As [`Place::run`], and the first scan is over: from here on, events must do.
    async fn run_and_look(self) -> Running {
        let mut running = self.run().await;
        running.until(|status| status.last_scan_at.is_some()).await;
        running
    }

    async fn next(&mut self) -> Admitted {
        tokio::time::timeout(DEADLINE, self.admitted.recv())
            .await
            .expect("nothing was admitted in time")
            .unwrap()
    }

    async fn jobs(&self) -> Vec<Job> {
        self.ctx.store.list(&Filter::default()).await.unwrap()
    }

    async fn only_job(&self) -> Job {
        let mut jobs = self.jobs().await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }
}

struct Running {
    place: Place,
    rescan: mpsc::Sender<()>,
    status: state::Receiver<IntakeStatus>,
    stop: state::Sender<bool>,
    task: JoinHandle<()>,
}

impl std::ops::Deref for Running {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.place
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl Running {
    async fn until(&mut self, condition: impl FnMut(&IntakeStatus) -> bool) -> IntakeStatus {
        let reached = tokio::time::timeout(DEADLINE, self.status.wait_for(condition)).await;
        reached.expect("the status never came to this").unwrap().clone()
    }

    /// A whole scan later there is nothing left to wait for.
    async fn until_idle(&mut self) {
        let before = self.status.borrow().last_scan_at;
        self.rescan.send(()).await.unwrap();
        self.until(|status| status.last_scan_at > before && status.settling == 0)
            .await;
    }

    async fn admits(&mut self, names: &[&str]) {
        let mut missing: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        while !missing.is_empty() {
            let admitted = self.next().await;
            missing.retain(|name| *name != admitted.source);
        }
    }

    async fn end(mut self) -> Place {
        self.stop.send_replace(true);
        tokio::time::timeout(DEADLINE, &mut self.task)
            .await
            .expect("the stop took too long")
            .unwrap();
        self.place
    }
}

fn rename(from: &Path, to: &Path) {
    RealFilesystem.rename_replace(from, to).unwrap();
}

fn hash_of(content: &str) -> Digest {
    *blake3::hash(content.as_bytes()).as_bytes()
}
