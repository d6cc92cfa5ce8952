//! Owns having TensorRT's engines built in another process, while another provider does the work: a build takes minutes
//! and the card's memory, and what crashes in it takes nobody along. Both sides are here: who has it built, and what the other
//! process does ([`BuildOrder::carry_out`]). Engines that are there are [`super::engines`]'s.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engines::is_built;
use super::providers::describe;
use super::{Catalogue, InferenceError, OrtUpscaler, Runtime, SessionSettings, apart};
use crate::config::{Precision, Provider, ProviderChoices, Word};
use crate::error::plain;
use crate::fs::RealFilesystem;
use crate::progress::Cancel;

/// The command that builds.
pub const COMMAND: &str = "build-engine";

/// A transformer takes TensorRT half an hour on a small card; whoever is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// What the other process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// The model's name.
    pub model: String,
    /// ONNX Runtime; `None`: looked for.
    pub library: Option<PathBuf>,
    /// Where models are found.
    pub state_dirs: Vec<PathBuf>,
    /// Where engines are kept.
    pub engines_dir: PathBuf,
    /// The card's number.
    pub device_id: u32,
    /// The budget that the engine is for, bytes: of all sessions beside each other.
    pub device_bytes: u64,
    /// Arithmetic, as configured.
    pub precision: Precision,
}

/// What the other process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is there.
    Built,
    /// It could not be built.
    Failed(String),
}

impl<T> From<Result<T, InferenceError>> for Answer {
    fn from(opened: Result<T, InferenceError>) -> Self {
        match opened {
            Ok(_) => Self::Built,
            Err(InferenceError::NoProvider(skipped)) => {
                let reasons: Vec<&str> = skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
                Self::Failed(reasons.join("; "))
            }
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// How a missing engine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is being built, or waits for its turn.
    Awaited,
    /// It cannot be built.
    Failed(String),
}

/// Hears when a build begins, of which model, and when it ends (`None`).
pub type Told = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// The builds for one card, one after the other.
pub struct EngineBuilds {
    /// What is started, under [`COMMAND`].
    program: PathBuf,
    told: Told,
    at_work: Option<Build>,
    /// Why, by the engine's directory. Forgotten with the process: another start is another chance.
    failed: HashMap<PathBuf, String>,
}

impl std::fmt::Debug for EngineBuilds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilds")
            .field("program", &self.program)
            .field("at_work", &self.at_work.as_ref().map(|build| &build.dir))
            .finish_non_exhaustive()
    }
}

impl EngineBuilds {
    /// None yet.
    pub fn new(program: PathBuf, told: Told) -> Self {
        Self {
            program,
            told,
            at_work: None,
            failed: HashMap::new(),
        }
    }

    /// Whether a process builds, and takes its part of the card.
    pub fn is_at_work(&self) -> bool {
        self.at_work.as_ref().is_some_and(|build| !build.is_over())
    }

    /// How an engine stands that is not there; if nobody builds, its build begins.
    pub fn ask(&mut self, dir: &Path, order: &BuildOrder) -> Standing {
        if self.at_work.as_ref().is_some_and(Build::is_over) {
            self.learn();
        }
        if let Some(why) = self.failed.get(dir) {
            return Standing::Failed(why.clone());
        }
        if self.at_work.is_none() {
            match Build::begin(&self.program, dir, order, Arc::clone(&self.told)) {
                Ok(build) => self.at_work = Some(build),
                Err(error) => {
                    return Standing::Failed(format!("the system grants no thread: {}", plain(&error)));
                }
            }
        }
        Standing::Awaited
    }

    /// Draws the conclusion from a build that is over. One that ended well and is missing all the same was of another
    /// file, or its place cannot be written: it would be built for ever.
    fn learn(&mut self) {
        let Some(build) = self.at_work.take() else { return };
        let dir = build.dir.clone();
        let why = match build.end() {
            Answer::Built if is_built(&dir) => return,
            Answer::Built => format!("its engine was built and is not in {}", dir.display()),
            Answer::Failed(why) => format!("its engine could not be built: {why}"),
        };
        self.failed.insert(dir, why);
    }
}

/// A build at work, on whose end a thread waits.
struct Build {
    dir: PathBuf,
    cancel: Cancel,
    thread: Option<JoinHandle<Answer>>,
}

impl Build {
    fn begin(program: &Path, dir: &Path, order: &BuildOrder, told: Told) -> std::io::Result<Self> {
        let mut command = order.command(program);
        let (model, cancel) = (order.model.clone(), Cancel::default());
        let heard = cancel.clone();
        tracing::info!(
            model,
            "TensorRT builds its engine beside the work: minutes, this once"
        );
        let thread = std::thread::Builder::new()
            .name("engine-build".to_owned())
            .spawn(move || {
                told(Some(&model));
                let answer = match apart::answer(&mut command, PATIENCE, &heard) {
                    Ok((status, said)) => understood(status, &said),
                    Err(error) => {
                        Answer::Failed(format!("the process could not be started: {}", plain(&error)))
                    }
                };
                told(None);
                match &answer {
                    _ if heard.is_cancelled() => {}
                    Answer::Built => tracing::info!(model, "TensorRT has built its engine, and takes over"),
                    Answer::Failed(why) => {
                        tracing::warn!(model, "TensorRT could not build its engine: {why}")
                    }
                }
                answer
            })?;
        Ok(Self {
            dir: dir.to_owned(),
            cancel,
            thread: Some(thread),
        })
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(mut self) -> Answer {
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.unwrap_or_else(|| Answer::Failed("the thread that waited for it ended".to_owned()))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl BuildOrder {
    fn command(&self, program: &Path) -> Command {
        let mut command = apart::command(program, COMMAND);
        if let Some(library) = &self.library {
            command.arg("--library").arg(library);
        }
        for dir in &self.state_dirs {
            command.arg("--state-dir").arg(dir);
        }
        command
            .arg("--engines-dir")
            .arg(&self.engines_dir)
            .args(["--device-id", &self.device_id.to_string()])
            .args(["--device-bytes", &self.device_bytes.to_string()])
            .args(["--precision", self.precision.word()])
            .args(["--", &self.model]);
        command
    }

    /// Builds the engine in this process, by opening a session on it.
    pub fn carry_out(self) -> Answer {
        let settings = SessionSettings {
            providers: vec![Provider::Tensorrt],
            device_id: self.device_id,
            threads: None,
            precision: self.precision,
            engines_dir: self.engines_dir,
            choices: ProviderChoices::default(),
        };
        let catalogue = Catalogue::new(self.state_dirs, self.library.clone(), RealFilesystem::shared());
        let build = || {
            let model = catalogue.find(&self.model)?;
            let runtime = Runtime::load(self.library.as_deref())?;
            let share_bytes = self.device_bytes / describe(Provider::Tensorrt).lanes as u64;
            OrtUpscaler::open_beside(&runtime, model, settings, share_bytes, self.device_bytes)
        };
        Answer::from(build())
    }
}

fn understood(status: ExitStatus, said: &str) -> Answer {
    serde_json::from_str(said).unwrap_or_else(|_| {
        Answer::Failed(match status.signal() {
            Some(libc::SIGKILL) => "it was killed, for want of memory or for taking too long".to_owned(),
            Some(signal) => format!("TensorRT crashed (signal {signal})"),
            None => format!("it ended without an answer ({status})"),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use super::*;

    /// What a test plays the building program with; it ends when `go` is there.
    struct Stage {
        dir: tempfile::TempDir,
        heard: Arc<Mutex<Vec<Option<String>>>>,
    }

    impl Stage {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
                heard: Arc::default(),
            }
        }

        fn engine(&self, name: &str) -> PathBuf {
            let dir = self.dir.path().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            dir
        }

        /// `$dir` is the stage, `$model` the model.
        fn builds(&self, script: &str) -> EngineBuilds {
            let program = self.dir.path().join("program");
            let text = format!(
                "#!/bin/sh\ndir={:?}\nfor model; do :; done\necho \"$@\" >> $dir/asked\n{script}\n",
                self.dir.path()
            );
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let heard = Arc::clone(&self.heard);
            let told: Told = Arc::new(move |model| heard.lock().unwrap().push(model.map(str::to_owned)));
            EngineBuilds::new(program, told)
        }

        fn asked(&self) -> Vec<String> {
            let text = std::fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn order(model: &str) -> BuildOrder {
        BuildOrder {
            model: model.to_owned(),
            library: Some("/lib/ort.so".into()),
            state_dirs: vec!["/state".into()],
            engines_dir: "/state/engines".into(),
            device_id: 1,
            device_bytes: 4096,
            precision: Precision::Fp16,
        }
    }

    fn wait_for_the_end(builds: &EngineBuilds) {
        for _ in 0..3000 {
            if !builds.is_at_work() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it never ended");
    }

    #[test]
    fn engines_are_built_one_after_the_other_while_somebody_else_works() {
        let stage = Stage::new();
        let (a, b) = (stage.engine("a"), stage.engine("b"));
        let mut builds = stage
            .builds("while [ ! -e $dir/go ]; do sleep 0.01; done; touch $dir/$model/built; echo '\"built\"'");
        assert!(!builds.is_at_work());
        assert_eq!(builds.ask(&a, &order("a")), Standing::Awaited);
        assert_eq!(builds.ask(&a, &order("a")), Standing::Awaited, "not twice");
        assert_eq!(builds.ask(&b, &order("b")), Standing::Awaited, "its turn comes");
        assert!(builds.is_at_work());
        std::fs::write(stage.dir.path().join("go"), "").unwrap();
        wait_for_the_end(&builds);
        // What is there is not asked for; the next one begins.
        assert_eq!(builds.ask(&b, &order("b")), Standing::Awaited);
        wait_for_the_end(&builds);
        assert_eq!(
            stage.asked(),
            ["a", "b"].map(|model| format!(
                "build-engine --library /lib/ort.so --state-dir /state --engines-dir /state/engines \
                 --device-id 1 --device-bytes 4096 --precision fp16 -- {model}"
            ))
        );
        let heard = stage.heard.lock().unwrap().clone();
        assert_eq!(heard, [Some("a".to_owned()), None, Some("b".to_owned()), None]);
    }

    #[test]
    fn a_build_that_fails_says_why_and_is_not_tried_again() {
        let cases = [
            ("echo '{\"failed\":\"no room\"}'", "could not be built: no room"),
            ("kill -SEGV $$", "TensorRT crashed (signal 11)"),
            ("kill -KILL $$", "for want of memory"),
            ("exit 3", "without an answer"),
            ("echo '\"built\"'", "was built and is not in"),
        ];
        for (script, said) in cases {
            let stage = Stage::new();
            let mut builds = stage.builds(script);
            let dir = stage.engine("a");
            assert_eq!(builds.ask(&dir, &order("a")), Standing::Awaited);
            wait_for_the_end(&builds);
            for _ in 0..2 {
                let Standing::Failed(why) = builds.ask(&dir, &order("a")) else {
                    panic!("{script}: it is not over");
                };
                assert!(why.contains(said), "{why}");
            }
            assert_eq!(stage.asked().len(), 1);
        }
    }

    #[test]
    fn who_ends_ends_the_build() {
        let stage = Stage::new();
        let mut builds = stage.builds("echo $$ > $dir/pid; exec sleep 600");
        builds.ask(&stage.engine("a"), &order("a"));
        let pid = stage.dir.path().join("pid");
        for _ in 0..3000 {
            if std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = std::fs::read_to_string(&pid).unwrap();
        assert!(Path::new("/proc").join(pid.trim()).exists());
        drop(builds);
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }
}
