//! Owns what is told to other programs when something happened: the event, the commands and webhooks that hear of it,
//! and the process that brings it to them. Never decides what happens to a job and never makes the queue wait.
//!
//! ```text
//! service ──▶ Post ──pipe, a line each──▶ messenger ──▶ commands, one after the other
//!             (256 lines, then dropped)             └─▶ webhooks, each in order (4096 news, then the oldest go)
//! ```
//!
//! The messenger is another process of this program (`upscaled messenger`), for two reasons: the service locks itself
//! out of running programs soon after its start, and TLS and HTTP stay out of the process that decodes the pictures of
//! strangers. It reads the configuration file itself. Over the pipe come facts and nothing else, so that whoever took
//! over the service can tell lies but run nothing (decision 0013).

mod backlog;
mod command;
mod event;
mod messenger;
mod post;
mod webhook;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use event::{Event, Tally};
pub use messenger::run;
pub use post::{Messenger, Post};

/// The hidden command that is the messenger.
pub const COMMAND: &str = "messenger";

/// How long the messenger goes on delivering when the service ends: long enough for a healthy server, short enough for
/// systemd's TimeoutStopSec (60 s) after a `shutdown_grace` of 20 s.
const FAREWELL: Duration = Duration::from_secs(10);

/// A line on the pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Tell this.
    Tell(Box<Event>),
    /// Read the configuration again.
    Reload,
}

/// What became of one try to tell an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Delivery {
    /// It is told.
    Done,
    /// Not now.
    Again {
        /// What is in the way.
        why: String,
        /// When the other side wants to hear it again.
        after: Option<Duration>,
        /// Whether the other side was there and did not take it, so that it may be this event's fault.
        was_heard: bool,
    },
    /// Not like this.
    Never(String),
}

#[cfg(test)]
mod tests;
