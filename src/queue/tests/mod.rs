//! The ledger on real SQLite, in real directories, on invented time.

mod admit;
mod adopt;
mod aside;
mod batch;
mod claim;
mod endings;
mod history;
mod model;
mod never;
mod open;
mod query;
mod random;
mod recover;
mod schema;
mod steer;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tempfile::TempDir;

use super::{Admission, Claim, Job, JobId, NewJob, Publishing, Store};
use crate::clock::{Clock, ManualClock, Monotonic};
use crate::error::{Fault, Reason, ReasonCode};
use crate::fs::FileIdentity;
use crate::report::RenderReport;

const LEASE: Duration = Duration::from_secs(60);
const ME: &str = "upscaled-1";

/// A ledger of its own, and the clock it reads.
struct Ledger {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Ledger {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let store = Store::open(dir.path(), clock.clone()).await.unwrap();
        Self { dir, clock, store }
    }

    /// What a restart of the service is to the ledger.
    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Store::open(self.dir.path(), self.clock.clone()).await.unwrap();
    }

    async fn admit(&self, new: &NewJob) -> Admission {
        self.store.admit(new).await.unwrap()
    }

    /// Admits a photo and returns its number.
    async fn queue(&self, name: &str, content: u8) -> JobId {
        self.admit(&photo(name, content)).await.id()
    }

    async fn try_claim(&self) -> Option<Claim> {
        self.store.claim(ME, LEASE, &[]).await.unwrap()
    }

    async fn claim(&self) -> Claim {
        self.try_claim().await.expect("a job is due")
    }

    async fn start_publishing(&self, claim: &Claim, result: &str) {
        let to = publishing(result);
        self.store
            .record_publishing(claim, &to, &RenderReport::default())
            .await
            .unwrap();
    }

    async fn finish(&self, claim: Claim, result: &str) -> Job {
        self.start_publishing(&claim, result).await;
        self.store
            .record_done(claim, Path::new(result), &RenderReport::default())
            .await
            .unwrap()
    }

    /// Claims the next job and publishes it there.
    async fn work(&self, result: &str) -> Job {
        let claim = self.claim().await;
        self.finish(claim, result).await
    }

    async fn job(&self, id: JobId) -> Job {
        self.store.get(id).await.unwrap().expect("the job is there")
    }

    /// The outcomes of a job's attempts, `open` for one that runs.
    async fn outcomes(&self, id: JobId) -> Vec<String> {
        let attempts = self.store.attempts(id).await.unwrap();
        let outcome = |attempt: super::Attempt| attempt.outcome.unwrap_or_else(|| "open".to_owned());
        attempts.into_iter().map(outcome).collect()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A connection that goes around the store, as a damaged or a hostile program would.
    async fn raw(&self) -> SqliteConnection {
        raw(self.store.path()).await
    }
}

async fn raw(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(database)
        .connect()
        .await
        .unwrap()
}

/// A clock that is put to any time, forward or back.
#[derive(Debug)]
struct SetClock(AtomicI64);

impl SetClock {
    fn at(ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(ms)))
    }

    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn shift(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(Duration::ZERO)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms()).unwrap()
    }
}

/// `out/<name>` from `in/<name>` in the folder `photos`.
fn photo(name: &str, content: u8) -> NewJob {
    NewJob {
        folder: "photos".to_owned(),
        source: PathBuf::from(name),
        output_root: PathBuf::from("/srv/out"),
        output: PathBuf::from(name),
        content: [content; 32],
        recipe: [1; 32],
        identity: identity(u64::from(content)),
        priority: 0,
    }
}

/// The same file after `touch`, or after it was moved away and back.
fn touched(new: &NewJob) -> NewJob {
    let mut new = new.clone();
    new.identity.mtime_ns += 1;
    new.identity.ctime_ns += 1;
    new
}

fn identity(ino: u64) -> FileIdentity {
    FileIdentity {
        dev: 7,
        ino,
        size: 1000,
        mtime_ns: 1_763_942_400_000_000_000,
        ctime_ns: 1_763_942_400_000_000_000,
    }
}

fn publishing(result: &str) -> Publishing {
    Publishing {
        temp: PathBuf::from("/srv/out/.upscaled/tmp/1-1"),
        final_path: Path::new("/srv/out").join(result),
        digest: [9; 32],
    }
}

fn reason(message: &str) -> Reason {
    Reason::new(ReasonCode::Unreadable, message)
}

fn passing() -> Fault {
    Fault::retry(Duration::ZERO, ReasonCode::Timeout, "no progress for 600 s")
}

/// As long as a job waits at most after that attempt.
fn longest_backoff(attempts: u32) -> Duration {
    crate::queue::retry::backoff(attempts, crate::queue::retry::Draw::MOST)
}
