//! Owns what is known of a directory without looking at its files: whether it is the one that it was, on which mount
//! and which kind of file system it lies, and whether it holds results. Never creates anything: a folder that is
//! missing may be a mount that is not there yet.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::error::{one_line, plain};

/// What every output folder has in it, whoever's it is.
const OURS: &str = ".upscaled";

/// What tells an input folder from another one that was put in its place: a deleted and recreated directory, or
/// a mount that came or went. Device and inode alone do not do: an inode number is free again at once, and a stick
/// that was pulled and plugged has the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootId {
    dev: u64,
    ino: u64,
    /// When it was made, and by which mount it is seen, where the system tells.
    born: Option<SystemTime>,
    mount: Option<u64>,
}

/// Why an input folder cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input folder {} {detail}", one_line(&input.to_string_lossy()))]
pub struct Offline {
    /// The input folder.
    pub input: PathBuf,
    /// What is wrong and what to do, in words that continue the sentence.
    pub detail: String,
}

impl Offline {
    pub(super) fn new(input: &Path, error: &io::Error) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::NotFound => "is missing; mount or create it, every scan looks for it".to_owned(),
            io::ErrorKind::NotADirectory => "is not a directory; put a directory there".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "cannot be read: permission denied; let the service's user list it".to_owned()
            }
            _ => format!("cannot be read: {}; every scan tries again", plain(error)),
        };
        Self {
            input: input.to_owned(),
            detail,
        }
    }
}

impl RootId {
    /// Looks at the input folder itself, which may be a symlink to a directory.
    ///
    /// # Errors
    /// It is missing, forbidden or no directory.
    pub fn read(input: &Path) -> Result<Self, Offline> {
        let meta = input.metadata().map_err(|error| Offline::new(input, &error))?;
        if !meta.is_dir() {
            return Err(Offline::new(input, &io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born: meta.created().ok(),
            mount: mount(input),
        })
    }

    /// By which mount it is seen.
    pub fn mount(&self) -> Option<u64> {
        self.mount
    }

    fn is_same_directory(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// The mount by which a directory is seen, where the system tells. Not its device: btrfs has one for each subvolume,
/// and a directory that is mounted in a second place has the same in both.
pub fn mount(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statx(CWD, dir, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    // An older kernel answers without it.
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// Whether results are written into this directory, by this service or another one.
pub fn holds_results(dir: &Path) -> bool {
    dir.join(OURS).symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// Refuses an input folder that is its own output folder, or lies in it, by way of links or mounts: by their letters
/// the configuration has told them apart already. A part of the output that is mounted elsewhere is not noticed.
///
/// # Errors
/// [`Offline`], which says so.
pub fn refuse_own_output(input: &Path, output: &Path) -> Result<(), Offline> {
    let (Ok(output), Ok(real)) = (RootId::read(output), input.canonicalize()) else {
        return Ok(());
    };
    let is_output = |dir: &Path| RootId::read(dir).is_ok_and(|id| id.is_same_directory(&output));
    if real.ancestors().any(is_output) {
        return Err(Offline {
            input: input.to_owned(),
            detail: "leads into its own output folder, so that results would be upscaled again; correct the link or \
                     the mount"
                .to_owned(),
        });
    }
    Ok(())
}

/// The kind of file system `dir` lies on, if it is one on which other hosts or a user-space process change files
/// without an event: such folders are scanned. `None` for local ones, and where the system does not say.
///
/// FUSE counts, though mergerfs and ntfs-3g are local: changes beside the mount give no event, and virtiofs
/// calls itself FUSE.
pub fn network_kind(dir: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(dir).ok()?;
    // The type's width and sign depend on the architecture; the numbers are 32 bits.
    kind_of(stat.f_type as u64 & 0xffff_ffff)
}

fn kind_of(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517B => "smb",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x00C3_6400 => "ceph",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x7375_7245 => "coda",
        0x786F_4256 => "vboxsf",
        0x0BD0_0BD0 => "lustre",
        0x7461_636F => "ocfs2",
        0x0116_1970 => "gfs2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_made_anew_is_another_one_even_under_the_same_inode_number() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        let mut seen = Vec::new();
        for _ in 0..3 {
            std::fs::create_dir(&input).unwrap();
            let id = RootId::read(&input).unwrap();
            assert_eq!(RootId::read(&input).unwrap(), id);
            assert!(!seen.contains(&id), "{id:?} was seen before");
            seen.push(id);
            std::fs::remove_dir(&input).unwrap();
        }
    }

    #[test]
    fn a_link_into_the_own_output_is_refused_however_deep() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("out/sub/deep")).unwrap();
        std::fs::create_dir(at("in")).unwrap();
        for (link, to) in [("same", "out"), ("below", "out/sub/deep"), ("other", "in")] {
            std::os::unix::fs::symlink(at(to), at(link)).unwrap();
        }
        std::os::unix::fs::symlink(at("out"), at("out-link")).unwrap();
        for input in ["same", "below"] {
            for output in ["out", "out-link"] {
                let error = refuse_own_output(&at(input), &at(output)).unwrap_err();
                assert!(error.to_string().contains("leads into its own output"), "{error}");
            }
        }
        for input in ["in", "other", "missing"] {
            refuse_own_output(&at(input), &at("out")).unwrap();
        }
        refuse_own_output(&at("in"), &at("missing")).unwrap();
    }

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(kind_of(0xFE53_4D42), Some("smb2"));
        assert_eq!(kind_of(0x6573_5546), Some("fuse"));
        for local in [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E, 0x794C_7630] {
            assert_eq!(kind_of(local), None);
        }
    }
}
