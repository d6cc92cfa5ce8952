//! Owns running a command for an event: its environment, its time limit, its end with everything that it started.
//! Never uses a shell.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Delivery, Event};
use crate::clock::Clock;
use crate::config::Command;
use crate::error::plain;

/// Exit code of a command that wants to be run again: sysexits' EX_TEMPFAIL, as for our own commands.
const TRY_AGAIN: i32 = 75;

/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// From SIGTERM to SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Variables of ours that a command must not find from somewhere else.
const OURS: &str = "UPSCALED_";

/// Runs the command to its end. After `timeout`, or when `is_over`, it is killed with its whole process group.
pub fn run(
    command: &Command,
    event: &Event,
    config: &Path,
    timeout: Duration,
    clock: &dyn Clock,
    is_over: impl Fn() -> bool,
) -> Delivery {
    let shown = command.program.display();
    let mut child = match spawn(command, event, config) {
        Ok(child) => child,
        Err(error) => return not_started(command, &error),
    };
    match wait(&mut child, timeout, clock, is_over) {
        Ok(Some(status)) => match status.code() {
            Some(0) => Delivery::Done,
            Some(TRY_AGAIN) => Delivery::Again {
                why: format!("{shown} asks to be run again (exit code {TRY_AGAIN})"),
                after: None,
                was_heard: true,
            },
            _ => Delivery::Never(format!("{shown} {}; its own words stand above", ended(status))),
        },
        Ok(None) => Delivery::Never(format!(
            "{shown} still ran after {} s and was killed; raise timeout in [hooks], or let it start something and return",
            timeout.as_secs()
        )),
        Err(error) => Delivery::Never(format!("{shown} cannot be waited for: {}", plain(&error))),
    }
}

fn spawn(command: &Command, event: &Event, config: &Path) -> io::Result<Child> {
    let mut process = std::process::Command::new(&command.program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(OURS.as_bytes()) {
            process.env_remove(name);
        }
    }
    // What it says belongs to the log, wherever that goes.
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    process
        .args(&command.arguments)
        .envs(event.environment())
        // So that `upscaled jobs show $UPSCALED_JOB` asks the right ledger.
        .env("UPSCALED_CONFIG", config)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
}

fn not_started(command: &Command, error: &io::Error) -> Delivery {
    let why = format!(
        "{} cannot be started: {}",
        command.program.display(),
        plain(error)
    );
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Delivery::Never(format!("{why}; correct [hooks] or make the file executable"))
        }
        // Too many processes, too little memory.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Delivery::Again {
            why,
            after: None,
            was_heard: false,
        },
        _ => Delivery::Never(why),
    }
}

/// Its end; `None` if it had to be killed.
fn wait(
    child: &mut Child,
    timeout: Duration,
    clock: &dyn Clock,
    is_over: impl Fn() -> bool,
) -> io::Result<Option<ExitStatus>> {
    let begun = clock.monotonic();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let is_late = clock.monotonic().since(begun) >= timeout;
        if is_late || is_over() {
            kill(child, if is_late { LAST_WORDS } else { Duration::ZERO }, clock)?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Asks the group to end, and ends it. The leader is not waited for before that, so its number is still its own.
fn kill(child: &mut Child, last_words: Duration, clock: &dyn Clock) -> io::Result<()> {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return child.kill();
    };
    let begun = clock.monotonic();
    // An error: nobody is left.
    let _ = kill_process_group(group, Signal::TERM);
    while clock.monotonic().since(begun) < last_words && leader_runs(group) {
        std::thread::sleep(LOOK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().map(drop)
}

/// Whether the group's leader has not ended yet. Who is left without it gets no time of its own.
fn leader_runs(leader: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", leader.as_raw_nonzero()));
    let state = stat
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('Z')));
    state == Some(false)
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
