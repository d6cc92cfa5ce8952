//! Whether many files at once are what was promised: how fast bursts of new pictures come into the ledger, what the
//! daemon needs for it, how long `upscaled status` takes meanwhile, and what a scan of files costs that it knows
//! already. The real daemon with its work paused, so that intake alone is measured.
//!
//! `cargo bench --bench intake -- [quick] [BINARY] [COUNT …]`: the size of each burst; `quick` leaves out the later ones.
//! With a path, that binary is measured instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use notify::event::AccessKind;
use notify::{EventKind, RecursiveMode, Watcher as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::verdict::{Verdicts, Wanted};
use support::{Words, common, median};
use upscaled::clock::{SharedClock, SystemClock};
use upscaled::queue::Store;

/// Together the 200,000 files whose scan is measured. The last is more than fits into intake's memory at once.
const BURSTS: [usize; 3] = [20_000, 60_000, 120_000];

/// Files of one directory, as a camera or a sorting program leaves them.
const DIRECTORY: usize = 500;

/// Short, but longer than the directories need to be found.
const SETTLE: Duration = Duration::from_secs(3);

const FILES_PER_SECOND: Wanted = Wanted::AtLeast(500.0);
const MEMORY_MIB: Wanted = Wanted::AtMost(300.0);
const STATUS_MS: Wanted = Wanted::AtMost(200.0);
const SCAN_S: Wanted = Wanted::AtMost(5.0);
const OPENED: Wanted = Wanted::AtMost(0.0);

/// Nothing here takes longer on a machine that works at all.
const PATIENCE: Duration = Duration::from_secs(1800);

fn main() {
    let words = Words::read();
    let mut bursts = words.numbers.clone();
    if bursts.is_empty() {
        bursts = BURSTS.to_vec();
    }
    if words.is_quick {
        bursts.truncate(1);
    }
    let binary = words.models.first().map(PathBuf::from);
    let house = House::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_upscaled").into()));
    let mut verdicts = Verdicts::default();
    house.pause();
    let mut daemon = house.start();
    let mut known = 0;
    for burst in bursts {
        house.burst(known, burst, &daemon, &mut verdicts);
        known += burst;
    }
    daemon.stop();
    // A new process: nothing is left in its memory of what it saw.
    let mut daemon = house.start();
    house.scan(known, &daemon, &mut verdicts);
    daemon.stop();
    verdicts.finish();
}

/// A configuration, a watched folder, and the binary.
struct House {
    dir: tempfile::TempDir,
    binary: PathBuf,
    clock: SharedClock,
}

impl House {
    fn new(binary: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let text = format!(
            "state_dir = \"state\"\nmin_free = \"1MiB\"\n[runtime]\nproviders = [\"cpu\"]\nlibrary = {:?}\n\
             [[folder]]\nname = \"photos\"\ninput = \"in\"\noutput = \"out\"\nmodel = \"span-x2\"\n\
             settle = \"{}s\"\n",
            common::runtime_library(),
            SETTLE.as_secs()
        );
        std::fs::write(dir.path().join("upscaled.toml"), text).unwrap();
        Self {
            dir,
            binary,
            clock: SystemClock::shared(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(self.path("upscaled.toml"))
            .args(args)
            .stdin(Stdio::null())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM");
        command
    }

    fn upscaled(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().expect("the binary runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    }

    /// Has nothing worked on, from the first picture on.
    fn pause(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::open(&self.path("state"), self.clock.clone())
                .await
                .unwrap();
            store.pause(None).await.unwrap();
            store.close().await;
        });
    }

    /// The daemon, after its first scan.
    fn start(&self) -> Daemon {
        let log = std::fs::File::create(self.path("daemon.log")).unwrap();
        let mut command = self.command(&["run"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let daemon = Daemon { child };
        self.until("the first scan ended", || {
            self.status()["folders"][0]["last_scan_at"].is_string()
        });
        daemon
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.upscaled(&["status", "--json"])).unwrap()
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = self.clock.monotonic();
        while !is_so() {
            assert!(
                self.clock.monotonic().since(started) < PATIENCE,
                "it did not come to pass that {what}"
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// Moves so many new pictures in at once, in a tree, and watches them become jobs.
    fn burst(&self, first: usize, count: usize, daemon: &Daemon, verdicts: &mut Verdicts) {
        let tree = self.path("staging");
        for n in first..first + count {
            let dir = tree.join((n / DIRECTORY).to_string());
            if n == first || n % DIRECTORY == 0 {
                std::fs::create_dir_all(&dir).unwrap();
            }
            std::fs::write(dir.join(format!("IMG_{n}.png")), picture(n)).unwrap();
        }
        let moved = self.clock.monotonic();
        // Not one of the renames that make a result appear: nobody else looks into this directory.
        #[expect(clippy::disallowed_methods, reason = "what a file manager does")]
        std::fs::rename(&tree, self.path("in").join(format!("burst-{first}"))).unwrap();
        let mut latencies = Vec::new();
        self.until("all are queued", || {
            let asked = self.clock.monotonic();
            let status = self.status();
            latencies.push(self.clock.monotonic().since(asked).as_secs_f64() * 1e3);
            status["counts"]["queued"] == first + count
        });
        let took = self.clock.monotonic().since(moved).saturating_sub(SETTLE);
        let what = format!("a burst of {count} beside {first}");
        let rate = count as f64 / took.as_secs_f64();
        let slowest = latencies.iter().copied().fold(0.0, f64::max);
        println!(
            "       {:.1} s after the quiet time; status {} times, median {:.0} ms",
            took.as_secs_f64(),
            latencies.len(),
            median(latencies)
        );
        verdicts.check(format!("{what}, files a second"), rate, "", FILES_PER_SECOND);
        verdicts.check(format!("{what}, slowest status"), slowest, " ms", STATUS_MS);
        let peak = daemon.peak_mib();
        verdicts.check(format!("{what}, peak of the daemon"), peak, " MiB", MEMORY_MIB);
        let files = self.path("out/.upscaled/jobs");
        self.until("all job files are there", || count_files(&files) == first + count);
        let took = self.clock.monotonic().since(moved).saturating_sub(SETTLE);
        println!("       all job files there after {:.1} s", took.as_secs_f64());
    }

    /// Has everything scanned that is known by now.
    fn scan(&self, known: usize, daemon: &Daemon, verdicts: &mut Verdicts) {
        let before = self.status()["folders"][0].clone();
        let opened = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&opened);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let event = event.expect("the tree can be watched");
            assert!(!event.need_rescan(), "events were lost");
            let is_file = event.paths.iter().any(|path| path.extension().is_some());
            if is_file && matches!(event.kind, EventKind::Access(AccessKind::Open(_))) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .unwrap();
        watcher.watch(&self.path("in"), RecursiveMode::Recursive).unwrap();
        let (cpu, started) = (daemon.cpu(), self.clock.monotonic());
        daemon.signal(Signal::USR1);
        let mut after = Value::Null;
        self.until("the scan ended", || {
            after = self.status()["folders"][0].clone();
            after["last_scan_at"] != before["last_scan_at"]
        });
        println!(
            "       {:.1} s of processor in {:.1} s",
            (daemon.cpu() - cpu).as_secs_f64(),
            self.clock.monotonic().since(started).as_secs_f64()
        );
        let what = format!("a scan of {known} known files");
        if let Some(took) = after["last_scan_ms"].as_f64() {
            verdicts.check(&what, took / 1e3, " s", SCAN_S);
        }
        let opened = opened.load(Ordering::Relaxed) as f64;
        verdicts.check(format!("{what}, files opened"), opened, "", OPENED);
        let peak = daemon.peak_mib();
        verdicts.check(format!("{what}, peak of the daemon"), peak, " MiB", MEMORY_MIB);
        assert_eq!(self.status()["counts"]["queued"], known);
    }
}

/// A running daemon.
struct Daemon {
    child: Child,
}

impl Daemon {
    /// Most that it ever had resident.
    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }

    /// The time that its threads have worked.
    fn cpu(&self) -> Duration {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name in brackets may hold anything; user and system time are the 12th and 13th number behind it.
        let numbers: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = numbers[11..13].iter().map(|n| n.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small PNG, unlike every other one.
fn picture(n: usize) -> Vec<u8> {
    let bytes = (n as u64).to_le_bytes();
    let picture = image::RgbImage::from_fn(8, 8, |x, y| {
        let byte = bytes[((x + y) % 8) as usize];
        image::Rgb([byte, byte ^ 0x55, (x * 32) as u8])
    });
    let mut encoded = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut encoded, image::ImageFormat::Png).unwrap();
    encoded.into_inner()
}

fn count_files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let count = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_files(&entry.path()),
        _ => 1,
    };
    entries.flatten().map(count).sum()
}
