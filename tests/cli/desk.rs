//! Runs the binary in a directory of its own, and what came back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::support;

/// A directory of its own for each test, and the binary run in it with nothing of the machine's configuration.
pub struct Desk {
    dir: tempfile::TempDir,
    home: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let temporary = || tempfile::tempdir().expect("a temporary directory");
        Self {
            dir: temporary(),
            home: temporary(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    pub fn photo(&self, name: &str, width: u32, height: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        support::photo(width, height).save(&path).expect("a picture");
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upscaled"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("ORT_DYLIB_PATH", support::runtime_library())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(&mut self.command(args))
    }

    /// A configuration with one folder, in the place where it is looked for first.
    pub fn configure(&self) -> PathBuf {
        fs::create_dir_all(self.path("in")).expect("a directory");
        fs::create_dir_all(self.path("out")).expect("a directory");
        let text = "state_dir = \"state\"\n[[folder]]\nname = \"photos\"\ninput = \"in\"\noutput = \"out\"\n";
        self.write("upscaled.toml", text)
    }

    /// Every name below the directory.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// What came back.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let run = Self {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        };
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        run
    }

    /// Asserts the code, and that stderr holds one line, ours, which is returned.
    #[track_caller]
    pub fn one_line(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let line = self.stderr.strip_suffix('\n').unwrap_or(&self.stderr);
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        let ours = line.strip_prefix("upscaled: ");
        assert!(ours.is_some(), "not our line: {self:?}");
        ours.unwrap_or_default()
    }

    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout);
        assert!(document.is_ok(), "{document:?}: {self:?}");
        document.unwrap_or_default()
    }
}
