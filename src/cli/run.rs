//! Owns `upscaled run`: the daemon in the foreground.

use std::path::Path;
use std::sync::Arc;

use super::exit::{Exit, Failure};
use crate::service;

/// Runs until a signal ends it.
pub fn run(named: Option<&Path>, log_level: Option<&str>) -> Result<Exit, Failure> {
    let (path, config) = super::load_to_watch(named)?;
    let catalogue = Arc::new(super::daemon_catalogue(&config));
    // Also without hooks: a reload may bring some, and a service that has locked itself in starts no programs.
    let messenger = super::messenger::start(&path, log_level, false)?;
    // Whatever the sandbox must not hold is started above.
    super::confine::confine(&config, &path);
    let ended = super::block_on(async { Ok(service::run(config, path, catalogue, messenger).await?) });
    super::log::finish();
    ended?;
    Ok(Exit::Done)
}
