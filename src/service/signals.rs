//! Owns the signals: turns them into wishes on a channel. Never acts on one, save the second wish to stop.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM, SIGINT: take nothing new, finish, go.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: scan now.
    Rescan,
}

/// Signals arrive one by one and are answered at once; more than this means that nobody listens any more.
const WISHES_IN_FLIGHT: usize = 16;

/// Starts the thread that listens for signals for the rest of the process's life.
///
/// The second signal to stop does not wait for anybody: it ends the process as if it had never been caught.
/// What was running is found by the next start's recovery.
///
/// # Errors
/// If a handler cannot be installed.
pub fn listen() -> io::Result<mpsc::Receiver<Wish>> {
    let (wishes, inbox) = mpsc::channel(WISHES_IN_FLIGHT);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut stopping = false;
            for signal in signals.forever() {
                let wish = match signal {
                    SIGHUP => Wish::Reload,
                    SIGUSR1 => Wish::Rescan,
                    _ if stopping => {
                        let _ = signal_hook::low_level::emulate_default_handler(signal);
                        continue;
                    }
                    _ => {
                        stopping = true;
                        Wish::Stop
                    }
                };
                // A full channel drops a repeated wish; the first of its kind is in there.
                let _ = wishes.try_send(wish);
            }
        })?;
    Ok(inbox)
}
