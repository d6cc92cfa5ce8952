//! Protects the first promise to people who drop files: whatever writes them, and however, each becomes one job for
//! each content that was there to stay; nothing is read early, nothing twice, nothing never. The real daemon, every
//! writer for real, once with the kernel's events alone and once with scans alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use support::photo;
use support::site::{Daemon, Signal, Site};

/// Longer than the quiet time: whoever pauses so long in the middle of a file looks finished.
const PAUSE: Duration = Duration::from_millis(600);

#[test]
fn every_writer_ends_in_one_job_for_each_content_by_events_alone() {
    let writers = Writers::new("1h");
    let daemon = writers.site.daemon();
    writers.until_watched("events");
    writers.work(&daemon);
}

#[test]
fn every_writer_ends_in_one_job_for_each_content_by_scans_alone() {
    let writers = Writers::new("300ms");
    let library = writers.site.path("no_inotify.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/no_inotify.c");
    // The compiler that Rust links with.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let log = File::create(writers.site.path("daemon.log")).unwrap();
    let mut command = writers.site.command(["run"]);
    command.env("LD_PRELOAD", library);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let daemon = Daemon::from(command.spawn().unwrap());
    let folder = writers.until_watched("scan");
    let why = folder["watch_reason"].as_str().unwrap();
    assert!(why.contains("fs.inotify.max_user_instances"), "{why}");
    let doctor = writers.site.json(["doctor", "--json"]);
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "folder:photos:watch")
        .unwrap();
    assert_eq!(check["result"], "warn", "{check}");
    let told = (
        check["detail"].as_str().unwrap(),
        check["remedy"].as_str().unwrap(),
    );
    assert!(
        told.0.contains("inotify instances") && told.0.contains("last scan"),
        "{told:?}"
    );
    assert!(
        told.1.contains("sysctl -w fs.inotify.max_user_instances"),
        "{told:?}"
    );
    writers.work(&daemon);
}

/// A site, and what should become of what is done to it.
struct Writers {
    site: Site,
    /// The contents that each source had to stay, in their order.
    expected: Mutex<BTreeMap<PathBuf, Vec<Vec<u8>>>>,
}

impl Writers {
    fn new(rescan: &str) -> Self {
        let site = Site::new("");
        let config = std::fs::read_to_string(site.config()).unwrap();
        let changed = config.replace("rescan = \"1s\"", &format!("rescan = {rescan:?}"));
        assert_ne!(config, changed);
        std::fs::write(site.config(), changed).unwrap();
        Self {
            site,
            expected: Mutex::default(),
        }
    }

    /// Waits until the first scan is over, from which on nothing but this is relied on.
    fn until_watched(&self, watch: &str) -> Value {
        self.site
            .wait_for(&format!("the folder is watched by {watch}"), || {
                let output = self.site.run(["status", "--json"]);
                let status: Value = serde_json::from_slice(&output.stdout).ok()?;
                let folder = status["folders"][0].clone();
                (folder["watch"] == watch && folder["last_scan_at"].is_string()).then_some(folder)
            })
    }

    /// All writers at a time, and then the ledger.
    fn work(&self, daemon: &Daemon) {
        let writers: [fn(&Self); 12] = [
            Self::copies,
            Self::appends_slowly,
            Self::preallocates,
            Self::holds_open,
            Self::renames_temporaries,
            Self::moves_and_links,
            Self::moves_trees,
            Self::makes_trees,
            Self::overwrites,
            Self::saves_like_an_editor,
            Self::names_oddly,
            Self::changes_its_mind,
        ];
        std::thread::scope(|scope| {
            for writer in writers {
                scope.spawn(move || writer(self));
            }
        });
        self.until_all_is_done();
        // Once more over everything, by a scan as by events: nothing comes of it.
        daemon.signal(Signal::USR1);
        self.drop_and_wait("the-last.png", 61);
        self.compare();
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.site.path("in").join(name)
    }

    /// A place beside the watched folder, on the same file system.
    fn beside(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.site.path("beside").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn expect(&self, name: impl AsRef<Path>, content: &[u8]) {
        let mut expected = self.expected.lock().unwrap();
        let contents = expected.entry(name.as_ref().to_owned()).or_default();
        contents.push(content.to_vec());
    }

    fn drop_and_wait(&self, name: &str, side: u32) {
        std::fs::write(self.path(name), png(side)).unwrap();
        self.expect(name, &png(side));
        self.until_done(name, &png(side));
    }

    fn until_done(&self, name: &str, content: &[u8]) {
        let content = blake3(content);
        self.site
            .wait_for(&format!("{name} is done with its content"), || {
                let document = self.site.job_file(name)?;
                (document["state"] == "done" && document["source_blake3"] == content).then_some(())
            });
    }

    fn copies(&self) {
        let source = self.beside("camera/IMG.png");
        std::fs::write(&source, png(20)).unwrap();
        let old = File::options().append(true).open(&source).unwrap();
        old.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        drop(old);
        for (arguments, name) in [(&[][..], "cp.png"), (&["-p"][..], "cp-p.png")] {
            let copied = Command::new("cp")
                .args(arguments)
                .arg(&source)
                .arg(self.path(name))
                .status();
            assert!(copied.unwrap().success());
            // The same content in another place is another result.
            self.expect(name, &png(20));
        }
    }

    /// Closed between two pieces, as an upload that hangs: only its end tells that it is not whole.
    fn appends_slowly(&self) {
        let content = png(21);
        for piece in content.chunks(content.len().div_ceil(3)) {
            let path = self.path("append.png");
            let mut file = File::options().create(true).append(true).open(path).unwrap();
            file.write_all(piece).unwrap();
            drop(file);
            sleep(PAUSE);
        }
        self.expect("append.png", &content);
    }

    /// As Explorer does to a share, and as Samba does it with `strict allocate`: the size is right from the start.
    fn preallocates(&self) {
        let content = png(22);
        let length = content.len() as u64;
        let (explorer, samba) = (self.path("explorer.png"), self.path("samba.png"));
        File::create(&explorer).unwrap().set_len(length).unwrap();
        let allocated = File::create(&samba).unwrap();
        rustix::fs::fallocate(&allocated, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
        drop(allocated);
        let third = content.len() / 3;
        for start in [0, third, 2 * third] {
            sleep(PAUSE);
            let end = if start == 2 * third {
                content.len()
            } else {
                start + third
            };
            for path in [&explorer, &samba] {
                let mut file = File::options().write(true).open(path).unwrap();
                file.seek(SeekFrom::Start(start as u64)).unwrap();
                file.write_all(&content[start..end]).unwrap();
            }
        }
        self.expect("explorer.png", &content);
        self.expect("samba.png", &content);
    }

    /// Whole and quiet, but not closed: more may come, and does.
    fn holds_open(&self) {
        let mut file = File::create(self.path("held.png")).unwrap();
        file.write_all(&png(23)).unwrap();
        sleep(3 * PAUSE);
        assert!(self.site.job_file("held.png").is_none(), "read while it was open");
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&png(24)).unwrap();
        sleep(PAUSE);
        drop(file);
        self.expect("held.png", &png(24));
    }

    fn renames_temporaries(&self) {
        let temporaries = [
            (".syncthing.syncthing.png.tmp", "syncthing.png"),
            ("~syncthing~old.png.tmp", "old-syncthing.png"),
            (".rsync.png.Xk3f9Q", "rsync.png"),
            ("chrome.png.crdownload", "chrome.png"),
            ("firefox.png.part", "firefox.png"),
            (".pending-1700000000-android.png", "android.png"),
            ("winscp.png.filepart", "winscp.png"),
        ];
        for (side, (temporary, name)) in (25..).zip(temporaries) {
            let content = png(side);
            let (begun, rest) = content.split_at(content.len() / 2);
            let mut file = File::create(self.path(temporary)).unwrap();
            file.write_all(begun).unwrap();
            file.write_all(rest).unwrap();
            self.expect(name, &content);
        }
        // Whole by now, and still under their temporary names.
        sleep(PAUSE);
        for (temporary, name) in temporaries {
            rename(&self.path(temporary), &self.path(name));
        }
    }

    /// Never written where they are: there is no event of a close.
    fn moves_and_links(&self) {
        for (side, name) in [(32, "moved.png"), (33, "linked.png")] {
            std::fs::write(self.beside(name), png(side)).unwrap();
            self.expect(name, &png(side));
        }
        rename(&self.beside("moved.png"), &self.path("moved.png"));
        std::fs::hard_link(self.beside("linked.png"), self.path("linked.png")).unwrap();
        // Linked under a second name here: the same content, another result.
        std::fs::hard_link(self.beside("linked.png"), self.path("linked-again.png")).unwrap();
        self.expect("linked-again.png", &png(33));
    }

    fn moves_trees(&self) {
        for (side, name) in [
            (34, "tree/a.png"),
            (35, "tree/day 1/b.png"),
            (36, "tree/day 1/deep/c.png"),
        ] {
            std::fs::write(self.beside(name), png(side)).unwrap();
            self.expect(name, &png(side));
        }
        std::fs::write(self.beside("tree/.hidden/d.png"), png(37)).unwrap();
        rename(&self.beside("tree"), &self.path("tree"));
    }

    /// `mkdir -p` and a file at once, deeper each time: the watch of a directory begins after its files are there.
    fn makes_trees(&self) {
        for depth in 1..8_u32 {
            let dir = format!("made-{depth}/{}", "x/".repeat(depth as usize));
            std::fs::create_dir_all(self.path(&dir)).unwrap();
            for n in 0..2 {
                let name = format!("{dir}{n}.png");
                std::fs::write(self.path(&name), png(38)).unwrap();
                self.expect(name, &png(38));
            }
        }
    }

    fn overwrites(&self) {
        self.drop_and_wait("overwritten.png", 39);
        std::fs::write(self.path("overwritten.png"), png(40)).unwrap();
        self.expect("overwritten.png", &png(40));
        self.until_done("overwritten.png", &png(40));
        // Looked at, touched, given other rights, moved away and back: the same content, no job.
        let file = File::options()
            .append(true)
            .open(self.path("overwritten.png"))
            .unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        drop(file);
        sleep(PAUSE);
        rename(&self.path("overwritten.png"), &self.beside("overwritten.png"));
        sleep(PAUSE);
        rename(&self.beside("overwritten.png"), &self.path("overwritten.png"));
        // Older than what it replaces, as from a backup.
        std::fs::write(self.beside("older.png"), png(41)).unwrap();
        let older = File::options()
            .append(true)
            .open(self.beside("older.png"))
            .unwrap();
        older.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        drop(older);
        rename(&self.beside("older.png"), &self.path("overwritten.png"));
        self.expect("overwritten.png", &png(41));
    }

    fn saves_like_an_editor(&self) {
        self.drop_and_wait("edited.png", 42);
        // GIMP and Krita: a hidden file beside it, then a rename over it.
        std::fs::write(self.path(".edited.png~Xy"), png(43)).unwrap();
        rename(&self.path(".edited.png~Xy"), &self.path("edited.png"));
        self.expect("edited.png", &png(43));
        self.until_done("edited.png", &png(43));
        // vim: the old one is moved away, the new one written anew, the old one removed.
        rename(&self.path("edited.png"), &self.path("edited.png.swp"));
        std::fs::write(self.path("edited.png"), png(44)).unwrap();
        std::fs::remove_file(self.path("edited.png.swp")).unwrap();
        self.expect("edited.png", &png(44));
    }

    fn names_oddly(&self) {
        let names: [&[u8]; 5] = [
            "Grüße aus 東京.png".as_bytes(),
            b"caf\xe9 \xff.png",
            b"SHOUTING.PNG",
            b"  two\nlines '\".png",
            b"-rf.png",
        ];
        for (side, name) in (45..).zip(names) {
            let name = Path::new(OsStr::from_bytes(name));
            std::fs::write(self.path(name), png(side)).unwrap();
            self.expect(name, &png(side));
        }
        // Its ending lies, its content counts.
        let mut jpeg = std::io::Cursor::new(Vec::new());
        photo(50, 40)
            .write_to(&mut jpeg, image::ImageFormat::Jpeg)
            .unwrap();
        std::fs::write(self.path("in truth a.png"), jpeg.get_ref()).unwrap();
        self.expect("in truth a.png", jpeg.get_ref());
    }

    /// Nothing comes of any of these.
    fn changes_its_mind(&self) {
        std::fs::write(self.path("removed.png"), png(51)).unwrap();
        std::fs::remove_file(self.path("removed.png")).unwrap();
        File::create(self.path("empty.png")).unwrap();
        std::fs::write(self.path("cut.png"), &png(52)[..200]).unwrap();
        std::fs::write(self.path("notes.txt"), png(53)).unwrap();
        std::fs::write(self.beside("real.png"), png(54)).unwrap();
        std::os::unix::fs::symlink(self.beside("real.png"), self.path("link.png")).unwrap();
        std::os::unix::fs::symlink(self.beside("real.png").parent().unwrap(), self.path("links")).unwrap();
    }

    fn until_all_is_done(&self) {
        let expected: usize = self.expected.lock().unwrap().values().map(Vec::len).sum();
        self.site.wait_for(&format!("{expected} jobs are done"), || {
            let jobs = self.jobs();
            let done = jobs.iter().filter(|job| job["state"] == "done").count();
            (done >= expected).then_some(())
        });
    }

    fn jobs(&self) -> Vec<Value> {
        let jobs = self.site.json(["jobs", "list", "--limit", "1000", "--json"]);
        jobs.as_array().unwrap().clone()
    }

    /// The ledger holds exactly what was expected, each at the first attempt.
    fn compare(&self) {
        let expected = self.expected.lock().unwrap();
        let mut wanted: Vec<(String, String)> = Vec::new();
        for (name, contents) in &*expected {
            let name = name.to_string_lossy();
            wanted.extend(contents.iter().map(|content| (name.to_string(), blake3(content))));
        }
        let mut found = Vec::new();
        for job in self.jobs() {
            let document = self
                .site
                .json(["jobs", "show", &job["job"].to_string(), "--json"]);
            assert_eq!(
                (&document["state"], &document["attempts"]),
                (&"done".into(), &1.into()),
                "{document}\n{}",
                self.site.log()
            );
            let text = |key: &str| document[key].as_str().unwrap().to_owned();
            found.push((text("source"), text("source_blake3")));
        }
        wanted.sort();
        found.sort();
        let of = |jobs: &[(String, String)]| jobs.iter().cloned().collect::<BTreeSet<_>>();
        let (missing, surplus): (Vec<_>, Vec<_>) = (
            of(&wanted).difference(&of(&found)).cloned().collect(),
            of(&found).difference(&of(&wanted)).cloned().collect(),
        );
        assert!(
            missing.is_empty() && surplus.is_empty() && found.len() == wanted.len(),
            "missing: {missing:?}\nread early or twice: {surplus:?}\n{}",
            self.site.log()
        );
        assert!(
            !self.site.path("out/failed").exists(),
            "something failed meanwhile"
        );
        // One result for each source: a newer one took the place of its own older one.
        assert_eq!(self.site.results().len(), expected.len());
    }
}

/// A picture unlike those of other sides.
fn png(side: u32) -> Vec<u8> {
    let mut encoded = std::io::Cursor::new(Vec::new());
    photo(side, side)
        .write_to(&mut encoded, image::ImageFormat::Png)
        .unwrap();
    encoded.into_inner()
}

fn blake3(content: &[u8]) -> String {
    ::blake3::hash(content).to_hex().to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "what other programs do to the watched folder"
)]
fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}
