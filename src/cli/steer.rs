//! Owns `upscaled pause`, `resume` and `rescan`: wishes that are left in the ledger, where a running daemon finds them
//! within a second and a stopped one at its next start. Never waits for what it asked.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::jobs::open;
use super::out::Out;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::queue::{InstanceLock, Pause};
use crate::status::{PausedDocument, clock_time};

/// What `pause` and `resume` print as JSON.
#[derive(Debug, Serialize)]
struct PauseReport {
    paused: Option<PausedDocument>,
    /// Whether a daemon runs.
    running: bool,
}

/// What `rescan` prints as JSON.
#[derive(Debug, Serialize)]
struct RescanReport {
    /// Whether a daemon was asked. Without one there is nobody to ask, and nothing to do: its start scans.
    requested: bool,
}

/// Pauses the queue.
pub fn pause(named: Option<&Path>, time: Option<Duration>, json: bool) -> Result<Exit, Failure> {
    let (_, config) = super::load(named)?;
    let until = time.and_then(|time| SystemClock::shared().wall().checked_add(time).ok());
    let pause = super::block_on(async {
        let store = open(&config).await?;
        let pause = store.pause(until).await;
        store.close().await;
        Ok(pause?)
    })?;
    let until = pause.until.map_or_else(
        || "until `upscaled resume`".to_owned(),
        |until| {
            let now = SystemClock::shared().local();
            let time = clock_time(until, &now);
            format!("until {time} or `upscaled resume`")
        },
    );
    tell(
        &config,
        json,
        Some(pause),
        &format!("paused {until}"),
        "a running job is finished",
    )
}

/// Ends a pause.
pub fn resume(named: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let (_, config) = super::load(named)?;
    let was_paused = super::block_on(async {
        let store = open(&config).await?;
        let was_paused = store.resume().await;
        store.close().await;
        Ok(was_paused?)
    })?;
    let words = if was_paused {
        "resumed"
    } else {
        "it was not paused"
    };
    tell(&config, json, None, words, "")
}

/// Has all folders scanned.
pub fn rescan(named: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let (_, config) = super::load(named)?;
    let requested = is_running(&config);
    if requested {
        super::block_on(async {
            let store = open(&config).await?;
            let asked = store.ask_rescan().await;
            store.close().await;
            Ok(asked?)
        })?;
    }
    let mut out = Out::stdout();
    if json {
        out.json(&RescanReport { requested })?;
    } else if requested {
        out.line("all folders are scanned now")?;
    } else {
        out.line("no service runs; its next start scans all folders")?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn tell(
    config: &Config,
    json: bool,
    pause: Option<Pause>,
    words: &str,
    aside: &str,
) -> Result<Exit, Failure> {
    let running = is_running(config);
    let mut out = Out::stdout();
    if json {
        let paused = pause.map(|Pause { since, until }| PausedDocument { since, until });
        out.json(&PauseReport { paused, running })?;
    } else {
        let aside = match running {
            true => aside,
            false => "no service runs, its next start keeps to it",
        };
        let separator = if aside.is_empty() { "" } else { "; " };
        out.line(format_args!("{words}{separator}{aside}"))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn is_running(config: &Config) -> bool {
    InstanceLock::holder(&config.state_dir).is_some()
}
