//! Owns the one decision about names: which files below an input folder may become jobs, and which directories
//! are entered. The watcher, the scanner and the command line all ask here. Never touches a file.

use std::ffi::OsStr;
use std::path::{Component, Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::config::{Folder, OnSuccess};
use crate::error::{Fault, ReasonCode, one_line};

/// Names, of files and of directories alike, that are never a dropped picture, whatever the configuration says.
/// Dot-names are not listed: every one of them is ignored, which covers our own staged files and `.upscaled`,
/// rsync's `.NAME.XXXXXX`, Syncthing's `.syncthing.*`, Android's `.pending-*`, `._*`, `.nfs*`, `.zfs` and more.
///
/// Not listed on purpose: `*.sync-conflict-*`. It is a whole picture under an ugly name; who does not want it
/// writes it into `exclude`. `failed` neither: people have folders of that name, and what we write there
/// is known by its ending.
const IGNORED: &[&str] = &[
    // Half-written: browsers, downloaders, copy and sync programs.
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*.opdownload",
    "*.tmp",
    "*.temp",
    "*.!qB",
    "*.aria2",
    "*.tacitpart",
    "*.swp",
    "*.lock",
    "*.ffs_tmp",
    "*.bts",
    "*.!sync",
    "~syncthing~*",
    "~$*",
    // Left behind by desktops.
    "__MACOSX",
    "Thumbs.db",
    "ehthumbs*.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    // Left behind by file servers and file systems.
    "@eaDir",
    "#recycle",
    "#snapshot",
    "@tmp",
    "@Recycle",
    "lost+found",
    // Written by us into an output folder, which may be another folder's input.
    "status.json",
    "*.error.txt",
];

/// Where `on_success = "move"` puts sources, below the input folder.
const DONE: &str = "done";

/// A pattern of `include` or `exclude` that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("folder {folder}: {key} has the pattern \"{pattern}\", which cannot be read ({detail}); correct it")]
pub struct FilterError {
    /// The folder's name.
    pub folder: String,
    /// `include` or `exclude`.
    pub key: &'static str,
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub detail: String,
}

impl From<FilterError> for Fault {
    fn from(error: FilterError) -> Self {
        Self::block(ReasonCode::Io, error.to_string())
    }
}

/// Decides on names below one input folder. All paths are relative to it.
#[derive(Debug, Clone)]
pub struct NameFilter {
    include: GlobSet,
    exclude: GlobSet,
    ignored: GlobSet,
    recursive: bool,
    skip_done: bool,
}

impl NameFilter {
    /// The filter of a folder. Patterns ignore upper and lower case and are matched against the name alone and
    /// against the path below the input folder, in which `*` stops at `/` and `**` does not.
    ///
    /// # Errors
    /// A pattern that is not a glob.
    pub fn new(folder: &Folder) -> Result<Self, FilterError> {
        let set = |key, patterns: &mut dyn Iterator<Item = &str>| {
            glob_set(patterns).map_err(|error| FilterError {
                folder: folder.name.clone(),
                key,
                pattern: one_line(error.glob().unwrap_or_default()),
                detail: error.kind().to_string(),
            })
        };
        // `raw/` is how people write "the directory raw".
        let mut exclude = folder
            .exclude
            .iter()
            .map(|pattern| match pattern.trim_end_matches('/') {
                "" => pattern.as_str(),
                trimmed => trimmed,
            });
        Ok(Self {
            include: set("include", &mut folder.include.iter().map(String::as_str))?,
            exclude: set("exclude", &mut exclude)?,
            ignored: set("exclude", &mut IGNORED.iter().copied())?,
            recursive: folder.recursive,
            skip_done: folder.on_success == OnSuccess::Move,
        })
    }

    /// Whether the file of that name is wanted. Directories above it are judged too, so that an event from a
    /// hidden directory is refused like the scan that does not enter it.
    pub fn accepts_file(&self, rel: &Path) -> bool {
        let Some(name) = plain_name(rel) else {
            return false;
        };
        let in_reach = rel.parent().is_none_or(|dir| self.accepts_dir(dir));
        in_reach
            && self.keeps(rel, name)
            && (self.include.is_match(Path::new(name)) || self.include.is_match(rel))
    }

    /// Whether the directory is entered. The input folder itself is the empty path.
    pub fn accepts_dir(&self, rel: &Path) -> bool {
        if rel.as_os_str().is_empty() {
            return true;
        }
        if !self.recursive || (self.skip_done && rel.starts_with(DONE)) {
            return false;
        }
        rel.ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty())
            .all(|dir| plain_name(dir).is_some_and(|name| self.keeps(dir, name)))
    }

    /// Whether directories below the input folder are entered at all.
    pub fn recursive(&self) -> bool {
        self.recursive
    }

    fn keeps(&self, rel: &Path, name: &OsStr) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        !name.as_bytes().starts_with(b".")
            && !self.ignored.is_match(Path::new(name))
            && !self.exclude.is_match(Path::new(name))
            && !self.exclude.is_match(rel)
    }
}

/// The last component; `None` for a path that is absolute or leads upwards.
fn plain_name(rel: &Path) -> Option<&OsStr> {
    match rel.components().next_back()? {
        Component::Normal(name) if rel.is_relative() => Some(name),
        _ => None,
    }
}

fn glob_set(patterns: &mut dyn Iterator<Item = &str>) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .case_insensitive(true)
            .literal_separator(true)
            .backslash_escape(true)
            .build()?;
        set.add(glob);
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::intake::tests::folder_at;

    fn filter(change: impl FnOnce(&mut Folder)) -> NameFilter {
        let mut folder = folder_at(Path::new("/nowhere"));
        change(&mut folder);
        NameFilter::new(&folder).unwrap()
    }

    #[test]
    fn pictures_are_taken_whatever_the_case_of_their_ending() {
        let filter = filter(|_| {});
        for name in [
            "a.jpg",
            "A.JPG",
            "2024/trip/b.Png",
            "a b.tiff",
            "-.bmp",
            "done/a.jpg",
            "failed/a.jpg",
        ] {
            assert!(filter.accepts_file(Path::new(name)), "{name}");
        }
        for name in ["a.txt", "jpg", "a.jpg.xmp", "status.json", ""] {
            assert!(!filter.accepts_file(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn temporary_hidden_and_foreign_names_are_never_taken_even_if_everything_is_included() {
        let filter = filter(|folder| folder.include = vec!["*".into()]);
        for name in [
            ".a.jpg",
            ".a.jpg.Xk3f9Q",
            ".upscaled-a.png",
            "a.jpg.part",
            "a.JPG.CRDOWNLOAD",
            "a.jpg.!qb",
            "a.jpg.!sync",
            "~syncthing~a.jpg.tmp",
            ".syncthing.a.jpg.tmp",
            "~$a.jpg",
            ".~lock.a.jpg#",
            "._a.jpg",
            ".DS_Store",
            "Thumbs.db",
            "ehthumbs_vista.db",
            "Desktop.ini",
            ".nfs0001",
            ".fuse_hidden1",
            ".pending-1-a.jpg",
            ".stfolder/a.jpg",
            ".stversions/a.jpg",
            "x/@eaDir/a.jpg",
            "#recycle/a.jpg",
            "#snapshot/a.jpg",
            "@tmp/a.jpg",
            ".@__thumb/a.jpg",
            "@Recycle/a.jpg",
            "$RECYCLE.BIN/a.jpg",
            "lost+found/a.jpg",
            "System Volume Information/a.jpg",
            "__MACOSX/._a.jpg",
            ".zfs/snapshot/a.jpg",
            ".upscaled/jobs/a.jpg",
            "status.json",
            "failed/a.jpg.error.txt",
        ] {
            assert!(!filter.accepts_file(Path::new(name)), "{name}");
        }
        assert!(filter.accepts_file(Path::new("a.sync-conflict-20240101-1.jpg")));
    }

    #[test]
    fn names_that_are_not_text_or_hold_a_newline_are_judged_like_others() {
        let filter = filter(|_| {});
        assert!(filter.accepts_file(Path::new(OsStr::from_bytes(b"caf\xe9\xff.jpg"))));
        assert!(filter.accepts_file(Path::new(OsStr::from_bytes(b"d\xff/a\nb.JPG"))));
        assert!(!filter.accepts_file(Path::new(OsStr::from_bytes(b".\xff.jpg"))));
    }

    #[test]
    fn exclude_matches_names_paths_and_whole_directories() {
        let filter =
            filter(|folder| folder.exclude = vec!["*_4X.*".into(), "raw/".into(), "a/**/b.jpg".into()]);
        for name in [
            "x_4x.jpg",
            "y/x_4x.jpg",
            "raw/x.jpg",
            "y/RAW/z/x.jpg",
            "a/b.jpg",
            "a/y/z/b.jpg",
        ] {
            assert!(!filter.accepts_file(Path::new(name)), "{name}");
        }
        assert!(!filter.accepts_dir(Path::new("y/raw")));
        assert!(filter.accepts_file(Path::new("b.jpg")));
        assert!(filter.accepts_file(Path::new("rawer/b.jpg")));
    }

    #[test]
    fn include_may_name_a_directory() {
        let filter = filter(|folder| folder.include = vec!["good/*.jpg".into()]);
        assert!(filter.accepts_file(Path::new("good/a.jpg")));
        assert!(!filter.accepts_file(Path::new("good/deeper/a.jpg")));
        assert!(!filter.accepts_file(Path::new("a.jpg")));
    }

    #[test]
    fn only_the_top_is_seen_unless_recursive() {
        let filter = filter(|folder| folder.recursive = false);
        assert!(filter.accepts_file(Path::new("a.jpg")));
        assert!(!filter.accepts_file(Path::new("b/a.jpg")));
        assert!(filter.accepts_dir(Path::new("")));
        assert!(!filter.accepts_dir(Path::new("b")));
    }

    #[test]
    fn sources_that_were_moved_to_done_are_not_found_again() {
        let filter = filter(|folder| folder.on_success = OnSuccess::Move);
        assert!(!filter.accepts_dir(Path::new("done")));
        assert!(!filter.accepts_file(Path::new("done/2024/a.jpg")));
        assert!(filter.accepts_file(Path::new("2024/done/a.jpg")));
    }

    #[test]
    fn a_path_that_leads_out_of_the_folder_is_refused() {
        let filter = filter(|_| {});
        for name in ["/a.jpg", "../a.jpg", "x/../../a.jpg", ".."] {
            assert!(!filter.accepts_file(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_folder_and_key() {
        let mut folder = folder_at(Path::new("/nowhere"));
        folder.exclude = vec!["[a".into()];
        let message = NameFilter::new(&folder).unwrap_err().to_string();
        assert!(
            message.starts_with("folder photos: exclude has the pattern \"[a\""),
            "{message}"
        );
    }
}
