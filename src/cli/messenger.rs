//! Owns `upscaled messenger`, which this program starts for itself: it runs commands and calls webhooks for the
//! service (`news`). Never typed by people.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};

use super::args::MessengerArgs;
use super::exit::{Exit, Failure};
use super::log;
use crate::error::plain;
use crate::news;

/// Until the service has no more to tell.
pub fn messenger(args: &MessengerArgs) -> Result<Exit, Failure> {
    // It was started as /proc/self/exe, which `ps` would call "exe".
    let _ = std::fs::write("/proc/self/comm", "upscaled-news");
    keep_descriptors();
    let default = match args.quiet {
        true => log::Default::Command,
        false => log::Default::Service,
    };
    log::init(args.log_level.as_deref(), default)?;
    let ended = news::run(io::stdin().lock(), &args.file);
    log::finish();
    ended.map_err(|error| Failure::new(Exit::Io, format!("cannot read news: {}", plain(&error))))?;
    Ok(Exit::Done)
}

/// Starts it for a service. `is_teller`: the service tells what became of each job itself.
pub fn start(config: &Path, log_level: Option<&str>, is_teller: bool) -> Result<news::Messenger, Failure> {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let mut arguments = Vec::new();
    if let Some(level) = log_level {
        arguments.extend(["--log-level", level]);
    }
    if is_teller {
        arguments.push("--quiet");
    }
    // Not by its name: a daemon whose file was replaced starts itself and not its successor.
    news::Messenger::start(&PathBuf::from("/proc/self/exe"), &config, &arguments).map_err(|error| {
        let why = plain(&error);
        Failure::new(
            Exit::Temporary,
            format!("cannot start the messenger: {why}; try again"),
        )
    })
}

/// Files that somebody left open when the service was started are not for the commands that run here.
fn keep_descriptors() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str().and_then(number));
    for number in numbers.filter(|number| *number > 2) {
        // SAFETY: borrowed for one call that changes a flag; a number that was closed meanwhile is refused by the kernel.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

fn number(name: &str) -> Option<i32> {
    name.parse().ok()
}

/// Whether this is what was started.
pub fn is_meant(first: &OsStr) -> bool {
    first == news::COMMAND
}
