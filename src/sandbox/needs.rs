//! Owns the list of what a running service needs: of the configuration, and of the system. Changes nothing, but makes
//! the desktop's trash where sources shall go there.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::domain::Access;
use super::{Grant, ground};
use crate::config::{Config, Folder, OnSuccess};

/// Software and what the system says of itself. Not `/var`, `/run`, `/tmp` or a home.
const READ: [&str; 12] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    // Where NixOS and Guix keep software, and NixOS the driver's libraries.
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/run/current-system",
];

/// Devices that every program may expect.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Beginnings of the names of graphics cards' devices, and of Intel's for neural networks. Not all of `/dev`: a service of root would have the disks. A card
/// whose driver comes later is seen by the next start, as without a sandbox: CUDA looks once in a process.
const CARDS: [&str; 7] = ["nvidia", "nvhost", "nvmap", "dxg", "dri", "accel", "kfd"];

/// How a need is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The directory as it is.
    Fixed,
    /// The file, and others that take its place.
    Replaced,
    /// The folder, and others that take its place.
    Returning,
}

/// Something that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What it is, for messages: `[[folder]] "photos" input`.
    pub what: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is done there.
    pub access: Access,
    kind: Kind,
}

impl Need {
    fn new(what: impl Into<String>, path: impl Into<PathBuf>, access: Access, kind: Kind) -> Self {
        Self {
            what: what.into(),
            path: path.into(),
            access,
            kind,
        }
    }

    /// What must be granted for it; empty where there is nothing yet that could be.
    pub fn grounds(&self) -> Vec<PathBuf> {
        match self.kind {
            Kind::Fixed => ground::fixed(&self.path),
            Kind::Replaced => ground::replaced(&self.path),
            Kind::Returning => ground::returning(&self.path),
        }
    }

    /// Whether these grants allow it.
    pub fn is_covered(&self, grants: &[Grant]) -> bool {
        grants
            .iter()
            .any(|grant| grant.access.includes(self.access) && ground::is_below(&self.path, &grant.path))
    }
}

/// What the configuration names.
pub fn of(config: &Config, config_path: &Path, library: Option<&Path>) -> Vec<Need> {
    let config_path = std::path::absolute(config_path).unwrap_or_else(|_| config_path.to_owned());
    let mut needs = vec![
        Need::new("the configuration", config_path, Access::Read, Kind::Replaced),
        Need::new("state_dir", &config.state_dir, Access::Write, Kind::Fixed),
    ];
    // A bare name is found by the system's loader, in the system's places.
    if let Some(library) = library.filter(|library| library.is_absolute()) {
        needs.push(Need::new(
            "[runtime] library",
            library,
            Access::Read,
            Kind::Replaced,
        ));
        needs.extend(beside(library));
    }
    if let Some(plugin) = &config.runtime.choices.plugin {
        needs.push(Need::new(
            "[plugin] library",
            &plugin.library,
            Access::Read,
            Kind::Replaced,
        ));
    }
    for folder in &config.folders {
        needs.extend(of_folder(folder));
    }
    needs
}

fn of_folder(folder: &Folder) -> Vec<Need> {
    let what = |key: &str| format!("[[folder]] {:?} {key}", folder.name);
    let input = match folder.on_success {
        OnSuccess::Keep => Access::Read,
        OnSuccess::Move | OnSuccess::Delete => Access::Take,
        // A file may not gain rights by being moved, and the trash is written.
        OnSuccess::Trash => Access::Write,
    };
    let mut needs = vec![
        Need::new(what("input"), &folder.input, input, Kind::Returning),
        Need::new(what("output"), &folder.output, Access::Write, Kind::Returning),
    ];
    let model = Path::new(&folder.recipe.model);
    if model.is_absolute() {
        needs.push(Need::new(what("model"), model, Access::Read, Kind::Replaced));
    }
    needs
}

/// The desktop's trash, where sources go there. Of the user that asks: the service, not who prepares it.
pub fn trash(config: &Config) -> Vec<Need> {
    let trashing = config
        .folders
        .iter()
        .filter(|folder| folder.on_success == OnSuccess::Trash);
    let needs = trashing.flat_map(|folder| {
        let what = format!("[[folder]] {:?} trash", folder.name);
        let need = move |dir| Need::new(what.clone(), dir, Access::Write, Kind::Fixed);
        prepare_trash(&folder.input).into_iter().map(need)
    });
    needs.collect()
}

/// The trash directories that this folder's sources may go to, made where missing: a rule needs something to be tied to.
/// As the specification of the desktops has it: the home's for what lies on its file system, else the mount's own, with
/// the home's for a mount whose root cannot be written.
fn prepare_trash(input: &Path) -> Vec<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    let home = data.map(|data| data.join("Trash"));
    let mount = ground::mount_point(input);
    let mut places = Vec::new();
    if home.as_deref().and_then(ground::mount_point) != mount
        && let Some(top) = mount
    {
        let user = rustix::process::getuid().as_raw();
        places.push(top.join(format!(".Trash-{user}")));
        let shared = top.join(".Trash").join(user.to_string());
        places.extend(Some(shared).filter(|shared| shared.is_dir()));
    }
    places.extend(home);
    let make = |place: &PathBuf| {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        // Where this fails, so does the trash itself, and says why when it is asked for.
        builder
            .create(place.join("files"))
            .and_then(|()| builder.create(place.join("info")))
            .is_ok()
    };
    places.retain(make);
    places
}

/// The runtime's other libraries, should its directory be too wide to be granted as a whole.
fn beside(library: &Path) -> Vec<Need> {
    let real = ground::real(library);
    let dir = real.as_deref().and_then(Path::parent);
    let Some(dir) = dir.filter(|dir| ground::is_wide(dir)) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| is_library(&entry.file_name()))
        .map(|entry| Need::new("[runtime] library", entry.path(), Access::Read, Kind::Replaced))
        .collect()
}

/// Of ONNX Runtime, and of CUDA and TensorRT, which its script puts beside it.
fn is_library(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("lib") && name.contains(".so")
}

/// What every process needs of the system, and CUDA beyond that.
pub fn system() -> Vec<Grant> {
    let grant = |access: Access| {
        move |path: PathBuf| {
            Some(Grant {
                path: ground::real(&path)?,
                access,
            })
        }
    };
    let mut grants = Vec::new();
    let read = READ
        .iter()
        .map(PathBuf::from)
        .chain(library_path())
        .chain(loader_conf());
    grants.extend(read.filter_map(grant(Access::Read)));
    let devices = DEVICES.iter().map(PathBuf::from).chain(cards());
    grants.extend(devices.filter_map(grant(Access::Device)));
    let shared = [PathBuf::from("/dev/shm")].into_iter().chain(mps());
    grants.extend(shared.filter_map(grant(Access::Write)));
    grants.extend(loaders().into_iter().filter_map(grant(Access::Run)));
    // Not by its path, which may have become another program's: what examines models is what runs (decision 0011).
    grants.push(Grant {
        path: PathBuf::from("/proc/self/exe"),
        access: Access::Run,
    });
    grants
}

/// `LD_LIBRARY_PATH`: how people tell where CUDA and cuDNN are.
fn library_path() -> Vec<PathBuf> {
    let paths = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .filter(|path| path.is_absolute())
        .collect()
}

/// What `ldconfig` was told: CUDA's packages add their directories there.
fn loader_conf() -> Vec<PathBuf> {
    let included = std::fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten();
    let files = included
        .map(|entry| entry.path())
        .chain([PathBuf::from("/etc/ld.so.conf")]);
    files
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| {
            text.lines()
                .map(|line| PathBuf::from(line.trim()))
                .collect::<Vec<_>>()
        })
        .filter(|path| path.is_absolute())
        .collect()
}

fn cards() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_card = |name: &OsStr| {
        CARDS
            .iter()
            .any(|card| name.as_bytes().starts_with(card.as_bytes()))
    };
    entries
        .filter(|entry| is_card(&entry.file_name()))
        .map(|entry| entry.path())
        .collect()
}

/// Where CUDA meets the service that shares a card between processes, if one runs.
fn mps() -> Option<PathBuf> {
    let dir = std::env::var_os("CUDA_MPS_PIPE_DIRECTORY").unwrap_or_else(|| "/tmp/nvidia-mps".into());
    Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute() && dir.is_dir())
}

/// The loader of this program, which the kernel starts in front of it.
fn loaders() -> Vec<PathBuf> {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    let path = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'/')?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(line[at..].to_vec()));
        let name = path.file_name()?.as_bytes();
        (name.starts_with(b"ld-") || name.starts_with(b"ld.")).then_some(path)
    };
    let mut found: Vec<_> = maps.split(|byte| *byte == b'\n').filter_map(path).collect();
    found.dedup();
    found
}
