//! Owns asking this program in a process of its own: what crashes there, or takes all memory, takes nobody along. Never
//! knows what is asked.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::clock::SystemClock;
use crate::progress::Cancel;

/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// What starts `program` with one of its commands for itself.
pub fn command(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command
        .arg0(env!("CARGO_PKG_NAME"))
        .arg(name)
        // It is no service, and must not be taken for this one.
        .env_remove("NOTIFY_SOCKET")
        // Kept open for as long as somebody waits: see [`end_with_who_asked`].
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// How it ended and what it said, which must fit into a pipe's buffer. Kills what takes longer than `patience`, and what
/// nobody wants any more.
///
/// # Errors
/// If it cannot be started.
pub fn answer(
    command: &mut Command,
    patience: Duration,
    cancel: &Cancel,
) -> io::Result<(ExitStatus, String)> {
    let mut child = command.spawn()?;
    let status = wait(&mut child, patience, cancel)?;
    let answer = child.stdout.take().map(io::read_to_string).transpose()?;
    Ok((status, answer.unwrap_or_default()))
}

fn wait(child: &mut Child, patience: Duration, cancel: &Cancel) -> io::Result<ExitStatus> {
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    // [`Child::try_wait`] leaves it open, which is what keeps the other process alive.
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if cancel.is_cancelled() || clock.monotonic().since(begun) > patience {
            child.kill()?;
            return child.wait();
        }
        std::thread::sleep(LOOK);
    }
}

/// Has this process, which answers, end with the one that asked, however that ends: what takes minutes and a card's
/// memory is not done for nobody.
pub fn end_with_who_asked() {
    let waiting = std::thread::Builder::new().name("asker".to_owned()).spawn(|| {
        // Nothing is ever written: the end of the pipe is the end of the other process.
        let _ = io::stdin().read(&mut [0]);
        // Without the destructors of libraries that are at work on another thread.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
    if let Err(error) = waiting {
        tracing::debug!("cannot watch who asked: {}", crate::error::plain(&error));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn script(dir: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn it_is_told_its_command_and_nothing_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "echo \"$1 ${NOTIFY_SOCKET:-none}\"");
        let (status, said) = answer(
            command(&program, "examine").env("OTHER", "1"),
            Duration::from_secs(60),
            &Cancel::default(),
        )
        .unwrap();
        assert!(status.success());
        assert_eq!(said, "examine none\n");
    }

    #[test]
    fn what_hangs_and_what_nobody_wants_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "exec sleep 600");
        let ask = |patience, cancel: &Cancel| answer(&mut command(&program, "x"), patience, cancel).unwrap();
        let (status, _) = ask(Duration::from_millis(50), &Cancel::default());
        assert!(!status.success());
        let cancel = Cancel::default();
        cancel.cancel();
        let (status, _) = ask(Duration::from_secs(600), &cancel);
        assert!(!status.success());
    }
}
