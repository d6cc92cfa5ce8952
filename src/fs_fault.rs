//! Owns the double of [`Filesystem`] that fails on purpose: an error at a chosen or drawn step, a disk that is
//! full, a crash between any two steps, and a power cut that takes what was not synced. Works on real files
//! below a temporary directory. Never used by the product.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::{Filesystem, RealFilesystem};

/// One durable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// [`Filesystem::create_new`]
    CreateNew,
    /// [`Filesystem::sync_file`]
    SyncFile,
    /// [`Filesystem::sync_dir`]
    SyncDir,
    /// [`Filesystem::rename_noreplace`]
    RenameNoReplace,
    /// [`Filesystem::rename_replace`]
    RenameReplace,
    /// [`Filesystem::remove_file`]
    RemoveFile,
    /// [`Filesystem::create_dir_all`]
    CreateDirAll,
}

/// One entry of the log: what was asked for, and on which path (of a rename: the target).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The step.
    pub step: Step,
    /// The path; empty for [`Step::SyncFile`], which knows only a handle.
    pub path: PathBuf,
}

/// When something goes wrong. Steps are counted from 0 over the life of the double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing does.
    Never,
    /// Step number `nth` fails with this `errno`; it has no effect.
    At {
        /// Which.
        nth: u64,
        /// `libc::ENOSPC`, `libc::EIO`, …
        errno: i32,
    },
    /// The `nth` step of this kind fails with this `errno`; it has no effect.
    AtStep {
        /// Which kind.
        step: Step,
        /// Which of that kind.
        nth: u64,
        /// `libc::ENOSPC`, `libc::EIO`, …
        errno: i32,
    },
    /// Each step fails with a chance of one in `one_in`, drawn from `seed`: ENOSPC or EIO.
    Drawn {
        /// Same seed, same failures.
        seed: u64,
        /// At least 1.
        one_in: u64,
    },
    /// Every new file is on a full disk: it is there, and each write to it fails with ENOSPC.
    FullDisk,
    /// The process ends before step number `nth`: that one and all later ones have no effect.
    CrashBefore(u64),
    /// The process ends after step number `nth`: it happens, but the caller never hears of it.
    CrashAfter(u64),
    /// As [`Fault::CrashBefore`] or [`Fault::CrashAfter`], for real: the kernel kills this process.
    Kill {
        /// Which.
        nth: u64,
        /// Whether the step happens first.
        after: bool,
        /// Whether what was not synced is lost then, as by [`FaultFs::cut_power`].
        power_cut: bool,
    },
}

/// Steps that the log keeps; those after them are counted only. Days of simulated life have millions.
const LOG_MOST: usize = 100_000;

/// The failing file system.
#[derive(Debug)]
pub struct FaultFs {
    real: RealFilesystem,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    random: u64,
    crashed: bool,
    free_bytes: Option<u64>,
    steps: u64,
    steps_of: HashMap<Step, u64>,
    log: Vec<Op>,
    /// Changes of names that no `sync_dir` has made durable yet, oldest first.
    volatile: Vec<Volatile>,
    /// Files whose bytes no `sync_file` has made durable yet, by inode. The handles are our own: a clone of
    /// the caller's would share, and outlive, its lock.
    unsynced: HashMap<u64, File>,
}

/// A change of names, with what is needed to take it back.
#[derive(Debug)]
enum Volatile {
    Created(PathBuf),
    MadeDir(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
        /// What `to` held before.
        replaced: Option<Vec<u8>>,
    },
    Removed {
        path: PathBuf,
        held: Option<Vec<u8>>,
    },
}

/// What a step is to do after the dice are cast.
enum Go {
    /// Happen.
    Through,
    /// Happen, and then seem not to have.
    ThroughThenCrash,
    /// End the process.
    Killed { after: bool, power_cut: bool },
}

impl FaultFs {
    /// A file system on which `fault` will happen.
    pub fn new(fault: Fault) -> Self {
        let seed = match fault {
            Fault::Drawn { seed, .. } => seed,
            _ => 0,
        };
        Self {
            real: RealFilesystem,
            state: Mutex::new(State {
                fault,
                random: seed,
                crashed: false,
                free_bytes: None,
                steps: 0,
                steps_of: HashMap::new(),
                log: Vec::new(),
                volatile: Vec::new(),
                unsynced: HashMap::new(),
            }),
        }
    }

    /// From now on another fault; the count of steps goes on.
    pub fn set(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// What [`Filesystem::free_bytes`] will say; `None`: the truth.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.state().free_bytes = bytes;
    }

    /// Every step that was asked for until the crash, the failed ones too; the first hundred thousand.
    pub fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Cuts the power, after which nothing works: the bytes of files that were not synced are lost from the
    /// middle on, and names that no directory sync made durable are as they were before, newest undone first.
    /// The harshest outcome that POSIX allows; a crash without a power cut is the mildest.
    ///
    /// # Errors
    /// Those of the real file system.
    pub fn cut_power(&self) -> io::Result<()> {
        let mut state = self.state();
        state.crashed = true;
        self.lose_unsynced(&mut state)
    }

    fn lose_unsynced(&self, state: &mut State) -> io::Result<()> {
        let unsynced = std::mem::take(&mut state.unsynced);
        let volatile = std::mem::take(&mut state.volatile);
        for file in unsynced.into_values() {
            file.set_len(file.metadata()?.len() / 2)?;
        }
        for change in volatile.into_iter().rev() {
            self.undo(change)?;
        }
        Ok(())
    }

    fn undo(&self, change: Volatile) -> io::Result<()> {
        match change {
            Volatile::Created(path) => missing_is_fine(std::fs::remove_file(path)),
            // What was synced below it goes too: a directory that has no name cannot be found.
            Volatile::MadeDir(path) => missing_is_fine(std::fs::remove_dir_all(path)),
            Volatile::Renamed { from, to, replaced } => {
                missing_is_fine(self.real.rename_replace(&to, &from))?;
                replaced.map_or(Ok(()), |bytes| std::fs::write(to, bytes))
            }
            Volatile::Removed { path, held } => held.map_or(Ok(()), |bytes| std::fs::write(path, bytes)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step under the fault, and remembers what a power cut would undo.
    fn step<T>(
        &self,
        step: Step,
        path: &Path,
        run: impl FnOnce() -> io::Result<(T, Option<Volatile>)>,
    ) -> io::Result<T> {
        let mut state = self.state();
        let go = state.admit(step, path)?;
        if let Go::Killed {
            after: false,
            power_cut,
        } = go
        {
            self.kill(&mut state, power_cut);
        }
        let ran = run().map(|(value, change)| {
            state.volatile.extend(change);
            value
        });
        match go {
            Go::Through => ran,
            Go::ThroughThenCrash => Err(crash()),
            Go::Killed { power_cut, .. } => self.kill(&mut state, power_cut),
        }
    }

    /// Ends the process with the lock held, so that nothing else happens on this file system.
    fn kill(&self, state: &mut State, power_cut: bool) -> ! {
        if power_cut {
            let _ = self.lose_unsynced(state);
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

impl State {
    fn admit(&mut self, step: Step, path: &Path) -> io::Result<Go> {
        if self.crashed {
            return Err(crash());
        }
        let index = self.steps;
        self.steps += 1;
        let of_step = self.steps_of.entry(step).or_default();
        let index_of_step = *of_step;
        *of_step += 1;
        if self.log.len() < LOG_MOST {
            self.log.push(Op {
                step,
                path: path.to_owned(),
            });
        }
        match self.fault {
            Fault::At { nth, errno } if nth == index => Err(io::Error::from_raw_os_error(errno)),
            Fault::AtStep { step: of, nth, errno } if of == step && nth == index_of_step => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Fault::Drawn { one_in, .. } => {
                let drawn = self.draw();
                if drawn.is_multiple_of(one_in.max(1)) {
                    let errno = [libc::ENOSPC, libc::EIO][usize::from(drawn & (1 << 40) != 0)];
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Ok(Go::Through)
            }
            Fault::CrashBefore(nth) if nth == index => {
                self.crashed = true;
                Err(crash())
            }
            Fault::CrashAfter(nth) if nth == index => {
                self.crashed = true;
                Ok(Go::ThroughThenCrash)
            }
            Fault::Kill {
                nth,
                after,
                power_cut,
            } if nth == index => Ok(Go::Killed { after, power_cut }),
            _ => Ok(Go::Through),
        }
    }

    /// SplitMix64: enough for dice.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Volatile {
    /// The directory whose sync makes it durable. A rename across two is durable with the target's.
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Created(path) | Self::MadeDir(path) | Self::Removed { path, .. } => path.parent(),
            Self::Renamed { to, .. } => to.parent(),
        }
    }
}

impl Filesystem for FaultFs {
    fn create_new(&self, path: &Path) -> io::Result<File> {
        let file = self.step(Step::CreateNew, path, || {
            let file = self.real.create_new(path)?;
            Ok((file, Some(Volatile::Created(path.to_owned()))))
        })?;
        let mut state = self.state();
        let own = OpenOptions::new().write(true).open(path)?;
        state.unsynced.insert(own.metadata()?.ino(), own);
        if state.fault == Fault::FullDisk {
            return OpenOptions::new().read(true).write(true).open("/dev/full");
        }
        Ok(file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step(Step::SyncFile, Path::new(""), || {
            Ok((self.real.sync_file(file)?, None))
        })?;
        self.state().unsynced.remove(&file.metadata()?.ino());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::SyncDir, dir, || Ok((self.real.sync_dir(dir)?, None)))?;
        self.state().volatile.retain(|change| change.dir() != Some(dir));
        Ok(())
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::RenameNoReplace, to, || {
            self.real.rename_noreplace(from, to)?;
            Ok(((), Some(renamed(from, to, None))))
        })
    }

    fn rename_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::RenameReplace, to, || {
            let replaced = std::fs::read(to).ok();
            self.real.rename_replace(from, to)?;
            Ok(((), Some(renamed(from, to, replaced))))
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(Step::RemoveFile, path, || {
            let held = std::fs::read(path).ok();
            self.real.remove_file(path)?;
            let path = path.to_owned();
            Ok(((), Some(Volatile::Removed { path, held })))
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step(Step::CreateDirAll, path, || {
            // Only the outermost new one matters: undone, all below it go with it.
            let outermost = path
                .ancestors()
                .take_while(|dir| !dir.exists())
                .last()
                .map(Path::to_owned);
            self.real.create_dir_all(path)?;
            Ok(((), outermost.map(Volatile::MadeDir)))
        })
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.crashed() {
            return Err(crash());
        }
        let told = self.state().free_bytes;
        told.map_or_else(|| self.real.free_bytes(dir), Ok)
    }
}

fn renamed(from: &Path, to: &Path, replaced: Option<Vec<u8>>) -> Volatile {
    Volatile::Renamed {
        from: from.to_owned(),
        to: to.to_owned(),
        replaced,
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What a caller that is already dead gets to hear.
fn crash() -> io::Error {
    io::Error::other("the process has ended here")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn staged(fs: &FaultFs, path: &Path) -> File {
        let mut file = fs.create_new(path).unwrap();
        file.write_all(b"12345678").unwrap();
        file
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let fs = FaultFs::new(Fault::Never);
        let kept = staged(&fs, &at("kept"));
        fs.sync_file(&kept).unwrap();
        staged(&fs, &at("torn"));
        fs.sync_dir(dir.path()).unwrap();
        staged(&fs, &at("nameless"));
        fs.rename_replace(&at("kept"), &at("renamed")).unwrap();
        fs.create_dir_all(&at("a/b")).unwrap();
        fs.cut_power().unwrap();
        assert_eq!(std::fs::read(at("kept")).unwrap(), b"12345678");
        assert!(!at("nameless").exists() && !at("renamed").exists() && !at("a").exists());
        assert_eq!(std::fs::read(at("torn")).unwrap(), b"1234");
        assert!(fs.create_new(&at("late")).is_err());
    }

    #[test]
    fn a_crash_after_a_step_keeps_its_effect_and_ends_everything_else() {
        let dir = tempfile::tempdir().unwrap();
        let fs = FaultFs::new(Fault::CrashAfter(1));
        staged(&fs, &dir.path().join("a"));
        assert!(
            fs.rename_noreplace(&dir.path().join("a"), &dir.path().join("b"))
                .is_err()
        );
        assert!(fs.remove_file(&dir.path().join("b")).is_err());
        assert!(dir.path().join("b").exists());
        assert_eq!(fs.log().len(), 2);
    }

    #[test]
    fn on_a_full_disk_the_name_appears_and_the_bytes_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let fs = FaultFs::new(Fault::FullDisk);
        let mut file = fs.create_new(&dir.path().join("a")).unwrap();
        let error = file.write_all(b"1").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(dir.path().join("a").exists());
    }

    #[test]
    fn the_same_seed_draws_the_same_failures() {
        let dir = tempfile::tempdir().unwrap();
        let run = |seed| {
            let fs = FaultFs::new(Fault::Drawn { seed, one_in: 3 });
            (0..32)
                .map(|_| fs.sync_dir(dir.path()).is_ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
