//! Owns the loop of one watched folder: the only place where events, scans, timers and checks meet. Never blocks:
//! whatever touches the disk is sent off and comes back as a `Done`.

mod react;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::Monotonic;

use super::admit::{BATCH_BYTES, BATCH_FILES, Check, Checked, admit};
use super::place::RootId;
use super::settle::{Candidate, Settler};
use super::survey::{Looked, Plan, Survey, look_at, survey};
use super::watch::{FsEvent, Watch};
use super::{FolderIntake, HASHERS, Halt, IntakeStatus, Mode, Timing};

/// How long a file that ends too early is believed to be still on its way. Then it is taken in, and its job says
/// `truncated`: a file must not be ignored for ever without a word.
const INCOMPLETE_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Least pause between two scans that events ask for, and how many times longer than a scan it is: a queue that
/// overflows all the time must not make the scan run all the time, be there a million files.
const SCAN_PAUSE: Duration = Duration::from_secs(1);
const SCAN_PAUSE_TIMES: u32 = 3;

/// A new directory is walked at once and again after this long. Its watch begins some time after its event, and
/// what was written in between gave none.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How long a stop waits for what is under way: a ledger transaction ends within it, a read from a dead share
/// never does.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Watches one folder until `stop` turns true (or its sender is gone). Every message of `rescan` asks for a scan
/// now and for a new attempt to watch. `status` is written whenever it changes.
///
/// Never fails: a missing folder, a ledger that does not answer or a limit of the system is told in `status` and
/// tried again. May be dropped at any await; a stop is gentler, it lets the admission under way be told.
pub async fn watch_folder(
    ctx: FolderIntake,
    mut rescan: mpsc::Receiver<()>,
    status: watch::Sender<IntakeStatus>,
    mut stop: watch::Receiver<bool>,
) {
    let mut this = Loop::new(ctx);
    let mut rescan_open = true;
    loop {
        this.start_work();
        this.tell(&status);
        let pause = this.next_wake().since(this.now());
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            asked = rescan.recv(), if rescan_open => match asked {
                Some(()) => this.rescan_on_demand(),
                None => rescan_open = false,
            },
            batch = next_batch(&mut this.watch), if !this.looking => this.on_events(batch),
            Some(done) = this.tasks.join_next(), if !this.tasks.is_empty() => match done {
                Ok(done) => this.on_done(done),
                Err(error) => tracing::error!(%error, "a task of intake ended unexpectedly; please report it"),
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
    this.halt.now();
    let drained = async { while this.tasks.join_next().await.is_some() {} };
    // What does not end in time is aborted with the set.
    let _ = tokio::time::timeout(STOP_PATIENCE, drained).await;
}

/// Cancel-safe like [`Watch::next_batch`]; without a watch it never ends.
async fn next_batch(watch: &mut Option<Watch>) -> Option<Vec<FsEvent>> {
    match watch {
        Some(watch) => watch.next_batch().await,
        None => std::future::pending().await,
    }
}

/// What was sent off and came back.
enum Done {
    Surveyed(Survey),
    Looked { looked: Looked, second: bool },
    Checked(Checked),
}

struct Loop {
    ctx: Arc<FolderIntake>,
    settler: Settler,
    timing: Timing,
    watch: Option<Watch>,
    root: Option<RootId>,
    watch_again: bool,
    surveying: bool,
    /// `None` only while a survey is under way that nobody wants followed by another one.
    next_scan: Option<Monotonic>,
    scan_started: Option<Monotonic>,
    /// No scan before that on account of lost events.
    next_loss_scan: Option<Monotonic>,
    /// There are more candidates than fit.
    left_out: bool,
    mounts: react::Mounts,
    looking: bool,
    /// Batches that are being checked.
    checking: usize,
    second_looks: Vec<PathBuf>,
    second_look_at: Option<Monotonic>,
    tasks: JoinSet<Done>,
    status: IntakeStatus,
    complaints: HashSet<String>,
    fresh_problem: Option<String>,
    ledger_down: bool,
    halt: Halt,
}

impl Loop {
    fn new(ctx: FolderIntake) -> Self {
        let timing = Timing::of(&ctx.folder, false);
        let next_scan = Some(ctx.clock.monotonic());
        Self {
            settler: Settler::with_capacity(timing.settle, ctx.candidates),
            ctx: Arc::new(ctx),
            timing,
            watch: None,
            root: None,
            watch_again: false,
            surveying: false,
            next_scan,
            scan_started: None,
            next_loss_scan: None,
            left_out: false,
            mounts: react::Mounts::default(),
            looking: false,
            checking: 0,
            second_looks: Vec::new(),
            second_look_at: None,
            tasks: JoinSet::new(),
            status: IntakeStatus::default(),
            complaints: HashSet::new(),
            fresh_problem: None,
            ledger_down: false,
            halt: Halt::default(),
        }
    }

    fn now(&self) -> Monotonic {
        self.ctx.clock.monotonic()
    }

    /// Sends off everything whose time has come.
    fn start_work(&mut self) {
        let now = self.now();
        if !self.surveying && self.next_scan.is_some_and(|at| at <= now) {
            self.surveying = true;
            self.scan_started = Some(now);
            self.next_scan = None;
            let plan = Plan {
                root: self.root,
                watch_again: std::mem::take(&mut self.watch_again) || self.lacks_watch(),
            };
            let (ctx, halt) = (Arc::clone(&self.ctx), self.halt.flag());
            self.tasks
                .spawn(async move { Done::Surveyed(survey(ctx, plan, halt).await) });
        }
        if !self.looking && self.second_look_at.is_some_and(|at| at <= now) {
            self.second_look_at = None;
            let batch = std::mem::take(&mut self.second_looks);
            self.look(batch.into_iter().map(FsEvent::Directory).collect(), true);
        }
        while self.checking < HASHERS {
            let due = self.settler.due(now, BATCH_FILES, BATCH_BYTES);
            if due.is_empty() {
                break;
            }
            self.check(due, now);
        }
    }

    fn check(&mut self, due: Vec<Candidate>, now: Monotonic) {
        self.checking += 1;
        let check = |candidate: Candidate| Check {
            accept_incomplete: now.since(candidate.quiet_since) >= INCOMPLETE_PATIENCE,
            candidate,
        };
        let batch = due.into_iter().map(check).collect();
        let (ctx, halt) = (Arc::clone(&self.ctx), self.halt.flag());
        self.tasks
            .spawn(async move { Done::Checked(admit(&ctx, batch, &halt).await) });
    }

    /// When there is something to send off next; what waits for a place comes with the `Done` that frees it.
    fn next_wake(&self) -> Monotonic {
        let scan = self.next_scan.filter(|_| !self.surveying);
        let second = self.second_look_at.filter(|_| !self.looking);
        let check = self.settler.next_due().filter(|_| self.checking < HASHERS);
        let fallback = self.now() + self.timing.rescan;
        [scan, second, check]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(fallback)
    }

    fn look(&mut self, batch: Vec<FsEvent>, second: bool) {
        self.looking = true;
        let (ctx, halt) = (Arc::clone(&self.ctx), self.halt.flag());
        self.tasks.spawn(async move {
            let looked = look_at(ctx, batch, halt).await;
            Done::Looked { looked, second }
        });
    }

    /// There is no watch, and no reason why there should be none.
    fn lacks_watch(&self) -> bool {
        self.watch.is_none() && self.status.why.is_none()
    }

    fn rescan_on_demand(&mut self) {
        self.scan_by(self.now());
        self.watch_again = self.watch.is_none();
    }

    fn rescan_after_loss(&mut self) {
        let earliest = self.scan_started.map_or(self.now(), |at| at + SCAN_PAUSE);
        self.scan_by(self.next_loss_scan.map_or(earliest, |at| at.max(earliest)));
    }

    fn scan_by(&mut self, at: Monotonic) {
        self.next_scan = Some(self.next_scan.map_or(at, |next| next.min(at)));
    }

    fn on_events(&mut self, batch: Option<Vec<FsEvent>>) {
        let Some(batch) = batch else {
            return self.go_blind("the watcher ended; found by scans until `upscaled rescan`".to_owned());
        };
        self.status.last_event_at = Some(self.ctx.clock.wall());
        // Either comes alone.
        match batch.first() {
            Some(FsEvent::Blind(why)) => return self.go_blind(why.clone()),
            Some(FsEvent::RootGone) => {
                // What has the name by now may even have the same inode number.
                self.watch = None;
                return self.rescan_after_loss();
            }
            _ => {}
        }
        if !batch.is_empty() {
            self.look(batch, false);
        }
    }

    fn go_blind(&mut self, why: String) {
        tracing::warn!(
            folder = self.ctx.folder.name,
            why,
            "no events; the folder is scanned"
        );
        self.watch = None;
        self.status.why = Some(why);
        self.rescan_after_loss();
    }

    fn tell(&mut self, status: &watch::Sender<IntakeStatus>) {
        self.status.mode = if self.watch.is_some() {
            Mode::Events
        } else {
            Mode::Scan
        };
        self.status.settling = self.settler.len() as u64;
        status.send_if_modified(|shown| {
            let changed = *shown != self.status;
            if changed {
                shown.clone_from(&self.status);
            }
            changed
        });
    }
}
