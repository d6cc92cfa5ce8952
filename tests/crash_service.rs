//! The promise of the whole service: killed before or after any durable step, with or without the power, it brings
//! every source to exactly one durable result after the next start, disposes of no source too early (I5) and leaves
//! nothing behind. The real service, the real ledger, a real SIGKILL; only the network and the clock are doubles.
//!
//! Each life is a process of its own: this test binary, which starts itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use upscaled::clock::{Clock, Monotonic, SharedClock, SystemClock};
use upscaled::config::Config;
use upscaled::fs_fault::{Fault, FaultFs};
use upscaled::queue::{Filter, State, Store};
use upscaled::service::{self, Ground, Wish};

use support::ground::{catalogue, nearest_executors};
use support::{photo, runtime_library};

/// Names the site to a process that is to be one life.
const SITE: &str = "UPSCALED_TEST_SITE";

/// The fault of that life: `never`, or `STEP,AFTER,POWER_CUT`.
const FAULT: &str = "UPSCALED_TEST_FAULT";

/// A job that a crash met waits before it is tried again; the next life begins so much later.
const NEXT_LIFE: Duration = Duration::from_secs(3600);

/// How long a life may take. Not a promise of speed: machines of tests are slow.
const PATIENCE_MS: u64 = 60_000;

/// More steps than a life can have before its job is done. A step that a kill never reaches ends the matrix.
const STEPS_MOST: u64 = 400;

/// The system's clock, and a wall clock ahead of it.
#[derive(Debug)]
struct Later {
    clock: SharedClock,
    ahead: Duration,
}

impl Clock for Later {
    fn monotonic(&self) -> Monotonic {
        self.clock.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall() + self.ahead
    }
}

/// One life of the service, until its stdin ends.
#[test]
fn a_life() {
    let Some(site) = std::env::var_os(SITE).map(PathBuf::from) else {
        return;
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let fault = std::env::var(FAULT).unwrap();
    let mut words = fault.split(',');
    let (fault, ahead) = match words.next().unwrap().parse() {
        Ok(nth) => {
            let mut word = || words.next() == Some("true");
            let (after, power_cut) = (word(), word());
            (
                Fault::Kill {
                    nth,
                    after,
                    power_cut,
                },
                Duration::ZERO,
            )
        }
        Err(_) => (Fault::Never, NEXT_LIFE),
    };
    let path = site.join("upscaled.toml");
    let config = Config::load(&path).unwrap();
    let fs = Arc::new(FaultFs::new(fault));
    let (wish, wishes) = mpsc::channel(1);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = wish.blocking_send(Wish::Stop);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ground = Ground {
            clock: Arc::new(Later {
                clock: SystemClock::shared(),
                ahead,
            }),
            fs: fs.clone(),
            make_executor: nearest_executors(Arc::new(|_| Ok(()))),
        };
        let catalogue = catalogue(&config, fs.clone());
        service::serve(ground, wishes, config, path, catalogue)
            .await
            .unwrap();
    });
}

/// A watched folder with one picture in it, which is moved to `done/` when its result is there.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for name in ["in", "out"] {
            std::fs::create_dir(site.path(name)).unwrap();
        }
        let text = format!(
            "state_dir = \"state\"\nmin_free = \"1MiB\"\n\n[runtime]\nproviders = [\"cpu\"]\nlibrary = {:?}\n\n\
             [[folder]]\nname = \"photos\"\ninput = \"in\"\noutput = \"out\"\nmodel = \"span-x2\"\n\
             settle = \"10ms\"\nrescan = \"100ms\"\non_success = \"move\"\n",
            runtime_library()
        );
        std::fs::write(site.path("upscaled.toml"), text).unwrap();
        std::fs::create_dir(site.path("in/trip")).unwrap();
        photo(24, 16).save(site.path("in/trip/a.png")).unwrap();
        site
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn live(&self, fault: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_life"])
            .env(SITE, self.0.path())
            .env(FAULT, fault)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn is_done(&self) -> bool {
        let file = self.path("out/.upscaled/jobs/trip/a.png.json");
        std::fs::read(file).is_ok_and(|bytes| {
            serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|job| job["state"] == "done")
        }) && self.path("in/done/trip/a.png").exists()
    }

    /// Lives one life: until it is killed (`false`), or until its work is done and it is asked to stop.
    fn survives(&self, fault: &str) -> bool {
        let mut child = self.live(fault);
        for _ in 0..PATIENCE_MS / 2 {
            match child.try_wait().unwrap() {
                Some(_) => return false,
                None if self.is_done() => {
                    drop(child.stdin.take());
                    let output = child.wait_with_output().unwrap();
                    return output.status.success();
                }
                None => sleep(Duration::from_millis(2)),
            }
        }
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        panic!(
            "{fault}: it did not come to its end: {:?}\n{}",
            self.files(""),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path(below)];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(self.0.path()).unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// I5, at the moment of death: whatever was cut short, the picture is somewhere.
    fn holds_the_picture(&self, tale: &str) {
        let is_there = self.path("in/trip/a.png").exists();
        let is_moved = self.path("in/done/trip/a.png").exists();
        let has_result = image::open(self.path("out/trip/a_2x.png")).is_ok();
        assert!(
            is_there || (is_moved && has_result),
            "{tale}: the picture is lost"
        );
    }

    /// Exactly one durable result, one row that says so, and nothing else.
    fn is_as_if_nothing_had_happened(&self, tale: &str) {
        assert_eq!(self.files("in"), [Path::new("in/done/trip/a.png")], "{tale}");
        let result = image::open(self.path("out/trip/a_2x.png")).unwrap();
        assert_eq!((result.width(), result.height()), (48, 32), "{tale}");
        let mine = self.files("out");
        let expected = [
            "out/.upscaled/jobs/trip/a.png.json",
            "out/status.json",
            "out/trip/a_2x.png",
        ];
        assert_eq!(mine, expected.map(PathBuf::from), "{tale}: something is left");
        let left = self.files("state");
        assert!(
            left.iter().all(|path| !path.to_string_lossy().ends_with(".tmp")),
            "{tale}: {left:?}"
        );
        let jobs = self.ledger();
        assert_eq!(jobs.len(), 1, "{tale}: {jobs:?}");
        let job = &jobs[0];
        assert_eq!(job.state, State::Done, "{tale}");
        assert!(
            (1..=2).contains(&job.attempts),
            "{tale}: {} attempts",
            job.attempts
        );
        assert_eq!(job.result.as_deref(), Some(Path::new("trip/a_2x.png")), "{tale}");
    }

    fn ledger(&self) -> Vec<upscaled::queue::Job> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let clock = SystemClock::shared();
            let store = Store::open_read_only(&self.path("state"), clock).await.unwrap();
            let jobs = store.list(&Filter::default()).await.unwrap();
            store.close().await;
            jobs
        })
    }
}

/// Kills at every step in turn. Returns how many there were.
fn matrix(after: bool, power_cut: bool) -> u64 {
    for step in 0..STEPS_MOST {
        let site = Site::new();
        let tale = format!(
            "killed {} step {step}, power cut: {power_cut}",
            if after { "after" } else { "before" }
        );
        let survived = site.survives(&format!("{step},{after},{power_cut}"));
        site.holds_the_picture(&tale);
        if survived {
            site.is_as_if_nothing_had_happened(&tale);
            return step;
        }
        println!("{tale}");
        assert!(site.survives("never"), "{tale}: the next life failed");
        site.is_as_if_nothing_had_happened(&tale);
    }
    panic!("a life without end");
}

#[test]
fn killed_at_any_step_it_ends_with_one_result() {
    let quarters = [(false, false), (false, true), (true, false), (true, true)];
    let steps = quarters.map(|(after, power_cut)| std::thread::spawn(move || matrix(after, power_cut)));
    for steps in steps {
        let steps = steps.join().unwrap();
        println!("{steps} steps");
        assert!(
            steps >= 20,
            "the matrix ends after {steps} steps: most of the job's are missing"
        );
    }
}
