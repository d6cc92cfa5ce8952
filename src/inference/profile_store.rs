//! Owns the files in which profiles outlive the process: one for each model and place. They are a cache: what cannot
//! be read is measured again, what cannot be written is kept in memory, and anybody may delete them. Never measures.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Place;
use super::profile::Profile;
use crate::fs::{SharedFilesystem, replace_file};

/// Raised whenever the meaning of a file changes; files of other versions are measured anew.
const VERSION: u32 = 1;

/// Larger than any profile: a stray file is not read into memory.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// The directory of profiles below a state directory.
const PROFILES_DIR: &str = "profiles";

/// Where profiles are kept: beside the models.
pub fn profile_dirs(state_dirs: &[PathBuf]) -> Vec<PathBuf> {
    state_dirs.iter().map(|dir| dir.join(PROFILES_DIR)).collect()
}

/// What a profile belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProfileKey {
    /// sha256 of the .onnx file, hexadecimal.
    pub model_sha256: String,
    /// Where it runs.
    pub place: Place,
    /// Version of ONNX Runtime: another one allocates and computes in another way.
    pub runtime: String,
}

impl ProfileKey {
    /// A name that is safe in every file system. The runtime's version is not in it: files of older ones are replaced.
    fn file_name(&self) -> String {
        let Place {
            provider,
            device,
            precision,
        } = &self.place;
        let readable = format!("{}-{}-{device}-{precision}", self.model_sha256, provider.as_str());
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        format!("{}.json", readable.chars().map(safe).collect::<String>())
    }
}

/// What is in a file. The key is repeated inside, since names can be changed.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    runtime: String,
    model_sha256: String,
    provider: String,
    device: String,
    precision: String,
    profile: Profile,
}

impl Document {
    fn new(key: &ProfileKey, profile: &Profile) -> Self {
        Self {
            version: VERSION,
            runtime: key.runtime.clone(),
            model_sha256: key.model_sha256.clone(),
            provider: key.place.provider.as_str().to_owned(),
            device: key.place.device.clone(),
            precision: key.place.precision.to_owned(),
            profile: profile.clone(),
        }
    }

    fn belongs_to(&self, key: &ProfileKey) -> bool {
        self.version == VERSION
            && self.runtime == key.runtime
            && self.model_sha256 == key.model_sha256
            && self.provider == key.place.provider.as_str()
            && self.device == key.place.device
            && self.precision == key.place.precision
    }
}

/// The files, and what could not be written into them. They are read whenever they are asked for: other processes learn
/// and tune too, and a picture takes a thousand times as long.
#[derive(Debug)]
pub struct ProfileStore {
    fs: SharedFilesystem,
    dirs: Vec<PathBuf>,
    unwritten: HashMap<ProfileKey, Profile>,
}

impl ProfileStore {
    /// A store in the first of these directories that can be written, made when first needed. The newest file of all
    /// of them counts. Without any, profiles live as long as the store.
    pub fn new(fs: SharedFilesystem, dirs: Vec<PathBuf>) -> Self {
        Self {
            fs,
            dirs,
            unwritten: HashMap::new(),
        }
    }

    /// The profile of `key`, if it was ever saved and is still of use. Speeds of an older file count where the newest
    /// has none: whoever learned a window did not undo what another had tuned.
    pub fn load(&self, key: &ProfileKey) -> Option<Profile> {
        if let Some(profile) = self.unwritten.get(key) {
            return Some(profile.clone());
        }
        let name = key.file_name();
        let mut found: Vec<(SystemTime, Profile)> = self
            .dirs
            .iter()
            .filter_map(|dir| read(&dir.join(&name), key))
            .collect();
        found.sort_by_key(|(written, _)| *written);
        let (_, mut newest) = found.pop()?;
        let tuned = found.into_iter().map(|(_, profile)| profile.speeds);
        if newest.speeds.is_empty()
            && let Some(speeds) = tuned.rev().find(|speeds| !speeds.is_empty())
        {
            newest.speeds = speeds;
        }
        Some(newest)
    }

    /// Changes what is kept of `key` now (`known`, where nothing is) and returns it. Nothing is written if nothing
    /// changed.
    pub fn update(
        &mut self,
        key: &ProfileKey,
        known: &Profile,
        change: impl FnOnce(&mut Profile),
    ) -> Profile {
        let kept = self.load(key);
        let mut profile = kept.clone().unwrap_or_else(|| known.clone());
        change(&mut profile);
        if kept.as_ref() != Some(&profile) {
            if self.write(key, &profile) {
                self.unwritten.remove(key);
            } else {
                self.unwritten.insert(key.clone(), profile.clone());
            }
        }
        profile
    }

    fn write(&self, key: &ProfileKey, profile: &Profile) -> bool {
        let Ok(text) = serde_json::to_vec_pretty(&Document::new(key, profile)) else {
            return false;
        };
        let name = key.file_name();
        self.dirs.iter().any(|dir| {
            replace_file(self.fs.as_ref(), &dir.join(&name), &text)
                .inspect_err(|error| {
                    tracing::debug!(
                        "cannot keep a profile in {}: {}",
                        dir.display(),
                        crate::error::plain(error)
                    );
                })
                .is_ok()
        })
    }
}

/// A profile that was kept, with the place that it belongs to in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptProfile {
    /// Execution provider.
    pub provider: String,
    /// The device's name.
    pub device: String,
    /// `fp32` or `fp16`.
    pub precision: String,
    /// What was measured there.
    pub profile: Profile,
}

/// Every profile that is kept of a model in these directories, for people: whatever the version that measured it.
pub fn kept_of(dirs: &[PathBuf], model_sha256: &str) -> Vec<KeptProfile> {
    let mut found: Vec<KeptProfile> = dirs
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(model_sha256))
        .filter_map(|entry| {
            let mut text = Vec::new();
            let file = File::open(entry.path()).ok()?;
            file.take(MOST_FILE_BYTES).read_to_end(&mut text).ok()?;
            let document: Document = serde_json::from_slice(&text).ok()?;
            let usable = document.model_sha256 == model_sha256 && document.profile.is_sound();
            usable.then_some(KeptProfile {
                provider: document.provider,
                device: document.device,
                precision: document.precision,
                profile: document.profile,
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.provider, &a.device).cmp(&(&b.provider, &b.device)));
    found
}

/// A file's profile and when it was written; `None` for one that is not there, and for one that is of no use.
fn read(path: &Path, key: &ProfileKey) -> Option<(SystemTime, Profile)> {
    let useless = |why: &str| tracing::debug!("{} is left aside: {why}", path.display());
    let file = File::open(path)
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                useless(&crate::error::plain(error));
            }
        })
        .ok()?;
    let mut text = Vec::new();
    let meta = file.metadata().ok()?;
    file.take(MOST_FILE_BYTES).read_to_end(&mut text).ok()?;
    let document: Document = serde_json::from_slice(&text)
        .inspect_err(|error| useless(&error.to_string()))
        .ok()?;
    if !document.belongs_to(key) {
        useless("it was measured with another version");
        return None;
    }
    if !document.profile.is_sound() {
        useless("its numbers cannot be");
        return None;
    }
    Some((meta.modified().ok()?, document.profile))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Provider;
    use crate::fs::RealFilesystem;
    use crate::fs_fault::{Fault, FaultFs};
    use crate::inference::Learned;
    use crate::tiling::{MemoryNeed, Speed};

    fn key() -> ProfileKey {
        ProfileKey {
            model_sha256: "ab".repeat(32),
            place: Place {
                provider: Provider::Cuda,
                device: "cuda:0".to_owned(),
                precision: "fp32",
            },
            runtime: "1.31.1".to_owned(),
        }
    }

    fn profile(fixed_bytes: u64) -> Profile {
        Profile {
            memory: MemoryNeed::proportional(fixed_bytes, 1536.1),
            speeds: Vec::new(),
            learned: None,
        }
    }

    fn store(dirs: &[PathBuf]) -> ProfileStore {
        ProfileStore::new(RealFilesystem::shared(), dirs.to_vec())
    }

    /// Nothing is known beforehand, and this is what was found.
    fn save(store: &mut ProfileStore, found: &Profile) {
        store.update(&key(), &profile(0), |kept| *kept = found.clone());
    }

    #[test]
    fn what_one_process_measured_the_next_one_finds() {
        let state = tempfile::tempdir().unwrap();
        let dirs = [state.path().join("profiles")];
        save(&mut store(&dirs), &profile(7));
        assert_eq!(store(&dirs).load(&key()), Some(profile(7)));
        let elsewhere = ProfileKey {
            place: Place {
                device: "cuda:1".to_owned(),
                ..key().place
            },
            ..key()
        };
        assert_eq!(store(&dirs).load(&elsewhere), None);
        let names: Vec<_> = std::fs::read_dir(&dirs[0]).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays: {names:?}");
    }

    #[test]
    fn damaged_old_and_impossible_files_are_measured_anew_and_replaced() {
        let state = tempfile::tempdir().unwrap();
        let dirs = [state.path().to_owned()];
        let path = state.path().join(key().file_name());
        let good = serde_json::to_string(&Document::new(&key(), &profile(7))).unwrap();
        let cases = [
            String::new(),
            "{\"version\": 1".to_owned(),
            good.replace("\"version\":1", "\"version\":0"),
            good.replace("1.31.1", "1.20.0"),
            good.replace("1536.1", "-1.0"),
        ];
        for text in cases {
            assert_ne!(text, good);
            std::fs::write(&path, &text).unwrap();
            assert_eq!(store(&dirs).load(&key()), None, "{text}");
            save(&mut store(&dirs), &profile(8));
            assert_eq!(store(&dirs).load(&key()), Some(profile(8)));
        }
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_no_error() {
        let scratch = tempfile::tempdir().unwrap();
        // A file where the directory should be fails for every user, also for root.
        let blocked = scratch.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let second = scratch.path().join("second");
        let dirs = [blocked.join("profiles"), second.clone()];
        save(&mut store(&dirs), &profile(7));
        assert_eq!(store(&dirs).load(&key()), Some(profile(7)));

        let mut nowhere = store(&dirs[..1]);
        save(&mut nowhere, &profile(9));
        assert_eq!(nowhere.load(&key()), Some(profile(9)));
    }

    #[test]
    fn a_full_disk_leaves_no_half_file() {
        let state = tempfile::tempdir().unwrap();
        let dirs = vec![state.path().to_owned()];
        save(&mut store(&dirs), &profile(7));
        let mut full = ProfileStore::new(Arc::new(FaultFs::new(Fault::FullDisk)), dirs.clone());
        save(&mut full, &profile(8));
        assert_eq!(full.load(&key()), Some(profile(8)));
        assert_eq!(store(&dirs).load(&key()), Some(profile(7)));
    }

    /// A daemon that learns while somebody tunes, or a command that keeps its profiles elsewhere.
    #[test]
    fn who_learns_does_not_undo_what_another_process_tuned() {
        let state = tempfile::tempdir().unwrap();
        let dirs = [state.path().join("daemon"), state.path().join("home")];
        let speed = Speed {
            width: 192,
            height: 192,
            batch: 1,
            seconds: 0.25,
        };
        let mut daemon = store(&dirs);
        save(&mut daemon, &profile(7));
        store(&dirs).update(&key(), &profile(0), |kept| kept.speeds = vec![speed]);
        let lesson = Learned {
            window_pixels: 4096,
            device_bytes: 1 << 20,
            clean_pictures: 0,
        };
        let after = daemon.update(&key(), &profile(7), |kept| kept.learned = Some(lesson));
        assert_eq!((after.speeds.len(), after.learned), (1, Some(lesson)));
        // Without the daemon's directory the command starts anew, and its file is the newest.
        save(&mut store(&dirs[1..]), &profile(7));
        assert_eq!(store(&dirs).load(&key()).unwrap().speeds, [speed]);
    }

    #[test]
    fn a_disk_that_was_full_for_a_while_is_used_again() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("profiles");
        std::fs::write(&dir, "in the way").unwrap();
        let mut daemon = store(std::slice::from_ref(&dir));
        save(&mut daemon, &profile(7));
        std::fs::remove_file(&dir).unwrap();
        save(&mut daemon, &profile(8));
        save(&mut store(std::slice::from_ref(&dir)), &profile(9));
        assert_eq!(daemon.load(&key()), Some(profile(9)));
    }
}
