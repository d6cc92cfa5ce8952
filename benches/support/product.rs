//! The product as people run it: the release binary, a process for each picture, `upscale --json`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use upscaled::clock::{Clock, SharedClock, SystemClock};
use upscaled::report::{JobDocument, JobState, PlanFacts};

use super::common;

/// Where one benchmark runs the product: with a state of its own, so that nothing that was learned before counts.
#[derive(Debug)]
pub struct Product {
    dir: tempfile::TempDir,
    config: PathBuf,
    clock: SharedClock,
}

/// One picture, done.
#[derive(Debug)]
pub struct Run {
    /// From start to exit of the process.
    pub wall: Duration,
    /// What it told of each input.
    pub documents: Vec<JobDocument>,
    /// Where the result of the first is.
    pub result: PathBuf,
    /// Most that the process had resident, where that was asked for.
    pub peak_resident_bytes: u64,
}

impl Run {
    /// The first input's document.
    pub fn document(&self) -> &JobDocument {
        &self.documents[0]
    }

    /// How the first was cut.
    pub fn plan(&self) -> &PlanFacts {
        self.document()
            .report
            .plan
            .as_ref()
            .expect("a picture that is done had a plan")
    }
}

/// How a process is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Not,
    Memory,
}

impl Product {
    /// A new state and a place for results.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("upscaled.toml");
        let text = format!("state_dir = {:?}\n", dir.path().join("state"));
        std::fs::write(&config, text).expect("the configuration is written");
        Self {
            dir,
            config,
            clock: SystemClock::shared(),
        }
    }

    /// Where pictures may be put.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Upscales pictures on the processor with these options into results of this format.
    ///
    /// # Errors
    /// What the product says if it does not succeed.
    pub fn upscale(
        &self,
        model: &str,
        sources: &[&Path],
        format: &str,
        options: &[&str],
    ) -> Result<Run, String> {
        self.run(model, sources, format, options, Watch::Not)
    }

    /// As [`Product::upscale`], and watches how much memory the process has resident.
    ///
    /// # Errors
    /// As there.
    pub fn upscale_watched(
        &self,
        model: &str,
        source: &Path,
        format: &str,
        options: &[&str],
    ) -> Result<Run, String> {
        self.run(model, &[source], format, options, Watch::Memory)
    }

    fn run(
        &self,
        model: &str,
        sources: &[&Path],
        format: &str,
        options: &[&str],
        watch: Watch,
    ) -> Result<Run, String> {
        let results = self.dir.path().join("results");
        let mut command = Command::new(env!("CARGO_BIN_EXE_upscaled"));
        command
            .current_dir(self.dir.path())
            .arg("--config")
            .arg(&self.config)
            .args([
                "upscale",
                "--json",
                "--overwrite",
                "--ep",
                "cpu",
                "--model",
                model,
            ])
            .args(["--format", format])
            .args(options)
            .args(sources)
            .arg("-o")
            .arg(&results)
            .env("ORT_DYLIB_PATH", common::runtime_library())
            .env("XDG_DATA_HOME", self.dir.path());
        std::fs::create_dir_all(&results).expect("a directory for results");
        let started = self.clock.monotonic();
        let (output, peak_resident_bytes) = match watch {
            Watch::Not => (command.output().expect("the binary runs"), 0),
            Watch::Memory => watched(&mut command),
        };
        let wall = self.clock.monotonic().since(started);
        let documents = documents(&output)?;
        let result = documents
            .first()
            .and_then(|document| document.result.as_ref())
            .map_or_else(PathBuf::new, |result| self.dir.path().join(result));
        Ok(Run {
            wall,
            documents,
            result,
            peak_resident_bytes,
        })
    }
}

/// The documents of pictures that are done, or why one is not.
fn documents(output: &Output) -> Result<Vec<JobDocument>, String> {
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let documents: Vec<JobDocument> = lines
        .map(|line| serde_json::from_slice(line).expect("a job document"))
        .collect();
    let failed = documents.iter().find(|document| document.state != JobState::Done);
    match failed.map(|document| &document.reason) {
        Some(Some(reason)) => Err(reason.message.clone()),
        None if output.status.success() && !documents.is_empty() => Ok(documents),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Runs it to its end. The system keeps the peak (`VmHWM`) as long as the process lives; only what happens in its last
/// milliseconds is missed. `wait4` would tell exactly, and would be the only `unsafe` here.
fn watched(command: &mut Command) -> (Output, u64) {
    const EVERY: Duration = Duration::from_millis(10);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !is_over.load(Ordering::Relaxed) {
                peak = peak.max(high_water_bytes(&status).unwrap_or(0));
                thread::sleep(EVERY);
            }
            peak
        });
        let output = child.wait_with_output().expect("the binary ends");
        is_over.store(true, Ordering::Relaxed);
        (output, watcher.join().expect("the watcher ends"))
    })
}

fn high_water_bytes(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
