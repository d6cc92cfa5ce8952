//! Owns the lock that makes one process the only service of a state directory. Never removes the lock file:
//! whoever unlinks a locked name lets a second instance in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::error::QueueError;
use super::store::{io_error, prepare_state_dir};

/// The lock's name in the state directory.
const LOCK: &str = "lock";

/// A holder's question ([`InstanceLock::holder`]) takes the lock for an instant; a start that meets it asks
/// again. A real instance holds on for far longer than all of these together.
const TRIES: u32 = 10;

/// Between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// Held for as long as the value lives; the kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

impl InstanceLock {
    /// Takes the lock and writes this process's number into it. May sleep for a tenth of a second.
    ///
    /// # Errors
    /// [`QueueError::AlreadyRunning`] where another process has it; as [`super::Store::open`] for the directory.
    pub fn acquire(state_dir: &Path) -> Result<Self, QueueError> {
        prepare_state_dir(state_dir)?;
        let path = state_dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|error| io_error("open", &path, error))?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(io_error("lock", &path, error)),
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(TRY_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(QueueError::AlreadyRunning {
                        pid: read_pid(&mut file),
                        state_dir: state_dir.to_owned(),
                    });
                }
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| io_error("write", &path, error))?;
        Ok(Self { _file: file })
    }

    /// The process that holds the lock, if one does (0: it has not written its number yet). Waits for nothing.
    pub fn holder(state_dir: &Path) -> Option<u32> {
        let mut file = File::open(state_dir.join(LOCK)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_pid(&mut file)),
            // Free: our own shared lock goes with the descriptor.
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

fn read_pid(file: &mut File) -> u32 {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(16).read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_with_the_first_ones_process() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(InstanceLock::holder(dir.path()), None);
        let first = InstanceLock::acquire(dir.path()).unwrap();
        assert_eq!(InstanceLock::holder(dir.path()), Some(std::process::id()));
        let error = InstanceLock::acquire(dir.path()).unwrap_err();
        assert!(matches!(error, QueueError::AlreadyRunning { pid, .. } if pid == std::process::id()));
        drop(first);
        assert_eq!(InstanceLock::holder(dir.path()), None);
        InstanceLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn asking_for_the_holder_never_refuses_a_start() {
        let dir = tempfile::tempdir().unwrap();
        drop(InstanceLock::acquire(dir.path()).unwrap());
        let asked = File::open(dir.path().join(LOCK)).unwrap();
        asked.try_lock_shared().unwrap();
        std::thread::scope(|scope| {
            let start = scope.spawn(|| InstanceLock::acquire(dir.path()).map(|_| ()));
            drop(asked);
            start.join().unwrap().unwrap();
        });
    }
}
