//! Owns `upscaled run`: the daemon in the foreground.

use std::path::Path;
use std::sync::Arc;

use super::exit::{Exit, Failure};
use crate::service;

/// Runs until a signal ends it.
pub fn run(named: Option<&Path>) -> Result<Exit, Failure> {
    let (path, config) = super::load(named)?;
    let catalogue = Arc::new(super::daemon_catalogue(&config));
    let ended = super::block_on(async { Ok(service::run(config, path, catalogue).await?) });
    super::log::finish();
    ended?;
    Ok(Exit::Done)
}
