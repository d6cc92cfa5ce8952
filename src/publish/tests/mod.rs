//! What publishing promises on a live file system; crashes are in `tests/crash_publish.rs`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::config::OnConflict;
use crate::error::{Disposition, Fault};
use crate::fs::RealFilesystem;
use crate::fs_fault::{self, FaultFs, Step};

mod dispose;
mod recover;

/// An output folder and who publishes into it.
struct Room {
    dir: tempfile::TempDir,
    publisher: Publisher,
}

impl Room {
    fn new() -> Self {
        Self::with(RealFilesystem::shared())
    }

    fn with(fs: SharedFilesystem) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let publisher = Publisher::new(fs, Instance::of_state_dir(dir.path()));
        Self { dir, publisher }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn sealed(&self, name: &str, text: &str) -> SealedFile {
        let staged = self.publisher.stage(self.root(), &self.at(name), "7-1").unwrap();
        staged.file().unwrap().write_all(text.as_bytes()).unwrap();
        self.publisher.seal(staged).unwrap()
    }

    fn choose(
        &self,
        planned: &str,
        own: Option<&str>,
        on_conflict: OnConflict,
    ) -> Result<Choice, PublishError> {
        self.publisher
            .choose_final(self.root(), Path::new(planned), own.map(Path::new), on_conflict)
    }

    /// Names in the folder, hidden ones too.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn fifo(&self, name: &str) {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            self.at(name),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
    }
}

fn to(path: &str, replace: bool) -> Choice {
    Choice::Write {
        path: path.into(),
        replace,
    }
}

#[test]
fn the_conflict_table() {
    use OnConflict::{Overwrite, Rename, Skip};
    let room = Room::new();
    room.put("taken.png", "theirs");
    room.put("crowded.tar.gz", "theirs");
    room.put("crowded.tar-1.gz", "theirs");
    room.put("mine-1.png", "mine");
    room.put("mine.png", "theirs");
    symlink("/nowhere", room.at("link.png")).unwrap();
    room.fifo("fifo.png");
    fs::create_dir(room.at("dir.png")).unwrap();

    let table = [
        ("free.png", None, Rename, to("free.png", false)),
        ("free.png", None, Skip, to("free.png", false)),
        ("free.png", None, Overwrite, to("free.png", false)),
        ("not/yet/there.png", None, Rename, to("not/yet/there.png", false)),
        ("taken.png", None, Rename, to("taken-1.png", false)),
        ("taken.png", None, Skip, Choice::Skip),
        ("taken.png", None, Overwrite, to("taken.png", true)),
        ("crowded.tar.gz", None, Rename, to("crowded.tar-2.gz", false)),
        // The source's own earlier result is replaced whatever the folder says about strangers' files …
        ("taken.png", Some("taken.png"), Rename, to("taken.png", true)),
        ("taken.png", Some("taken.png"), Skip, to("taken.png", true)),
        // … where it is, even when a stranger's file made it go elsewhere …
        ("mine.png", Some("mine-1.png"), Skip, to("mine-1.png", true)),
        // … and only if it is still there.
        ("free.png", Some("gone.png"), Skip, to("free.png", false)),
        ("taken.png", Some("gone.png"), Skip, Choice::Skip),
        // What is no regular file is nobody's result.
        ("link.png", Some("link.png"), Rename, to("link-1.png", false)),
        ("fifo.png", Some("fifo.png"), Skip, Choice::Skip),
        ("dir.png", None, Rename, to("dir-1.png", false)),
        ("link.png", None, Overwrite, to("link.png", true)),
    ];
    for (planned, own, policy, expected) in table {
        assert_eq!(
            room.choose(planned, own, policy).unwrap(),
            expected,
            "{planned} {own:?} {policy:?}"
        );
    }
    assert!(matches!(
        room.choose("dir.png", None, Overwrite),
        Err(PublishError::InTheWay { what: "a folder", .. })
    ));
}

#[test]
fn a_result_appears_under_its_name_with_all_its_bytes_and_nothing_else_beside_it() {
    let room = Room::new();
    let sealed = room.sealed("2024/a.png", "result");
    assert!(!room.at("2024/a.png").exists());
    let name = sealed.temp.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        name.starts_with(".upscaled-") && name.ends_with("-7-1.tmp"),
        "{name}"
    );
    assert_eq!(sealed.digest, *blake3::hash(b"result").as_bytes());
    let published = room
        .publisher
        .commit(&sealed, &room.at("2024/a.png"), false)
        .unwrap();
    drop(sealed);
    assert_eq!((published.bytes, room.text("2024/a.png").as_str()), (6, "result"));
    assert_eq!(fs::read_dir(room.at("2024")).unwrap().count(), 1);
    let mode = fs::metadata(room.at("2024/a.png")).unwrap().permissions().mode();
    assert_eq!(mode & 0o002, 0, "world-writable");
}

#[test]
fn a_name_that_was_taken_meanwhile_is_not_overwritten_and_the_file_can_go_elsewhere() {
    let room = Room::new();
    let sealed = room.sealed("a.png", "result");
    for (kind, make) in [
        ("file", Box::new(|| room.put("a.png", "theirs")) as Box<dyn Fn()>),
        (
            "link",
            Box::new(|| symlink(room.at("victim"), room.at("a.png")).unwrap()),
        ),
        ("fifo", Box::new(|| room.fifo("a.png"))),
    ] {
        make();
        let error = room
            .publisher
            .commit(&sealed, &room.at("a.png"), false)
            .unwrap_err();
        assert!(matches!(error, PublishError::Taken { .. }), "{kind}: {error}");
        assert!(!room.at("victim").exists(), "the link was followed");
        fs::remove_file(room.at("a.png")).unwrap();
    }
    room.publisher
        .commit(&sealed, &room.at("a-1.png"), false)
        .unwrap();
    assert_eq!(room.text("a-1.png"), "result");
}

#[test]
fn replacing_a_link_replaces_the_link_and_not_what_it_points_to() {
    let room = Room::new();
    room.put("elsewhere/victim.png", "theirs");
    symlink(room.at("elsewhere/victim.png"), room.at("a.png")).unwrap();
    let sealed = room.sealed("a.png", "result");
    room.publisher.commit(&sealed, &room.at("a.png"), true).unwrap();
    assert_eq!(room.text("elsewhere/victim.png"), "theirs");
    assert!(fs::symlink_metadata(room.at("a.png")).unwrap().is_file());
}

#[test]
fn what_is_dropped_or_discarded_is_gone() {
    let room = Room::new();
    drop(room.publisher.stage(room.root(), &room.at("a.png"), "1").unwrap());
    drop(room.sealed("a.png", "result"));
    let staged = room.publisher.stage(room.root(), &room.at("a.png"), "1").unwrap();
    let path = staged.path().to_owned();
    room.publisher.discard(staged).unwrap();
    room.publisher.discard(&path).unwrap();
    assert_eq!(room.names(), Vec::<String>::new());
    room.put("a.png", "theirs");
    assert!(room.publisher.discard(room.at("a.png")).is_err());
    assert_eq!(room.text("a.png"), "theirs");
}

#[test]
fn a_leftover_of_the_same_name_gives_way_but_living_work_does_not() {
    let room = Room::new();
    let first = room
        .publisher
        .stage(room.root(), &room.at("a.png"), "7-1")
        .unwrap();
    assert!(
        room.publisher
            .stage(room.root(), &room.at("a.png"), "7-1")
            .is_err()
    );
    let path = first.path().to_owned();
    drop(first);
    fs::write(&path, "left by a crash").unwrap();
    let sealed = room.sealed("a.png", "result");
    assert_eq!((sealed.temp.as_path(), sealed.bytes), (path.as_path(), 6));
}

#[test]
fn whose_fault_it_is() {
    let room = Room::new();
    room.put("file", "x");
    symlink("/tmp", room.at("link")).unwrap();
    let stage =
        |root: &Path, path: &str| Fault::from(room.publisher.stage(root, &root.join(path), "1").unwrap_err());
    let missing = stage(&room.at("unmounted"), "a.png");
    assert_eq!(missing.disposition, Disposition::Block);
    assert!(
        missing
            .reason
            .message
            .ends_with("is not there; the queue waits until it is there again")
    );
    assert!(!room.at("unmounted").exists());
    for path in ["file/a.png", "link/a.png", "../a.png", &"n".repeat(256)] {
        let fault = stage(room.root(), path);
        assert_eq!(fault.disposition, Disposition::Quarantine, "{path}: {fault}");
    }
    assert_eq!(room.names(), ["file", "link"]);
}

#[test]
fn a_full_disk_is_told_as_one() {
    let fs = FaultFs::new(fs_fault::Fault::AtStep {
        step: Step::RenameNoReplace,
        nth: 0,
        errno: libc::ENOSPC,
    });
    let room = Room::with(Arc::new(fs));
    let sealed = room.sealed("a.png", "result");
    let error = room
        .publisher
        .commit(&sealed, &room.at("a.png"), false)
        .unwrap_err();
    let what = format!(
        "cannot publish {}: no space left on device",
        room.at("a.png").display()
    );
    assert_eq!(error.to_string(), what);
    let fault = Fault::from(error);
    assert_eq!(fault.disposition, Disposition::Block);
    assert_eq!(
        fault.reason.message,
        format!("{what}; the queue waits until there is space again")
    );
}

#[test]
fn a_result_that_cannot_be_made_durable_is_taken_back() {
    let fs = FaultFs::new(fs_fault::Fault::AtStep {
        step: Step::SyncDir,
        nth: 0,
        errno: libc::EIO,
    });
    let room = Room::with(Arc::new(fs));
    let sealed = room.sealed("a.png", "result");
    room.publisher
        .commit(&sealed, &room.at("a.png"), false)
        .unwrap_err();
    assert!(!room.at("a.png").exists());
    room.publisher.commit(&sealed, &room.at("a.png"), false).unwrap();
    drop(sealed);
    assert_eq!(room.names(), ["a.png"]);
}

#[test]
fn an_instance_is_the_same_after_a_restart_and_by_any_way_to_its_folder() {
    let room = Room::new();
    fs::create_dir(room.at("state")).unwrap();
    symlink(room.at("state"), room.at("link")).unwrap();
    let instance = Instance::of_state_dir(&room.at("state"));
    assert_eq!(instance, Instance::of_state_dir(&room.at("link")));
    assert_ne!(instance, Instance::of_state_dir(room.root()));
    assert_eq!(instance.to_string().len(), 8);
    assert_eq!(
        Instance::of_command().to_string(),
        format!("cli-{}", std::process::id())
    );
}

#[test]
fn a_document_is_replaced_whole_or_stays_as_it_was() {
    let real = RealFilesystem::shared();
    let room = Room::new();
    let path = room.at("x/doc.json");
    replace_document(&real, room.root(), &path, b"old", true).unwrap();
    for step in [Step::CreateNew, Step::SyncFile, Step::RenameReplace] {
        let fs: SharedFilesystem = Arc::new(FaultFs::new(fs_fault::Fault::AtStep {
            step,
            nth: 0,
            errno: libc::ENOSPC,
        }));
        replace_document(&fs, room.root(), &path, b"new", true).unwrap_err();
        assert_eq!(room.text("x/doc.json"), "old", "{step:?}");
    }
    let full: SharedFilesystem = Arc::new(FaultFs::new(fs_fault::Fault::FullDisk));
    replace_document(&full, room.root(), &path, b"new", false).unwrap_err();
    assert_eq!(room.text("x/doc.json"), "old");
    replace_document(&real, room.root(), &path, b"new", false).unwrap();
    assert_eq!(room.text("x/doc.json"), "new");
    assert_eq!(fs::read_dir(room.at("x")).unwrap().count(), 1);
    remove_document(&real, &path).unwrap();
    remove_document(&real, &path).unwrap();
}
