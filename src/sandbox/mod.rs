//! Owns what the service may touch once it runs: what it needs (`needs`), how wide a grant must be so that a folder may
//! go and come back (`ground`), and the kernel's word on it (`domain`, Landlock). Never opens anybody's file.
//!
//! Decoders read pictures of strangers. One that is tricked finds nothing here but the pictures: no keys of the person,
//! no other folders. What a rule is tied to, and why the folder that *holds* a watched one is granted, is decision 0014.

mod domain;
mod ground;
mod needs;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, accessat, openat};

use crate::config::{Config, SandboxMode};

pub use domain::{Access, kernel};
pub use needs::Need;

/// A part of the file system and what may be done in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A file, or a directory with everything below it. Real: no links in it.
    pub path: PathBuf,
    /// What may be done there.
    pub access: Access,
}

/// How far the kernel holds this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is held to its grants.
    InForce {
        /// The version of Landlock that holds it.
        abi: i32,
    },
    /// Somebody switched it off.
    Off,
    /// It cannot be held, and why.
    Unavailable(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce { abi } => write!(f, "in force (Landlock ABI {abi})"),
            Self::Off => f.write_str("off by the configuration"),
            Self::Unavailable(why) => write!(f, "not in force: {why}"),
        }
    }
}

/// A process has one domain, which it cannot leave; so does this.
static DOMAIN: OnceLock<Domain> = OnceLock::new();

#[derive(Debug)]
struct Domain {
    state: State,
    grants: Vec<Grant>,
}

/// Holds this process, and whatever it starts, to what the configuration needs; once, for the rest of its life. Folders
/// that the service would create must be there already. `library`: ONNX Runtime, where it is known by a path.
///
/// To be called before any other thread exists: the kernel binds the calling thread and those that it starts.
pub fn enter(config: &Config, config_path: &Path, library: Option<&Path>) -> &'static State {
    let domain = DOMAIN.get_or_init(|| {
        let mut grants = Vec::new();
        let state = match config.sandbox {
            SandboxMode::Off => State::Off,
            SandboxMode::Auto => {
                grants = needs::system();
                grants.extend(places(config, config_path, library));
                grants.extend(granted(&needs::trash(config)));
                match domain::restrict(&grants) {
                    Ok(abi) => State::InForce { abi },
                    Err(why) => State::Unavailable(why),
                }
            }
        };
        Domain { state, grants }
    });
    &domain.state
}

/// What a service with this configuration is granted beside the system; for those who restrict it by other means.
pub fn places(config: &Config, config_path: &Path, library: Option<&Path>) -> Vec<Grant> {
    granted(&needs::of(config, config_path, library))
}

/// What there is to grant for these needs.
fn granted(needs: &[Need]) -> Vec<Grant> {
    let grants = needs.iter().flat_map(|need| {
        need.grounds().into_iter().map(|path| Grant {
            path,
            access: need.access,
        })
    });
    grants.collect()
}

/// How far this process is held; `None` before [`enter`].
pub fn state() -> Option<&'static State> {
    DOMAIN.get().map(|domain| &domain.state)
}

fn in_force() -> Option<&'static Domain> {
    DOMAIN
        .get()
        .filter(|domain| matches!(domain.state, State::InForce { .. }))
}

/// What of a new configuration lies outside of what was granted, each as `what path`. Empty where nothing holds us.
pub fn lacking(config: &Config, config_path: &Path, library: Option<&Path>) -> Vec<String> {
    let Some(domain) = in_force() else {
        return Vec::new();
    };
    let lacks = |need: &Need| !need.is_covered(&domain.grants);
    let told = |need: Need| format!("{} {}", need.what, need.path.display());
    let mut needs = needs::of(config, config_path, library);
    needs.extend(needs::trash(config));
    needs.into_iter().filter(lacks).map(told).collect()
}

/// Whether the kernel keeps this process from a directory that the user may enter: it is another one than the one that
/// was granted, recreated or mounted since. Only a new process can be granted that.
pub fn keeps_from(dir: &Path) -> bool {
    use rustix::fs::Access as May;
    if in_force().is_none() {
        return false;
    }
    let opened = openat(
        CWD,
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    // Landlock has no say in `access`: the two differ only where the domain is the reason.
    matches!(opened, Err(rustix::io::Errno::ACCESS))
        && accessat(CWD, dir, May::READ_OK | May::EXEC_OK, AtFlags::EACCESS).is_ok()
}
