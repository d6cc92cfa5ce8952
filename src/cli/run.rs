//! Owns `upscaled run`: the daemon in the foreground.

use std::path::Path;

use super::exit::{Exit, Failure};
use crate::service;

/// Runs until a signal ends it.
pub fn run(named: Option<&Path>) -> Result<Exit, Failure> {
    let (path, config) = super::load(named)?;
    super::block_on(async { Ok(service::run(config, path).await?) })?;
    Ok(Exit::Done)
}
