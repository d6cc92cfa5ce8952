//! Owns the service's side of the pipe: starting the messenger, handing it events without ever waiting for it, noticing
//! its death, and its end. Never reads the configuration.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{COMMAND, Event, FAREWELL, Line};
use crate::error::plain;

/// Lines that wait for the pipe. The messenger takes them at once; if it does not, it hangs, and more would not help.
const LINES_MAX: usize = 256;

/// How much longer than [`FAREWELL`] the messenger's end is waited for.
const FAREWELL_SLACK: Duration = Duration::from_secs(3);

/// The messenger's process, before there are threads that speak with it: a service that locks itself in does so in
/// between, for itself and every thread to come.
#[derive(Debug)]
pub struct Messenger {
    child: Child,
}

impl Messenger {
    /// Starts `program` (this one) as the messenger for the configuration file `config`, absolute. `arguments` go
    /// before the command's own.
    ///
    /// In a process group of its own: Ctrl-C in a terminal is for the service, which then ends the messenger in order.
    ///
    /// # Errors
    /// The system starts no process.
    pub fn start(program: &Path, config: &Path, arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .arg0(env!("CARGO_PKG_NAME"))
            .arg(COMMAND)
            .args(arguments)
            .arg("--")
            .arg(config)
            // It is no service, and neither is what it starts.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .process_group(0)
            .stdin(Stdio::piped())
            // Nothing is said there: that it closes tells of its end.
            .stdout(Stdio::piped());
        Ok(Self {
            child: command.spawn()?,
        })
    }
}

/// Where events are handed in.
#[derive(Debug, Default)]
pub struct Post {
    lines: Mutex<Option<SyncSender<Line>>>,
    ended: Mutex<Option<Receiver<()>>>,
    child: Option<Arc<Mutex<Child>>>,
    is_closing: Arc<AtomicBool>,
    dropped: AtomicU64,
}

impl Post {
    /// Nobody is told anything.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Starts the two threads that speak with the messenger.
    ///
    /// # Errors
    /// The system grants no thread.
    pub fn open(messenger: Messenger) -> io::Result<Self> {
        let mut child = messenger.child;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = sync_channel(LINES_MAX);
        let (end, ended) = channel();
        let child = Arc::new(Mutex::new(child));
        let is_closing = Arc::new(AtomicBool::new(false));
        if let Some(stdin) = stdin {
            thread::Builder::new()
                .name("news-out".to_owned())
                .spawn(move || write(stdin, &lines))?;
        }
        let (watched, quiet) = (Arc::clone(&child), Arc::clone(&is_closing));
        thread::Builder::new().name("news-end".to_owned()).spawn(move || {
            if let Some(mut stdout) = stdout {
                let _ = io::copy(&mut stdout.by_ref(), &mut io::sink());
            }
            // Its stdout is closed, so this does not take long.
            let status = lock(&watched).wait();
            if !quiet.load(Ordering::Acquire) {
                tracing::error!(
                    "the messenger ended ({}); hooks and webhooks are silent until the service is restarted",
                    status.map_or_else(|error| plain(&error), |status| status.to_string())
                );
            }
            drop(end);
        })?;
        Ok(Self {
            lines: Mutex::new(Some(sender)),
            ended: Mutex::new(Some(ended)),
            child: Some(child),
            is_closing,
            dropped: AtomicU64::new(0),
        })
    }

    /// Has an event told. Never waits.
    pub fn tell(&self, event: Event) {
        self.send(Line::Tell(Box::new(event)));
    }

    /// Has the configuration read again.
    pub fn reload(&self) {
        self.send(Line::Reload);
    }

    /// Events that were dropped because the messenger did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, line: Line) {
        let lines = lock(&self.lines);
        match lines.as_ref().map(|lines| lines.try_send(line)) {
            None | Some(Ok(())) => {}
            Some(Err(why)) => {
                // Its end is told where it is noticed.
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 && matches!(why, TrySendError::Full(_)) {
                    tracing::error!(
                        "the messenger takes no more news, they are dropped; restart the service"
                    );
                }
            }
        }
    }

    /// Ends the messenger: what waits is told within a bounded time, then it is killed. Blocks.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        // The writer ends behind the last line, and its end of the pipe with it.
        drop(lock(&self.lines).take());
        let Some(ended) = lock(&self.ended).take() else {
            return;
        };
        let waited = ended.recv_timeout(FAREWELL + FAREWELL_SLACK);
        if let (Err(std::sync::mpsc::RecvTimeoutError::Timeout), Some(child)) = (waited, &self.child) {
            tracing::warn!("the messenger does not end; it is killed, and news may be lost");
            // Not held by the thread that waits: that one still reads.
            if let Ok(mut child) = child.try_lock() {
                let _ = child.kill();
            }
        }
    }
}

impl Drop for Post {
    /// A service that did not begin, or ended early: its messenger's end is no news.
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

/// Writes line by line until there are no more, or the messenger is gone.
fn write(mut pipe: ChildStdin, lines: &Receiver<Line>) {
    for line in lines {
        let Ok(mut text) = serde_json::to_vec(&line) else {
            tracing::error!("an event cannot be written as JSON; please report it");
            continue;
        };
        text.push(b'\n');
        // Its end is told by the other thread.
        if pipe.write_all(&text).is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
