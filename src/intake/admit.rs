//! Owns the way of one settled candidate into the ledger: is it whole, what is its content, was it left alone
//! while it was read. The other half of I1 (no pixel is read before the file is stable). Never changes a file,
//! and never decodes one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{one_line, plain};
use crate::fs::FileIdentity;
use crate::queue::{Admission, Digest, NewJob, QueueError};

use super::settle::Candidate;
use super::{Admitted, FolderIntake, LooksComplete, lease, scan};

/// Read at a time: large enough for a network share, small beside a picture.
const HASH_BUFFER_BYTES: usize = 1024 * 1024;

/// What became of a candidate whose quiet time is over.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the ledger.
    Admitted(Admission),
    /// The ledger has this very file already; it was not read.
    Known,
    /// It is another file now, or changed while it was read: it goes on waiting.
    Changed(FileIdentity),
    /// Not stable yet, to be looked at again.
    NotYet(NotYet),
    /// It is not there any more, or no regular file with content.
    Gone,
    /// The ledger did not answer; nothing is known to have happened.
    Ledger(QueueError),
}

/// Why a quiet file is not stable yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotYet {
    /// A process has it open for writing.
    Written,
    /// It ends before its picture does.
    Incomplete,
    /// It cannot be read or has no place to go; the line says why.
    Problem(String),
    /// Intake is stopping.
    Halted,
}

/// Takes a candidate into the ledger, if it is ready. With `accept_incomplete`, one that ends too early is
/// taken too, so that its job can fail with a reason that a person reads (I10).
///
/// May be dropped at any await: the job is then in the ledger or not, and the next scan finds out.
pub(super) async fn admit(
    ctx: &Arc<FolderIntake>,
    candidate: &Candidate,
    accept_incomplete: bool,
    halt: &Arc<AtomicBool>,
) -> Outcome {
    match ctx.store.known(&ctx.folder.name, &candidate.rel).await {
        Ok(Some(known)) if ctx.has(Some(&known), &candidate.identity) => return Outcome::Known,
        Ok(_) => {}
        Err(error) => return Outcome::Ledger(error),
    }
    let output = match (ctx.plan_output)(&candidate.rel) {
        Ok(output) => output,
        Err(message) => return Outcome::NotYet(NotYet::Problem(one_line(&message))),
    };
    let content = match read(ctx, candidate, accept_incomplete, halt).await {
        Ok(content) => content,
        Err(outcome) => return outcome,
    };
    let new = NewJob {
        folder: ctx.folder.name.clone(),
        source: candidate.rel.to_path_buf(),
        output_root: ctx.folder.output.clone(),
        output,
        content,
        recipe: ctx.recipe,
        identity: candidate.identity,
        priority: ctx.folder.priority,
    };
    match ctx.store.admit(&new).await {
        Ok(admission) => {
            tracing::info!(job = admission.id().0, folder = new.folder, source = %candidate.rel.display(), admission = admission.as_str(), "admitted");
            (ctx.on_admitted)(&Admitted {
                folder: new.folder,
                source: new.source,
                admission,
            });
            Outcome::Admitted(admission)
        }
        Err(error) => Outcome::Ledger(error),
    }
}

/// Examines and hashes the file off the async threads, as many at a time as the shared permits allow.
async fn read(
    ctx: &Arc<FolderIntake>,
    candidate: &Candidate,
    accept_incomplete: bool,
    halt: &Arc<AtomicBool>,
) -> Result<Digest, Outcome> {
    // Nobody closes the semaphore; if somebody did, reading without a permit would still be right.
    let permit = Arc::clone(&ctx.hashing).acquire_owned().await.ok();
    let path = ctx.folder.input.join(&candidate.rel);
    let (identity, looks_complete, halt) = (candidate.identity, ctx.looks_complete, Arc::clone(halt));
    let shown = one_line(&candidate.rel.to_string_lossy());
    let examined = tokio::task::spawn_blocking(move || {
        // Moved in: dropped futures leave the thread running, and it counts until it ends.
        let _permit = permit;
        let looks_complete = (!accept_incomplete).then_some(looks_complete);
        examine(&path, identity, looks_complete, &halt)
    })
    .await;
    match examined {
        Ok(result) => result,
        // A panic of the check of the file's structure, which sees bytes that nobody vouches for.
        Err(_) => Err(Outcome::NotYet(NotYet::Problem(format!(
            "cannot examine {shown}: the check of its structure failed; please report the file"
        )))),
    }
}

/// Is it still the file that settled, does nobody write it, is it whole, and what is its hash.
fn examine(
    path: &Path,
    expected: FileIdentity,
    looks_complete: Option<LooksComplete>,
    halt: &AtomicBool,
) -> Result<Digest, Outcome> {
    let file = open(path)?;
    same(&file, path, expected)?;
    if lease::has_writer(&file) {
        return Err(Outcome::NotYet(NotYet::Written));
    }
    if let Some(looks_complete) = looks_complete
        && !looks_complete(path).map_err(|error| failure(path, &error))?
    {
        return Err(Outcome::NotYet(NotYet::Incomplete));
    }
    let content = hash(&file, path, halt)?;
    // I1: what was hashed is what settled, and it still lies there.
    same(&file, path, expected)?;
    Ok(content)
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

fn hash(mut file: &File, path: &Path, halt: &AtomicBool) -> Result<Digest, Outcome> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        if halt.load(Ordering::Relaxed) {
            return Err(Outcome::NotYet(NotYet::Halted));
        }
        match file.read(&mut buffer) {
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
        examine(path, identity, check, &AtomicBool::new(false))
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
    fn whatever_took_the_place_of_the_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.jpg"), dir.path().join("b.jpg"));
        std::fs::write(&path, "one").unwrap();
        let identity = FileIdentity::read(&path).unwrap();
        let examine = || examine(&path, identity, Some(whole), &AtomicBool::new(false));
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
        let outcome = examine(&path, identity, None, &AtomicBool::new(true));
        assert!(matches!(outcome, Err(Outcome::NotYet(NotYet::Halted))));
    }
}
