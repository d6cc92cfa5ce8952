//! Owns how wide a grant must be. Landlock ties a rule to what lies at a path at that moment: the same directory made
//! anew, or a disk mounted upon it, is not covered, while the directory that holds it covers both (tried, decision 0014).
//! Never grants what is everybody's: a home, `/tmp`, the system.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Too much to grant for the sake of one folder in it.
const WIDE: [&str; 22] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
    "/var/home",
    "/var/lib",
    "/var/tmp",
    "/run/user",
];

/// Where each directory is somebody's home.
const HOMES: [&str; 2] = ["/home", "/var/home"];

/// Where people mount what comes and goes.
const MOUNTS: [&str; 3] = ["/mnt", "/media", "/run/media"];

/// Beginnings of the names of file systems that go away when another machine or a program does.
const PASSING: [&str; 9] = [
    "nfs", "cifs", "smb", "9p", "virtiofs", "fuse", "ceph", "afs", "autofs",
];

/// The real path, where there is something.
pub fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// Whether a directory is more than anybody's folder.
pub fn is_wide(dir: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    WIDE.iter().any(|wide| dir == Path::new(wide))
        || HOMES.iter().any(|homes| dir.parent() == Some(Path::new(homes)))
        || home.is_some_and(|home| dir == home || real(&home).is_some_and(|home| dir == home))
}

/// A directory that stays what it is.
pub fn fixed(dir: &Path) -> Vec<PathBuf> {
    real(dir).into_iter().collect()
}

/// A file that programs replace by renaming another onto it, and what lies beside it: its directory, or the file alone
/// where that is too wide. Both the name's and the real one, should the name be a link.
pub fn replaced(file: &Path) -> Vec<PathBuf> {
    let mut grounds = Vec::new();
    for file in [Some(file.to_owned()), real(file)].into_iter().flatten() {
        let dir = file.parent().and_then(real);
        match dir.filter(|dir| !is_wide(dir)) {
            Some(dir) => grounds.push(dir),
            None => grounds.extend(real(&file)),
        }
    }
    grounds.dedup();
    grounds
}

/// A folder that may be made anew, or mounted now or later: itself, and what holds it.
pub fn returning(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    grounds_of(dir, &mounts)
}

fn grounds_of(dir: &Path, mounts: &[u8]) -> Vec<PathBuf> {
    // Of a missing folder what is there of its path: that may be the mount point.
    let Some((nearest, found)) = dir.ancestors().find_map(|path| Some((path, real(path)?))) else {
        return Vec::new();
    };
    let mut grounds = Vec::new();
    if nearest == dir || !is_wide(&found) {
        grounds.push(found.clone());
    }
    let comes_back = passing_mount(&found, mounts).unwrap_or(found);
    let holder = comes_back.parent().filter(|holder| !is_wide(holder));
    grounds.extend(holder.map(Path::to_owned));
    grounds
}

/// Where the file system of a path, or of what is there of it, is mounted.
pub fn mount_point(path: &Path) -> Option<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let found = path.ancestors().find_map(real)?;
    mount_of(&found, &mounts).map(|(point, _)| point)
}

fn mount_of<'m>(path: &Path, mounts: &'m [u8]) -> Option<(PathBuf, &'m [u8])> {
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(mount);
    mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.as_os_str().len())
}

/// The mount that a path lies on, if it is one that goes away and comes back.
fn passing_mount(path: &Path, mounts: &[u8]) -> Option<PathBuf> {
    let (point, kind) = mount_of(path, mounts)?;
    let passes = PASSING.iter().any(|name| kind.starts_with(name.as_bytes()))
        || MOUNTS
            .iter()
            .any(|place| point.starts_with(place) && point != Path::new(place));
    passes.then_some(point)
}

/// Mount point and kind of file system in a line of `mountinfo`: `36 35 98:0 / /mnt rw,noatime master:1 - ext3 …`.
fn mount(line: &[u8]) -> Option<(PathBuf, &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.by_ref().nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some((PathBuf::from(unescaped(point)), kind))
}

/// A path as the kernel writes it: blanks and backslashes as three octal digits.
fn unescaped(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

/// Whether the path lies at or below one that was granted, as far as it is there now.
pub fn is_below(path: &Path, granted: &Path) -> bool {
    let Some((nearest, found)) = path.ancestors().find_map(|path| Some((path, real(path)?))) else {
        return false;
    };
    let rest = path.strip_prefix(nearest).unwrap_or(Path::new(""));
    let whole = if rest.as_os_str().as_bytes().is_empty() {
        found
    } else {
        found.join(rest)
    };
    whole.starts_with(granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_granted_with_what_holds_it_unless_that_is_everybodys() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().canonicalize().unwrap();
        let input = site.join("in");
        std::fs::create_dir(&input).unwrap();
        assert_eq!(grounds_of(&input, b""), [input.clone(), site.clone()]);
        // Missing: it may come into being, and what is there of its path may be a mount point.
        let late = grounds_of(&site.join("in/late"), b"");
        assert_eq!(late, [input.clone(), site.clone()]);
        assert_eq!(
            grounds_of(Path::new("/no-such-folder"), b""),
            Vec::<PathBuf>::new()
        );
        assert_eq!(grounds_of(&site, b"").first(), Some(&site));
        assert!(!grounds_of(&site, b"").contains(&PathBuf::from("/tmp")));
    }

    #[test]
    fn a_folder_on_a_share_is_granted_with_what_holds_the_mount() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().canonicalize().unwrap();
        let input = site.join("nas/a b/in");
        std::fs::create_dir_all(&input).unwrap();
        let line = |kind: &str| {
            let point = site.join("nas").display().to_string();
            format!("22 1 0:2 / / rw - ext4 /dev/a rw\n36 22 0:5 / {point} rw shared:1 - {kind} nas:/x rw\n")
        };
        assert_eq!(
            grounds_of(&input, line("nfs4").as_bytes()),
            [input.clone(), site.clone()]
        );
        assert_eq!(
            grounds_of(&input, line("ext4").as_bytes()),
            [input.clone(), site.join("nas/a b")]
        );
        let (point, kind) = mount(br"36 35 98:0 / /mnt/a\040b rw - cifs //nas/x rw").unwrap();
        assert_eq!((point.as_path(), kind), (Path::new("/mnt/a b"), &b"cifs"[..]));
    }

    #[test]
    fn homes_and_the_system_are_wide() {
        for wide in ["/", "/tmp", "/home/alice", "/var/lib", "/etc"] {
            assert!(is_wide(Path::new(wide)), "{wide}");
        }
        for narrow in [
            "/srv",
            "/mnt",
            "/srv/photos",
            "/home/alice/Pictures",
            "/var/lib/upscaled",
        ] {
            assert!(!is_wide(Path::new(narrow)), "{narrow}");
        }
    }
}
