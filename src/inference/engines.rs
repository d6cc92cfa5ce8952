//! Owns the directory where TensorRT keeps what takes it a minute to make: engines, one directory for each model, and
//! timings of kernels, for all models. Both are right for one card, driver, TensorRT and ONNX Runtime only; what those
//! have left behind is removed, and all together stay below a size. Never builds an engine.
//!
//! ```text
//! engines/
//!   NVIDIA_GeForce_RTX_3060-5f0c…/     a card with the versions of all that stands below it
//!     bench.json                       which, in words
//!     timings/
//!     1b2c38245ef053e7-fp16-512/       a model, its arithmetic, the largest window
//!       used
//!       lock                       held by whoever builds, so that two do not build the same
//!       built                      written when it is complete
//! ```
//!
//! It is a cache: anybody may delete it, and what cannot be written is built again next time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fs::{RealFilesystem, replace_file};

/// Most bytes of all engines and timings: an engine of a small net has some megabytes, one of a transformer some
/// hundred.
pub const BYTES_MAX: u64 = 4 << 30;

/// Says in words whose engines a directory holds.
const BENCH_FILE: &str = "bench.json";

/// Written at each use of a model's engines, so that the oldest can be told.
const USED_FILE: &str = "used";

/// Held while engines are built.
const LOCK_FILE: &str = "lock";

/// Written when a session on the engines has been open: TensorRT writes them in place, and who was killed on the way has
/// left half of one.
const BUILT_FILE: &str = "built";

/// The directory of timings.
const TIMINGS_DIR: &str = "timings";

/// What an engine is right for, beside its model: another one of any of these needs another engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bench {
    /// The card, as its driver calls it.
    pub gpu: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of TensorRT.
    pub tensorrt: String,
    /// Version of ONNX Runtime.
    pub runtime: String,
}

impl Bench {
    /// A name that is safe in every file system: the card for a person, and a hash over everything.
    fn dir_name(&self) -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let gpu: String = self.gpu.chars().map(safe).take(64).collect();
        let all = serde_json::json!([self.gpu, self.driver, self.tensorrt, self.runtime]).to_string();
        let hash = blake3::hash(all.as_bytes()).to_hex();
        format!("{gpu}-{}", &hash.as_str()[..16])
    }
}

/// A model as TensorRT builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineKey {
    /// sha256 of the .onnx file, hexadecimal.
    pub model_sha256: String,
    /// Arithmetic: `fp32` or `fp16`.
    pub precision: &'static str,
    /// Largest side of a window, pixels.
    pub side_px: u32,
}

impl EngineKey {
    /// Beginning of the names of the engines.
    pub fn prefix(&self) -> String {
        self.model_sha256.chars().take(16).collect()
    }

    fn dir_name(&self) -> String {
        format!("{}-{}-{}", self.prefix(), self.precision, self.side_px)
    }
}

/// Where a model's engines and everybody's timings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineDirs {
    /// The model's.
    pub engines: PathBuf,
    /// Everybody's.
    pub timings: PathBuf,
}

impl EngineDirs {
    /// Waits until nobody else builds a model's engines, and removes what one left who was stopped on the way; `None` if
    /// they are complete.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn claim(&self) -> io::Result<Option<Building>> {
        if is_built(&self.engines) {
            return Ok(None);
        }
        let lock = File::create(self.engines.join(LOCK_FILE))?;
        lock.lock()?;
        if is_built(&self.engines) {
            return Ok(None);
        }
        for file in fs::read_dir(&self.engines)?.flatten() {
            if ![LOCK_FILE, USED_FILE]
                .iter()
                .any(|kept| file.file_name() == *kept)
            {
                fs::remove_file(file.path())?;
            }
        }
        let built = self.engines.join(BUILT_FILE);
        Ok(Some(Building { built, _lock: lock }))
    }
}

/// Engines that are being built, by whoever holds this.
#[derive(Debug)]
pub struct Building {
    built: PathBuf,
    /// Until it is dropped, or the process ends.
    _lock: File,
}

impl Building {
    /// They are complete.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn finish(self) -> io::Result<()> {
        for file in fs::read_dir(self.built.parent().unwrap_or(Path::new(".")))?.flatten() {
            File::open(file.path())?.sync_all()?;
        }
        replace_file(RealFilesystem::shared().as_ref(), &self.built, &[])
    }
}

/// Makes them incomplete again: they cannot be read.
pub fn forget(dir: &Path) {
    if let Err(error) = fs::remove_file(dir.join(BUILT_FILE)) {
        tracing::debug!("cannot forget {}: {}", dir.display(), crate::error::plain(&error));
    }
}

/// The directory of all of it.
#[derive(Debug, Clone)]
pub struct EngineStore {
    root: PathBuf,
    bytes_max: u64,
}

impl EngineStore {
    /// The one that lies, or will lie, at `root` and holds so much at most.
    pub fn new(root: &Path, bytes_max: u64) -> Self {
        Self {
            root: root.to_owned(),
            bytes_max,
        }
    }

    /// Makes room and directories for a model that is about to be used, and removes what no engine can be right for any
    /// more: benches of the same card with other versions.
    ///
    /// # Errors
    /// Those of the directories that are needed now. What cannot be removed only stays.
    pub fn open(&self, bench: &Bench, key: &EngineKey) -> io::Result<EngineDirs> {
        let own = self.root.join(bench.dir_name());
        let dirs = EngineDirs {
            engines: own.join(key.dir_name()),
            timings: own.join(TIMINGS_DIR),
        };
        self.remove_stale(bench, &own);
        fs::create_dir_all(&dirs.engines)?;
        fs::create_dir_all(&dirs.timings)?;
        let fs = RealFilesystem::shared();
        replace_file(
            fs.as_ref(),
            &own.join(BENCH_FILE),
            &serde_json::to_vec_pretty(bench).unwrap_or_default(),
        )?;
        replace_file(fs.as_ref(), &dirs.engines.join(USED_FILE), &[])?;
        self.trim(&dirs);
        Ok(dirs)
    }

    /// The directory of a model's engines, if they are still to be built, whether or not somebody is at it.
    pub fn missing(&self, bench: &Bench, key: &EngineKey) -> Option<PathBuf> {
        let dir = self.root.join(bench.dir_name()).join(key.dir_name());
        (!is_built(&dir)).then_some(dir)
    }

    /// Removes engines, those used longest ago first, until all together are small enough. `kept` stays.
    pub fn trim(&self, kept: &EngineDirs) {
        let mut models: Vec<Stored> = self
            .benches()
            .iter()
            .flat_map(|bench| dirs_in(bench))
            .filter(|dir| *dir != kept.timings)
            .map(Stored::read)
            .collect();
        models.sort_by_key(|stored| stored.used);
        let mut held = bytes_below(&kept.timings) + models.iter().map(|stored| stored.bytes).sum::<u64>();
        for stored in models {
            if held <= self.bytes_max {
                return;
            }
            if stored.dir != kept.engines
                && !is_locked(&stored.dir)
                && remove(&stored.dir, "the engines take too much room")
            {
                held -= stored.bytes;
            }
        }
    }

    fn remove_stale(&self, current: &Bench, own: &Path) {
        for dir in self.benches().iter().filter(|dir| *dir != own) {
            let text = fs::read(dir.join(BENCH_FILE)).unwrap_or_default();
            match serde_json::from_slice::<Bench>(&text) {
                // Another card of this machine.
                Ok(bench) if bench.gpu != current.gpu => {}
                Ok(_) => drop(remove(
                    dir,
                    "the driver, TensorRT or ONNX Runtime is another one now",
                )),
                Err(_) => drop(remove(dir, "nothing says what it was built for")),
            }
        }
    }

    fn benches(&self) -> Vec<PathBuf> {
        dirs_in(&self.root)
    }
}

/// Whether somebody builds in it.
fn is_locked(dir: &Path) -> bool {
    let lock = File::open(dir.join(LOCK_FILE));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Whether the engines of this directory are complete.
pub fn is_built(dir: &Path) -> bool {
    dir.join(BUILT_FILE).exists()
}

/// A directory that can be removed by itself.
#[derive(Debug)]
struct Stored {
    dir: PathBuf,
    bytes: u64,
    /// Long ago where nobody wrote it down.
    used: SystemTime,
}

impl Stored {
    fn read(dir: PathBuf) -> Self {
        let used = dir.join(USED_FILE).metadata().and_then(|meta| meta.modified());
        Self {
            bytes: bytes_below(&dir),
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            dir,
        }
    }
}

/// The directories in this one; none where it cannot be read. Links are nobody's of ours.
fn dirs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

fn bytes_below(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum()
}

fn remove(dir: &Path, why: &str) -> bool {
    match fs::remove_dir_all(dir) {
        Ok(()) => {
            tracing::info!("removed {}: {why}", dir.display());
            true
        }
        Err(error) => {
            tracing::debug!("cannot remove {}: {}", dir.display(), crate::error::plain(&error));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bench() -> Bench {
        Bench {
            gpu: "NVIDIA GeForce RTX 3060".to_owned(),
            driver: "580.65.06".to_owned(),
            tensorrt: "10.16.1".to_owned(),
            runtime: "1.31.1".to_owned(),
        }
    }

    fn key(model: &str) -> EngineKey {
        EngineKey {
            model_sha256: model.repeat(64),
            precision: "fp16",
            side_px: 512,
        }
    }

    /// An engine as TensorRT leaves it, used so many hours after the others.
    fn build(dirs: &EngineDirs, bytes: usize, hours: u64) {
        fs::write(dirs.engines.join("x_sm86.engine"), vec![0; bytes]).unwrap();
        let used = fs::File::options()
            .write(true)
            .open(dirs.engines.join(USED_FILE))
            .unwrap();
        used.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600))
            .unwrap();
    }

    #[test]
    fn an_engine_is_found_again_and_only_by_what_it_was_built_for() {
        let scratch = tempfile::tempdir().unwrap();
        let store = EngineStore::new(&scratch.path().join("engines"), BYTES_MAX);
        let first = store.open(&bench(), &key("a")).unwrap();
        fs::write(first.timings.join("sm86.timing"), "t").unwrap();
        build(&first, 10, 1);
        assert_eq!(store.open(&bench(), &key("a")).unwrap(), first);
        assert!(first.engines.join("x_sm86.engine").is_file());

        let others = [
            EngineKey {
                precision: "fp32",
                ..key("a")
            },
            EngineKey {
                side_px: 256,
                ..key("a")
            },
            key("b"),
        ];
        for other in others {
            let dirs = store.open(&bench(), &other).unwrap();
            assert_ne!(dirs.engines, first.engines, "{other:?}");
            assert_eq!(dirs.timings, first.timings, "timings are for all models");
        }
        let card = Bench {
            gpu: "NVIDIA RTX A2000".to_owned(),
            ..bench()
        };
        assert_ne!(store.open(&card, &key("a")).unwrap().timings, first.timings);
        assert!(first.engines.is_dir(), "another card's engines stay");
    }

    #[test]
    fn engines_count_once_they_are_complete_and_what_was_left_half_built_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let store = EngineStore::new(scratch.path(), BYTES_MAX);
        let dir = store.missing(&bench(), &key("a")).unwrap();
        let dirs = store.open(&bench(), &key("a")).unwrap();
        assert_eq!(dirs.engines, dir);

        let building = dirs.claim().unwrap().unwrap();
        build(&dirs, 10, 1);
        assert!(store.missing(&bench(), &key("a")).is_some(), "not yet");
        // Killed.
        drop(building);
        let building = dirs.claim().unwrap().unwrap();
        assert!(!dirs.engines.join("x_sm86.engine").exists());
        build(&dirs, 10, 1);

        // Somebody else waits for it, and finds it.
        let (waiting, waited) = (dirs.clone(), std::sync::mpsc::channel());
        let other = std::thread::spawn(move || waited.0.send(waiting.claim().unwrap().is_none()).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(waited.1.try_recv().is_err(), "it did not wait");
        building.finish().unwrap();
        assert!(waited.1.recv().unwrap());
        other.join().unwrap();
        assert_eq!(store.missing(&bench(), &key("a")), None);
        assert!(dirs.engines.join("x_sm86.engine").exists());
        // Another range is another engine.
        let wider = EngineKey {
            side_px: 384,
            ..key("a")
        };
        assert!(store.missing(&bench(), &wider).is_some());
    }

    #[test]
    fn what_another_driver_tensorrt_or_runtime_left_is_removed_with_its_timings() {
        let changes: [fn(&mut Bench); 3] = [
            |bench| bench.driver = "590.10".to_owned(),
            |bench| bench.tensorrt = "10.17.0".to_owned(),
            |bench| bench.runtime = "1.32.0".to_owned(),
        ];
        for change in changes {
            let scratch = tempfile::tempdir().unwrap();
            let store = EngineStore::new(scratch.path(), BYTES_MAX);
            let old = store.open(&bench(), &key("a")).unwrap();
            build(&old, 10, 1);
            let mut newer = bench();
            change(&mut newer);
            let new = store.open(&newer, &key("a")).unwrap();
            assert!(new.engines.is_dir());
            assert!(!old.timings.exists() && !old.engines.exists(), "{newer:?}");
            assert_eq!(store.benches().len(), 1);
        }
    }

    #[test]
    fn what_says_nothing_of_itself_is_removed_and_files_of_others_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let store = EngineStore::new(scratch.path(), BYTES_MAX);
        fs::create_dir_all(scratch.path().join("half-written")).unwrap();
        fs::write(scratch.path().join("TensorrtExecutionProvider_x.engine"), "old").unwrap();
        store.open(&bench(), &key("a")).unwrap();
        assert!(!scratch.path().join("half-written").exists());
        assert!(scratch.path().join("TensorrtExecutionProvider_x.engine").exists());
    }

    #[test]
    fn the_engines_used_longest_ago_make_room_and_the_one_in_use_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let store = EngineStore::new(scratch.path(), 100);
        let dirs: Vec<EngineDirs> = ["a", "b", "c"]
            .iter()
            .zip([2, 1, 3])
            .map(|(model, hours)| {
                let dirs = store.open(&bench(), &key(model)).unwrap();
                build(&dirs, 40, hours);
                dirs
            })
            .collect();
        store.trim(&dirs[2]);
        let there = || dirs.iter().map(|dirs| dirs.engines.is_dir()).collect::<Vec<_>>();
        assert_eq!(there(), [true, false, true], "the second is the oldest");
        build(&dirs[2], 400, 3);
        store.trim(&dirs[2]);
        assert_eq!(there(), [false, false, true], "too large by itself, but in use");
        // What is being built stays, however old it looks.
        let building = store.open(&bench(), &key("b")).unwrap();
        build(&building, 400, 1);
        let lock = File::create(building.engines.join(LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        let again = store.open(&bench(), &key("a")).unwrap();
        assert_eq!(there(), [true, true, false]);
        drop(lock);
        store.trim(&again);
        assert_eq!(there(), [true, false, false]);
    }

    #[test]
    fn a_place_that_cannot_be_written_says_so() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let store = EngineStore::new(&file.join("engines"), BYTES_MAX);
        assert!(store.open(&bench(), &key("a")).is_err());
    }
}
