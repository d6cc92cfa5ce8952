//! Owns the conversation with Landlock. Never decides what is granted.

use std::os::fd::AsFd;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, make_bitflags,
};

use super::Grant;
use crate::error::one_line;

/// Everything that Landlock can refuse on files, as far as it concerns us. Not those of ABI 9, which would close the
/// sockets of systemd and of the journal. A kernel that knows fewer refuses fewer.
const HANDLED: ABI = ABI::V5;

/// What may be done in a part of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Files may be read, directories listed.
    Read,
    /// And programs started.
    Run,
    /// Devices may be used.
    Device,
    /// And files moved within the part, and removed.
    Take,
    /// Files and directories may be read, made, written, moved and removed.
    Write,
}

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let take = read | make_bitflags!(AccessFs::{RemoveFile | MakeReg | MakeDir | Refer});
        match self {
            Self::Read => read,
            Self::Run => read | AccessFs::Execute,
            Self::Device => read | make_bitflags!(AccessFs::{WriteFile | IoctlDev}),
            Self::Take => take,
            Self::Write => take | make_bitflags!(AccessFs::{WriteFile | Truncate | RemoveDir}),
        }
    }

    /// Whether this allows all that `other` does.
    pub fn includes(self, other: Self) -> bool {
        self.rights().contains(other.rights())
    }
}

/// Holds the calling thread, and the threads and processes that it starts, to the grants. Returns the version of
/// Landlock.
///
/// # Errors
/// Why it is not held, in plain words.
pub fn restrict(grants: &[Grant]) -> Result<i32, String> {
    enforce(grants).map_err(|error| one_line(&error.to_string()))?
}

fn enforce(grants: &[Grant]) -> Result<Result<i32, String>, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(HANDLED))?
        .create()?;
    for grant in grants {
        // Gone since it was looked at: nothing to grant.
        let Ok(place) = PathFd::new(&grant.path) else {
            continue;
        };
        let is_dir = rustix::fs::fstat(place.as_fd())
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        let mut rights = grant.access.rights();
        if !is_dir {
            rights &= AccessFs::from_file(HANDLED);
        }
        rules = rules.add_rule(PathBeneath::new(place, rights))?;
    }
    let status = rules.restrict_self()?;
    Ok(match (status.landlock, status.ruleset) {
        (LandlockStatus::NotImplemented, _) => Err(
            "this kernel has no Landlock (it came with Linux 5.13), or a filter of system calls hides it"
                .to_owned(),
        ),
        (LandlockStatus::NotEnabled, _) => Err(
            "this kernel was started without Landlock (it is missing from lsm= and CONFIG_LSM)".to_owned(),
        ),
        (LandlockStatus::Available { .. }, RulesetStatus::NotEnforced) => Err(
            "this kernel's Landlock is too old (files cannot be moved under ABI 1, Linux 5.19 has 2)"
                .to_owned(),
        ),
        (
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            },
            _,
        ) => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
    })
}

/// The version of Landlock that would hold a service on this kernel, tried on a thread that ends.
///
/// # Errors
/// Why there is none, in plain words.
pub fn kernel() -> Result<i32, String> {
    let tried = std::thread::spawn(|| restrict(&[])).join();
    tried.unwrap_or_else(|_| Err("asking the kernel came to no answer".to_owned()))
}
