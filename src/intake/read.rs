//! Owns the reading of a settled file: is it whole, what is its content, was it left alone while it was read. Half of
//! I1 (no pixel is read before the file is stable). Never changes a file, and never decodes one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{one_line, plain};
use crate::fs::FileIdentity;
use crate::queue::Digest;

use super::admit::{NotYet, Outcome};
use super::{LooksComplete, lease, scan};

/// Read at a time: large enough for a network share, small beside a picture.
const HASH_BUFFER_BYTES: usize = 1024 * 1024;

/// Reads files one after another, with one buffer for all.
pub(super) struct Reader<'a> {
    looks_complete: LooksComplete,
    halt: &'a AtomicBool,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// One that asks this whether a file is whole, and ends early when `halt` turns true.
    pub(super) fn new(looks_complete: LooksComplete, halt: &'a AtomicBool) -> Self {
        Self {
            looks_complete,
            halt,
            buffer: vec![0; HASH_BUFFER_BYTES],
        }
    }

    /// The hash of the file at `path`, if it is still the one that settled, whole (or `accept_incomplete`) and
    /// left alone.
    pub(super) fn read(
        &mut self,
        path: &Path,
        expected: FileIdentity,
        accept_incomplete: bool,
    ) -> Result<Digest, Outcome> {
        // The check of the file's structure sees bytes that nobody vouches for: whatever it does to itself, the
        // files beside this one are read.
        let read = AssertUnwindSafe(|| self.examine(path, expected, accept_incomplete));
        catch_unwind(read).unwrap_or_else(|_| {
            let path = path.to_string_lossy();
            Err(Outcome::NotYet(NotYet::Problem(one_line(&format!(
                "cannot examine {path}: the check of its structure failed; please report the file"
            )))))
        })
    }

    /// Is it still the file that settled, does nobody write it, is it whole, and what is its hash.
    fn examine(
        &mut self,
        path: &Path,
        expected: FileIdentity,
        accept_incomplete: bool,
    ) -> Result<Digest, Outcome> {
        let halted = || self.halt.load(Ordering::Relaxed);
        if halted() {
            return Err(Outcome::NotYet(NotYet::Halted));
        }
        let file = open(path)?;
        same(&file, path, expected)?;
        if lease::has_writer(&file) {
            return Err(Outcome::NotYet(NotYet::Written));
        }
        if !accept_incomplete && has_hole(&file, expected.size) {
            return Err(Outcome::NotYet(NotYet::Incomplete));
        }
        if !accept_incomplete && !(self.looks_complete)(path).map_err(|error| failure(path, &error))? {
            return Err(Outcome::NotYet(NotYet::Incomplete));
        }
        let content = hash(&file, path, &mut self.buffer, &halted)?;
        // I1: what was hashed is what settled, and it still lies there.
        same(&file, path, expected)?;
        Ok(content)
    }
}

/// Whether a part of the file was never written: it was given its size beforehand, and is still being filled, in
/// whatever order. Not asked for its first byte's sake alone: an upload in several streams begins everywhere.
///
/// File systems that do not know say that all of it is there. One that stores zeros as holes (ZFS) makes a black
/// uncompressed picture wait until patience with incomplete files ends.
fn has_hole(file: &File, bytes: u64) -> bool {
    let hole = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0));
    // The content is read from the start.
    let back = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0));
    back.is_ok() && hole.is_ok_and(|at| at < bytes)
}

/// Opens for reading. Never hangs on a FIFO and never follows a symlink that took the file's place.
fn open(path: &Path) -> Result<File, Outcome> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        // ELOOP: a symlink now. ENXIO: a socket.
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENXIO) => Outcome::Gone,
        // A file server keeps it for a client that may be writing; this very attempt asked for it back.
        Some(libc::EAGAIN) => Outcome::NotYet(NotYet::Written),
        _ => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "let the service's user read it",
                _ => "it is tried again",
            };
            let (path, detail) = (path.to_string_lossy(), plain(error));
            Outcome::NotYet(NotYet::Problem(one_line(&format!(
                "cannot read {path}: {detail}; {remedy}"
            ))))
        }
    }
}

/// The open file and the file at the path are one, and it is as expected.
fn same(file: &File, path: &Path, expected: FileIdentity) -> Result<(), Outcome> {
    let opened = file.metadata().map_err(|error| failure(path, &error))?;
    match scan::look(path) {
        Ok(Some(identity)) if identity == expected && FileIdentity::of(&opened) == expected => Ok(()),
        Ok(Some(identity)) => Err(Outcome::Changed(identity)),
        Ok(None) => Err(Outcome::Gone),
        Err(error) => Err(failure(path, &error)),
    }
}

fn hash(
    mut file: &File,
    path: &Path,
    buffer: &mut [u8],
    halted: &dyn Fn() -> bool,
) -> Result<Digest, Outcome> {
    let mut hasher = blake3::Hasher::new();
    loop {
        if halted() {
            return Err(Outcome::NotYet(NotYet::Halted));
        }
        match file.read(buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(n) => {
                hasher.update(&buffer[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure(path, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(_: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn half(_: &Path) -> io::Result<bool> {
        Ok(false)
    }

    /// A writer that strikes between the check and the hash.
    fn rewritten_meanwhile(path: &Path) -> io::Result<bool> {
        std::fs::write(path, "something longer")?;
        Ok(true)
    }

    fn replaced_meanwhile(path: &Path) -> io::Result<bool> {
        std::fs::remove_file(path)?;
        std::fs::write(path, "one")?;
        Ok(true)
    }

    fn run(path: &Path, check: Option<LooksComplete>) -> Result<Digest, Outcome> {
        let identity = FileIdentity::read(path).unwrap();
        let halt = AtomicBool::new(false);
        Reader::new(check.unwrap_or(half), &halt).read(path, identity, check.is_none())
    }

    #[test]
    fn a_quiet_whole_file_is_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let content = vec![7; 3 * HASH_BUFFER_BYTES + 1];
        std::fs::write(&path, &content).unwrap();
        assert_eq!(
            run(&path, Some(whole)).unwrap(),
            *blake3::hash(&content).as_bytes()
        );
    }

    #[test]
    fn i1_a_file_that_changes_while_it_is_read_is_not_stable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        for meanwhile in [rewritten_meanwhile as LooksComplete, replaced_meanwhile] {
            std::fs::write(&path, "one").unwrap();
            assert!(matches!(run(&path, Some(meanwhile)), Err(Outcome::Changed(_))));
        }
    }

    #[test]
    fn an_incomplete_file_is_not_final_until_patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, "one").unwrap();
        assert!(matches!(
            run(&path, Some(half)),
            Err(Outcome::NotYet(NotYet::Incomplete))
        ));
        assert!(run(&path, None).is_ok());
    }

    #[test]
    fn a_file_with_a_part_that_was_never_written_is_not_whole() {
        use std::io::{Seek as _, Write as _};
        const LENGTH: u64 = 4 << 20;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bmp");
        File::create(&path).unwrap().set_len(LENGTH).unwrap();
        // From behind, as parallel streams may.
        for start in [LENGTH / 2, 0] {
            assert!(matches!(
                run(&path, Some(whole)),
                Err(Outcome::NotYet(NotYet::Incomplete))
            ));
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(io::SeekFrom::Start(start)).unwrap();
            file.write_all(&vec![7; LENGTH as usize / 2]).unwrap();
        }
        let whole_file = std::fs::read(&path).unwrap();
        assert_eq!(
            run(&path, Some(whole)).unwrap(),
            *blake3::hash(&whole_file).as_bytes()
        );
    }

    #[test]
    fn whatever_took_the_place_of_the_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.jpg"), dir.path().join("b.jpg"));
        std::fs::write(&path, "one").unwrap();
        let identity = FileIdentity::read(&path).unwrap();
        let halt = AtomicBool::new(false);
        let examine = || Reader::new(whole, &halt).read(&path, identity, false);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(examine(), Err(Outcome::Gone)));
        std::fs::write(&other, "one").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(matches!(examine(), Err(Outcome::Gone)));
        std::fs::remove_file(&path).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        assert!(matches!(examine(), Err(Outcome::Gone)));
    }

    #[test]
    fn a_file_that_a_file_server_keeps_for_a_client_is_asked_back_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, "one").unwrap();
        let server = File::open(&path).unwrap();
        assert!(lease::hold_like_a_file_server(&server));
        assert!(matches!(
            run(&path, Some(whole)),
            Err(Outcome::NotYet(NotYet::Written))
        ));
        drop(server);
        assert!(run(&path, Some(whole)).is_ok());
    }

    #[test]
    fn a_stop_ends_the_reading_of_a_large_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, "one").unwrap();
        let identity = FileIdentity::read(&path).unwrap();
        let halt = AtomicBool::new(true);
        let outcome = Reader::new(whole, &halt).read(&path, identity, true);
        assert!(matches!(outcome, Err(Outcome::NotYet(NotYet::Halted))));
    }
}
