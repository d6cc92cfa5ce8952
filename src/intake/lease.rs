//! Owns the question whether a process of this host has a file open for writing, asked of the kernel with a
//! read lease. Never keeps a lease. The only `unsafe` of intake: rustix has no `F_SETLEASE`.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Missing in libc. From `asm-generic/fcntl.h`; the same on every architecture that ONNX Runtime is built for.
const F_SETSIG: libc::c_int = 10;

/// Whether somebody holds the file open for writing. `file` must be opened read-only.
///
/// The kernel grants a read lease only while there is no writer, and answers `EAGAIN` otherwise; that is the
/// one answer that means something. Anything else (not the owner, a file system without leases, a remote
/// writer) leaves the question open, and the quiet time must do: `false`.
///
/// The lease is given back at once. A writer that opens the file in between waits for these microseconds.
pub fn has_writer(file: &File) -> bool {
    // Were the lease broken while we have it, the default signal is SIGIO, which ends the process. SIGURG is
    // ignored by default. Set first; if it cannot be set, no lease is taken.
    if fcntl(file, F_SETSIG, libc::SIGURG) == -1 {
        return false;
    }
    if fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) == -1 {
        return std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    }
    // Cannot fail on a lease that was just granted, and closing the file would drop it anyway.
    fcntl(file, libc::F_SETLEASE, libc::F_UNLCK);
    false
}

/// What a file server does for a client that may write: everybody else's open has to wait.
#[cfg(test)]
pub(super) fn hold_like_a_file_server(file: &File) -> bool {
    fcntl(file, F_SETSIG, libc::SIGURG) != -1 && fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) != -1
}

fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> libc::c_int {
    // SAFETY: `F_SETSIG` and `F_SETLEASE` take an int and no pointer, so no memory of ours is touched; the
    // descriptor is open for as long as `file` is borrowed.
    unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_file_is_written_as_long_as_somebody_has_it_open_for_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, "x").unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!has_writer(&reader));
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(has_writer(&reader));
        drop(writer);
        assert!(!has_writer(&reader));
        // No lease is left behind that would make a writer wait.
        OpenOptions::new().write(true).open(&path).unwrap();
    }

    #[test]
    fn other_readers_do_not_count_as_writers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, "x").unwrap();
        let (one, two) = (File::open(&path).unwrap(), File::open(&path).unwrap());
        assert!(!has_writer(&one));
        assert!(!has_writer(&two));
    }

    #[test]
    fn where_the_kernel_cannot_tell_there_is_no_writer() {
        assert!(!has_writer(&File::open("/dev/null").unwrap()));
        assert!(!has_writer(&File::open("/proc/self/stat").unwrap()));
    }
}
