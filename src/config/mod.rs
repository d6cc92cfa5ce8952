//! Owns the configuration: what was written (`file`) and what it means (`resolved`). Never
//! opens anything but the configuration file, and looks at folders in `links` alone.
//!
//! `place` finds the file, `file` knows its keys, `read` types their values, `values` spells them, `check` looks at what must
//! hold between them, `links` at where the folders really are, `schedule` knows quiet hours, `news` is what is told to whom,
//! `providers` what computes, `encoding` is how results are written,
//! `template` and `naming` name results, `show` writes it all out again.

mod background;
mod check;
mod encoding;
mod file;
mod links;
mod naming;
mod news;
mod place;
mod providers;
mod read;
pub mod resolved;
mod schedule;
mod show;
pub mod template;
pub mod values;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use background::Background;
pub use check::{Contradiction, check_tiling};
pub use encoding::{AnimationFormat, EncodeSettings, JpegChroma, PngEffort, TiffCompression, WebpMode};
pub use naming::{planned_output, with_actual_format};
pub use news::{Command, Happening, HooksConfig, MetricsConfig, Secret, Webhook, WebhookFormat};
pub use place::{locate, places};
pub use providers::{DeviceKind, PluginConfig, Provider, ProviderChoices};
pub use resolved::*;
pub use schedule::Schedule;
pub use template::*;
pub use values::Word;

use crate::error::{one_line, plain};

/// The starter file: every key with its default and its reason.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Largest configuration file, bytes: 256 folders with every key take a third of it. Stops a device or a
/// picture given by mistake before it fills the memory.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why there is no configuration. One line for each problem: `file: key: what is wrong; what to do`.
#[derive(Debug)]
pub enum ConfigError {
    /// No file of that name.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it, each `key: what; what to do` on one line. Never empty.
        problems: Vec<String>,
    },
}

impl ConfigError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path } | Self::Read { path, .. } | Self::Invalid { path, .. } => path,
        }
    }

    /// What is wrong, one line each, without the file's name. Never empty.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Missing { .. } => {
                vec!["there is no such file; `upscaled config init` writes a starter file".to_owned()]
            }
            Self::Read { source, .. } => {
                let remedy = match source.kind() {
                    io::ErrorKind::PermissionDenied => "let this user read it",
                    io::ErrorKind::IsADirectory => "name a file in it",
                    _ => "check the path and the disk",
                };
                vec![format!("cannot read it: {}; {remedy}", plain(source))]
            }
            Self::Invalid { problems, .. } => problems.clone(),
        }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = one_line(&self.path().display().to_string());
        for (index, problem) in self.problems().iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{path}: {}", one_line(problem))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Missing { .. } | Self::Invalid { .. } => None,
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems of the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConfigError::Missing {
                    path: path.to_path_buf(),
                });
            }
            Err(source) => {
                return Err(ConfigError::Read {
                    path: path.to_path_buf(),
                    source,
                });
            }
            Ok(_) => {}
        }
        if bytes.len() as u64 > FILE_MAX_BYTES {
            return Err(invalid(
                path,
                vec!["is larger than 1 MiB, so it is no configuration; name the right file".to_owned()],
            ));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, path),
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count();
                let problem = format!("line {line}: is not UTF-8; save the file as UTF-8");
                Err(invalid(path, vec![problem]))
            }
        }
    }

    /// Reads the text of a configuration file that lies, or would lie, at `path`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all problems of the text; [`ConfigError::Read`] when `path` is relative
    /// and the working directory is gone.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let absolute = std::path::absolute(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let root = text
            .parse::<toml::Table>()
            .map_err(|error| invalid(path, vec![syntax(text, &error)]))?;
        file::resolve(&root, base).map_err(|problems| invalid(path, problems))
    }
}

fn invalid(path: &Path, problems: Vec<String>) -> ConfigError {
    ConfigError::Invalid {
        path: path.to_path_buf(),
        problems,
    }
}

/// What the TOML reader says, with the place as an editor counts it.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return format!("{message}; correct it");
    };
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or(before).chars().count();
    format!("line {line}, column {column}: {message}; correct it")
}

#[cfg(test)]
mod tests;
