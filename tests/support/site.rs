//! A place to run the real binary in: a configuration, a watched folder, an output folder, a state directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::{photo, runtime_library};

/// How long a test waits for something that must happen. Not a promise of speed: machines of tests are slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// A place to run the binary in. Removed with its value.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// One folder, `photos`, from `in` to `out`, with these lines added to it.
    pub fn new(folder_lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir };
        for name in ["in", "out"] {
            std::fs::create_dir(site.path(name)).unwrap();
        }
        site.configure(folder_lines);
        site
    }

    /// Writes the configuration anew.
    pub fn configure(&self, folder_lines: &str) {
        let text = format!(
            "state_dir = \"state\"\nmin_free = \"1MiB\"\n\n[runtime]\nproviders = [\"cpu\"]\nlibrary = {:?}\n\n\
             [memory]\ndevice = \"1GiB\"\nhost = \"1GiB\"\n\n\
             [[folder]]\nname = \"photos\"\ninput = \"in\"\noutput = \"out\"\nmodel = \"span-x2\"\n\
             settle = \"200ms\"\nrescan = \"1s\"\n{folder_lines}\n",
            runtime_library()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Runs on these providers instead, with whatever else `[runtime]` is to say.
    pub fn run_on(&self, runtime_lines: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let text = text.replace("providers = [\"cpu\"]", runtime_lines);
        std::fs::write(self.config(), text).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("upscaled.toml")
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Drops a photo into the watched folder.
    pub fn drop_photo(&self, name: impl AsRef<Path>, width: u32, height: u32) -> PathBuf {
        let path = self.path("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let format = image::ImageFormat::from_path(&path).unwrap_or(image::ImageFormat::Png);
        let mut bytes = Vec::new();
        photo(width, height)
            .write_to(&mut std::io::Cursor::new(&mut bytes), format)
            .unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The binary with this place's configuration.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upscaled"));
        command
            .env_remove("NOTIFY_SOCKET")
            .env_remove("RUST_LOG")
            .env_remove("JOURNAL_STREAM");
        command
            .arg("--config")
            .arg(self.config())
            .args(args)
            .current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command that reports JSON reports.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Starts the daemon. Ended by [`Daemon`]'s drop at the latest.
    pub fn daemon(&self) -> Daemon {
        let log = std::fs::File::create(self.path("daemon.log")).unwrap();
        let child = self
            .command(["run"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon { child }
    }

    /// What the daemon logged since it was started last.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// The job document of a source, as its file says.
    pub fn job_file(&self, source: &str) -> Option<serde_json::Value> {
        let path = self.path("out/.upscaled/jobs").join(format!("{source}.json"));
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Waits until a source's job file says this state.
    pub fn wait_for_state(&self, source: &str, state: &str) -> serde_json::Value {
        self.wait_for(&format!("{source} is {state}"), || {
            self.job_file(source)
                .filter(|document| document["state"] == state)
        })
    }

    /// Waits until there is an answer.
    ///
    /// # Panics
    /// After [`PATIENCE`], with the log.
    pub fn wait_for<T>(&self, what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
        let started = now();
        while now().duration_since(started).unwrap_or_default() < PATIENCE {
            if let Some(answer) = answer() {
                return answer;
            }
            sleep(Duration::from_millis(50));
        }
        panic!(
            "it did not come to pass that {what}; the log says:\n{}",
            self.log()
        );
    }

    /// Every file below a folder, relative to it, sorted.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let root = self.path(name);
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.symlink_metadata().unwrap().is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The published results: everything below `out` but our own files.
    pub fn results(&self) -> Vec<PathBuf> {
        let mut files = self.files("out");
        files.retain(|path| {
            !path.starts_with(".upscaled") && !path.starts_with("failed") && path != Path::new("status.json")
        });
        files
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests of the real binary wait in real time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A running daemon.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// SIGKILL: what a power failure looks like to the files.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl From<Child> for Daemon {
    fn from(child: Child) -> Self {
        Self { child }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
